from __future__ import annotations

import dataclasses
import enum
import json
from collections import ChainMap
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest

from xr2_web import values, wire
from xr2_web.errors import InvalidValue

SURROGATE = "\ud800"
ID = UUID("12345678-1234-5678-1234-567812345678")


class Colour(enum.Enum):
    RED = "red"


class Plan(enum.StrEnum):
    PRO = "pro"


class Level(enum.IntEnum):
    HIGH = 3


class Float64(float):
    """What NumPy's float64 is: a subclass that the serialiser does not know."""


class Lazy:
    """A lazy translation: text only once somebody asks."""

    def __str__(self) -> str:
        return "later"


class Hostile(str):
    """Text whose ``__str__`` raises."""

    __slots__ = ()

    def __str__(self) -> str:
        raise LookupError("no text")


@dataclasses.dataclass
class Order:
    total: int = 1


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def circular() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def sent(metadata: object) -> Any:
    """Return what arrives of ``metadata`` when an event with it is serialised."""
    return json.loads(wire.encode(values.mapping(metadata, "metadata")))


class TestText:
    @pytest.mark.parametrize("value", ["a", "a" * 100, "имя", "😀", "../x", "<b>", "a\r\nb", Plan.PRO])
    def test_text_within_the_limit_is_returned(self, value: str) -> None:
        assert values.text(value, "slug", limit=100) == value

    def test_a_subclass_becomes_plain_text_without_running_its_code(self) -> None:
        kept = values.text(Hostile("name"), "slug", limit=100)

        assert type(kept) is str
        assert kept == "name"

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            ("", "1 to 5 characters, has 0"),
            ("abcdef", "1 to 5 characters, has 6"),
            (b"abc", "must be text, not bytes"),
            (None, "must be text, not NoneType"),
            (7, "must be text, not int"),
            ("a" + SURROGATE, "surrogate"),
            ("a\0b", "NUL"),
        ],
    )
    def test_anything_else_is_refused_with_its_path(self, value: object, why: str) -> None:
        with pytest.raises(InvalidValue, match=why) as caught:
            values.text(value, "slug", limit=5)

        assert caught.value.path == "slug"
        assert str(caught.value).startswith("slug: ")

    def test_what_is_refused_is_not_quoted(self) -> None:
        with pytest.raises(InvalidValue) as caught:
            values.event_name("ada@example.com" * 20)

        assert "ada" not in str(caught.value)

    def test_an_event_name_has_the_width_of_the_servers_column(self) -> None:
        assert values.event_name("e" * 100) == "e" * 100
        with pytest.raises(InvalidValue, match="has 101"):
            values.event_name("e" * 101)


class TestUserId:
    @pytest.mark.parametrize(
        ("value", "text"),
        [("u1", "u1"), (42, "42"), (2**70, str(2**70)), (Level.HIGH, "3"), (ID, str(ID))],
    )
    def test_text_whole_numbers_and_uuids_go_as_they_print(self, value: object, text: str) -> None:
        assert values.user_id(value) == text

    @pytest.mark.parametrize(
        "value", [True, 1.5, None, b"u1", "", "u" * 256, 10**300, pytest.param(10**5000, id="huge"), object()]
    )
    def test_anything_else_is_refused(self, value: object) -> None:
        with pytest.raises(InvalidValue, match=r"^user_id: "):
            values.user_id(value)


class TestNumber:
    @pytest.mark.parametrize("value", [0, -1, 1.5, -0.0, 2**63 - 1, Decimal("19.90"), Decimal("1E+300"), 1e308])
    def test_finite_numbers_are_returned(self, value: float | Decimal) -> None:
        assert values.number(value, "value") == value

    @pytest.mark.parametrize(
        ("value", "kind"), [(Float64(1.5), float), (Level.HIGH, int), (type("D", (Decimal,), {})("1.5"), Decimal)]
    )
    def test_a_subclass_becomes_the_type_that_the_serialiser_knows(self, value: Any, kind: type) -> None:
        number = values.number(value, "value")

        assert type(number) is kind
        assert json.loads(wire.encode(number)) == value

    def test_a_decimal_arrives_as_a_number_with_all_its_digits(self) -> None:
        assert wire.encode(values.number(Decimal("19.90"), "value")) == b"19.90"

    @pytest.mark.parametrize(
        "value",
        [
            float("nan"),
            float("inf"),
            Float64("-inf"),
            Decimal("NaN"),
            Decimal("sNaN"),
            Decimal("Infinity"),
            Decimal("1E+400"),
            2**63,
            -(2**70),
            pytest.param(2**20_000, id="huge"),
            True,
            "1.5",
            None,
            1j,
            [1],
        ],
    )
    def test_anything_else_is_refused(self, value: object) -> None:
        with pytest.raises(InvalidValue, match=r"^value: "):
            values.number(value, "value")


class TestMapping:
    @pytest.mark.parametrize(
        ("value", "arrives"),
        [
            (None, None),
            (True, True),
            (0.1, 0.1),
            (Float64(1.5), 1.5),
            (Level.HIGH, 3),
            (Colour.RED, "red"),
            (Plan.PRO, "pro"),
            (Hostile("text"), "text"),
            (ID, str(ID)),
            (date(2026, 5, 1), "2026-05-01"),
            (datetime(2026, 5, 1, 12, tzinfo=UTC), "2026-05-01T12:00:00+00:00"),
            (time(12, 30), "12:30:00"),
            ((1, [2, "x"]), [1, [2, "x"]]),
            (MappingProxyType({"a": 1}), {"a": 1}),
            ("😀\r\n</script>", "😀\r\n</script>"),
            (nested(30), nested(30)),
        ],
    )
    def test_what_json_can_hold_arrives(self, value: object, arrives: object) -> None:
        assert sent({"key": value}) == {"key": arrives}

    @pytest.mark.parametrize("key", ["", "😀", "a\r\nb", "../x", "<b>", "k" * 10_000, Plan.PRO, Hostile("k")])
    def test_any_text_may_be_a_key(self, key: str) -> None:
        assert sent({key: 1}) == {str.__str__(key): 1}

    def test_a_large_mapping_is_taken_whole(self) -> None:
        many = {str(number): number for number in range(10_000)}

        assert sent(ChainMap(many)) == many

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            (float("nan"), "nan is not a number"),
            (Decimal("Infinity"), "Infinity is not a number"),
            (2**70, "beyond 64 bits"),
            (b"x", "bytes is nothing that JSON can hold"),
            ({1}, "set is nothing"),
            (Order(), "Order is nothing"),
            (Lazy(), "Lazy is nothing"),
            (object, "type is nothing"),
            (iter([1]), "iterator is nothing"),
            (SURROGATE, "surrogate"),
            ("a\0", "NUL"),
        ],
    )
    def test_what_json_cannot_hold_is_refused_by_its_path(self, value: object, why: str) -> None:
        with pytest.raises(InvalidValue, match=why) as caught:
            values.mapping({"items": [1, {"total": value}]}, "metadata")

        assert caught.value.path == "metadata.items[1].total"

    @pytest.mark.parametrize("value", [nested(10_000), circular(), [circular()]])
    def test_what_is_too_deep_or_holds_itself_is_refused(self, value: object) -> None:
        with pytest.raises(InvalidValue, match="nested too deeply"):
            values.mapping({"key": value}, "metadata")

    @pytest.mark.parametrize("key", [1, None, b"k", ("a", "b"), Colour.RED])
    def test_a_key_that_is_not_text_is_refused(self, key: object) -> None:
        with pytest.raises(InvalidValue, match=r"metadata: has a key that is not text"):
            values.mapping({key: 1}, "metadata")

    @pytest.mark.parametrize("key", [SURROGATE, "a\0"])
    def test_a_key_that_cannot_be_stored_is_refused_before_its_value(self, key: str) -> None:
        with pytest.raises(InvalidValue) as caught:
            values.mapping({key: object()}, "metadata")

        assert caught.value.path == "metadata"

    @pytest.mark.parametrize("value", [None, [("a", 1)], "text", 1, object()])
    def test_only_a_mapping_is_taken(self, value: object) -> None:
        with pytest.raises(InvalidValue, match="must be a mapping"):
            values.mapping(value, "metadata")

    def test_a_key_in_a_path_brings_no_lines_and_no_pages_into_a_log(self) -> None:
        with pytest.raises(InvalidValue) as caught:
            values.mapping({"x\nERROR forged" + "k" * 10_000: object()}, "metadata")

        assert caught.value.path.startswith(r"metadata['x\nERROR forged")
        assert len(str(caught.value)) < 200

    def test_what_is_changed_after_the_call_does_not_change_the_copy(self) -> None:
        given: dict[str, Any] = {"items": [1], "more": {"a": 1}}

        copy = values.mapping(given, "metadata")
        given["items"].append(2)
        given["more"]["a"] = 2
        given.clear()

        assert copy == {"items": [1], "more": {"a": 1}}
