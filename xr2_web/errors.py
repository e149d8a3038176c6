"""The errors of this library: one tree, data as attributes.

    Xr2Error
    ├── ConfigurationError        settings that cannot work, all problems at once
    ├── PromptUnavailable         no prompt, no last good copy, no fallback
    ├── VariableError             a required variable of a prompt has no value
    ├── InvalidValue              a value that JSON or the server cannot hold
    └── ApiError                  a call to xR2 that did not succeed
        ├── AuthenticationError   401: the key is unknown or inactive
        ├── AccessDenied          403
        ├── NotFound              404
        ├── InvalidRequest        any other 4xx
        ├── RateLimited           429: too many requests, or the daily quota is used up
        ├── ServerError           5xx
        ├── UnexpectedAnswer      a redirect, or a 2xx that is not xR2's
        └── ConnectionFailed      no answer at all
            └── DeadlineExceeded  no answer in time

No exception of a dependency leaves the library; it is the ``__cause__`` of one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Xr2Error(Exception):
    """Base of every error that this library raises. Each can be pickled, and so cross a process pool."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


class ConfigurationError(Xr2Error):
    """Settings that cannot work; ``problems`` lists every one of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("; ".join(self.problems))


class PromptUnavailable(Xr2Error):
    """A prompt that could not be had; ``slug``, and ``reason`` in the server's words where there are any."""

    def __init__(self, slug: str, reason: str, *, status_code: int = 0) -> None:
        self.slug = slug
        self.reason = reason
        self.status_code = status_code
        super().__init__(f"prompt {slug!r} is unavailable: {reason}")


class VariableError(Xr2Error):
    """Required variables without a value: ``missing_variables``."""

    def __init__(self, message: str, missing_variables: Sequence[str] = ()) -> None:
        self.message = message
        self.missing_variables: list[str] = list(missing_variables)
        super().__init__(message)


class InvalidValue(Xr2Error, ValueError):
    """A value that cannot be sent; ``path`` says where it was passed in, such as ``metadata.items[2]``."""

    def __init__(self, message: str, *, path: str) -> None:
        self.path = path
        super().__init__(f"{path}: {message}")


class ApiError(Xr2Error):
    """A call to xR2 that did not succeed.

    ``status_code`` is 0 where no answer came. ``retry_after`` (seconds) and ``reset_time`` (ISO 8601) hold what
    the server said, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int = 0,
        retry_after: float | None = None,
        reset_time: str | None = None,
    ) -> None:
        self.message = message
        self.status_code = status_code
        self.retry_after = retry_after
        self.reset_time = reset_time
        super().__init__(message)


class AuthenticationError(ApiError):
    """The API key is unknown or inactive (401)."""


class AccessDenied(ApiError):
    """The server refuses this caller (403)."""


class NotFound(ApiError):
    """The slug, version, status, trace or event definition does not exist (404)."""


class InvalidRequest(ApiError):
    """The server refuses the request as it is (any other 4xx)."""


class RateLimited(ApiError):
    """Too many requests, or the daily quota of prompt fetches is used up (429)."""


class ServerError(ApiError):
    """The server failed (5xx)."""


class UnexpectedAnswer(ApiError):
    """Something answered that is not xR2: a redirect, a captive portal, a proxy's page, a truncated body."""


class ConnectionFailed(ApiError):
    """No answer came: name lookup, connection, TLS or the transfer failed."""


class DeadlineExceeded(ConnectionFailed):
    """No answer came in time."""


def _restored(kind: type[Xr2Error], arguments: tuple[Any, ...], state: dict[str, Any]) -> Xr2Error:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error
