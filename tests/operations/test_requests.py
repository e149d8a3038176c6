"""What the owner of a file does with a request: a living outbox, tended as its courier does."""

from __future__ import annotations

import json
import math
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xr2_web.outbox import Entry
from xr2_web.outbox.folder import Folder
from xr2_web.outbox.own_file import Origin
from xr2_web.outbox.requests import Answer, Request, answer_to, ask, attend
from xr2_web.outbox.spool import Spool
from xr2_web.outbox.store import Changed

NOW = 1_800_000_000.0
ORIGIN = Origin.of("https://xr2.uk", "key")


class Owner:
    """A spool with three events, whose wall clock stands still."""

    def __init__(self, folder: Path) -> None:
        self.before_it_obeys: Callable[[], None] = lambda: None
        self.spool = Spool(Folder(folder), ORIGIN, most_events=10, wall=self._wall)
        for number in (1, 2, 3):
            self.spool.put(Entry(f"evt_{number}", "sign_up", b"{}", NOW))
        self.spool.tend(None)
        (self.file,) = folder.glob("*.sqlite3")

    def asked(self, **what: object) -> Answer | None:
        """Ask it for something, have it tend its file, and return its answer."""
        request = Request(**{"number": "1", "made_at": NOW, **what})  # type: ignore[arg-type]
        ask(self.file, request)
        self.spool.tend(None)
        return answer_to(request, self.file)

    def _wall(self) -> float:
        self.before_it_obeys()
        return NOW

    def claimed(self) -> set[str]:
        """Claim all that is due."""
        return {claim.entry.trace_id for claim in iter(self.spool.claim, None)}


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(tmp_path / "outbox")
    yield owner
    owner.spool.close()


def test_events_are_forgotten_and_counted(owner: Owner) -> None:
    answer = owner.asked(forget=[1, 3, 9])

    assert answer == Answer("1", forgotten=2)
    assert owner.spool.counts().pending == 1
    assert owner.claimed() == {"evt_2"}


def test_an_event_that_was_read_already_is_forgotten_too(owner: Owner) -> None:
    first = owner.spool.claim()

    owner.asked(forget=[2])

    assert first is not None
    assert first.entry.trace_id == "evt_1"
    assert owner.claimed() == {"evt_3"}


@pytest.mark.parametrize("end", ["done", "retry", "bury"])
def test_an_event_that_was_forgotten_under_way_neither_comes_back_nor_counts_twice(owner: Owner, end: str) -> None:
    claim = owner.spool.claim()
    assert claim is not None

    owner.asked(forget=[1])
    getattr(owner.spool, end)(claim, *{"done": (), "retry": (0.0,), "bury": ("no",)}[end])

    assert owner.spool.counts() == (2, 0)
    assert owner.claimed() == {"evt_2", "evt_3"}


def test_an_event_that_waits_for_its_next_try_is_forgotten_too(owner: Owner) -> None:
    claim = owner.spool.claim()
    assert claim is not None
    owner.spool.retry(claim, 0.0)

    owner.asked(forget=[1])

    assert owner.claimed() == {"evt_2", "evt_3"}


def test_what_has_just_arrived_is_not_counted_as_forgotten(owner: Owner) -> None:
    claim = owner.spool.claim()
    assert claim is not None
    owner.before_it_obeys = lambda: owner.spool.done(claim)

    answer = owner.asked(forget=[1, 2])

    assert answer == Answer("1", forgotten=1)
    assert owner.spool.counts().pending == 1


def test_a_dead_letter_that_is_sent_once_more_was_tried_before(owner: Owner) -> None:
    claim = owner.spool.claim()
    assert claim is not None
    owner.spool.bury(claim, "no")

    answer = owner.asked(requeue=[("evt_1", "sign_up"), ("evt_9", "sign_up")])
    again = owner.asked(requeue=[("evt_1", "sign_up")])
    claims = {claim.entry.trace_id: claim.attempts for claim in iter(owner.spool.claim, None)}

    assert (answer, again) == (Answer("1", requeued=1), Answer("1"))
    assert owner.spool.counts() == (3, 0)
    assert claims == {"evt_1": 1, "evt_2": 0, "evt_3": 0}


@pytest.mark.parametrize("made_at", [NOW - 61, NOW + 61])
def test_the_request_of_a_command_that_is_gone_is_not_obeyed_later(owner: Owner, made_at: float) -> None:
    answer = owner.asked(forget=[1], made_at=made_at)

    assert answer is None
    assert owner.spool.counts().pending == 3
    assert not list(owner.file.parent.glob("*.request"))


def test_a_request_is_obeyed_once(owner: Owner) -> None:
    claim = owner.spool.claim()
    assert claim is not None
    owner.spool.bury(claim, "no")

    owner.asked(drop=[("evt_1", "sign_up")])
    owner.spool.put(Entry("evt_1", "sign_up", b"{}", NOW))
    again = owner.spool.claim()
    assert again is not None
    owner.spool.bury(again, "no")
    owner.spool.tend(None)

    assert owner.spool.counts().dead == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"garbage",
        b"\xff\xfe",
        b'["1", 1800000000.0, ["one"], [], []]',
        b'["1", 1800000000.0, [], [["evt_1"]], []]',
        b'["1", "now", [1], [], []]',
        b'["1", 1800000000.0, [1]]',
    ],
)
def test_what_is_no_request_is_put_away(owner: Owner, content: bytes) -> None:
    request = owner.file.with_suffix(".request")
    request.write_bytes(content)

    owner.spool.tend(None)

    assert owner.spool.counts().pending == 3
    assert not request.exists()


def test_a_link_is_not_followed(owner: Owner, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(json.dumps(Request("1", NOW, [1])))
    owner.file.with_suffix(".request").symlink_to(elsewhere)

    owner.spool.tend(None)

    assert owner.spool.counts().pending == 3
    assert elsewhere.exists()


def test_what_changes_hands_in_the_middle_of_a_command_is_dealt_with_all_the_same(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "outbox")
    heir, *left = (Spool(folder, ORIGIN, most_events=10) for _ in range(3))
    for number, each in enumerate(left):
        each.put(Entry(f"evt_{number}", "sign_up", b"{}", NOW))
        each.close()
    (store,) = heir.stores(others=False)
    has_ended = threading.Event()

    def tend() -> None:
        while not has_ended.wait(0.01):
            heir.tend(None)

    courier = threading.Thread(target=tend)

    def is_theirs(body: bytes) -> bool:
        # The first of the files is being looked at: the other is adopted before its turn comes.
        if not courier.ident:
            heir.adopt(math.inf, others=False)
            courier.start()
        return True

    changed = store.forget(is_theirs)
    has_ended.set()
    courier.join()

    assert changed == Changed(events=2)
    assert heir.counts().pending == 0
    heir.close()


def test_papers_are_this_users_alone(owner: Owner) -> None:
    ask(owner.file, Request("1", NOW, [1]))
    asked = owner.file.with_suffix(".request").stat()
    owner.spool.tend(None)
    answered = owner.file.with_suffix(".answer").stat()

    assert [stat.S_IMODE(each.st_mode) for each in (asked, answered)] == [0o600, 0o600]


def test_what_keeps_it_from_being_done_is_answered_and_raised(owner: Owner) -> None:
    request = Request("1", NOW, [1])
    ask(owner.file, request)

    def fail(part: Request) -> Answer:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        attend(owner.file, fail, NOW)

    answer = answer_to(request, owner.file)
    assert answer is not None
    assert answer.failure == "OSError: no room"


def test_asking_for_much_is_done_in_parts(owner: Owner) -> None:
    sizes: list[int] = []

    def act(part: Request) -> Answer:
        sizes.append(len(part.forget) + len(part.drop))
        return Answer(part.number, forgotten=len(part.forget), dropped=len(part.drop))

    request = Request("1", NOW, list(range(250)), [("evt_1", "sign_up")])
    ask(owner.file, request)
    attend(owner.file, act, NOW)

    assert sizes == [100, 100, 50, 1]
    assert answer_to(request, owner.file) == Answer("1", 250, 1)


def test_another_requests_answer_is_none_to_this(owner: Owner) -> None:
    owner.asked(forget=[1])

    assert answer_to(Request("2", NOW, [1]), owner.file) is None
    assert os.path.exists(owner.file.with_suffix(".answer"))
