"""The token that a visitor carries: what it holds, what it refuses, and how it outlives its keys."""

from __future__ import annotations

import base64
import json
import random
import secrets
import string
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from itsdangerous import URLSafeTimedSerializer

import xr2_web
from xr2_web.carry import MOST_BYTES, Carried, Seal, derived_key
from xr2_web.models import Trace
from xr2_web.runtime import Runtime

from .conftest import RuntimeMaker
from .local_xr2 import LocalXr2
from .visits import DAY, Door, here

NOW = 1_800_000_000
WEEK = 7 * DAY
KEY = b"a signing key"
WELCOME = Trace("welcome", "evt_c0b137fe_1800000000_38d176dd", 3, NOW - 60)


def seal(*keys: bytes, at: float = NOW, max_age: int = WEEK) -> Seal:
    return Seal(keys or (KEY,), max_age=max_age, clock=lambda: at)


def token(*traces: Trace, session_id: str = "session", owner: str | None = None, key: bytes = KEY) -> str:
    return seal(key).write(session_id, owner, traces or (WELCOME,))


def opened(token: str) -> str:
    """Return the payload of a token as anybody can read it, without a key."""
    body = token.split(".")[-3]
    data = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    return (zlib.decompress(data) if token.startswith(".") else data).decode()


def signed(payload: object, *, salt: str = "xr2_web.carry", algorithm: str = "sha256", key: bytes = KEY) -> str:
    """Sign any payload as a token is signed."""
    import hashlib

    class Signer(URLSafeTimedSerializer.default_signer):  # type: ignore[name-defined,misc]
        def get_timestamp(self) -> int:
            return NOW

    serializer = URLSafeTimedSerializer(
        key,
        salt=salt,
        signer=Signer,
        signer_kwargs={"digest_method": getattr(hashlib, algorithm), "key_derivation": "hmac"},
    )
    return str(serializer.dumps(payload))


def long_trace(number: int, letters: str = string.ascii_letters) -> Trace:
    """Return a trace of the longest legal slug and id, which no compression makes shorter."""
    chance = random.Random(number)
    return Trace("".join(chance.choices(letters, k=255)), "".join(chance.choices(letters, k=100)), 999, NOW)


class TestRoundTrip:
    @pytest.mark.parametrize("owner", [None, "0123456789abcdef0123456789abcdef"])
    def test_what_is_written_is_read(self, owner: str | None) -> None:
        traces = (WELCOME, Trace("prix-été", "evt_2", 0, NOW))

        read = seal().read(seal().write("session", owner, traces))

        assert read == Carried("session", owner, traces)

    def test_a_session_without_traces_is_carried_too(self) -> None:
        assert seal().read(seal().write("session", None, ())) == Carried("session", None, ())

    def test_it_is_short_and_fits_a_cookie_and_a_header(self) -> None:
        made = token(*[WELCOME._replace(trace_id=f"evt_{secrets.token_hex(12)}") for _ in range(3)])

        assert len(made) < 500
        assert set(made) <= set(string.ascii_letters + string.digits + "-_.")


class TestBounds:
    def test_the_newest_eight_are_kept(self) -> None:
        traces = [WELCOME._replace(trace_id=f"evt_{number}") for number in range(20)]

        read = seal().read(token(*traces))

        assert read is not None
        assert [trace.trace_id for trace in read.traces] == [f"evt_{number}" for number in range(12, 20)]

    def test_the_longest_legal_names_never_make_it_longer_than_1500_bytes(self) -> None:
        traces = [long_trace(number) for number in range(8)]

        made = token(*traces, session_id="s" * 16, owner="f" * 32)

        read = seal().read(made)
        assert len(made.encode()) <= MOST_BYTES == 1500
        assert read is not None
        assert len(read.traces) >= 2
        assert list(read.traces) == traces[-len(read.traces) :]

    def test_a_trace_that_does_not_fit_at_all_is_left_out(self) -> None:
        newest = long_trace(2, "".join(map(chr, range(0x10000, 0x110000))))

        made = token(long_trace(1), newest, session_id="s" * 16, owner="f" * 32)

        assert len(made) <= MOST_BYTES
        assert seal().read(made) == Carried("s" * 16, "f" * 32, ())

    def test_one_that_is_too_long_is_not_even_looked_at(self) -> None:
        huge = signed(["session", None, [["welcome", secrets.token_hex(1500), 1, NOW]]])

        assert len(huge) > MOST_BYTES
        assert seal().read(huge) is None


class TestRefusal:
    """Nothing but what we have signed is read, and nothing of it raises."""

    @pytest.mark.parametrize(
        "bad",
        [
            "",
            ".",
            "..",
            "...",
            "garbage",
            "a.b.c",
            "=" * 100,
            "\0",
            "é",
            "\udcff",
            "x" * 1_000_000,
            '["session",null,[]]',
            json.dumps(["session", None, []]) + ".a.b",
        ],
    )
    def test_garbage(self, bad: str) -> None:
        assert seal().read(bad) is None

    def test_a_change_of_any_character(self) -> None:
        made = token()

        changed = [made[:place] + ("A" if each != "A" else "B") + made[place + 1 :] for place, each in enumerate(made)]

        # The last character of a part has bits that its decoding drops; what is read must then be what was signed.
        read = [seal().read(each) for each in changed]
        assert {each for each in read if each is not None} <= {seal().read(made)}
        assert read.count(None) >= len(made) - 3

    def test_any_part_cut_off(self) -> None:
        made = token()

        assert not any(seal().read(made[:length]) for length in range(len(made)))

    def test_the_payload_of_one_under_the_signature_of_another(self) -> None:
        mine, _, signature = token(owner="b" * 32).rpartition(".")
        other = token(owner="a" * 32).rpartition(".")[0]

        assert mine != other
        assert seal().read(f"{other}.{signature}") is None

    def test_another_key(self) -> None:
        assert seal().read(token(key=b"another key")) is None

    def test_another_salt(self) -> None:
        """The framework signs with the same key."""
        payload = ["session", None, []]

        assert seal().read(signed(payload)) == Carried("session", None, ())
        assert seal().read(signed(payload, salt="django.contrib.sessions")) is None

    def test_a_weaker_algorithm(self) -> None:
        assert seal().read(signed(["session", None, []], algorithm="sha1")) is None

    @pytest.mark.parametrize(
        "payload",
        [
            None,
            1,
            "session",
            {},
            {"session_id": "s", "owner": None, "traces": []},
            [],
            ["session", None],
            ["session", None, [], "more"],
            [1, None, []],
            [None, None, []],
            ["session", 1, []],
            ["session", None, None],
            ["session", None, "abcd"],
            ["session", None, [None]],
            ["session", None, [["welcome", "evt_1", 1]]],
            ["session", None, [["welcome", "evt_1", 1, NOW, 5]]],
            ["session", None, [["welcome", "evt_1", 1, str(NOW)]]],
            ["session", None, [["welcome", "evt_1", "1", NOW]]],
            ["session", None, [["welcome", 1, 1, NOW]]],
            ["session", None, [[["welcome"], "evt_1", 1, NOW]]],
            ["session", None, [["welcome", "evt_1", 1, None]]],
            ["session", None, [["welcome", "evt_1", 1, NOW + 0.5]]],
        ],
    )
    def test_a_payload_of_wrong_types_even_if_signed(self, payload: object) -> None:
        assert seal().read(signed(payload)) is None


class TestAge:
    def test_it_is_read_until_its_age_is_reached(self) -> None:
        made = token()

        assert seal(at=NOW + WEEK).read(made) is not None
        assert seal(at=NOW + WEEK + 1).read(made) is None

    def test_the_age_is_a_setting(self) -> None:
        assert seal(at=NOW + 3601, max_age=3600).read(token()) is None

    def test_what_a_server_whose_clock_is_ahead_has_signed_is_read(self) -> None:
        assert seal(at=NOW - 5).read(token()) is not None

    def test_traces_beyond_30_days_are_left_out(self) -> None:
        old, young = WELCOME._replace(fetched_at=NOW - 30 * DAY), WELCOME._replace(fetched_at=NOW - 30 * DAY + 1)

        read = seal().read(token(old, young))

        assert read is not None
        assert read.traces == (young,)


class TestRotation:
    def test_an_old_key_reads_and_the_new_key_writes(self) -> None:
        rotated = seal(b"new", b"old", b"older")

        before = [rotated.read(token(key=key)) for key in (b"new", b"old", b"older")]
        after = rotated.write("session", None, (WELCOME,))

        assert None not in before
        assert seal(b"new").read(after) is not None
        assert seal(b"old").read(after) is None

    def test_a_key_that_is_gone_reads_nothing(self) -> None:
        assert seal(b"new").read(token(key=b"old")) is None


class TestPseudonyms:
    def test_it_is_the_same_for_the_same_key_and_person(self) -> None:
        assert seal().pseudonym("ada@example.org") == seal().pseudonym("ada@example.org")

    def test_it_is_another_one_for_another_person_or_key(self) -> None:
        made = {seal().pseudonym("ada"), seal().pseudonym("bob"), seal(b"another key").pseudonym("ada")}

        assert len(made) == 3

    def test_it_shows_nothing_of_the_person(self) -> None:
        made = seal().pseudonym("ada@example.org")

        assert len(made) == 32
        assert set(made) <= set(string.hexdigits)

    def test_under_several_keys_the_newest_comes_first(self) -> None:
        made = seal(b"new", b"old").pseudonyms("ada")

        assert made == (seal(b"new").pseudonym("ada"), seal(b"old").pseudonym("ada"))

    def test_any_text_can_be_hashed(self) -> None:
        assert len({seal().pseudonym(each) for each in ("", "é", "x" * 10_000)}) == 3


class TestKeys:
    """Which keys a runtime signs with."""

    @pytest.mark.parametrize(
        ("chosen", "given", "expected"),
        [
            ("chosen", ["of the framework"], b"chosen"),
            (None, ["of the framework", "older"], b"of the framework"),
            (None, [b"bytes"], b"bytes"),
            (None, [None, "", "older"], b"older"),
            (None, [], derived_key("xr2_dev_tests")),
        ],
    )
    def test_the_setting_then_the_frameworks_then_one_derived_from_the_api_key(
        self, make_runtime: RuntimeMaker, chosen: str | None, given: Sequence[Any], expected: bytes
    ) -> None:
        runtime = make_runtime(secret_key=chosen, keys=lambda: given)

        made = runtime.seal.write("session", None, ())

        assert Seal([expected], max_age=60, clock=runtime.chance.wall).read(made) is not None

    def test_the_derived_key_is_not_the_api_key(self) -> None:
        assert b"xr2_dev_tests" not in derived_key("xr2_dev_tests")

    def test_no_key_shows_in_a_repr(self, make_runtime: RuntimeMaker) -> None:
        runtime = make_runtime(secret_key="SECRET")

        assert "SECRET" not in repr(runtime.seal) + repr(runtime) + repr(runtime.settings)


class TestVisitors:
    @pytest.mark.parametrize("user_id", ["user-4711", "ada@example.org", 4711])
    def test_no_user_can_be_read_in_it(self, runtime: Runtime, user_id: object) -> None:
        with Door(runtime).visit(user_id=user_id) as request:
            xr2_web.get_prompt("welcome")
            xr2_web.track_event("sign_up")

        payload = json.loads(opened(request.token or ""))
        shown = str(user_id)
        assert payload[1]
        assert shown not in (request.token or "")
        assert [each for each in payload[:2] if shown in each] == []

    def test_a_bad_token_is_ignored_and_counted(self, runtime: Runtime) -> None:
        with Door(runtime).visit(carried="forged") as request:
            receipt = xr2_web.track_event("sign_up")

        assert receipt.reason == "no_trace"
        assert runtime.counts["bad_token"] == 1
        assert request.token is None

    def test_after_a_bad_token_a_new_one_begins(self, runtime: Runtime) -> None:
        with Door(runtime).visit(carried=token(session_id="forged")) as request:
            xr2_web.get_prompt("welcome")

        carried = runtime.seal.read(request.token or "")
        assert carried is not None
        assert carried.session_id != "forged"
        assert [trace.slug for trace in carried.traces] == ["welcome"]

    @pytest.fixture
    def of_ada(self, runtime: Runtime) -> str | None:
        """Return the token of Ada, who has fetched a prompt."""
        with Door(runtime).visit(user_id="ada") as request:
            xr2_web.get_prompt("welcome")
        return request.token

    def test_who_replays_the_token_of_another_visitor_is_taken_for_that_visitor(
        self, runtime: Runtime, of_ada: str | None, local_xr2: LocalXr2
    ) -> None:
        """A token is a bearer value, as a session cookie is: see ``Seal``."""
        with Door(runtime).visit(carried=of_ada):
            receipt = xr2_web.track_event("sign_up")
            session_id = here().session_id
        runtime.flush()

        assert receipt.accepted
        assert [event["session_id"] for event in local_xr2.events()] == [session_id]

    def test_unless_somebody_else_is_logged_in(self, runtime: Runtime, of_ada: str | None) -> None:
        with Door(runtime).visit(carried=of_ada, user_id="eve"):
            receipt = xr2_web.track_event("sign_up")

        assert receipt.reason == "other_user"

    @pytest.mark.parametrize(
        ("about", "writes"),
        [
            ({}, True),
            ({"status": 404}, True),
            ({"status": 500}, False),
            ({"headers": {"sec-gpc": "1"}}, False),
        ],
    )
    def test_which_responses_carry_a_token(self, runtime: Runtime, about: dict[str, Any], writes: bool) -> None:
        with Door(runtime).visit(**about) as request:
            xr2_web.get_prompt("welcome")

        assert (request.token is not None) is writes

    def test_without_consent_nothing_is_read_or_written(self, make_runtime: RuntimeMaker) -> None:
        agrees: Callable[[Any], bool] = lambda request: request.path == "/yes"  # noqa: E731
        door = Door(make_runtime(consent=agrees))
        with door.visit(path="/yes") as before:
            xr2_web.get_prompt("welcome")

        with door.visit(path="/no", carried=before.token) as after:
            receipt = xr2_web.track_event("sign_up")
            xr2_web.get_prompt("product")

        assert receipt.reason == "no_trace"
        assert (before.token is None, after.token is None) == (False, True)
