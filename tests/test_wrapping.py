"""Every kind of callable under ``@track``: it stays what it is, runs once, and its event comes when it returned."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from asgiref.sync import markcoroutinefunction

import xr2_web
from xr2_web.behind import is_behind
from xr2_web.runtime import Runtime
from xr2_web.scope import bind, binding, bound, unbind

from .local_xr2 import LocalXr2
from .visits import Door, here


class Seen:
    """The values of the events so far, as the local xR2 has them."""

    def __init__(self, runtime: Runtime, local_xr2: LocalXr2) -> None:
        self._runtime = runtime
        self._local_xr2 = local_xr2

    def __call__(self) -> list[float | None]:
        self._runtime.flush()
        return [event["value"] for event in self._local_xr2.events()]

    def names(self) -> list[str]:
        self._runtime.flush()
        return [event["event_name"] for event in self._local_xr2.events()]


@pytest.fixture
def seen(runtime: Runtime, local_xr2: LocalXr2) -> Iterator[Seen]:
    """Bind a scope with a trace, and tell what is tracked in it."""
    with xr2_web.scope(runtime=runtime):
        xr2_web.get_prompt("welcome")
        yield Seen(runtime, local_xr2)


def last(call: xr2_web.Call) -> Any:
    """Take the last argument for the value."""
    return [*call.args, *call.kwargs.values()][-1]


bought = xr2_web.track("bought", value=last)


def careless(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate without a word about what it is."""

    def decorated(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return decorated


class Careless:
    """A decorator that is a class, and as silent."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def hidden(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate as old libraries do: a plain function in front of whatever it is."""

    @functools.wraps(function)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return decorated


resolved: list[str] = []


def resolve() -> type:
    """Tell that an annotation is looked up."""
    resolved.append("cart")
    return int


class TestFunctions:
    def test_a_function(self, seen: Seen) -> None:
        @bought
        def buy(price: int, *, times: int = 1) -> int:
            return price * times

        assert [buy(3), buy(3, times=2)] == [3, 6]
        assert seen() == [3]  # the second is a duplicate of the first

    def test_a_method(self, seen: Seen) -> None:
        class Shop:
            factor = 2

            @bought
            def buy(self, price: int) -> int:
                return self.factor * price

        assert Shop().buy(3) == 6
        assert seen() == [3]

    def test_a_class_method_under_its_decorator(self, seen: Seen) -> None:
        class Shop:
            @classmethod
            @bought
            def buy(cls, price: int) -> tuple[type, int]:
                return cls, price

        assert (Shop.buy(3), Shop().buy(3)) == ((Shop, 3), (Shop, 3))
        assert seen() == [3]

    def test_a_class_method_above_its_decorator(self, seen: Seen) -> None:
        class Shop:
            @bought
            @classmethod
            def buy(cls, price: int) -> tuple[type, int]:
                return cls, price

        assert (Shop.buy(3), Shop().buy(3)) == ((Shop, 3), (Shop, 3))
        assert seen() == [3]

    def test_a_static_method_under_its_decorator(self, seen: Seen) -> None:
        class Shop:
            @staticmethod
            @bought
            def buy(price: int) -> int:
                return price

        assert (Shop.buy(3), Shop().buy(3)) == (3, 3)
        assert seen() == [3]

    def test_a_static_method_above_its_decorator(self, seen: Seen) -> None:
        class Shop:
            @bought
            @staticmethod
            def buy(price: int) -> int:
                return price

        assert (Shop.buy(3), Shop().buy(3)) == (3, 3)
        assert seen() == [3]

    def test_a_partial(self, seen: Seen) -> None:
        def buy(thing: str, price: int) -> tuple[str, int]:
            return thing, price

        tracked = bought(functools.partial(buy, "tea"))

        assert tracked(3) == ("tea", 3)
        assert seen() == [3]

    def test_an_object_that_can_be_called(self, seen: Seen) -> None:
        class Buy:
            factor = 2

            def __call__(self, price: int) -> int:
                return self.factor * price

        assert bought(Buy())(3) == 6
        assert seen() == [3]

    def test_a_builtin(self, seen: Seen) -> None:
        assert bought(abs)(-3) == 3
        assert seen() == [-3]

    def test_a_single_dispatch_keeps_its_registry(self, seen: Seen) -> None:
        @bought
        @functools.singledispatch
        def buy(price: object) -> str:
            return "object"

        buy.register(int, lambda price: "int")  # type: ignore[attr-defined]

        assert buy(3) == "int"
        assert seen() == [3]

    @pytest.mark.parametrize("thing", [3, "buy", None, property(lambda self: 3)])
    def test_what_cannot_be_called_is_refused(self, thing: Any) -> None:
        with pytest.raises(TypeError, match="cannot be watched"):
            bought(thing)


class TestCoroutines:
    async def test_a_coroutine_function(self, seen: Seen) -> None:
        @bought
        async def buy(price: int) -> int:
            await asyncio.sleep(0)
            return price

        assert await buy(3) == 3
        assert seen() == [3]

    async def test_nothing_happens_before_it_is_awaited(self, seen: Seen) -> None:
        @bought
        async def buy(price: int) -> int:
            return price

        waiting = buy(3)
        before = seen()
        await waiting

        assert (before, seen()) == ([], [3])

    async def test_a_method(self, seen: Seen) -> None:
        class Shop:
            @bought
            async def buy(self, price: int) -> int:
                return price

        assert await Shop().buy(3) == 3
        assert seen() == [3]

    async def test_class_and_static_methods(self, seen: Seen) -> None:
        class Shop:
            @xr2_web.track("one")
            @classmethod
            async def one(cls) -> type:
                return cls

            @staticmethod
            @xr2_web.track("two")
            async def two() -> int:
                return 2

        assert (await Shop.one(), await Shop.two()) == (Shop, 2)
        assert sorted(seen.names()) == ["one", "two"]

    async def test_a_partial(self, seen: Seen) -> None:
        async def buy(thing: str, price: int) -> tuple[str, int]:
            return thing, price

        tracked = bought(functools.partial(functools.partial(buy), "tea"))

        assert await tracked(3) == ("tea", 3)
        assert seen() == [3]

    async def test_an_object_with_an_async_call(self, seen: Seen) -> None:
        class Buy:
            async def __call__(self, price: int) -> int:
                return price

        tracked = bought(Buy())

        assert inspect.iscoroutinefunction(tracked)
        assert await tracked(3) == 3
        assert seen() == [3]

    async def test_a_function_that_is_marked_as_one(self, seen: Seen) -> None:
        """As asgiref marks them: before Python 3.12 in its own way."""

        async def later(price: int) -> int:
            return price

        tracked = bought(markcoroutinefunction(lambda price: later(price)))

        assert inspect.iscoroutinefunction(tracked)
        assert await tracked(3) == 3
        assert seen() == [3]

    async def test_one_that_a_sync_decorator_hides(self, seen: Seen) -> None:
        @bought
        @hidden
        async def buy(price: int) -> int:
            await asyncio.sleep(0)
            return price

        result = buy(3)
        before = seen()

        assert await result == 3
        assert (before, seen()) == ([], [3])

    async def test_a_hidden_one_that_fails_is_no_event(self, seen: Seen) -> None:
        @bought
        @hidden
        async def buy(price: int) -> int:
            raise LookupError(price)

        with pytest.raises(LookupError):
            await buy(3)

        assert seen() == []

    async def test_one_that_is_cancelled_is_no_event(self, seen: Seen) -> None:
        begun = asyncio.Event()

        @bought
        async def buy(price: int) -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(buy(3))
        await begun.wait()
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen() == []


class TestGenerators:
    def test_its_items_and_its_return_value_pass_and_the_event_comes_at_the_end(self, seen: Seen) -> None:
        @bought
        def parts(price: int) -> Iterator[str]:
            yield "a"
            yield "b"
            return "all"

        steps = parts(3)
        items = [next(steps), next(steps)]
        before = seen()
        with pytest.raises(StopIteration) as end:
            next(steps)

        assert items == ["a", "b"]
        assert end.value.value == "all"
        assert (before, seen()) == ([], [3])

    def test_its_return_value_is_the_result_of_the_call(self, seen: Seen) -> None:
        @xr2_web.track("bought", value=lambda call: call.result)
        def parts() -> Any:
            yield "a"
            return 7

        list(parts())

        assert seen() == [7]

    def test_what_is_sent_reaches_it(self, seen: Seen) -> None:
        got: list[object] = []

        @bought
        def parts(price: int) -> Any:
            got.append((yield "a"))

        steps = parts(3)
        next(steps)
        with pytest.raises(StopIteration):
            steps.send("hello")

        assert got == ["hello"]
        assert seen() == [3]

    def test_what_is_thrown_reaches_it_and_is_no_event(self, seen: Seen) -> None:
        caught: list[object] = []

        @bought
        def parts(price: int) -> Any:
            try:
                yield "a"
            except LookupError as exc:
                caught.append(exc)
                raise

        thrown, steps = LookupError("of the user"), parts(3)
        next(steps)
        with pytest.raises(LookupError) as raised:
            steps.throw(thrown)

        assert caught == [thrown]
        assert raised.value is thrown
        assert seen() == []

    def test_one_that_is_closed_early_is_no_event_and_cleans_up(self, seen: Seen) -> None:
        closed: list[bool] = []

        @bought
        def parts(price: int) -> Any:
            try:
                yield "a"
                yield "b"
            finally:
                closed.append(True)

        steps = parts(3)
        next(steps)
        steps.close()

        assert closed == [True]
        assert seen() == []

    def test_one_that_is_collected_is_no_event(self, seen: Seen) -> None:
        """Trap 4."""

        @bought
        def parts(price: int) -> Any:
            yield "a"

        steps = parts(3)
        next(steps)
        del steps
        gc.collect()

        assert seen() == []

    def test_one_that_is_never_started_runs_nothing(self, seen: Seen) -> None:
        ran: list[bool] = []

        @bought
        def parts(price: int) -> Any:
            ran.append(True)
            yield "a"

        parts(3).close()

        assert ran == []
        assert seen() == []

    def test_the_scope_is_that_of_its_first_step_wherever_it_ends(self, runtime: Runtime, seen: Seen) -> None:
        """Rule 3: nothing looks the variable up at the end."""

        @bought
        def parts(price: int) -> Any:
            yield "a"

        steps = parts(3)
        next(steps)
        with binding(None):
            list(steps)

        assert seen() == [3]

    def test_a_context_manager(self, seen: Seen) -> None:
        @contextmanager
        @bought
        def shopping(price: int) -> Any:
            yield price

        with shopping(3) as price:
            before = seen()

        assert price == 3
        assert (before, seen()) == ([], [3])

    def test_a_method_of_an_object_that_is_a_generator(self, seen: Seen) -> None:
        class Parts:
            def __call__(self, price: int) -> Any:
                yield price

        tracked = bought(Parts())

        assert inspect.isgeneratorfunction(tracked)
        assert list(tracked(3)) == [3]
        assert seen() == [3]

    @pytest.mark.parametrize("decorate", [hidden, careless, Careless])
    def test_one_that_a_decorator_hides_is_an_event_when_it_is_exhausted(
        self, seen: Seen, decorate: Callable[[Any], Any]
    ) -> None:
        @bought
        @decorate
        def parts(price: int) -> Any:
            yield "a"
            return "all"

        steps = parts(3)
        items = [next(steps)]
        before = seen()
        with pytest.raises(StopIteration) as end:
            next(steps)

        assert (items, end.value.value) == (["a"], "all")
        assert (before, seen()) == ([], [3])

    def test_a_function_that_is_none_has_done_its_work_when_it_returns_one(self, seen: Seen) -> None:
        def parts() -> Iterator[str]:
            yield "a"

        @bought
        @hidden
        def buy(price: int) -> Iterator[str]:
            return parts()

        steps = buy(3)

        assert seen() == [3]
        assert list(steps) == ["a"]


class TestAsyncGenerators:
    @pytest.mark.parametrize("decorate", [hidden, careless, Careless])
    async def test_one_that_a_decorator_hides_is_an_event_when_it_is_exhausted(
        self, seen: Seen, decorate: Callable[[Any], Any]
    ) -> None:
        @bought
        @decorate
        async def parts(price: int) -> AsyncIterator[str]:
            yield "a"

        steps = parts(3)
        items = [await anext(steps)]
        before = seen()
        rest = [item async for item in steps]

        assert (items, rest) == (["a"], [])
        assert (before, seen()) == ([], [3])

    async def test_its_items_pass_and_the_event_comes_at_the_end(self, seen: Seen) -> None:
        @bought
        async def parts(price: int) -> AsyncIterator[str]:
            yield "a"
            await asyncio.sleep(0)
            yield "b"

        steps = parts(3)
        items = [await anext(steps), await anext(steps)]
        before = seen()
        rest = [item async for item in steps]

        assert (items, rest) == (["a", "b"], [])
        assert (before, seen()) == ([], [3])

    async def test_one_without_items_is_an_event(self, seen: Seen) -> None:
        @bought
        async def parts(price: int) -> AsyncIterator[str]:
            for item in "":
                yield item

        assert [item async for item in parts(3)] == []
        assert seen() == [3]

    async def test_what_is_sent_reaches_it(self, seen: Seen) -> None:
        @bought
        async def echo(price: int) -> Any:
            got = "begun"
            while got:
                got = yield got

        steps = echo(3)
        items = [await steps.asend(None), await steps.asend("one"), await steps.asend("two")]
        with pytest.raises(StopAsyncIteration):
            await steps.asend("")

        assert items == ["begun", "one", "two"]
        assert seen() == [3]

    async def test_what_is_thrown_reaches_it_and_is_no_event(self, seen: Seen) -> None:
        """Trap 22: a dependency that yields must see the exception of its endpoint, to roll back."""
        done: list[str] = []

        @asynccontextmanager
        @bought
        async def session(price: int) -> AsyncIterator[str]:
            try:
                yield "session"
                done.append("committed")
            except LookupError:
                done.append("rolled back")
                raise
            finally:
                done.append("closed")

        with pytest.raises(LookupError, match="of the endpoint"):
            async with session(3):
                raise LookupError("of the endpoint")

        assert done == ["rolled back", "closed"]
        assert seen() == []

    async def test_one_that_goes_on_after_what_was_thrown_goes_on(self, seen: Seen) -> None:
        @bought
        async def parts(price: int) -> Any:
            try:
                yield "a"
            except LookupError as exc:
                yield exc

        thrown, steps = LookupError("again"), parts(3)
        await anext(steps)

        assert await steps.athrow(thrown) is thrown
        assert [item async for item in steps] == []
        assert seen() == [3]

    async def test_one_that_is_closed_early_is_no_event_and_cleans_up(self, seen: Seen) -> None:
        done: list[str] = []

        @bought
        async def parts(price: int) -> AsyncIterator[str]:
            try:
                yield "a"
                yield "b"
            except GeneratorExit:
                done.append("told")
                raise
            finally:
                await asyncio.sleep(0)
                done.append("closed")

        steps = parts(3)
        await anext(steps)
        await steps.aclose()

        assert done == ["told", "closed"]
        assert seen() == []

    async def test_its_own_exception_is_no_event(self, seen: Seen) -> None:
        @bought
        async def parts(price: int) -> AsyncIterator[str]:
            yield "a"
            raise LookupError("of the user")

        with pytest.raises(LookupError, match="of the user"):
            async for _ in parts(3):
                pass

        assert seen() == []

    async def test_the_scope_is_that_of_its_first_step_wherever_it_ends(self, seen: Seen) -> None:
        @bought
        async def parts(price: int) -> AsyncIterator[str]:
            yield "a"

        steps = parts(3)
        await anext(steps)
        with binding(None):
            rest = [item async for item in steps]

        assert rest == []
        assert seen() == [3]


class TestKind:
    """A watched callable is what it was, to everybody who asks."""

    @pytest.fixture(params=["function", "coroutine", "generator", "async generator"])
    def plain(self, request: pytest.FixtureRequest) -> Callable[..., Any]:
        def function(cart: int, /, *, currency: str = "EUR") -> str:
            """Do it."""
            return currency

        async def coroutine(cart: int, /, *, currency: str = "EUR") -> str:
            """Do it."""
            return currency

        def generator(cart: int, /, *, currency: str = "EUR") -> Iterator[str]:
            """Do it."""
            yield currency

        async def async_generator(cart: int, /, *, currency: str = "EUR") -> AsyncIterator[str]:
            """Do it."""
            yield currency

        kinds = {each.__name__.replace("_", " "): each for each in (function, coroutine, generator, async_generator)}
        chosen: Callable[..., Any] = kinds[request.param]
        chosen.label = "mine"  # type: ignore[attr-defined]
        return chosen

    @pytest.mark.parametrize(
        "question",
        [
            inspect.isfunction,
            inspect.iscoroutinefunction,
            inspect.isgeneratorfunction,
            inspect.isasyncgenfunction,
            asyncio.iscoroutinefunction,
        ],
    )
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_it_is_of_the_same_kind(self, plain: Callable[..., Any], question: Callable[[object], bool]) -> None:
        assert question(bought(plain)) == question(plain)

    def test_it_has_the_same_name_documentation_attributes_and_module(self, plain: Callable[..., Any]) -> None:
        tracked: Any = bought(plain)

        shown = ("__name__", "__qualname__", "__doc__", "__module__", "label")
        assert [getattr(tracked, name) for name in shown] == [getattr(plain, name) for name in shown]
        assert tracked.__wrapped__ is plain

    def test_it_has_the_same_signature_with_its_names_resolved(self, plain: Callable[..., Any]) -> None:
        """Trap 21: FastAPI before 0.123 would look the names up in our module."""
        assert inspect.signature(bought(plain)) == inspect.signature(plain, eval_str=True)
        assert inspect.signature(bought(plain)).parameters["cart"].annotation is int

    def test_names_that_cannot_be_resolved_stay_as_they_are_and_cost_no_other(self) -> None:
        """Trap 21: imported for type checkers only, as return types often are."""

        def buy(cart: Unknown, price: int) -> Unknown:  # type: ignore[name-defined]  # noqa: F821
            """Buy it."""

        signature = inspect.signature(bought(buy))

        assert signature.parameters["cart"].annotation == signature.return_annotation == "Unknown"
        assert signature.parameters["price"].annotation is int

    def test_annotations_are_resolved_once_however_often_a_method_is_decorated(self) -> None:
        """Django's ``method_decorator`` decorates for every request."""

        class Shop:
            def buy(self, cart: resolve()) -> None:  # type: ignore[valid-type]
                """Buy it."""

        resolved.clear()
        for _ in range(3):
            method = functools.wraps(Shop.buy)(functools.partial(Shop().buy))
            signature = inspect.signature(bought(method))

        assert signature.parameters["cart"].annotation is int
        assert resolved == ["cart"]

    def test_a_bound_method_keeps_the_signature_that_is_left(self) -> None:
        class Shop:
            @hidden
            def buy(self, price: int) -> None:
                """Buy it."""

        assert list(inspect.signature(bought(Shop().buy)).parameters) == ["price"]
        assert list(inspect.signature(bought(hidden(Shop().buy))).parameters) == ["price"]

    def test_a_partial_keeps_the_signature_that_is_left(self) -> None:
        def buy(thing: str, price: int) -> None:
            """Buy it."""

        tracked = bought(functools.partial(buy, "tea"))

        assert list(inspect.signature(tracked).parameters) == ["price"]


class TestExceptions:
    """The user's own exceptions pass untouched, and the user's function is never run twice."""

    @pytest.mark.parametrize("kind", [LookupError, KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_a_function(self, seen: Seen, kind: type[BaseException]) -> None:
        raised, calls = kind("mine"), []

        @bought
        def buy(price: int) -> None:
            calls.append(price)
            raise raised

        with pytest.raises(kind) as caught:
            buy(3)

        assert caught.value is raised
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        assert calls == [3]
        assert seen() == []

    async def test_a_coroutine_function(self, seen: Seen) -> None:
        raised, calls = LookupError("mine"), []

        @bought
        async def buy(price: int) -> None:
            calls.append(price)
            raise raised

        with pytest.raises(LookupError) as caught:
            await buy(3)

        assert caught.value is raised
        assert calls == [3]
        assert seen() == []

    def test_an_exception_of_a_field_leaves_the_result_as_it_is(
        self, seen: Seen, caplog: pytest.LogCaptureFixture
    ) -> None:
        calls: list[int] = []

        @xr2_web.track("bought", value=lambda call: call.result.total)
        def buy(price: int) -> int:
            calls.append(price)
            return price

        assert buy(3) == 3
        assert calls == [3]
        assert seen() == []
        assert "its value raised AttributeError" in caplog.text

    def test_the_scope_is_that_of_the_call_even_if_the_function_binds_another(self, runtime: Runtime) -> None:
        """Rule 3: it is taken once, at entry."""
        with xr2_web.scope(runtime=runtime, trace_id="evt_other"):
            other = here()

        @bought
        def buy(price: int) -> None:
            tokens.append(bind(other))

        tokens: list[Any] = []
        with Door(runtime).visit():
            xr2_web.get_prompt("welcome")
            mine = here()
            buy(3)
            unbind(tokens.pop())
            after = bound()

        assert after is mine
        assert runtime.counts.get("no_trace") is None
        assert runtime.flush().refused == 0  # evt_other is unknown there


class TestStacked:
    def test_each_makes_its_event(self, seen: Seen) -> None:
        @xr2_web.track("one")
        @hidden
        @xr2_web.track("two")
        @xr2_web.track("three")
        def buy(price: int) -> int:
            return price

        assert buy(3) == 3
        assert sorted(seen.names()) == ["one", "three", "two"]

    async def test_on_a_coroutine_too(self, seen: Seen) -> None:
        @xr2_web.track("one")
        @xr2_web.track("two")
        async def buy(price: int) -> int:
            return price

        assert await buy(3) == 3
        assert sorted(seen.names()) == ["one", "two"]


class TestClasses:
    def test_the_handlers_that_change_something_are_watched(self, seen: Seen) -> None:
        @bought
        class Cart:
            def get(self, price: int) -> str:
                return "shown"

            def post(self, price: int) -> str:
                return "bought"

            def price(self, price: int) -> str:
                return "priced"

        cart = Cart()

        assert [cart.get(1), cart.price(2), cart.post(3)] == ["shown", "priced", "bought"]
        assert seen() == [3]

    def test_methods_says_which(self, seen: Seen) -> None:
        @xr2_web.track("opened", value=last, methods=["get"])
        class Cart:
            def get(self, price: int) -> str:
                return "shown"

            def post(self, price: int) -> str:
                return "bought"

        Cart().post(2)
        Cart().get(1)

        assert seen() == [1]

    def test_a_parent_is_left_alone(self, seen: Seen) -> None:
        class Base:
            def post(self, price: int) -> str:
                return type(self).__name__

        @bought
        class Cart(Base): ...

        assert (Base().post(1), Cart().post(2)) == ("Base", "Cart")
        assert seen() == [2]

    def test_static_and_class_handlers_stay_what_they_are(self, seen: Seen) -> None:
        @bought
        class Cart:
            @staticmethod
            def post(price: int) -> int:
                return price

            @classmethod
            def put(cls, price: int) -> type:
                return cls

        assert (Cart().post(3), Cart().put(4)) == (3, Cart)
        assert seen() == [3]

    async def test_an_async_handler_stays_one(self, seen: Seen) -> None:
        @bought
        class Cart:
            async def post(self, price: int) -> int:
                return price

        assert inspect.iscoroutinefunction(Cart.post)
        assert await Cart().post(3) == 3
        assert seen() == [3]

    def test_a_class_without_handlers_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"Cart has none of the handlers .*post.* decorate the method that counts"):

            @bought
            class Cart:
                def buy(self) -> None: ...

    def test_a_class_that_could_never_be_an_event_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"say methods={'GET'}"):

            @bought
            class Cart:
                def get(self) -> None: ...


def tracked() -> Callable[..., Any]:
    return xr2_web.track("bought")(lambda request: "bought")


class TestIsBehind:
    """Whether the function that made an event is the view of the request."""

    def test_the_view_itself(self) -> None:
        function = tracked()

        assert is_behind(function, function, "POST")

    def test_another_view(self) -> None:
        assert not is_behind(tracked(), tracked(), "POST")
        assert not is_behind(tracked(), None, "POST")

    def test_under_decorators_and_partials(self) -> None:
        function = tracked()

        view = functools.partial(hidden(functools.partial(hidden(function))), "argument")

        assert is_behind(function, view, "POST")

    def test_a_bound_method(self) -> None:
        class Shop:
            @xr2_web.track("bought")
            def buy(self) -> None: ...

        assert is_behind(vars(Shop)["buy"], Shop().buy, "POST")
        assert is_behind(vars(Shop)["buy"], hidden(Shop().buy), "POST")

    def test_the_call_of_an_object(self) -> None:
        class Buy:
            @xr2_web.track("bought")
            def __call__(self, price: int) -> None: ...

        assert is_behind(vars(Buy)["__call__"], Buy(), "POST")
        assert is_behind(vars(Buy)["__call__"], hidden(Buy()), "POST")

    @pytest.mark.parametrize("shape", ["the class", "view_class", "cls", "decorated"])
    def test_the_handler_of_a_class_for_its_method(self, shape: str) -> None:
        """Starlette routes the class itself; Django and Flask name it on the function, DRF as ``cls``."""

        class Cart:
            @hidden
            @xr2_web.track("bought")
            def post(self) -> None: ...

            def get(self) -> None: ...

        function = inspect.unwrap(Cart.post, stop=lambda each: each.__wrapped__ is inspect.unwrap(Cart.post))

        def view() -> None: ...

        named = "cls" if shape == "cls" else "view_class"
        setattr(view, named, Cart)
        views = {"the class": Cart, "decorated": hidden(view)}

        assert is_behind(function, views.get(shape, view), "POST")
        assert not is_behind(function, views.get(shape, view), "GET")
        assert not is_behind(function, views.get(shape, view), "DELETE")

    @pytest.mark.parametrize("name", ["dispatch", "dispatch_request"])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_what_a_class_has_for_every_method(self, name: str, method: str) -> None:
        function = tracked()

        view = type("Pay", (), {name: hidden(function)})

        assert is_behind(function, view, method)

    def test_the_handler_for_get_answers_a_head_too(self) -> None:
        function = tracked()

        view = type("Page", (), {"get": function})

        assert is_behind(function, view, "HEAD")
        assert not is_behind(function, view, "POST")

    def test_what_a_proxy_stands_for_is_not_looked_into(self) -> None:
        """Flask-Login's user is one, and costs a query."""
        function = tracked()
        made: list[str] = []
        user = pytest.importorskip("werkzeug.local").LocalProxy(lambda: made.append("the user"))

        def audited(*args: Any, **kwargs: Any) -> Any:
            return function(*args, user, **kwargs)

        assert is_behind(function, audited, "POST")
        assert not is_behind(tracked(), audited, "POST")
        assert made == []

    @pytest.mark.parametrize("decorate", [careless, Careless])
    def test_under_a_decorator_that_says_nothing_of_it(self, decorate: Callable[[Any], Any]) -> None:
        function = tracked()

        assert is_behind(function, decorate(function), "POST")
        assert is_behind(function, hidden(decorate(functools.partial(decorate(function)))), "POST")

    def test_what_a_view_merely_calls_is_not_the_view(self) -> None:
        function = tracked()

        def view(request: object, *names: str) -> object:
            return function(request)

        assert not is_behind(function, view, "POST")

    def test_a_decorator_that_holds_nothing_yet(self) -> None:
        def decorated(*args: Any, **kwargs: Any) -> Any:
            return late(*args, **kwargs)

        assert not is_behind(tracked(), decorated, "POST")

        late = tracked()
        assert is_behind(late, decorated, "POST")

    def test_decorators_that_lead_back_to_themselves_end(self) -> None:
        class Mirror:
            def __call__(self) -> None: ...

            def __getattr__(self, name: str) -> Mirror:
                return self

        def circular() -> None: ...

        circular.__wrapped__ = circular  # type: ignore[attr-defined]

        assert not is_behind(tracked(), Mirror(), "POST")
        assert not is_behind(tracked(), circular, "POST")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="marking is asgiref's own before")
def test_the_standard_librarys_mark_is_known(seen: Seen) -> None:
    async def later(price: int) -> int:
        return price

    function = bought(inspect.markcoroutinefunction(lambda price: later(price)))  # type: ignore[attr-defined]

    assert asyncio.run(function(3)) == 3
    assert seen() == [3]
