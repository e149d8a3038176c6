"""Every fault that can befall an event on its way has a test that names it: "Fault: refused port."

Several are named as "Faults: 301; 302." What follows the name says which side of the fault is meant.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from ..test_traps import TESTS, docstrings_of_tests

FAULTS: dict[str, tuple[str, ...]] = {
    "network": (
        "refused port",
        "unknown host",
        "connect hang",
        "accepts and never answers",
        "one byte a second, in headers",
        "one byte a second, in the body",
        "reset after N bytes",
        "half-close",
        "accepted but unanswered (a duplicate)",
        "stale keep-alive",
        "self-signed",
        "expired",
        "wrong host",
        "plain HTTP on a TLS port",
        "proxy variables",
        "proxy 407",
    ),
    "http": (
        "200 with HTML",
        "200, empty",
        "200 with truncated JSON",
        "200 with a list",
        "204",
        "301",
        "302",
        "303",
        "307",
        "308 to the same and to another host",
        "500 MB body",
        "endless chunks",
        "gzip bomb",
        "1,000 headers",
        "a 1 MB header",
        "detail as text",
        "detail as an object",
        "detail as a list",
        "detail as null",
        "detail absent",
        "Retry-After 0",
        "Retry-After -1",
        "Retry-After 1e9",
        "Retry-After NaN",
        "Retry-After as an HTTP date, past",
        "Retry-After as an HTTP date, future",
        "Retry-After, garbage",
        "reset_time as a date",
        "reset_time, naive",
        "reset_time in the past",
        "reset_time in the year 9999",
        "every status from 100 to 599 against the table",
        "a 429 storm",
        "recovery without a stampede",
    ),
    "process": (
        "SIGKILL in a loop at random moments with several processes",
        "SIGKILL between the server's yes and our note of it",
        "SIGTERM with 10,000 waiting",
        "fork before and after the first event",
        "gunicorn --preload",
        "multiprocessing fork and spawn",
        "double fork",
        "os._exit",
        "a child holding the parent's lock",
        "events in atexit and __del__",
        "SIGSTOP",
        "gevent",
        "asyncio cancel in the middle",
        "1,000 threads",
        "recycled workers",
        "an exception of a signal's handler",
    ),
    "storage": (
        "disk full",
        "read-only folder",
        "garbage header",
        "garbage page",
        "empty file",
        "truncated WAL",
        "file or folder removed while open",
        "a folder or link in the file's place",
        "another owner",
        "a newer schema",
        "locked by another tool",
        "the Nth SQLite call fails, for every N",
    ),
    "clock": (
        "a year forward",
        "a year back",
        "in the middle of a pause",
        "two machines an hour apart on one database",
    ),
    "database": (
        "rollback",
        "savepoint rollback",
        "a duplicate inside the caller's atomic block",
        "a crash between commit and callback",
        "database down at the insert (spool takes it)",
        "database down at the claim",
        "100 relays on 10,000 rows",
        "deadlock",
    ),
    "broker": (
        "an engine that is down",
        "SIGKILL of a worker",
    ),
    "data": (
        "NaN",
        "Infinity",
        "Decimal",
        "datetime",
        "UUID",
        "bytes",
        "set",
        "Enum",
        "dataclass",
        "lazy string",
        "circular",
        "depth 10,000",
        "2**70",
        "lone surrogate",
        "NUL",
        "1 MB text",
        "10,000 keys",
        "keys that are not text",
        "an object whose __str__ raises",
        "a dict changed after tracking",
        "names, empty",
        "names of 10 KB",
        "names with emoji",
        "names with CR/LF",
        "names with ../",
        "names with HTML",
    ),
    "security": (
        "CR/LF in the key",
        "CR/LF in a header or cookie",
        "CR/LF in a slug",
        "a forged token",
        "a tampered token",
        "an expired token",
        "a replayed token",
        "a token of another salt",
        "a token under an old key after rotation",
        "a 1 MB cookie",
        "the key in repr",
        "the key in str",
        "the key in vars",
        "the key in a log",
        "the key in a traceback",
        "the key in a pickle",
        "base_url with credentials",
        "base_url of file:, a backslash, another scheme",
        "log injection",
        "folder modes",
        "foreign owner",
        "links in a shared temporary folder",
        "dev server: foreign Host",
        "dev server: cross-site POST",
        "dev server: script in an event name",
    ),
}

PROCESSES, CARRY, PAGE = "faults/test_processes.py", "test_carry.py", "devserver/test_page.py"
TRANSACTIONS = "django_outbox/test_transactions.py"
_FORKED = f"{PROCESSES}::test_events_before_and_after_a_fork_arrive_once_each"

ELSEWHERE = {
    "SIGKILL in a loop at random moments with several processes": (
        "faults/chaos/test_chaos.py::test_no_accepted_event_is_lost_among_kills_and_faults"
    ),
    "SIGKILL between the server's yes and our note of it": (
        f"{PROCESSES}::test_a_kill_between_the_answer_and_its_note_sends_the_event_again"
    ),
    "SIGTERM with 10,000 waiting": (f"{PROCESSES}::test_sigterm_with_ten_thousand_waiting_ends_in_time_and_loses_none"),
    "fork before and after the first event": _FORKED,
    "gunicorn --preload": (
        "examples/test_forks.py::test_the_event_of_the_import_and_those_of_the_workers_arrive_once_each"
    ),
    "multiprocessing fork and spawn": _FORKED,
    "double fork": _FORKED,
    "os._exit": _FORKED,
    "events in atexit and __del__": f"{PROCESSES}::test_events_at_exit_and_of_finalizers_are_kept",
    "SIGSTOP": f"{PROCESSES}::test_a_process_that_stands_still_keeps_its_events_and_goes_on",
    "gevent": f"{PROCESSES}::test_greenlets_lose_nothing_at_a_kill",
    "1,000 threads": f"{PROCESSES}::test_a_thousand_threads_that_track_at_once_lose_nothing_at_a_kill",
    "asyncio cancel in the middle": (
        "faults/test_cancellation.py::test_a_cancelled_event_is_none_and_the_next_one_arrives"
    ),
    "two machines an hour apart on one database": (
        "django_outbox/test_leases.py::test_hosts_whose_clocks_differ_by_an_hour_share_one_table"
    ),
    "rollback": f"{TRANSACTIONS}::test_a_rollback_takes_the_event_along",
    "savepoint rollback": f"{TRANSACTIONS}::test_the_rollback_of_a_savepoint_takes_its_event_along_and_no_other",
    "a duplicate inside the caller's atomic block": (
        f"{TRANSACTIONS}::test_a_duplicate_inside_of_the_block_makes_no_second_row"
    ),
    "CR/LF in a header or cookie": (
        "test_settings.py::TestOthers::test_a_carry_name_must_be_one_of_a_cookie_and_a_header"
    ),
    "a forged token": f"{CARRY}::TestVisitors::test_a_bad_token_is_ignored_and_counted",
    "a tampered token": f"{CARRY}::TestRefusal::test_a_change_of_any_character",
    "an expired token": f"{CARRY}::TestAge::test_it_is_read_until_its_age_is_reached",
    "a replayed token": (
        f"{CARRY}::TestVisitors::test_who_replays_the_token_of_another_visitor_is_taken_for_that_visitor"
    ),
    "a token of another salt": f"{CARRY}::TestRefusal::test_another_salt",
    "a token under an old key after rotation": f"{CARRY}::TestRotation::test_an_old_key_reads_and_the_new_key_writes",
    "a 1 MB cookie": f"{CARRY}::TestBounds::test_one_that_is_too_long_is_not_even_looked_at",
    "folder modes": "outbox/test_spool.py::TestFile::test_only_its_user_can_read_anything",
    "dev server: foreign Host": f"{PAGE}::test_a_foreign_host_is_refused",
    "dev server: cross-site POST": f"{PAGE}::test_another_page_can_neither_send_nor_read",
    "dev server: script in an event name": f"{PAGE}::test_everything_is_escaped",
}
"""Tests that spring a fault and say so by their names alone."""

ALL = [fault for section in FAULTS.values() for fault in section]

_NAMED = re.compile(r"\bfault(s?): (.*?)(?:\.(?= |$)|$)")


def plain(text: str) -> str:
    """Leave out what is set in another way for its readers: line breaks, backquotes."""
    return " ".join(text.replace("`", "").split()).casefold()


def statements_in(docstring: str) -> Iterator[str]:
    """Return what a docstring says of faults, each that it names with what it says of it."""
    for are_several, said in _NAMED.findall(plain(docstring)):
        yield from said.split("; ") if are_several else [said]


def fault_of(statement: str) -> str | None:
    """Return the fault that a statement is about: the longest with whose name it begins."""
    fitting = [fault for fault in ALL if statement.startswith(plain(fault))]
    return max(fitting, key=len, default=None)


@pytest.fixture(scope="module")
def tests() -> dict[str, str]:
    """The docstrings of all tests, by where they stand."""
    return {
        where: text
        for path in sorted(TESTS.rglob("test_*.py"))
        if path.name != "test_catalogue.py"
        for where, text in docstrings_of_tests(path)
    }


@pytest.fixture(scope="module")
def named(tests: dict[str, str]) -> dict[str | None, list[str]]:
    """Where each fault is named; under None what is no fault."""
    found: dict[str | None, list[str]] = defaultdict(list)
    for where, text in tests.items():
        for statement in statements_in(text):
            found[fault_of(statement)].append(f"{where}: {statement}")
    return found


@pytest.mark.parametrize("fault", ALL)
def test_a_test_names_it(tests: dict[str, str], named: dict[str | None, list[str]], fault: str) -> None:
    assert named[fault] or ELSEWHERE.get(fault) in tests, f"no test names the fault {fault!r}"


def test_no_test_names_a_fault_that_is_none(named: dict[str | None, list[str]]) -> None:
    assert named[None] == []


def test_what_is_said_to_be_tested_elsewhere_is_a_fault_and_a_test(tests: dict[str, str]) -> None:
    assert {fault: test for fault, test in ELSEWHERE.items() if fault not in ALL or test not in tests} == {}


@pytest.mark.parametrize(
    ("docstring", "statements"),
    [
        ("Fault: refused port.", ["refused port"]),
        ("Faults: 301; 302; 303 to\n    another host. A redirect.", ["301", "302", "303 to another host"]),
        ("Fault: empty file. Fault: garbage header.", ["empty file", "garbage header"]),
        ("Tries `../` first.\n\nFault: names with `../`", ["names with ../"]),
        ("Fault: read-only folder; for root too.", ["read-only folder; for root too"]),
        ("It is nobody's fault.", []),
        ("The default: nothing.", []),
    ],
)
def test_statements_are_read_as_they_are_written(docstring: str, statements: list[str]) -> None:
    assert list(statements_in(docstring)) == statements


@pytest.mark.parametrize(
    ("statement", "fault"),
    [("half-close after the answer", "half-close"), ("nan", "NaN"), ("expired, and renewed", "expired"), ("no", None)],
)
def test_a_fault_is_known_by_the_beginning_of_a_statement(statement: str, fault: str | None) -> None:
    assert fault_of(statement) == fault
