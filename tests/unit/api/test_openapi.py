"""The OpenAPI documents are valid, leave nothing out, and say what the server does."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, OpenAPIV32SpecValidator

from everlog.api.openapi import DOCUMENTS, load_documents
from everlog.api.routes import OPENAPI_3_2_PATH, OPENAPI_PATH, ROUTES, Route
from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import Event, is_hash_valid
from everlog.domain.event_type import parse_event_type
from everlog.domain.selection import parse_event_id
from everlog.domain.subject import parse_subject
from everlog.domain.time import parse_time
from everlog.domain.tracing import parse_traceparent
from everlog.http import Head
from tests.support.openapi import check_against, document, document_3_1
from tools.openapi.document import CODES, render_documents
from tools.openapi.schemas import EXAMPLES, MEMBERS, REQUIRED, VALUES

Json = dict[str, Any]


def operation(route: Route) -> Json:
    """Return the operation of a route."""
    found: Json = document()["paths"][route.path][route.method.lower()]
    return found


def schemas() -> dict[str, Json]:
    return document()["components"]["schemas"]


def nested(value: object) -> Iterator[Json]:
    """Yield every object within a value, itself included."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from nested(member)


def test_each_document_is_valid_by_its_version() -> None:
    assert (document()["openapi"], document_3_1()["openapi"]) == ("3.2.0", "3.1.0")
    assert list(OpenAPIV32SpecValidator(document()).iter_errors()) == []
    assert list(OpenAPIV31SpecValidator(document_3_1()).iter_errors()) == []


def test_what_version_3_1_has_no_word_for_stands_there_with_a_prefix() -> None:
    assert [path for path, item in document_3_1()["paths"].items() if "x-query" in item] == [
        route.path for route in ROUTES if route.method == "QUERY"
    ]

    def restored(value: Any) -> Any:
        """Return what version 3.2 says, taken out of version 3.1."""
        if isinstance(value, list):
            return [restored(member) for member in value]
        if not isinstance(value, dict):
            return value
        if "x-itemSchema" in value:
            bytes_of_lines = {"type": "string", "format": "binary", "description": "Lines of JSON."}
            assert value.keys() == {"schema", "x-itemSchema"}
            assert value["schema"] == bytes_of_lines
            return {"itemSchema": restored(value["x-itemSchema"])}
        return {name.removeprefix("x-"): restored(member) for name, member in value.items()}

    assert restored(document_3_1()) == {**document(), "openapi": "3.1.0"}


def test_no_name_belongs_to_others() -> None:
    # openapi-generator refuses what begins so, also what is registered for just that.
    names = {name for found in nested(document_3_1()) for name in found}

    assert not [name for name in names if name.startswith(("x-oai-", "x-oas-"))]


@pytest.mark.parametrize("path", [OPENAPI_PATH, OPENAPI_3_2_PATH])
def test_the_server_shows_each_document_as_json(path: str) -> None:
    response = load_documents()[path](Head("GET", path, "", {}, "1.2.3.4"))

    assert response.content_type == b"application/json"
    # Byte by byte what its maker says, without space between tokens.
    assert response.body == msgspec.json.format(render_documents()[path], indent=-1)


def test_the_documents_are_current() -> None:
    committed = {path: file.read_bytes() for path, file in DOCUMENTS.items()}

    assert committed == render_documents(), "run `make openapi`"


def test_every_route_is_there_and_nothing_else() -> None:
    paths = [OPENAPI_PATH, OPENAPI_3_2_PATH, *(route.path for route in ROUTES)]

    assert sorted(document()["paths"]) == sorted(paths)
    assert len({operation(route)["operationId"] for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_operation_says_what_goes_in_what_comes_out_and_who_may_ask(route: Route) -> None:
    found = operation(route)

    assert found["summary"]
    assert ("requestBody" in found) == (route.method != "GET")
    assert found["responses"]["200"]["content"]
    # What says nothing about security is closed, as the document as a whole is.
    assert found.get("security") == ([] if route.is_open else None)
    assert ("401" in found["responses"]) != route.is_open
    if not route.is_open and route.method != "GET":
        size = "any size" if route.body_size_max is None else str(route.body_size_max)
        assert size in found["description"]


def test_everything_without_a_mark_of_its_own_asks_for_the_token() -> None:
    assert document()["security"] == [{"bearer": []}]
    bearer = document()["components"]["securitySchemes"]["bearer"]
    assert (bearer["type"], bearer["scheme"]) == ("http", "bearer")


def test_every_answer_that_is_not_200_is_one_line_of_text() -> None:
    for response in document()["components"]["responses"].values():
        assert response["content"].keys() == {"text/plain; charset=utf-8"}


def test_no_value_is_just_anything() -> None:
    says_something = {"type", "$ref", "enum", "const", "anyOf", "oneOf"}
    # What a query makes of its events may be whatever JSON can say.
    said = [
        (name, member)
        for name, schema in schemas().items()
        for member, described in schema.get("properties", {}).items()
        if not says_something & described.keys()
    ]
    assert said == [("V1RowItem", "payload")]
    assert schemas()["V2RowItem"]["properties"]["data"]["required"] == ["value"]


@pytest.mark.parametrize("name", ["V1EventCandidate", "V2EventCandidate", "Event"])
def test_data_is_an_object(name: str) -> None:
    data = schemas()[name]["properties"]["data"]

    check_against(data, {"a": 1})
    with pytest.raises(AssertionError):
        check_against(data, [1])


def test_every_error_code_is_there_and_can_be_met_at_some_endpoint() -> None:
    slugs = {code.rpartition("/")[2] for code in schemas()["ErrorCode"]["enum"]}

    assert slugs == {code.value for code in Code}
    assert {code for codes in CODES.values() for code in codes} == set(Code)
    assert CODES.keys() == {route.handle.__name__ for route in ROUTES if route.version.name == "v2"}


def test_every_code_of_an_endpoint_stands_in_its_description() -> None:
    for route in ROUTES:
        if route.version.name == "v2":
            for code in CODES[route.handle.__name__]:
                assert f"`{code.value}`" in operation(route)["description"]


def test_every_example_is_what_its_schema_describes() -> None:
    found = 0
    for schema in nested(document()):
        for example in schema.get("examples", ()):
            check_against(schema, example)
            found += 1
    assert found >= len(EXAMPLES)


def test_the_example_of_an_event_carries_its_true_hash() -> None:
    event = msgspec.convert(
        {**schemas()["Event"]["examples"][0], "data": msgspec.Raw(b'{"title":"2001"}')}, Event
    )

    assert is_hash_valid(event)


def test_the_tables_speak_of_members_that_exist() -> None:
    for name, members in REQUIRED.items():
        assert set(members) <= schemas()[name]["properties"].keys(), name
    known = {
        key
        for name, schema in schemas().items()
        for member in schema.get("properties", ())
        for key in (member, f"{name.removeprefix('V1').removeprefix('V2')}.{member}")
    }
    assert MEMBERS.keys() <= known


# Each row: the schema, the parser of the domain, and texts on either side of the line.
BOUNDARIES: tuple[tuple[str, Callable[[str], object], tuple[str, ...]], ...] = (
    (
        "SubjectPath",
        parse_subject,
        ("/", "/a", "/a/", "/a/b-c_9", "a", "//", "/a//b", "/a b", "/\u00e9", "/" + "a" * 4_096),
    ),
    (
        "EventTypeName",
        parse_event_type,
        ("io.a.b", "i.a.b", "io.a", "io.a.b.", "io..b", "io.a.b-c_9", "io.a." + "b" * 1_024),
    ),
    ("EventId", lambda text: parse_event_id(text, field="id"), ("0", "007", "-1", "x", "1.0")),
    (
        "Traceparent",
        parse_traceparent,
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f35-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ),
    ),
    ("Time", parse_time, ("2026-11-23T12:00:00.1Z", "2026-11-23T12:00:00.1+01:00", "2026-11-23")),
)


@pytest.mark.parametrize("name, parse, texts", BOUNDARIES, ids=[row[0] for row in BOUNDARIES])
def test_a_schema_draws_the_line_where_the_domain_draws_it(
    name: str, parse: Callable[[str], object], texts: tuple[str, ...]
) -> None:
    for text in texts:
        assert is_accepted(lambda text=text: check_against(VALUES[name], text)) == is_accepted(
            lambda text=text: parse(text)
        ), text


def is_accepted(judge: Callable[[], object]) -> bool:
    try:
        judge()
    except (AssertionError, RefusedError, ValueError):
        return False
    return True
