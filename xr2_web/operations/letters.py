"""``dead``, ``forget`` and ``export``: dead letters, and what belongs to somebody."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

from .. import values
from ..errors import ConfigurationError
from ..outbox.store import Changed, Dead, Row, Store, Survey
from ..runtime import Runtime
from . import seen, tables, words
from .outcome import Outcome, echo_json, tell_undone
from .progress import Watch, watched

_NO_SUCH = "There is no such dead letter."


class Selection(NamedTuple):
    """Which dead letters are meant: what is left empty does not matter."""

    trace_ids: Collection[str] = ()
    event_name: str | None = None
    reason: str | None = None

    def includes(self, letter: Dead) -> bool:
        """Tell whether a dead letter is one of them."""
        return (
            (not self.trace_ids or letter.entry.trace_id in self.trace_ids)
            and self.event_name in (None, letter.entry.event_name)
            and (self.reason or "").lower() in letter.reason.lower()
        )


def list_dead(runtime: Runtime, chosen: Selection, *, most: int, others: bool) -> Outcome:
    """Return the dead letters, the latest first."""
    found = _chosen(runtime, chosen, others=others)

    def tell() -> None:
        rows = [_cells(each) for each in found[:most]]
        if rows:
            tables.show(("Died", "Event", "Trace", "Tries", "Reason"), rows)
        more = f"; the latest {most:,} are shown" if len(found) > most else ""
        click.echo(f"{words.many(len(found), 'dead letter')}{more}")

    return Outcome({"count": len(found), "letters": [_letter(each) for each in found[:most]]}, tell)


def show_dead(runtime: Runtime, chosen: Selection, *, others: bool) -> Outcome:
    """Return the dead letters whole, with what was to be sent."""
    found = _chosen(runtime, chosen, others=others)
    shown = [_letter(each) | {"body": _body(each.entry.body)} for each in found]

    def tell() -> None:
        for each in shown:
            echo_json(each)
        if not shown:
            click.echo(_NO_SUCH, err=True)

    return Outcome({"letters": shown}, tell, bool(shown))


def retry_dead(runtime: Runtime, chosen: Selection, *, others: bool) -> Outcome:
    """Have dead letters sent once more."""
    with seen.stores(runtime, others=others) as found:
        changed = _sum(store.requeue(chosen.includes) for store in found)
    told = f"{words.many(changed.letters, 'dead letter')} will be tried"
    return _outcome(changed, {"letters": changed.letters}, told, named=chosen.trace_ids)


def drop_dead(runtime: Runtime, chosen: Selection, *, others: bool) -> Outcome:
    """Remove dead letters."""
    with seen.stores(runtime, others=others) as found:
        changed = _sum(store.drop(chosen.includes) for store in found)
    told = f"{words.many(changed.letters, 'dead letter')} dropped"
    return _outcome(changed, {"letters": changed.letters}, told, named=chosen.trace_ids)


def forget(runtime: Runtime, users: Sequence[str], *, others: bool, is_quiet: bool) -> Outcome:
    """Remove what waits and what is dead of users, whose ids may be in it as they are or as their keyed hash."""
    ids = {each for user in users for each in (values.user_id(user), *runtime.seal.pseudonyms(user))}
    with seen.stores(runtime, others=others) as found, watched("Looking", is_quiet=is_quiet) as watch:
        surveys = [store.survey() for store in found]
        is_theirs = _watching(_belonging_to(ids), surveys, watch)
        changed = _sum(store.forget(is_theirs) for store in found)
    unsearched = 0 if others else len(seen.places(surveys, is_ours=False))
    told = f"{words.many(changed.events, 'event')} and {words.many(changed.letters, 'dead letter')} forgotten"
    if unsearched:
        told += f"; not searched: {words.many(unsearched, 'file')} of other installations (--others)"
    document = {"events": changed.events, "letters": changed.letters, "not_searched": unsearched}
    return _outcome(changed, document, told)


def export(runtime: Runtime, *, output: Path | None, is_document: bool, others: bool, is_quiet: bool) -> Outcome | None:
    """Write all that waits and all that is dead, as JSON lines or as one document; to standard output, or a new file.

    Returns what is to be told, which is nothing where the events themselves go to standard output.
    """
    with seen.stores(runtime, others=others) as found, _opened(output) as stream:
        surveys = [store.survey() for store in found]
        total = sum(each.pending + each.dead for survey in surveys for each in survey.places if others or each.is_ours)
        with watched("Writing", is_quiet=is_quiet or output is None) as watch:
            written = 0
            for text in _texts(_records(found), is_document=is_document):
                stream.write(text)
                written += 1
                watch(written, total, "")
            if is_document:
                stream.write(b"]}\n" if written else b'{"events":[]}\n')
    if output is None:
        return None
    return Outcome(
        {"written": written, "output": str(output)}, lambda: click.echo(f"{words.many(written, 'event')} in {output}")
    )


def _chosen(runtime: Runtime, chosen: Selection, *, others: bool) -> list[Dead]:
    with seen.stores(runtime, others=others) as found:
        letters = [each for store in found for each in store.letters() if chosen.includes(each)]
    return sorted(letters, key=lambda each: each.died_at, reverse=True)


def _sum(changes: Iterable[Changed]) -> Changed:
    total = Changed()
    for each in changes:
        total = total.plus(each)
    return total


def _outcome(changed: Changed, document: Mapping[str, object], told: str, *, named: Collection[str] = ()) -> Outcome:
    is_none = bool(named) and not (changed.letters or changed.kept or changed.undone)

    def tell() -> None:
        click.echo(told)
        if is_none:
            click.echo(_NO_SUCH, err=True)
        if changed.kept:
            click.echo(
                f"{words.many(changed.kept, 'dead letter')} found no room; try again when some have left", err=True
            )
        tell_undone(changed.undone)

    whole = {**document, "kept": changed.kept, "undone": changed.undone}
    return Outcome(whole, tell, not (changed.kept or changed.undone or is_none))


def _letter(letter: Dead) -> dict[str, Any]:
    return {
        "trace_id": letter.entry.trace_id,
        "event_name": letter.entry.event_name,
        "made_at": words.timestamp(letter.entry.made_at),
        "died_at": words.timestamp(letter.died_at),
        "attempts": letter.attempts,
        "reason": letter.reason,
    }


def _cells(letter: Dead) -> tuple[str, ...]:
    entry = letter.entry
    return words.moment(letter.died_at), entry.event_name, entry.trace_id, str(letter.attempts), letter.reason


def _body(body: bytes) -> object:
    """Return what was to be sent; as text where it is no JSON, which nobody but a damaged disk can have made it."""
    import msgspec

    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")


def _belonging_to(ids: Collection[str]) -> Callable[[bytes], bool]:
    import msgspec

    class Owned(msgspec.Struct):
        user_id: str | None = None

    decoder = msgspec.json.Decoder(Owned)

    def is_theirs(body: bytes) -> bool:
        try:
            return decoder.decode(body).user_id in ids
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False

    return is_theirs


def _watching(is_theirs: Callable[[bytes], bool], surveys: Sequence[Survey], watch: Watch) -> Callable[[bytes], bool]:
    """Return the same test, which shows how many it has seen."""
    total = sum(each.pending + each.dead for survey in surveys for each in survey.places)
    seen_so_far = itertools.count(1)

    def test(body: bytes) -> bool:
        watch(next(seen_so_far), total, "")
        return is_theirs(body)

    return test


def _records(found: Sequence[Store]) -> Iterator[dict[str, Any]]:
    for store in found:
        for row in store.waiting():
            yield _waiting(row)
        for letter in store.letters():
            yield {"state": "dead", **_letter(letter), "body": _body(letter.entry.body)}


def _waiting(row: Row) -> dict[str, Any]:
    entry = row.entry
    return {
        "state": "waiting",
        "trace_id": entry.trace_id,
        "event_name": entry.event_name,
        "made_at": words.timestamp(entry.made_at),
        "attempts": row.attempts,
        "body": _body(entry.body),
    }


def _texts(records: Iterable[Mapping[str, Any]], *, is_document: bool) -> Iterator[bytes]:
    """Yield each record as it is written, which has its place in a line, or in the document's list."""
    import msgspec

    for number, each in enumerate(records):
        encoded = msgspec.json.encode(each)
        if is_document:
            yield (b",\n" if number else b'{"events":[\n') + encoded
        else:
            yield encoded + b"\n"


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Open standard output, or a new file that only this user can read."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as exc:
        raise ConfigurationError([f"{output} is there already"]) from exc
    with open(descriptor, "wb") as file:
        yield file
