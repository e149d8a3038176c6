"""The signed token that follows a visitor: session id, whose it is, and the traces. No I/O happens here.

The token is `itsdangerous`' timed URL-safe form with SHA-256. It holds no personal value: the user is in it as a
keyed hash only, and nobody but us can make one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from . import wire
from .forks import holding_off_forks
from .models import Trace
from .once import once
from .values import TRACE_LIFE

if TYPE_CHECKING:
    import msgspec
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
    """Signs and reads tokens; ``keys`` are the signing keys, newest first, of which the first signs.

    A token is as good as the visitor's own: who presents somebody else's is taken for them, until an event of another
    user drops its traces.
    """

    def __init__(self, keys: Sequence[bytes], *, max_age: int, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._max_age = max_age
        self._clock = clock

    def write(self, session_id: str, owner: str | None, traces: Sequence[Trace]) -> str:
        """Return a token with the newest traces that fit."""
        kept = tuple(traces[-MOST_TRACES:])
        while True:
            token = str(self._serializer.dumps(Carried(session_id, owner, kept)))
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
            carried, signed_at = serializer.loads(token, return_timestamp=True)
        except (BadData, ValueError):
            return None
        now = self._clock()
        # Not by itsdangerous' own check, which refuses what a server whose clock is a second ahead has just signed.
        if now - signed_at.timestamp() > self._max_age:
            return None
        alive = tuple(trace for trace in carried.traces if trace.fetched_at > now - TRACE_LIFE)
        return Carried(carried.session_id, carried.owner, alive)

    def pseudonym(self, personal: str) -> str:
        """Return the keyed hash of something personal: the same for the same key, and no way back."""
        return self.pseudonyms(personal)[0]

    def pseudonyms(self, personal: str) -> tuple[str, ...]:
        """Return the keyed hash of something personal under each key, newest first."""
        return tuple(_keyed_hash(key, personal.encode()).hex()[:32] for key in self._derived)

    @once
    def _derived(self) -> tuple[bytes, ...]:
        return tuple(_keyed_hash(key, b"xr2_web.pseudonym") for key in self._keys)

    @once
    def _serializer(self) -> URLSafeTimedSerializer:
        with holding_off_forks:
            from hashlib import sha256

            import msgspec
            from itsdangerous import TimestampSigner, URLSafeTimedSerializer

        clock = self._clock

        class Signer(TimestampSigner):
            def get_timestamp(self) -> int:
                return int(clock())

        return URLSafeTimedSerializer(
            # itsdangerous signs with the last key.
            list(reversed(self._keys)),
            salt="xr2_web.carry",
            serializer=_Json(msgspec.json.Decoder(Carried)),
            signer=Signer,
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
    def __init__(self, decoder: msgspec.json.Decoder[Carried]) -> None:
        self._decoder = decoder

    def dumps(self, value: object) -> str:
        return wire.encode(value).decode()

    def loads(self, text: str) -> Carried:
        return self._decoder.decode(text)
