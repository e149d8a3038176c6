"""A request as an adapter shows it to the core. No framework is known here."""

from __future__ import annotations

from typing import Any, Final, Protocol

WAITING: Final = object()
"""In place of a value: having it would block, and only the async half of an adapter may wait for it."""


class Incoming(Protocol):
    """A request as an adapter shows it: the only view of a framework that the core has."""

    @property
    def method(self) -> str:
        """The HTTP method in capitals."""

    @property
    def path(self) -> str:
        """The path as the client sent it, decoded, from the root of the site."""

    @property
    def native(self) -> Any:
        """The framework's own request object, for the user's callables."""

    @property
    def route_names(self) -> tuple[str, ...]:
        """Under which names rules may call the route that serves this request."""

    @property
    def route_parameters(self) -> dict[str, Any]:
        """What the route found in the path."""

    def header(self, name: str) -> str | None:
        """Return a request header."""

    def cookie(self, name: str) -> str | None:
        """Return a cookie."""

    def session(self, name: str) -> Any:
        """Return an entry of the framework's session, None, or ``WAITING`` where reading it would block."""

    async def asession(self, name: str) -> Any:
        """Return an entry of the framework's session or None, waiting for it."""

    def user(self) -> Any:
        """Return the authenticated user's id, None, or ``WAITING`` where finding it would block."""

    async def auser(self) -> Any:
        """Return the authenticated user's id or None, waiting for it."""

    def serves(self, function: object) -> bool:
        """Say whether ``function`` is the view of this request."""

    def is_response(self, result: object) -> bool:
        """Say whether ``result`` is a response of the framework."""
