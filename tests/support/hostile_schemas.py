"""Event schemas that make a validator compute, each with data that makes it compute most."""

from collections.abc import Callable
from typing import Any, Final

Json = dict[str, Any]

STRING: Final = {"type": "string"}


def an_object(**keywords: object) -> Json:
    return {"type": "object", "properties": {}, **keywords}


def expressions() -> Json:
    """Return an ordinary schema: a tree of expressions, each of one of seven forms."""

    def form(operator: str, *names: str) -> Json:
        return {
            "type": "object",
            "required": ["operator", *names],
            "properties": {
                "operator": {"const": operator},
                **{name: {"$ref": "#/$defs/expression"} for name in names},
            },
            "additionalProperties": False,
        }

    literal = {"type": "object", "required": ["value"], "properties": {"value": {"type": "number"}}}
    binary = [form(operator, "left", "right") for operator in ("+", "-", "*", "/")]
    unary = [form(operator, "inner") for operator in ("negative", "absolute")]
    return an_object(
        required=["expression"],
        properties={"expression": {"$ref": "#/$defs/expression"}},
        **{"$defs": {"expression": {"oneOf": [literal, *binary, *unary]}}},
    )


def an_expression(levels: int, literal: object = 1) -> Json:
    """Return data of the same, whose deepest literal is this one."""
    expression: Json = {"value": literal}
    for _ in range(levels):
        expression = {"operator": "+", "left": expression, "right": {"value": 1}}
    return {"expression": expression}


def doubling(levels: int, keyword: str = "allOf") -> Json:
    """Return a schema in which each definition leads to the next one twice."""
    definitions: Json = {
        f"a{level}": {
            keyword: [{"$ref": f"#/$defs/a{level + 1}"}, {"$ref": f"#/$defs/a{level + 1}"}]
        }
        for level in range(levels)
    }
    definitions[f"a{levels}"] = {"minProperties": 1 if keyword == "allOf" else 100}
    return an_object(**{"$ref": "#/$defs/a0", "$defs": definitions})


def chained(length: int) -> Json:
    """Return a schema that takes as long to compile as references of this number can."""
    definitions: Json = {
        f"a{index}": {"$ref": f"#/$defs/a{index + 1}", "unevaluatedProperties": STRING}
        for index in range(length)
    }
    definitions[f"a{length}"] = {"type": "object"}
    return an_object(**{"$ref": "#/$defs/a0", "$defs": definitions})


def of_items(schema: object) -> Json:
    """Return a schema for each item of an array."""
    return an_object(properties={"a": {"items": schema}})


def items(make: Callable[[int], object], count: int) -> Json:
    """Return data that is an array of values."""
    return {"a": [make(index) for index in range(count)]}


_PATTERN: Final = "[ab]*a[ab]{1000}c"

# By name: what is registered, and data that it has to be asked about.
HOSTILE: Final[dict[str, tuple[Json, Json]]] = {
    "a tree with a wrong leaf": (expressions(), an_expression(30, "wrong")),
    "alternatives of alternatives": (doubling(40, "anyOf"), {"a": 1}),
    "all of all": (doubling(40), {"a": 1}),
    "either of either": (doubling(40, "oneOf"), {"a": 1}),
    "unevaluated of unevaluated": (chained(450), {"a": 1}),
    "thousands at once": (
        of_items({"allOf": [{"minimum": -index} for index in range(40_000)]}),
        items(lambda _: 1, 30_000),
    ),
    "an enumeration of objects": (
        of_items({"enum": [{"v": index} for index in range(50_000)]}),
        items(lambda _: {"v": -1}, 8_000),
    ),
    "an enumeration of fractions": (
        of_items({"anyOf": [{"enum": [index + 0.5 for index in range(3_000)]}, {}]}),
        items(lambda _: 1.25, 10_000),
    ),
    "unlike each other": (
        an_object(properties={"a": {"uniqueItems": True}}),
        items(lambda index: 2**64 + index, 5_000),
    ),
    "multiples of the smallest number": (
        of_items({"anyOf": [{"multipleOf": 5e-324}, {}]}),
        items(lambda _: 1e308, 15_000),
    ),
    "patterns": (
        an_object(properties={"a": {"anyOf": [{"pattern": _PATTERN}, {}]}}),
        {"a": "abbabaabbbababbaab" * 5_000},
    ),
    "many patterns for names": (
        an_object(patternProperties={f"a.*b.*c{index}": STRING for index in range(8_000)}),
        {f"abc{index}": "" for index in range(8_000)},
    ),
}
