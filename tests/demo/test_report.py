"""What is told of outcomes, on a terminal, as plain text and as JSON."""

from __future__ import annotations

import io
import json

import pytest

from xr2_web.demo.comparison import Expectation, Fetch, Finding
from xr2_web.demo.examples import EXAMPLES
from xr2_web.demo.journal import Arrival
from xr2_web.demo.reporters import JsonReport, TextReport
from xr2_web.demo.stage import Outcome

PRODUCT = Fetch("Ada", "product", "evt_38a00715_1795531342_86b49c1c")
PURCHASE = Expectation("purchase_completed", PRODUCT, user_id="1", value=48.0, currency="EUR")
ARRIVED = Arrival(
    PRODUCT.trace_id, "purchase_completed", "1", "CC0RCkWDP3uoor", 48.0, "EUR", slug="product", version_number=1
)
RIGHT = Outcome(EXAMPLES[1], findings=(Finding("Ada", PURCHASE, ARRIVED),), seconds=2.04)
MISSING = Outcome(EXAMPLES[1], findings=(Finding("Ada", PURCHASE, None, ("It did not arrive.",)),), log=("no tea",))
FAILED = Outcome(EXAMPLES[3], failure="uvicorn of fastapi ended with code 3", log=("no water",))


def test_plain_text_tells_every_event_whole(capsys: pytest.CaptureFixture[str]) -> None:
    TextReport().outcome(RIGHT)

    assert capsys.readouterr().out.splitlines() == [
        "flask_shop, gunicorn, 2.0 s",
        "  Visitor  Event               Prompt      Trace                             User  Session         Value",
        "  ✓ Ada    purchase_completed  product v1  evt_38a00715_1795531342_86b49c1c  1     CC0RCkWDP3uoor  48.00 EUR",
        "",
    ]


def test_plain_text_tells_what_is_wrong_and_what_the_server_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    report = TextReport()
    for outcome in (MISSING, FAILED):
        report.outcome(outcome)
    report.summary([MISSING, FAILED], seconds=3)

    assert capsys.readouterr().out.splitlines() == [
        "flask_shop, gunicorn, 0.0 s",
        "  Visitor  Event               Prompt   Trace  User  Session  Value",
        "  ✗ Ada    purchase_completed  missing",
        "  ✗ It did not arrive.",
        "  | no tea",
        "",
        "fastapi_chat, uvicorn, 0.0 s",
        "  ✗ uvicorn of fastapi ended with code 3",
        "  | no water",
        "",
        "✗ Not as expected: flask, fastapi.",
    ]


def test_a_terminal_of_80_columns_shows_every_column(tmp_path) -> None:
    rich_report = pytest.importorskip("xr2_web.demo.rich_report")
    screen = io.StringIO()
    report = rich_report.RichReport(rich_report.Console(file=screen, width=80, highlight=False))

    with report.waiting(["flask"]):
        report.outcome(RIGHT)
    report.summary([RIGHT], seconds=2)

    assert [line.rstrip() for line in screen.getvalue().splitlines()] == [
        "",
        "flask_shop · gunicorn · 2.0 s",
        "  Visitor  Event               Prompt      Trace      User  Session      Value",
        "  ✓ Ada    purchase_completed  product v1  …86b49c1c  1     CC0RC…   48.00 EUR",
        "",
        "✓ 1 of 1 events arrived under the right traces, and no others (2 s).",
    ]


def test_json_is_one_document_with_what_was_expected_and_what_arrived(capsys: pytest.CaptureFixture[str]) -> None:
    report = JsonReport()
    with report.waiting(["flask", "fastapi"]):
        report.outcome(RIGHT)
    report.summary([RIGHT, FAILED], seconds=2.5)
    report.addresses([RIGHT, FAILED])

    told = json.loads(capsys.readouterr().out)
    flask, fastapi = told.pop("examples")
    assert told == {"ok": False, "seconds": 2.5}
    assert (flask["framework"], flask["ok"], flask["problems"]) == ("flask", True, [])
    [event] = flask["events"]
    assert (event["visitor"], event["ok"]) == ("Ada", True)
    assert event["expected"].items() <= event["arrived"].items()
    assert fastapi["problems"] == ["uvicorn of fastapi ended with code 3"]
    assert fastapi["log"] == ["no water"]
