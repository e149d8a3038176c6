from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import pytest

from xr2_web import flow, pacing, wire
from xr2_web.flow import Chance, Patience, Send, Wait
from xr2_web.wire import Answer, Failure, Verdict

REQUEST = wire.check_api_key()
GOOD = Answer(200, {}, b'{"ok": true, "user": "ada"}')
DOWN = Answer(503, {}, None)
REFUSED = Answer(404, {}, b'{"detail": "no such thing"}')
UNREACHABLE = Failure("refused")
QUOTA = Answer(429, {}, b'{"detail": {"message": "used up", "max_requests_per_day": 100}}')


@dataclass
class Player:
    """Plays the server and the clock: answers in order, each after ``duration`` seconds, or at its ``until``."""

    answers: Iterator[Answer | Failure]
    duration: float = 0.0
    jitter: float = 1.0
    now: float = 1000.0
    log: list[Send | Wait] = field(default_factory=list)

    @property
    def chance(self) -> Chance:
        return Chance(monotonic=lambda: self.now, wall=lambda: self.now, random=lambda: self.jitter)

    def play(self, conversation: flow.Conversation[Any]) -> wire.Judgement[Any]:
        reply: Answer | Failure | None = None
        while True:
            try:
                step = conversation.send(reply)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.log.append(step)
            if isinstance(step, Send):
                reply = next(self.answers)
                self.now = min(self.now + self.duration, step.until)
            else:
                reply = None
                self.now += step.seconds

    @property
    def waits(self) -> list[float]:
        return [step.seconds for step in self.log if isinstance(step, Wait)]

    @property
    def sends(self) -> list[Send]:
        return [step for step in self.log if isinstance(step, Send)]


def patience(*, timeout: float = 10, deadline: float = 30, retries: int = 3, backoff_factor: float = 0.5) -> Patience:
    return Patience(timeout, deadline, retries, backoff_factor)


def converse(player: Player, **options: Any) -> wire.Judgement[Any]:
    return player.play(flow.converse(REQUEST, patience(**options), player.chance))


def limited(retry_after: object) -> Answer:
    return Answer(429, {"retry-after": str(retry_after)}, b'{"detail": "Too many requests"}')


class TestRetries:
    def test_a_good_answer_ends_it(self) -> None:
        player = Player(iter([GOOD]))

        judgement = converse(player)

        assert judgement.response.ok
        assert player.log == [Send(REQUEST, 1010)]

    @pytest.mark.parametrize(
        "answer", [REFUSED, Answer(401, {}, None), Answer(302, {}, b""), Answer(200, {}, b"<html>")]
    )
    def test_what_will_not_get_better_is_asked_once(self, answer: Answer) -> None:
        player = Player(iter([answer]))

        judgement = converse(player)

        assert not judgement.response.ok
        assert len(player.log) == 1

    @pytest.mark.parametrize(
        "answer", [DOWN, UNREACHABLE, Answer(500, {}, b'{"detail": "x: 404: y"}'), Answer(409, {}, b""), limited("0")]
    )
    def test_what_may_pass_is_asked_again(self, answer: Answer | Failure) -> None:
        player = Player(iter([answer, answer, GOOD]))

        judgement = converse(player)

        assert judgement.verdict is Verdict.DELIVERED
        assert len(player.sends) == 3

    @pytest.mark.parametrize(("retries", "asked"), [(-1, 1), (0, 1), (1, 2), (3, 4)])
    def test_it_gives_up_after_so_many_retries_with_the_last_answer(self, retries: int, asked: int) -> None:
        player = Player(repeat(DOWN))

        judgement = converse(player, retries=retries)

        assert judgement.response.status_code == 503
        assert len(player.sends) == asked

    def test_waits_double_and_are_spread_by_chance(self) -> None:
        whole, part = Player(repeat(DOWN), jitter=1.0), Player(repeat(DOWN), jitter=0.25)

        converse(whole)
        converse(part)

        assert whole.waits == [0.5, 1, 2]
        assert part.waits == [0.125, 0.25, 0.5]

    def test_a_wait_between_two_tries_has_a_cap(self) -> None:
        player = Player(repeat(DOWN))

        converse(player, retries=10, deadline=1000)

        assert max(player.waits) == flow.LONGEST_BACKOFF


class TestRetryAfter:
    def test_the_server_is_given_the_time_it_asks_for(self) -> None:
        player = Player(iter([limited(5), GOOD]))

        converse(player)

        assert player.waits == [5]

    def test_less_than_the_backoff_does_not_shorten_it(self) -> None:
        player = Player(iter([limited(0), limited(-1), limited(0.1), GOOD]))

        converse(player)

        assert player.waits == [0.5, 1, 2]

    @pytest.mark.parametrize("garbage", ["", "NaN", "soon"])
    def test_garbage_is_as_good_as_nothing(self, garbage: str) -> None:
        player = Player(iter([limited(garbage), GOOD]))

        converse(player)

        assert player.waits == [0.5]

    @pytest.mark.parametrize("retry_after", [30, 300, "1e9"])
    def test_a_wait_that_would_reach_the_deadline_is_not_begun(self, retry_after: object) -> None:
        player = Player(iter([limited(retry_after)]))

        judgement = converse(player, deadline=30)

        assert (player.waits, player.now) == ([], 1000)
        assert judgement.response.retry_after == float(str(retry_after))

    def test_a_quota_is_not_asked_again_before_its_reset(self) -> None:
        reset = b'{"detail": {"message": "used up", "reset_time": "1970-01-01T00:16:45Z"}}'
        player = Player(iter([Answer(429, {}, reset), GOOD]))

        judgement = converse(player)

        assert player.waits == [5]
        assert judgement.response.ok

    def test_a_quota_without_a_reset_is_not_asked_again(self) -> None:
        player = Player(iter([QUOTA]))

        judgement = converse(player)

        assert judgement.verdict is Verdict.QUOTA_USED_UP
        assert player.waits == []


class TestDeadline:
    def test_a_try_has_its_timeout_and_the_last_one_what_is_left(self) -> None:
        player = Player(repeat(UNREACHABLE), duration=100)

        converse(player, timeout=4, deadline=8, backoff_factor=1)

        assert [send.until for send in player.sends] == [1004, 1008]

    @pytest.mark.parametrize("duration", [0, 0.3, 1, 7, 1000])
    @pytest.mark.parametrize("answer", [DOWN, UNREACHABLE, limited(2), limited(9)])
    def test_it_is_never_passed(self, answer: Answer | Failure, duration: float) -> None:
        player = Player(repeat(answer), duration=duration)

        converse(player, deadline=10, retries=1000)

        assert player.now <= 1010
        assert all(send.until <= 1010 for send in player.sends)


class TestGuarded:
    def ask(self, player: Player, breaker: pacing.Breaker, pause: pacing.Pause) -> wire.Judgement[Any]:
        return player.play(flow.guarded(REQUEST, patience(retries=0), player.chance, breaker, pause))

    @pytest.mark.parametrize("answer", [DOWN, UNREACHABLE, Answer(200, {}, b"<html>"), Answer(401, {}, None)])
    def test_a_server_that_does_not_answer_is_left_alone_for_a_while(self, answer: Answer | Failure) -> None:
        breaker, pause = pacing.Breaker(threshold=3, pause=10), pacing.Pause()
        player = Player(repeat(answer))

        asked = [self.ask(player, breaker, pause) for _ in range(5)]

        assert len(player.sends) == 3
        assert asked[-1].verdict is Verdict.UNAVAILABLE
        assert asked[-1].response.status_code == 0
        assert "not asked" in str(asked[-1].response.error)

    def test_it_recovers_by_one_trial(self) -> None:
        breaker, pause = pacing.Breaker(threshold=1, pause=10), pacing.Pause()
        player = Player(iter([DOWN, GOOD, GOOD]))
        self.ask(player, breaker, pause)

        player.now += 10
        after = [self.ask(player, breaker, pause).response.ok for _ in range(2)]

        assert after == [True, True]

    @pytest.mark.parametrize("answer", [GOOD, REFUSED])
    def test_any_word_of_the_server_itself_is_a_sign_of_life(self, answer: Answer) -> None:
        breaker, pause = pacing.Breaker(threshold=2), pacing.Pause()
        player = Player(iter([DOWN, answer, DOWN, GOOD]))

        asked = [self.ask(player, breaker, pause) for _ in range(4)]

        assert asked[-1].response.ok

    def test_a_rate_limit_stops_all_for_as_long_as_the_server_says(self) -> None:
        breaker, pause = pacing.Breaker(), pacing.Pause()
        player = Player(iter([limited(300), GOOD]))

        self.ask(player, breaker, pause)
        during = self.ask(player, breaker, pause)
        left = pause.left(player.now)
        player.now += 300
        after = self.ask(player, breaker, pause)

        assert (during.response.ok, left, after.response.ok) == (False, 300, True)

    @pytest.mark.parametrize(
        ("detail", "seconds"),
        [
            ({"max_requests_per_day": 100}, flow.QUOTA_PAUSE),
            ({"reset_time": "tomorrow"}, flow.QUOTA_PAUSE),
            ({"reset_time": "1970-01-01T01:16:40Z"}, 3600),
            ({"reset_time": "9999-12-31T23:59:59Z"}, pacing.LONGEST_QUOTA_PAUSE),
        ],
    )
    def test_a_used_up_quota_stops_prompts_until_its_reset_and_nothing_else(
        self, detail: dict[str, Any], seconds: float
    ) -> None:
        breaker, pause = pacing.Breaker(), pacing.Pause()
        player = Player(iter([Answer(429, {}, json.dumps({"detail": detail}).encode())]))

        self.ask(player, breaker, pause)

        assert not breaker.allows(player.now + seconds - 1)
        assert breaker.allows(player.now + seconds)
        assert pause.left(player.now) == 0
