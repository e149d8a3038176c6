from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from xr2_web import errors
from xr2_web.errors import (
    AccessDenied,
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    InvalidValue,
    NotFound,
    PromptUnavailable,
    RateLimited,
    ServerError,
    UnexpectedAnswer,
    VariableError,
    Xr2Error,
)
from xr2_web.models import Response

TREE = errors.__doc__ or ""


def all_errors() -> list[type[Xr2Error]]:
    members = vars(errors).values()
    return [each for each in members if inspect.isclass(each) and issubclass(each, Xr2Error)]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_stands_in_the_tree_and_says_what_it_is(kind: type[Xr2Error]) -> None:
    assert f" {kind.__name__} " in f"{TREE} ".replace("\n", " ")
    assert kind.__doc__


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0, ConnectionFailed),
        (200, UnexpectedAnswer),
        (204, UnexpectedAnswer),
        (302, UnexpectedAnswer),
        (400, InvalidRequest),
        (401, AuthenticationError),
        (403, AccessDenied),
        (404, NotFound),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, ServerError),
        (503, ServerError),
        (599, ServerError),
        (101, UnexpectedAnswer),
    ],
)
def test_unwrapping_a_failed_call_raises_the_error_of_its_status_with_the_data(
    status: int, kind: type[ApiError]
) -> None:
    response: Response[Any] = Response(
        error="no", status_code=status, retry_after=3.5, reset_time="2026-05-02T00:00:00Z"
    )

    with pytest.raises(ApiError) as caught:
        response.unwrap()

    assert type(caught.value) is kind
    assert (caught.value.message, str(caught.value), caught.value.status_code) == ("no", "no", status)
    assert (caught.value.retry_after, caught.value.reset_time) == (3.5, "2026-05-02T00:00:00Z")


def test_unwrapping_raises_the_cause_where_the_call_was_never_made() -> None:
    cause = InvalidValue("must be a number, not str", path="value")

    with pytest.raises(InvalidValue) as caught:
        Response(error=str(cause), status_code=0, cause=cause).unwrap()

    assert caught.value is cause
    assert isinstance(caught.value, ValueError)


def test_late_is_a_kind_of_no_answer() -> None:
    with pytest.raises(ConnectionFailed):
        Response(error="late", status_code=0, cause=DeadlineExceeded("late")).unwrap()


def test_unwrapping_a_good_call_gives_the_data() -> None:
    assert Response(data="data").unwrap() == "data"


def test_a_configuration_error_lists_all_problems() -> None:
    error = ConfigurationError(["one", "two"])

    assert (error.problems, str(error)) == (("one", "two"), "one; two")


def test_an_unavailable_prompt_names_itself_and_the_reason() -> None:
    error = PromptUnavailable("welcome", "no deployed version", status_code=404)

    assert (error.slug, error.reason, error.status_code) == ("welcome", "no deployed version", 404)
    assert str(error) == "prompt 'welcome' is unavailable: no deployed version"


def test_a_variable_error_lists_what_is_missing() -> None:
    error = VariableError("Missing", ("name", "plan"))

    assert (error.message, error.missing_variables) == ("Missing", ["name", "plan"])
    assert VariableError("Missing").missing_variables == []


def test_an_invalid_value_says_where_it_was_passed_in() -> None:
    error = InvalidValue("must be text", path="metadata.items[2]")

    assert (error.path, str(error)) == ("metadata.items[2]", "metadata.items[2]: must be text")


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError(["one", "two"]),
        PromptUnavailable("welcome", "gone", status_code=404),
        VariableError("missing", ["name"]),
        InvalidValue("is not a number", path="value"),
        RateLimited("slow down", status_code=429, retry_after=3.0, reset_time="2026-01-01"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling_with_its_data(error: Xr2Error) -> None:
    restored = pickle.loads(pickle.dumps(error))

    assert type(restored) is type(error)
    assert str(restored) == str(error)
    assert vars(restored) == vars(error)
