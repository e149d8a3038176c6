"""The document that describes the endpoints; test_schemathesis.py holds the server to it."""

from __future__ import annotations

import msgspec
import pytest

from xr2_web.devserver import answers, bodies

from .conftest import Visitor


def test_it_needs_no_key_and_describes_every_endpoint_of_xr2(visitor: Visitor) -> None:
    del visitor.http.headers["Authorization"]

    answer = visitor.http.get("/openapi.json")

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    described = {(path, method) for path, methods in answer.json()["paths"].items() for method in methods}
    assert described == {
        ("/api/v1/check-api-key", "get"),
        ("/api/v1/get-prompt", "post"),
        ("/api/v1/events", "post"),
    }


def test_every_endpoint_wants_a_bearer_key(visitor: Visitor) -> None:
    document = visitor.http.get("/openapi.json").json()

    [wanted] = document["security"]
    schemes = document["components"]["securitySchemes"]
    assert [(schemes[name]["type"], schemes[name]["scheme"]) for name in wanted] == [("http", "bearer")]
    assert not any("security" in each for methods in document["paths"].values() for each in methods.values())


def test_every_reference_leads_somewhere(visitor: Visitor) -> None:
    text = visitor.http.get("/openapi.json").text
    schemas = msgspec.json.decode(text)["components"]["schemas"]

    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert names
    assert names <= set(schemas)


@pytest.mark.parametrize(
    "struct",
    [bodies.PromptRequest, bodies.EventRequest, answers.KeyOwner, answers.PromptContent, answers.EventTaken],
)
def test_schemas_have_the_fields_that_are_used(visitor: Visitor, struct: type[msgspec.Struct]) -> None:
    schema = visitor.http.get("/openapi.json").json()["components"]["schemas"][struct.__name__]

    assert list(schema["properties"]) == list(struct.__struct_fields__)
    assert schema["required"] == [each.name for each in msgspec.structs.fields(struct) if each.required]


def test_widths_and_statuses_are_told(visitor: Visitor) -> None:
    schemas = visitor.http.get("/openapi.json").json()["components"]["schemas"]

    status = schemas["PromptRequest"]["properties"]["status"]["anyOf"][0]
    assert status["enum"] == ["draft", "testing", "production", "inactive", "deprecated"]
    assert schemas["EventRequest"]["properties"]["trace_id"]["maxLength"] == 100
    assert schemas["EventRequest"]["properties"]["user_id"]["anyOf"][0]["maxLength"] == 255


def test_no_status_is_left_out(visitor: Visitor) -> None:
    paths = visitor.http.get("/openapi.json").json()["paths"]

    told = {
        path.rpartition("/")[2]: set(each["responses"]) for path, methods in paths.items() for each in methods.values()
    }

    assert told == {
        "check-api-key": {"200", "401", "403", "429"},
        "get-prompt": {"200", "400", "401", "403", "404", "422", "429"},
        "events": {"200", "400", "401", "403", "404", "422", "429"},
    }
