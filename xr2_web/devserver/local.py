"""The endpoints under ``/api/local`` that steer the local xR2 while it runs; the real server has none of them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import ConfigurationError
from . import answers, bodies, chaos, duration
from .chaos import Chaos
from .clock import FURTHEST, Clock
from .refusal import Refusal


class Local:
    """What can be changed at run time; what does not validate is a ``Refusal`` with 422 and changes nothing."""

    def __init__(self, chaos: Chaos, clock: Clock) -> None:
        self._chaos = chaos
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the routes, each with all its methods."""
        return [
            Route("/api/local/chaos", self.show_chaos, methods=["GET"]),
            Route("/api/local/chaos", self.set_chaos, methods=["PUT"]),
            Route("/api/local/chaos", self.end_chaos, methods=["DELETE"]),
            Route("/api/local/clock", self.show_clock, methods=["GET"]),
            Route("/api/local/clock", self.advance_clock, methods=["POST"]),
            Route("/api/local/clock", self.reset_clock, methods=["DELETE"]),
        ]

    async def show_chaos(self, request: Request) -> Response:
        """Tell the faults in force, in the form that ``PUT`` takes."""
        return answers.as_json(chaos.tell(self._chaos.faults))

    async def set_chaos(self, request: Request) -> Response:
        """Replace the faults in force."""
        wanted = bodies.decode(await request.body())
        try:
            self._chaos.faults = chaos.read(wanted)
        except ConfigurationError as exc:
            raise _invalid(*exc.problems) from exc
        return await self.show_chaos(request)

    async def end_chaos(self, request: Request) -> Response:
        """Let everything work again."""
        self._chaos.faults = chaos.NOTHING
        return await self.show_chaos(request)

    async def show_clock(self, request: Request) -> Response:
        """Tell the time, and by how many seconds it is ahead."""
        return answers.as_json({"now": answers.isoformat(self._clock()), "ahead": self._clock.ahead})

    async def advance_clock(self, request: Request) -> Response:
        """Put the clock ahead by a further ``ahead``."""
        wanted = bodies.decode(await request.body())
        if set(wanted) != {"ahead"}:
            raise _invalid('the body is an object with "ahead" alone, such as {"ahead": "31d"}')
        try:
            self._clock.advance(duration.read(wanted["ahead"], maximum=FURTHEST))
        except ValueError as exc:
            raise _invalid(str(exc)) from exc
        return await self.show_clock(request)

    async def reset_clock(self, request: Request) -> Response:
        """Tell the real time again."""
        self._clock.reset()
        return await self.show_clock(request)


def _invalid(*problems: str) -> Refusal:
    return Refusal(422, [bodies.problem("value_error", ["body"], each) for each in problems])
