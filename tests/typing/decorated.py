"""A function under ``@track`` keeps its type, whatever kind of callable it is.

Nothing here runs: mypy and pyright check it. An ignored error that is no error any more is told by both.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, assert_type, overload

from xr2_web import Call, redirected, track

T = TypeVar("T")


class Order(NamedTuple):
    total: Decimal
    note: str | None = None


class Placing(Protocol):
    """The exact signature of ``place``, names and defaults of its parameters included."""

    def __call__(self, cart: list[str], /, coupon: str = "", *, user: int, **rest: bool) -> Order: ...


@track("purchase_completed")
def place(cart: list[str], /, coupon: str = "", *, user: int, **rest: bool) -> Order:
    return Order(Decimal(len(cart)))


placing: Placing = place
assert_type(place(["tea"], "SPRING", user=1, is_gift=True), Order)
place(["tea"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
place(cart=["tea"], user=1)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
place([1], user=1)  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


@track("answered")
async def answer(question: str, *, is_short: bool = False) -> int:
    return len(question)


answering: Coroutine[Any, Any, int] = answer("why?")
wrong = answer(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def ask() -> None:
    assert_type(await answer("why?", is_short=True), int)
    assert_type(await Shop().buy("tea"), Order)


@track("read")
def read(count: int) -> Generator[str, bytes, float]:
    yield "page"
    return 1.0


assert_type(read(2), Generator[str, bytes, float])


@track("streamed")
async def stream(count: int) -> AsyncGenerator[str, bytes]:
    yield "token"


assert_type(stream(2), AsyncGenerator[str, bytes])


class Shop:
    """Methods of every kind stay what they are, also to who overrides them."""

    @track("viewed")
    def view(self, item: str) -> int:
        return len(item)

    @track("bought")
    async def buy(self, item: str) -> Order:
        return Order(Decimal(1))

    @classmethod
    @track("opened")
    def open(cls, name: str) -> Shop:
        return cls()

    @track("closed")
    @classmethod
    def close(cls, name: str) -> bytes:
        return b""

    @staticmethod
    @track("counted")
    def count(items: list[str]) -> int:
        return len(items)

    @property
    @track("asked_for_total")
    def total(self) -> Decimal:
        return Decimal(1)


shop = Shop()
assert_type(shop.view("tea"), int)
assert_type(Shop.view(shop, "tea"), int)
assert_type(Shop.open("corner"), Shop)
assert_type(Shop.close("corner"), bytes)
assert_type(Shop.count([]), int)
assert_type(shop.total, Decimal)
shop.view(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
shop.view()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class Corner(Shop):
    def view(self, item: str) -> int:
        return 0

    async def buy(self, item: int) -> Order:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return Order(Decimal(0))


@track("purchase_completed")
class Checkout:
    """A class of handlers is the same class afterwards."""

    def __init__(self, currency: str) -> None:
        self.currency = currency

    def post(self, cart: list[str]) -> Order:
        return Order(Decimal(1))


assert_type(Checkout, type[Checkout])
assert_type(Checkout("EUR"), Checkout)
assert_type(Checkout("EUR").post([]), Order)
Checkout()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class GiftCheckout(Checkout):
    wrapping = "red"


def deliver(order: Order, street: str, *, is_fast: bool) -> bool:
    return is_fast


delivered = track("delivered")(partial(deliver, street="Main"))
assert_type(delivered(Order(Decimal(1)), is_fast=True), bool)


class Greeter:
    def __call__(self, name: str) -> str:
        return f"Hello {name}"


assert_type(track("greeted")(Greeter())("Ada"), str)
assert_type(track("measured")(len)("tea"), int)
assert_type(track("made")(lambda: str(1))(), str)


@overload
def parse(text: str) -> int: ...
@overload
def parse(text: bytes) -> float: ...
@track("parsed")
def parse(text: str | bytes) -> float:
    return len(text)


tracked_parse = track("parsed")(parse)
assert_type(tracked_parse("1"), int)
assert_type(tracked_parse(b"1"), float)


@track("chosen")
def first(items: list[T], default: T) -> T:
    return items[0] if items else default


assert_type(first([1], 2), int)
assert_type(first(["a"], "b"), str)


def logged(function: Callable[[int], str]) -> Callable[[int], bytes]:
    return lambda number: function(number).encode()


@track("outer", value=lambda call: call.result.real)
@logged
@track("inner")
def stacked(number: int) -> str:
    return str(number)


assert_type(stacked, Callable[[int], bytes])


@contextmanager
@track("session_ended")
def session(name: str) -> Generator[int, None, None]:
    yield 1


assert_type(session("a").__enter__(), int)
opened: AbstractContextManager[int] = session("a")


# A field is a value, or a function of the call.


def total(call: Call) -> Decimal:
    assert isinstance(call.result, Order)
    return call.result.total


def note(call: Call) -> str | None:
    assert isinstance(call.result, Order)
    return call.result.note


def about(order: Order) -> float:
    return float(order.total)


track("purchase_completed", value=20, currency="EUR", metadata={"plan": "pro"}, prompt="welcome", user_id=7)
track("purchase_completed", value=9.5, user_id="u7", session_id="s", methods="POST", after="response")
track("purchase_completed", value=Decimal("9.50"), methods={"POST", "PUT"}, when=redirected)
track("purchase_completed", value=total, currency=note, when=lambda call: call.result.total > 5)
track("purchase_completed", value=lambda call: call.result.total)
track("purchase_completed", value=lambda call: call.kwargs["amount"], metadata=lambda call: {"first": call.args[0]})
track("purchase_completed", user_id=lambda call: call.request.user.pk, prompt=lambda call: "welcome")

track("purchase_completed", value="20")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
track("purchase_completed", value=note)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
track("purchase_completed", value=about)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
track("purchase_completed", when=lambda: True)  # type: ignore[arg-type, misc]  # pyright: ignore[reportArgumentType]
track("purchase_completed", metadata="pro")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
track("purchase_completed", after="request")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
track("purchase_completed", amount=20)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
track("purchase_completed", 20)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
track(20)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
track("purchase_completed")("not a function")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


@track  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def without_an_event() -> None: ...
