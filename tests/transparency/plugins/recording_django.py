"""The test runner of Django's own suite: it writes down what became of each test."""

from __future__ import annotations

import faulthandler
import json
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar
from unittest import TestCase, TextTestResult

from django.test.runner import DiscoverRunner

report = ""
"""Where the record is to be written."""

counted: Counter[str] = Counter()
problems: list[str] = []
"""What was found wrong around the middleware while a test ran; the test has failed, whatever the suite says of it."""

LIMIT = 20
"""Seconds until a test that hangs ends the run; the stacks of all threads say where it hung."""


class Outcomes(TextTestResult):
    """Notes the worst that became of each test, of which ``subTest`` makes many."""

    outcomes: ClassVar[dict[str, str]] = {}
    messages: ClassVar[dict[str, str]] = {}

    def startTest(self, test: TestCase) -> None:  # noqa: N802
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        super().startTest(test)

    def stopTest(self, test: TestCase) -> None:  # noqa: N802
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        name = test.id()
        self.outcomes.setdefault(name, "passed")
        if problems:
            self._note(test, "failed", "; ".join(problems))
            problems.clear()

    def addError(self, test: TestCase, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self._note(test, "failed", repr(err[1]))

    def addFailure(self, test: TestCase, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self._note(test, "failed", repr(err[1]))

    def addSubTest(self, test: TestCase, subtest: TestCase, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed", repr(err[1]))

    def addSkip(self, test: TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)

    def addExpectedFailure(self, test: TestCase, err: Any) -> None:  # noqa: N802
        super().addExpectedFailure(test, err)
        self._note(test, "skipped", "fails as expected")

    def addUnexpectedSuccess(self, test: TestCase) -> None:  # noqa: N802
        super().addUnexpectedSuccess(test)
        self._note(test, "failed", "passes unexpectedly")

    def _note(self, test: TestCase, outcome: str, message: str) -> None:
        if self.outcomes.get(test.id()) != "failed":
            self.outcomes[test.id()] = outcome
            self.messages[test.id()] = message.partition("\n")[0]


class Recorder(DiscoverRunner):
    """Runs as ever, and writes the record when all tests have run."""

    def get_resultclass(self) -> type[Outcomes]:
        return Outcomes

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        record = {"outcomes": result.outcomes, "messages": result.messages, "counted": counted}
        Path(report).write_text(json.dumps(record))
        failures: int = super().suite_result(suite, result, **kwargs)
        return failures
