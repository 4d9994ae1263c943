"""What judging takes at most: what has a bound, and that it is one."""

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from everlog.domain.schema import EventSchema, find_violation, read_event_schema
from everlog.domain.schema_cost import JudgingCost, count_positions, judging_cost
from everlog.service.judging import AT_ONCE_SECONDS_MAX
from tests.support.hostile_schemas import (
    HOSTILE,
    STRING,
    an_object,
    chained,
    doubling,
    expressions,
    of_items,
)

# What may be judged at once, and explained, takes less on whatever machine.
SECONDS_MAX = 0.25

TREE = an_object(
    properties={"value": STRING, "children": {"type": "array", "items": {"$ref": "#"}}},
    required=["value"],
)
ORDER = an_object(
    properties={
        "id": {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}$"},
        "country": {"enum": [f"country {index}" for index in range(250)]},
        "tags": {"type": "array", "items": STRING, "uniqueItems": True},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"quantity": {"type": "integer", "minimum": 1}},
                "required": ["quantity"],
                "additionalProperties": False,
            },
        },
    },
    required=["id"],
)
BINARY = an_object(
    properties={"left": {"$ref": "#"}, "right": {"$ref": "#"}}, additionalProperties=False
)

ORDINARY = {
    "nothing": an_object(),
    "a tree": TREE,
    "an order": ORDER,
    "a binary tree": BINARY,
    "a list": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://example.com/list.json",
        "title": "A list",
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "value": True},
        "x-owner": "somebody",
    },
    "a reference into a branch": an_object(
        properties={
            "a": {"anyOf": [STRING, {"type": "null"}]},
            "b": {"$ref": "#/properties/a/anyOf/0"},
        }
    ),
    "five hundred members": an_object(
        properties={f"a{index}": {"type": "string", "maxLength": 9} for index in range(500)},
        required=[f"a{index}" for index in range(500)],
    ),
    "dependencies": an_object(
        dependentRequired={"a": ["b"]},
        dependentSchemas={"a": {"required": ["c"]}},
        propertyNames={"maxLength": 9},
        patternProperties={"^a": {"contains": STRING, "prefixItems": [STRING]}},
    ),
}

UNBOUNDED = {
    "doubling": doubling(30),
    "expressions": expressions(),
    "what is unevaluated": an_object(unevaluatedProperties=False),
    "a long chain": chained(450),
    "a reference to itself": an_object(allOf=[{"$ref": "#"}]),
    "a dynamic reference": an_object(properties={"a": {"$dynamicRef": "#b"}}),
    "a reference to a name": an_object(properties={"a": {"$ref": "#b"}}),
    "a reference to nowhere": an_object(properties={"a": {"$ref": "#/b/c"}}),
    "a name within": an_object(properties={"a": {"$id": "https://example.com/a"}}),
    "a keyword of nobody": an_object(properties={"a": {"somethingNew": 1}}),
    "too many patterns": an_object(
        properties={f"a{index}": {"pattern": "^[a-z]{9}$"} for index in range(200)}
    ),
    "too much": an_object(properties={f"a{index}": STRING for index in range(9_000)}),
    "what is malformed": an_object(required=5, properties={"a": {"enum": 3}}),
}


def cost_of(schema: dict[str, Any]) -> JudgingCost | None:
    return judging_cost(msgspec.json.decode(msgspec.json.encode(schema)))


@pytest.mark.parametrize("name", ORDINARY)
def test_what_people_write_has_a_bound_that_lets_it_be_judged_at_once(name: str) -> None:
    cost = cost_of(ORDINARY[name])

    assert cost is not None
    # An event of a kilobyte with forty values.
    assert cost.seconds('{"name":"some text of a length"},' * 32) < 0.01


@pytest.mark.parametrize("name", UNBOUNDED)
def test_what_may_compute_for_ever_has_none(name: str) -> None:
    assert cost_of(UNBOUNDED[name]) is None


def test_a_bound_grows_with_the_ways_to_a_value() -> None:
    costs = [cost_of(doubling(levels)) for levels in (1, 2, 6)]

    values = [cost.per_value for cost in costs if cost is not None]
    assert len(values) == 3
    assert 2 * values[0] < 2 * values[1] < values[2] / 4


def test_numbers_cost_what_they_are() -> None:
    small, exact, large = '{"a":[1,2,3]}', '{"a":[1e-308,2,3]}', '{"a":[' + "1" * 30 + ",2,3]}"
    ordered = cost_of(of_items({"minimum": 0, "multipleOf": 0.01}))
    unique = cost_of(an_object(properties={"a": {"uniqueItems": True}}))
    assert ordered is not None
    assert unique is not None

    assert ordered.seconds(small * 1_000) < ordered.seconds(exact * 1_000) / 2
    assert unique.seconds(small * 1_000) < unique.seconds(large * 1_000) / 10


@pytest.mark.parametrize(
    "pattern, positions",
    [
        ("", 1),
        ("^abc$", 6),
        ("[a-z]{2,40}", 12 + 41),
        ("[a-z]{9}", 9 + 10),
        ("([a-z]{9}){9}", (14 + 10) * 10),
        ("(a{3,}){4,}", (12 + 4) * 5),
    ],
)
def test_repetitions_are_written_out(pattern: str, positions: int) -> None:
    assert count_positions(pattern) == positions


# Values at which some validator is slow.
EXTREMES: dict[str, list[Any]] = {
    "integers": [1] * 500,
    "fractions": [1.25] * 500,
    "the largest": [1.7976931348623157e308] * 100,
    "the smallest": [2.5e-308] * 100,
    "large integers": [2**70 + index for index in range(300)],
    "very large integers": [7**360 + index for index in range(100)],
    "texts": [f"abc{index}" for index in range(500)],
    "a long text": ["abbabaabbbabab" * 1_000],
    "other letters": ["ab\u00e4\u4e2d" * 1_000],
    "objects": [{"a": 1, "b": {"a": 2}}] * 200,
    "large objects": [{f"k{index}": index for index in range(100)}] * 5,
    "lists": [[1, 2, 3]] * 200,
}
KEYWORDS: tuple[dict[str, Any], ...] = (
    {"type": ["string", "number"]},
    {"minimum": 0.5, "exclusiveMaximum": 1e308},
    {"maximum": 7**360},
    {"multipleOf": 0.01},
    {"multipleOf": 5e-324},
    {"minLength": 2, "maxLength": 9},
    {"pattern": "^(a|b)*a[ab]{20}c"},
    {"pattern": "(.|a)*b.{50}c"},
    {"enum": ["a", 1, None, 1.5, [2**70], {"a": 2}]},
    {"enum": [index + 0.5 for index in range(20)]},
    {"enum": list(range(100))},
    {"const": {f"k{index}": index for index in range(100)}},
    {"required": ["a", "k5"], "minProperties": 1},
    {"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "integer"}},
    {"patternProperties": {"^k.*[57]$": {"minimum": 9}}, "additionalProperties": STRING},
    {"propertyNames": {"pattern": "^[a-z0-9]+$", "maxLength": 2}},
    {"prefixItems": [STRING], "items": {"minimum": 2}, "contains": {"const": 9}},
    {"uniqueItems": True, "maxItems": 9},
    {"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"k5": {"required": ["k6"]}}},
    {"if": {"type": "object"}, "then": {"required": ["a"]}, "else": {"type": "number"}},
    {"oneOf": [STRING, {"type": "number"}, {"minimum": 3}], "not": {"type": "null"}},
)


SHAPES: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    lambda keyword: an_object(properties={"a": keyword}),
    lambda keyword: of_items({"anyOf": [keyword, {}]}),
    lambda keyword: of_items({"allOf": [{"anyOf": [keyword, {}]}] * 30}),
)


@pytest.mark.parametrize("kind", EXTREMES)
def test_what_may_be_judged_at_once_takes_a_moment(kind: str) -> None:
    for keyword in KEYWORDS:
        for shape in SHAPES:
            schema = read_event_schema("io.everlog.test", json.dumps(shape(keyword)).encode())
            values = EXTREMES[kind]
            while values and not is_judged_at_once(schema, values):
                values = values[: len(values) // 2]
            if not values:
                continue
            started = time.process_time()
            find_violation(schema, {"a": values})
            assert time.process_time() - started < SECONDS_MAX, (keyword, kind)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_never_judged_at_once(name: str) -> None:
    schema, data = HOSTILE[name]

    cost = cost_of(schema)

    assert cost is None or cost.seconds(json.dumps(data)) > AT_ONCE_SECONDS_MAX


def is_judged_at_once(schema: EventSchema, values: list[Any]) -> bool:
    text = json.dumps({"a": values}, separators=(",", ":"))
    return schema.cost is not None and schema.cost.seconds(text) <= AT_ONCE_SECONDS_MAX
