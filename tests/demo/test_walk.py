"""How visitors are led, and to whom each trace is put down."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Barrier

import pytest

from xr2_web.demo.comparison import Expectation, Fetch
from xr2_web.demo.failure import Failure
from xr2_web.demo.forms import Form, read_forms
from xr2_web.demo.journal import Trace
from xr2_web.demo.visitor import Visitor
from xr2_web.demo.walk import Step, lead


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def visitors() -> Iterator[list[Visitor]]:
    visitors = [Visitor(name, "teapot", "http://127.0.0.1:9") for name in ("Ada", "Ben")]
    yield visitors
    for visitor in visitors:
        visitor.close()


class Xr2:
    """Hands out a trace whenever an app fetches."""

    def __init__(self) -> None:
        self.handed_out: list[Trace] = []

    def fetch(self, slug: str) -> None:
        self.handed_out.append(Trace(f"evt_{len(self.handed_out)}", slug, 1, "flask_shop"))

    def traces(self) -> list[Trace]:
        return list(self.handed_out)


def test_a_trace_belongs_to_whoever_was_on_the_move_and_gets_the_event_that_follows(visitors, executor) -> None:
    xr2 = Xr2()
    steps = [
        Step(lambda visitor: xr2.fetch("welcome"), fetches="welcome"),
        Step(lambda visitor: xr2.fetch("product"), fetches="product"),
        Step(lambda visitor: setattr(visitor, "price", 48.0), makes="purchase_completed", is_payment=True),
    ]

    walk = lead(visitors, steps, traces=xr2.traces, executor=executor)

    ada, ben = Fetch("Ada", "product", "evt_2"), Fetch("Ben", "product", "evt_3")
    assert walk.fetches == [Fetch("Ada", "welcome", "evt_0"), Fetch("Ben", "welcome", "evt_1"), ada, ben]
    assert walk.expected == [
        Expectation("purchase_completed", ada, value=48.0, currency="EUR"),
        Expectation("purchase_completed", ben, value=48.0, currency="EUR"),
    ]


def test_steps_that_fetch_nothing_are_taken_at_the_same_moment(visitors, executor) -> None:
    both = Barrier(2, timeout=10)

    lead(visitors, [Step(lambda visitor: both.wait())], traces=list, executor=executor)

    assert not both.broken


@pytest.mark.parametrize(
    ("slugs", "words"), [([], "none"), (["product"], "product"), (["welcome", "welcome"], "welcome, welcome")]
)
def test_a_prompt_that_was_not_fetched_once_ends_the_walk(visitors, executor, slugs: list[str], words: str) -> None:
    xr2 = Xr2()
    step = Step(lambda visitor: [xr2.fetch(slug) for slug in slugs], fetches="welcome")

    with pytest.raises(Failure) as caught:
        lead(visitors, [step], traces=xr2.traces, executor=executor)

    assert str(caught.value) == f"Ada was to be shown the prompt welcome; fetched from xR2: {words}"


def test_an_app_that_does_not_answer_ends_the_walk(visitors) -> None:
    with pytest.raises(Failure, match="Ada: GET / got no answer"):
        visitors[0].open("/")


def test_forms_are_read_with_what_is_hidden_in_them() -> None:
    page = """
        <form action="/logout"><input type="hidden" name="token" value="1"><button>Log out</button></form>
        <form method="post"><input type="hidden" name="token" value="&lt;2&gt;"><input name="username" value=""></form>
    """

    assert read_forms(page) == [Form("/logout", {"token": "1"}), Form("", {"token": "<2>"})]
