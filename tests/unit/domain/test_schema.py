import socket
import time

import jsonschema_rs
import msgspec
import pytest

from everlog.domain.errors import Code
from everlog.domain.limits import JSON_NESTING_MAX, SCHEMA_SIZE_MAX
from everlog.domain.schema import compile_event_schema, find_violation, restore_event_schema
from tests.support.refusals import check_refused

TYPE = "com.foo.bar"
STRING = {"type": "string"}


def json_of(schema: object) -> bytes:
    return msgspec.json.encode(schema)


def an_object(**keywords: object) -> dict[str, object]:
    return {"type": "object", "properties": {}, **keywords}


def violation(schema: dict[str, object], data: dict[str, object]) -> str | None:
    return find_violation(compile_event_schema(TYPE, json_of(schema)), data)


def check_malformed(schema: object, message: str) -> None:
    check_refused(
        lambda: compile_event_schema(TYPE, json_of(schema)),
        Code.EVENT_SCHEMA_MALFORMED,
        message=message,
        field="schema",
    )


def test_keeps_the_text_minified_and_otherwise_as_it_was() -> None:
    raw = b'{ "type" : "object", "properties": {"b":{"minimum":1.0}, "a":{"pattern":"\\u0061"}} }'

    schema = compile_event_schema(TYPE, msgspec.Raw(raw))

    assert schema.event_type == TYPE
    assert schema.text == raw.decode().replace(" ", "")


def test_refuses_a_missing_schema() -> None:
    check_refused(
        lambda: compile_event_schema(TYPE, None), Code.EVENT_SCHEMA_MISSING, field="schema"
    )


@pytest.mark.parametrize(
    "schema, message",
    [
        ({}, "missing properties: 'type', 'properties'"),
        ({"x": "csie"}, "missing properties: 'type', 'properties'"),
        ({"type": "object"}, "missing properties: 'properties'"),
        (
            {"type": "object", "additionalProperties": False},
            "missing properties: 'properties'",
        ),
        ({"properties": {}}, "missing properties: 'type'"),
        ({"type": "gurkenwasser", "properties": {}}, 'value must be "object"'),
        ({"type": ["object"], "properties": {}}, 'value must be "object"'),
        (None, "expected object, but got null"),
        (True, "expected object, but got boolean"),
        (1, "expected object, but got number"),
        (1.5, "expected object, but got number"),
        ("object", "expected object, but got string"),
        ([], "expected object, but got array"),
    ],
)
def test_refuses_a_schema_that_describes_no_object(schema: object, message: str) -> None:
    check_refused(
        lambda: compile_event_schema(TYPE, json_of(schema)),
        Code.EVENT_SCHEMA_NOT_OBJECT,
        message=message,
        field="schema",
    )


@pytest.mark.parametrize(
    "raw, reason",
    [
        (b"", "it ends too early"),
        (b"{", "it ends too early"),
        (b"{a:1}", "it is not JSON: "),
        (b'{"type":"\xff"}', "it is not valid UTF-8 - at `$.type`"),
        (b'{"type":"\\ud800"}', "it has half of a surrogate pair - at `$.type`"),
        (b'{"type":1e400}', "the number 1e400 is beyond the range of a double"),
        (b'{"type":"object","type":"object"}', "the member 'type' comes twice in an object"),
        (b'{"a":{"\\u0062":1,"b":1}}', "the member 'b' comes twice in an object"),
    ],
)
def test_refuses_what_is_no_json(raw: bytes, reason: str) -> None:
    check_refused(
        lambda: compile_event_schema(TYPE, raw),
        Code.EVENT_SCHEMA_MALFORMED,
        message=f"malformed event schema: {reason}",
        field="schema",
    )


@pytest.mark.parametrize("keyword", ["maximum", "const", "default"])
def test_refuses_numbers_beyond_the_range_of_a_double(keyword: str) -> None:
    compile_event_schema(TYPE, json_of(an_object(properties={"a": {keyword: 10**308}})))
    for number, limit in ((10**309, {}), (10**1_000, {"limit": 1_000})):
        schema = an_object(properties={"a": {keyword: number}})
        check_refused(
            lambda schema=schema: compile_event_schema(TYPE, json_of(schema)),
            Code.EVENT_SCHEMA_MALFORMED,
            message=f"the number 1{'0' * 39}... ",
            field="schema",
            **limit,
        )


def test_restores_what_an_earlier_version_registered() -> None:
    inner = "1" * 400
    text = (
        '{"type":"object","properties":{"a":{"const":'
        + "[" * 120
        + inner
        + "]" * 120
        + '}},"title":"a","title":"b"}'
    )
    check_refused(
        lambda: compile_event_schema(TYPE, text.encode()),
        Code.EVENT_SCHEMA_MALFORMED,
        field="schema",
        limit=JSON_NESTING_MAX,
    )

    schema = restore_event_schema(TYPE, text)

    assert schema.text == text
    assert find_violation(schema, {"a": 1}) is not None
    assert find_violation(schema, {"b": 1}) is None


@pytest.mark.parametrize(
    "schema, message",
    [
        (an_object(properties=5), '/properties: 5 is not of type "object"'),
        (an_object(properties={"a": {"type": "foo"}}), '/properties/a/type: "foo"'),
        (an_object(required="a"), "/required"),
        (an_object(properties={"a": {"pattern": "("}}), "/properties/a/pattern"),
        (an_object(properties={"a": {"pattern": "(?=a)"}}), "/properties/a/pattern"),
        (an_object(properties={"a": {"pattern": "(.{100}.?){100}"}}), "/properties/a/pattern"),
        (an_object(properties={"a/b~": {"type": 1}}), "/properties/a~1b~0/type"),
        (an_object(allOf=[{"$ref": "#/$defs/x"}]), "/$defs/x"),
        ({"$schema": 5, **an_object()}, "/$schema"),
        ({"$schema": "http://example.com/schema", **an_object()}, "http://example.com/schema"),
    ],
)
def test_refuses_what_is_no_json_schema(schema: object, message: str) -> None:
    check_malformed(schema, message)


@pytest.mark.parametrize("scheme", ["http", "https", "file", "ftp"])
def test_never_fetches_a_remote_reference(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        uri = f"{scheme}://127.0.0.1:{port}/etc/hosts"

        check_malformed(an_object(properties={"a": {"$ref": uri}}), "not fetched")
        check_malformed({"$schema": uri, **an_object()}, uri)

        with pytest.raises(BlockingIOError):
            server.accept()


def test_limits_the_size() -> None:
    def described(size: int) -> bytes:
        empty = json_of(an_object(description=""))
        return json_of(an_object(description="x" * (size - len(empty))))

    compile_event_schema(TYPE, described(SCHEMA_SIZE_MAX - 1))
    compile_event_schema(TYPE, described(SCHEMA_SIZE_MAX))
    check_refused(
        lambda: compile_event_schema(TYPE, described(SCHEMA_SIZE_MAX + 1)),
        Code.EVENT_SCHEMA_MALFORMED,
        message=str(SCHEMA_SIZE_MAX),
        field="schema",
        limit=SCHEMA_SIZE_MAX,
    )


def test_limits_the_nesting() -> None:
    def nested(depth: int) -> bytes:
        inner: object = 1
        for _ in range(depth - 1):
            inner = [inner]
        return json_of(an_object(const=inner))

    compile_event_schema(TYPE, nested(JSON_NESTING_MAX))
    check_refused(
        lambda: compile_event_schema(TYPE, nested(JSON_NESTING_MAX + 1)),
        Code.EVENT_SCHEMA_MALFORMED,
        message=str(JSON_NESTING_MAX),
        field="schema",
        limit=JSON_NESTING_MAX,
    )


@pytest.mark.parametrize(
    "schema, data",
    [
        (an_object(), {"anything": [1, None]}),
        (an_object(properties={"a": STRING}), {"a": "b", "c": 1}),
        (an_object(required=["a"]), {"a": None}),
        (an_object(additionalProperties=STRING), {"a": "b"}),
        (an_object(properties={"a": {"anyOf": [STRING, {"type": "null"}]}}), {"a": None}),
        (an_object(properties={"a": {"items": STRING, "maxItems": 2}}), {"a": ["b", "c"]}),
        (an_object(properties={"a": {"pattern": "^[a-z]{1,200}$"}}), {"a": "abc"}),
        (an_object(properties={"a": {"$ref": "#/$defs/b"}}, **{"$defs": {"b": STRING}}), {"a": ""}),
        (an_object(properties={"a": {"$ref": "#"}}), {"a": {"a": {}}}),
        (an_object(allOf=[{"$ref": "#"}]), {}),
        (an_object(properties={"a": {"minimum": 1}}), {"a": 2**80}),
    ],
)
def test_accepts_data_that_matches(schema: dict[str, object], data: dict[str, object]) -> None:
    assert violation(schema, data) is None


@pytest.mark.parametrize(
    "schema, data, reason",
    [
        (
            an_object(additionalProperties=False),
            {"extra": 1},
            "additionalProperties 'extra' not allowed",
        ),
        (
            an_object(additionalProperties=False),
            {"a": 1, "b": 2},
            "additionalProperties 'a', 'b' not allowed",
        ),
        (an_object(required=["a"]), {}, "missing properties: 'a'"),
        (an_object(required=["a", "b", "c"]), {"b": 1}, "missing properties: 'a', 'c'"),
        (
            an_object(properties={"a": STRING}),
            {"a": 1},
            "/a: expected string, but got number",
        ),
        (
            an_object(properties={"a": {"type": ["string", "null"]}}),
            {"a": True},
            "/a: expected null or string, but got boolean",
        ),
        (
            an_object(properties={"a": {"items": {"required": ["b"]}}}),
            {"a": [{"b": 1}, {}, {}]},
            "/a/1: missing properties: 'b'",
        ),
        (
            an_object(required=["a"], allOf=[{"required": ["b"]}]),
            {"c": 1},
            "missing properties: 'a'",
        ),
        (
            an_object(additionalProperties=STRING),
            {"x/y~": []},
            "/x~1y~0: expected string, but got array",
        ),
        (
            an_object(properties={"a": {"minimum": 5}}),
            {"a": 3},
            "/a: must be >= 5 but found 3",
        ),
        (
            an_object(properties={"a": {"pattern": "^a"}}),
            {"a": "b"},
            "/a: does not match pattern '^a'",
        ),
        (
            an_object(properties={"a": {"contains": STRING}}),
            {"a": [1]},
            "/a: None of [1] are valid under the given schema",
        ),
    ],
)
def test_says_why_data_does_not_match(
    schema: dict[str, object], data: dict[str, object], reason: str
) -> None:
    assert violation(schema, data) == reason


@pytest.mark.parametrize(
    "keyword, value, reason",
    [
        ({"anyOf": [STRING, {"type": "null"}]}, 1, "anyOf failed"),
        ({"const": "x"}, 1, 'value must be "x"'),
        ({"const": 1.0}, 2, 'value must be "1"'),
        ({"const": True}, 1, "value must be true"),
        ({"const": None}, 1, "value must be <nil>"),
        ({"const": {"b": 1}}, 1, "const failed"),
        ({"enum": ["x", '"y']}, "z", 'value must be one of "x", "\\"y"'),
        ({"enum": ["x"]}, "z", 'value must be "x"'),
        ({"enum": ["x", []]}, "z", "enum failed"),
        ({"exclusiveMaximum": 5}, 5, "must be < 5 but found 5"),
        ({"exclusiveMinimum": 5.5}, 5.5, "must be > 5.5 but found 5.5"),
        ({"maxItems": 2}, [1, 2, 3], "maximum 2 items required, but found 3 items"),
        ({"maxLength": 1}, "xy", "length must be <= 1, but got 2"),
        ({"maxProperties": 0}, {"b": 1}, "maximum 0 properties allowed, but found 1 properties"),
        ({"maximum": 1e3}, 1e25, "must be <= 1000 but found 1e+25"),
        ({"minItems": 1}, [], "minimum 1 items required, but found 0 items"),
        ({"minLength": 2}, "\U0001f600", "length must be >= 2, but got 1"),
        ({"minProperties": 2}, {}, "minimum 2 properties allowed, but found 0 properties"),
        ({"multipleOf": 2}, 3, "3 not multipleOf 2"),
        ({"not": STRING}, "x", "not failed"),
        ({"oneOf": [STRING]}, 1, "oneOf failed"),
        (
            {"oneOf": [{"minimum": 1}, {"minimum": 9}, {}]},
            3,
            "valid against schemas at indexes 0 and 2",
        ),
        ({"uniqueItems": True}, [1, 2, 1, 2], "items at index 0 and 2 are equal"),
        (
            {"uniqueItems": True},
            [{"b": 1, "c": 2}, {"c": 2, "b": 1}],
            "items at index 0 and 1 are equal",
        ),
        ({"uniqueItems": True}, [1, 1.0], "[1,1.0] has non-unique elements"),
    ],
)
def test_says_it_in_the_words_of_the_original(
    keyword: dict[str, object], value: object, reason: str
) -> None:
    schema = an_object(properties={"a": keyword})

    assert violation(schema, {"a": value}) == f"/a: {reason}"


def test_what_is_forbidden_is_not_allowed() -> None:
    schema = an_object(properties={"a": False})

    assert violation(schema, {"a": 1}) == "/a: not allowed"


@pytest.mark.parametrize(
    "value, name",
    [
        (None, "null"),
        (True, "boolean"),
        (1, "number"),
        (1.5, "number"),
        ([], "array"),
        ({}, "object"),
    ],
)
def test_names_the_types_of_json(value: object, name: str) -> None:
    schema = an_object(properties={"a": STRING})

    assert violation(schema, {"a": value}) == f"/a: expected string, but got {name}"


def test_a_reason_has_a_bounded_length() -> None:
    schema = an_object(properties={"a": {"contains": {"type": "null"}}})

    reason = violation(schema, {"a": ["b" * 60_000]})

    assert reason is not None
    assert reason.endswith("...")
    assert len(reason) < 2_000


@pytest.mark.parametrize(
    "draft",
    [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ],
)
def test_knows_the_drafts_and_asserts_no_format(draft: str) -> None:
    schema = an_object(properties={"a": {"type": "string", "format": "date-time"}})

    assert violation({"$schema": draft, **schema}, {"a": "not a time"}) is None
    assert violation({"$schema": draft, **schema}, {"a": 1}) is not None


def test_honours_the_draft_that_a_schema_names() -> None:
    schema = an_object(properties={"a": {"minimum": 1, "exclusiveMinimum": True}})
    draft_4 = "http://json-schema.org/draft-04/schema#"

    check_malformed(schema, "/properties/a/exclusiveMinimum")
    assert violation({"$schema": draft_4, **schema}, {"a": 1}) is not None


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a+)+$",
        "^(a|a)*$",
        "(a*)*(a*)*(a*)*b",
        "(.*)(.*)(.*)(.*)(.*)[0-9]",
        "[ab]*a[ab]{200}c",
        "(a{10}a?){100}$",
        "(.{10}.?){5}c",
    ],
)
def test_no_pattern_stalls(pattern: str) -> None:
    schema = compile_event_schema(TYPE, json_of(an_object(properties={"a": {"pattern": pattern}})))
    text = "ab" * 10_000 + "a" * 40_000 + "!"

    started = time.process_time()
    find_violation(schema, {"a": text})

    assert time.process_time() - started < 1


def chain_of_references(length: int, keyword: str) -> bytes:
    """Return a schema in which each definition refers to the next, and demands much else."""
    links: dict[str, object] = {
        f"a{index}": {keyword: f"#/$defs/a{index + 1}", "unevaluatedProperties": STRING}
        for index in range(length - 1)
    }
    end = {f"a{length - 1}": {"type": "object"}}
    schema = an_object(**{"$defs": links | end, "$ref": "#/$defs/a0"})
    return json_of(schema).replace(b'"$ref"', b'"\\u0024ref"')


def test_accepts_references_up_to_the_limit() -> None:
    compile_event_schema(TYPE, chain_of_references(500, "$ref"))


@pytest.mark.parametrize(
    "length, keyword",
    [(501, "$ref"), (5_000, "$ref"), (501, "$dynamicRef"), (501, "$recursiveRef")],
)
def test_refuses_references_above_the_limit(length: int, keyword: str) -> None:
    check_refused(
        lambda: compile_event_schema(TYPE, chain_of_references(length, keyword)),
        Code.EVENT_SCHEMA_MALFORMED,
        message="more than 500 references",
        field="schema",
        limit=500,
    )


def test_the_word_for_a_reference_is_none() -> None:
    compile_event_schema(TYPE, json_of(an_object(description='"$ref":' * 1_000)))


def test_a_schema_that_makes_the_library_panic_is_refused() -> None:
    twice = [{"$id": "a", "$anchor": "b"}, {"$id": "a", "$ref": "#b"}]

    check_malformed(an_object(oneOf=twice), "the validator cannot work with it")


class FailingValidator:
    """A validator that fails in a way of our choice."""

    def __init__(self, failure: BaseException) -> None:
        self._failure = failure

    def is_valid(self, _data: object) -> bool:
        raise self._failure


class PanicException(BaseException):
    """A stand-in for a panic: no data is known that makes the library panic."""


def test_data_that_makes_the_library_panic_does_not_match() -> None:
    compiled = compile_event_schema(TYPE, json_of(an_object()))
    panicking = msgspec.structs.replace(compiled, validator=FailingValidator(PanicException()))

    assert find_violation(panicking, {}) == "the validator cannot judge this data"


def test_what_is_no_panic_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    compiled = compile_event_schema(TYPE, json_of(an_object()))
    interrupted = msgspec.structs.replace(compiled, validator=FailingValidator(KeyboardInterrupt()))
    monkeypatch.setattr(jsonschema_rs, "validator_for", interrupt)

    with pytest.raises(KeyboardInterrupt):
        find_violation(interrupted, {})
    with pytest.raises(KeyboardInterrupt):
        compile_event_schema(TYPE, json_of(an_object()))
