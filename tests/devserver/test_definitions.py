"""Event definitions as a file has them."""

from __future__ import annotations

import pytest

from xr2_web.devserver.definitions import parse
from xr2_web.errors import ConfigurationError

from .conftest import Visitor


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it defines no event"),
        ("# nothing yet\n", "it defines no event"),
        ("[sign_up]\nrequired = \n", "line 2"),
        ('[sign_up]\n[paid]\nrequird = ["a"]', "paid: .*unknown field `requird`"),
        ("sign_up = 1", "sign_up: Expected `object`"),
        ('[paid.types]\ntotal = "decimal"', "paid: the type of total is 'decimal'; there are string, number, boolean"),
    ],
)
def test_what_cannot_be_read_is_told_with_the_event(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parse(text)


def test_an_editor_that_empties_the_file_before_it_writes_has_no_event_refused(visitor: Visitor) -> None:
    visitor.define("[sign_up]\n[paid]")
    trace_id = visitor.trace_id()
    before = visitor.send(trace_id)
    visitor.define("")

    meanwhile = visitor.send(trace_id, "paid")
    undefined = visitor.send(trace_id, "other")

    assert (before.status_code, meanwhile.status_code, undefined.status_code) == (200, 200, 404)
    assert "events.toml: it defines no event" in visitor.http.get("/").text


def test_one_that_could_never_be_read_refuses_nothing_and_is_told(visitor: Visitor) -> None:
    visitor.define("[sign_up")

    taken = visitor.send(visitor.trace_id(), "anything")

    assert taken.status_code == 200
    shown = visitor.http.get("/").text
    assert "events.toml: " in shown
    assert "as there is no <code>events.toml</code> to read" in shown


def test_the_page_says_which_fields_an_event_needs_and_may_have_and_of_which_type(visitor: Visitor) -> None:
    visitor.define(
        """
        [paid]
        required = ["order_id"]
        optional = ["plan"]
        [paid.types]
        order_id = "string"
        total = "number"
        """
    )

    shown = visitor.http.get("/").text

    assert ">needs order_id (string)</p>" in shown
    assert ">may have plan, total (number)</p>" in shown
