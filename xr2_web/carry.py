"""The signed token that follows a visitor: session id, whose it is, and the traces. No I/O happens here.

The token is `itsdangerous`' timed URL-safe form with SHA-256. It holds no personal value: the user is in it as a
keyed hash only, and nobody but us can make one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import wire
from .forks import holding_off_forks
from .models import Trace
from .once import once
from .settings import TRACE_LIFE

if TYPE_CHECKING:
    from itsdangerous import URLSafeTimedSerializer

MOST_TRACES = 8
MOST_BYTES = 1500
"""Above this browsers and proxies begin to drop cookies that stand beside others."""


class Carried(NamedTuple):
    """What a token holds."""

    session_id: str
    owner: str | None
    traces: tuple[Trace, ...]


class Seal:
    """Signs and reads tokens; ``keys`` are the signing keys, newest first, of which the first signs."""

    def __init__(self, keys: Sequence[bytes], *, max_age: int, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._max_age = max_age
        self._clock = clock

    def write(self, session_id: str, owner: str | None, traces: Sequence[Trace]) -> str:
        """Return a token with the newest traces that fit."""
        kept = list(traces)[-MOST_TRACES:]
        while True:
            rows = [[trace.slug, trace.trace_id, trace.version_number, trace.fetched_at] for trace in kept]
            token = str(self._serializer.dumps([session_id, owner, rows]))
            if len(token) <= MOST_BYTES or not kept:
                return token
            kept = kept[1:]

    def read(self, token: str) -> Carried | None:
        """Return what a token holds; None where it is forged, damaged or too old."""
        if len(token) > MOST_BYTES:
            return None
        serializer = self._serializer
        from itsdangerous import BadData

        try:
            session_id, owner, rows = serializer.loads(token, max_age=self._max_age)
            traces = tuple(Trace(*row) for row in rows)
        except (BadData, ValueError, TypeError):
            return None
        oldest = self._clock() - TRACE_LIFE
        return Carried(session_id, owner, tuple(trace for trace in traces if trace.fetched_at > oldest))

    def pseudonym(self, personal: str) -> str:
        """Return the keyed hash of something personal: the same for the same key, and no way back."""
        return _keyed_hash(self._derived, personal.encode()).hex()[:32]

    @once
    def _derived(self) -> bytes:
        return _keyed_hash(self._keys[0], b"xr2_web.pseudonym")

    @once
    def _serializer(self) -> URLSafeTimedSerializer:
        with holding_off_forks:
            from hashlib import sha256

            from itsdangerous import URLSafeTimedSerializer

        return URLSafeTimedSerializer(
            # itsdangerous signs with the last key.
            list(reversed(self._keys)),
            salt="xr2_web.carry",
            serializer=_Json,
            signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"},
        )


def derived_key(api_key: str) -> bytes:
    """Return a signing key for where there is no secret but the API key."""
    return _keyed_hash(api_key.encode(), b"xr2_web.carry")


def _keyed_hash(key: bytes, message: bytes) -> bytes:
    with holding_off_forks:
        import hmac

    return hmac.digest(key, message, "sha256")


class _Json:
    @staticmethod
    def dumps(value: Any) -> str:
        return wire.encode(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        return wire.decode(text if isinstance(text, bytes) else text.encode())
