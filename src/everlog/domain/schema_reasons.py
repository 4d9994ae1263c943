"""Schema reasons: why data does not match a schema, in the words that clients know.

The original's validator is written in Go, and its texts reach users (compatibility specification,
sections 1.5 and 7). For the keywords below they are the same; for others the library's own stand.

The library explains a failed alternative by why each of its branches failed, and each of those by
why theirs did: a tree that multiplies with every step, though nothing of it is told. `shorten`
makes a schema for which it does not.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from jsonschema_rs import ValidationError

# Some reasons quote the offending value, which may be as large as the event.
_REASON_LENGTH_MAX: Final = 1_000

# From here on Go writes a float with an exponent.
_PLAIN_FLOAT_MAX: Final = 1e21

_JSON_TYPES: Final[dict[type[object], str]] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


# Whose values are branches, of which the library says why they failed.
_ALTERNATIVES: Final = frozenset({"anyOf", "oneOf"})

# Whose values are no schemas, whatever they look like.
_VALUES: Final = frozenset({"const", "default", "enum", "example", "examples"})

# Whose members have names of the schema's own.
_NAMED: Final = frozenset(
    {
        "$defs",
        "definitions",
        "dependencies",
        "dependentSchemas",
        "patternProperties",
        "properties",
    }
)

_BRANCH: Final = re.compile(r"/(?:anyOf|oneOf)/[0-9]+(?=/|$)")

# Older drafts know no `if`.
_DRAFTS_WITHOUT_IF: Final = ("draft-04", "draft-06")


def shorten(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that data matches as it does this one, but whose branches fail in one word.

    Each branch becomes a condition whose outcome is all that is known of it. What a reference
    points to within a branch moves with it; where that cannot be told, the schema refers to
    nothing, which is found when it is compiled.
    """
    draft = str(schema.get("$schema"))
    if any(name in draft for name in _DRAFTS_WITHOUT_IF):
        return _shorten(schema, lambda branch: {"not": {"not": branch}}, "/not/not")
    return _shorten(schema, lambda branch: {"if": branch, "else": False}, "/if")


def _shorten(
    schema: dict[str, Any], close: Callable[[Any], dict[str, Any]], closed_path: str
) -> dict[str, Any]:
    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {keyword: member(keyword, inner) for keyword, inner in value.items()}

    def member(keyword: str, value: Any) -> Any:
        if keyword in _VALUES:
            return value
        if keyword in _NAMED and isinstance(value, dict):
            return {name: walk(inner) for name, inner in value.items()}
        if keyword in _ALTERNATIVES and isinstance(value, list):
            return [close(walk(branch)) for branch in value]
        if keyword == "$ref" and isinstance(value, str) and value.startswith("#"):
            return _BRANCH.sub(lambda found: found[0] + closed_path, value)
        return walk(value)

    shortened: dict[str, Any] = walk(schema)
    return shortened


def explain(errors: list[ValidationError]) -> str:
    """Return the first of the reasons, of which there is at least one, with its place."""
    first = errors[0]
    keyword = first.kind.name
    if keyword == "required":
        reason = missing_properties(_missing_beside(first, errors))
    elif keyword in _REASONS:
        reason = _REASONS[keyword](first.kind.value, first.instance) or first.message
    else:
        reason = first.message
    return locate(first.instance_path, reason)


def locate(path: list[str | int], reason: str) -> str:
    """Put the place before the reason, as a JSON pointer (RFC 6901), unless it is the root."""
    pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
    located = f"{pointer}: {reason}" if pointer else reason
    if len(located) <= _REASON_LENGTH_MAX:
        return located
    return f"{located[:_REASON_LENGTH_MAX]}..."


def missing_properties(names: list[str]) -> str:
    """Return the reason for properties that are required and not there."""
    return f"missing properties: {_quote(names)}"


def json_type(value: object) -> str:
    """Return the name of a decoded value's type."""
    return _JSON_TYPES[type(value)]


def _missing_beside(first: ValidationError, errors: list[ValidationError]) -> list[str]:
    """Return all properties that the same `required` misses in the same object."""
    return [
        str(error.kind.value)
        for error in errors
        if error.kind.name == "required"
        and error.instance_path == first.instance_path
        and error.schema_path == first.schema_path
    ]


def _unexpected_type(types: list[str], instance: object) -> str:
    return f"expected {' or '.join(types)}, but got {json_type(instance)}"


def _other_constant(constant: object, _: object) -> str:
    if isinstance(constant, (dict, list)):
        return "const failed"
    return f"value must be {_in_go(constant)}"


def _not_among(values: list[object], _: object) -> str:
    if any(isinstance(value, (dict, list)) for value in values):
        return "enum failed"
    if len(values) == 1:
        return f"value must be {_in_go(values[0])}"
    return f"value must be one of {', '.join(map(_in_go, values))}"


def _not_one_of(reasons: list[list[object]], _: object) -> str:
    matching = [index for index, found in enumerate(reasons) if not found]
    if not matching:
        return "oneOf failed"
    return f"valid against schemas at indexes {matching[0]} and {matching[1]}"


def _repeated_items(_: object, items: list[Any]) -> str | None:
    # Numbers of different spelling can be equal too; then there is no pair here.
    first_indexes: dict[bytes, int] = {}
    for index, item in enumerate(items):
        first = first_indexes.setdefault(msgspec.json.encode(item, order="sorted"), index)
        if first != index:
            return f"items at index {first} and {index} are equal"
    return None


def _said(text: str) -> "_Reason":
    """Return what makes a reason of a text with places for the keyword's value and ours."""
    return lambda value, instance: text.format(value=_number(value), found=_number(instance))


def _counted(text: str) -> "_Reason":
    """Return the same for keywords that count characters, items or properties."""
    return lambda value, instance: text.format(value=_number(value), found=len(instance))


_Reason = Callable[[Any, Any], str | None]

_REASONS: Final[Mapping[str, _Reason]] = MappingProxyType(
    {
        "additionalProperties": lambda names, _: (
            f"additionalProperties {_quote(names)} not allowed"
        ),
        "anyOf": _said("anyOf failed"),
        "const": _other_constant,
        "enum": _not_among,
        "exclusiveMaximum": _said("must be < {value} but found {found}"),
        "exclusiveMinimum": _said("must be > {value} but found {found}"),
        "falseSchema": _said("not allowed"),
        "maxItems": _counted("maximum {value} items required, but found {found} items"),
        "maxLength": _counted("length must be <= {value}, but got {found}"),
        "maxProperties": _counted(
            "maximum {value} properties allowed, but found {found} properties"
        ),
        "maximum": _said("must be <= {value} but found {found}"),
        "minItems": _counted("minimum {value} items required, but found {found} items"),
        "minLength": _counted("length must be >= {value}, but got {found}"),
        "minProperties": _counted(
            "minimum {value} properties allowed, but found {found} properties"
        ),
        "minimum": _said("must be >= {value} but found {found}"),
        "multipleOf": _said("{found} not multipleOf {value}"),
        "not": _said("not failed"),
        "oneOf": _not_one_of,
        "pattern": lambda pattern, _: f"does not match pattern '{pattern}'",
        "type": _unexpected_type,
        "uniqueItems": _repeated_items,
    }
)


def _quote(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _in_go(value: object) -> str:
    """Return a scalar as Go shows it: numbers between quotes, since they are texts there."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    text = value if isinstance(value, str) else _number(value)
    return msgspec.json.encode(text).decode()


def _number(value: object) -> str:
    """Return a number without a fraction that says nothing; anything else is not shown."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _PLAIN_FLOAT_MAX:
        return str(int(value))
    return repr(value) if isinstance(value, (int, float)) else ""
