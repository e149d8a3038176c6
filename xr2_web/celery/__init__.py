"""The adapter for Celery: scopes follow the tasks of a request, and ``OUTBOX = "celery"`` sends events through it."""

from __future__ import annotations

from functools import partial

from celery import Celery, _state

from ..engines import Engine, new_spool, offer_engine
from . import passengers, tasks
from .handover import new_handover
from .passengers import HEADER

__all__ = ["HEADER", "install", "tasks"]


def install(app: Celery | None = None) -> None:
    """Have the scope of a request follow the tasks that it sends, in every Celery app of this process.

    Call it in the module that makes the app, which both the senders and the workers import; once more does nothing.
    What is tracked and fetched in a task then belongs to the visitor whose request sent it. The message carries
    the visitor's last traces, the random session id and the user id, or its keyed hash where it is an e-mail
    address; without consent only the traces of this very request. Finding a user takes no waiting on a running
    event loop: there a user that is not loaded yet does not go along.

    With ``OUTBOX = "celery"`` events leave as messages through ``app``, by default the one that was made last, and
    its workers send them to xR2 (task ``xr2_web.deliver``). The task ``xr2_web.drain`` delivers what dead processes
    have left in the spool of the worker's machine.
    """
    passengers.connect()
    tasks.connect()
    # Now, because other threads do not know which app was made last.
    offer_engine("celery", Engine(new_spool, partial(new_handover, app or _state.get_current_app())))
