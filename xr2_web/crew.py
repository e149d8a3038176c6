"""The threads of one courier: who is awake, who rests, and how they are called.

Requests call them, and in any place of a request a signal's handler may raise, as time limits of task queues do. So
nothing here would stay locked or half done then: there is no ``Condition``, and who is counted is in a set.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable


class Sleepers:
    """Threads that rest until they are called. Each waits for a lock of its own, which a call releases."""

    def __init__(self) -> None:
        self._beds: list[threading.Lock] = []

    def __bool__(self) -> bool:
        return bool(self._beds)

    def rest(self, seconds: float | None, *, unless: Callable[[], bool]) -> bool:
        """Rest so long, None for ever, or until called; return False at once where ``unless`` says so.

        It is asked when calls are heard already: what is done before a call is seen there, or ends the rest.
        """
        bed = threading.Lock()  # not imported by its name: gevent may patch the module later
        bed.acquire()
        try:
            self._beds.append(bed)
            if unless():
                return False
            bed.acquire(timeout=-1 if seconds is None else seconds)
            return True
        finally:
            if bed in self._beds:
                self._beds.remove(bed)

    def call_one(self) -> bool:
        """Wake who has rested longest, at little cost if that is about to get up already; False where nobody rests."""
        try:
            bed = self._beds[0]
            if bed.locked():
                bed.release()
        except IndexError:
            return False
        except RuntimeError:  # another has just called it
            pass
        return True

    def call_all(self) -> None:
        """Wake all who rest."""
        for bed in self._beds[:]:
            try:
                bed.release()
            except RuntimeError:  # called already
                pass


class Crew:
    """Each thread of it runs ``work`` and ends with it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.idle, self.aside = Sleepers(), Sleepers()
        """Who can be called for an event, and who would not look for one then."""
        self.awake: set[threading.Thread] = set()
        self._threads: set[threading.Thread] = set()
        self._work = work
        self._is_dismissed = False
        self._turn = threading.RLock()

    def __len__(self) -> int:
        return len(self._threads)

    def dismiss(self) -> list[threading.Thread]:
        """Start none any more, and return those that have not ended."""
        with self._turn:
            self._is_dismissed = True
            return list(self._threads)

    def grow(self, most: int) -> None:
        """Start one thread more, if they are not ``most`` already."""
        with self._turn:
            if len(self) >= most or self._is_dismissed:
                return
            thread = threading.Thread(target=self._run, name=f"xr2-courier-{len(self)}", daemon=True)
            try:
                # Known before it runs, since with its first event it asks whether there are threads.
                self._count_in(thread)
                # In an empty context, so that no request's scope lives on in the thread.
                contextvars.Context().run(thread.start)
            except RuntimeError:  # the interpreter exits; who stops the courier delivers
                self._count_out(thread)
            except BaseException:  # a time limit or Ctrl-C; if the thread runs all the same it counts itself
                self._count_out(thread)
                raise

    def sleep(self, sleepers: Sleepers, seconds: float | None, *, unless: Callable[[], bool]) -> None:
        """Rest as one of ``sleepers``, not counted as awake."""
        thread = threading.current_thread()
        try:
            self.awake.discard(thread)
            sleepers.rest(seconds, unless=unless)
        finally:
            self.awake.add(thread)

    def is_spared(self) -> bool:
        """Count this thread as resting if another is awake, and tell whether one is."""
        with self._turn:
            is_spared = len(self.awake) > 1
            if is_spared:
                self.awake.discard(threading.current_thread())
            return is_spared

    def call_all(self) -> None:
        """Wake all who rest."""
        self.idle.call_all()
        self.aside.call_all()

    def _run(self) -> None:
        thread = threading.current_thread()
        try:
            self._count_in(thread)
            self._work()
        finally:
            self._count_out(thread)
            self.idle.call_one()

    def _count_in(self, thread: threading.Thread) -> None:
        with self._turn:
            self._threads.add(thread)
            self.awake.add(thread)

    def _count_out(self, thread: threading.Thread) -> None:
        self._threads.discard(thread)
        self.awake.discard(thread)
