"""What empties the spool where ``OUTBOX = "celery"``: its events are handed over to the broker, not sent to xR2."""

from __future__ import annotations

# The courier's thread may be the first to load the broker's client, when the interpreter exits already. Then this
# can no longer be loaded.
import concurrent.futures.thread  # noqa: F401
from collections.abc import Callable
from typing import Any

from celery import Celery

from .. import pacing
from ..delivery import Delivery
from ..outbox import Claim, Outbox
from ..outbox.folder import installation
from ..pacing import Chance
from ..settings import Settings
from .broker import Broker
from .letters import DELIVER, Letter


def new_handover(app: Celery, chosen: Settings, outbox: Outbox, connect: Callable[[], Any], **parts: Any) -> Delivery:
    """Return what hands events over to the broker of an app.

    Where its tasks run in the process that sends them, as in tests, there need not be any broker: they go to xR2.
    """
    if app.conf.task_always_eager:
        return Delivery(outbox, connect, **parts)
    return Handover(outbox, connect, app=app, installation=installation(chosen.base_url, chosen.api_key), **parts)


class Handover(Delivery):
    """A broker that fails is treated as a server that fails: backoff, pauses, and one event alone that tries it.

    It spends nothing of the budget, and no 429 concerns it.
    """

    def __init__(
        self,
        outbox: Outbox,
        connect: Callable[[], Any],
        *,
        app: Celery,
        installation: str,
        count: Callable[[str], None],
        chance: Chance,
        **_: Any,
    ) -> None:
        unlimited = pacing.Budget(None)
        super().__init__(outbox, connect, pause=pacing.Pause(), budget=unlimited, count=count, chance=chance)
        self._installation = installation
        self._broker = Broker(app, chance.monotonic)

    def deliver(self, claim: Claim, until: float) -> None:
        """Publish a claimed event."""
        try:
            letter = Letter.of(self._installation, claim.entry, claim.attempts)
            self._broker.send(DELIVER, (letter._asdict(),), until=until)
        except UnicodeDecodeError:
            self._outbox.bury(claim, "its body is no text, which a message has to be")
            self.refused += 1
            self._count("refused")
        except Exception as exc:  # noqa: BLE001
            self._outbox.retry(claim, self._backoff(claim.attempts))
            self._teller.tell("not_handed_over", "", f"the broker of Celery does not take it: {type(exc).__name__}")
            self._failed("the broker of Celery cannot be reached")
        else:
            self._outbox.done(claim)
            self._failures = 0
            self.delivered += 1
            self._count("handed_over")
        finally:
            self._end()

    def close(self) -> None:
        """Hang up."""
        self._broker.close()
