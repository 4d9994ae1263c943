"""Event schemas: JSON Schema for the data of one event type.

A compiled schema describes an object, is valid by its own meta schema (2020-12 unless `$schema`
names an older draft), and needs nothing but itself: no remote reference is ever fetched.
Patterns run on an engine without backtracking, so that the time to match one is linear in the
text; look-around and back-references are therefore refused, as in the original.
`format` is an annotation and not asserted, as 2020-12 has it.
What is left to others: one schema per type, and checking the events already stored (service).
"""

import re
from collections.abc import Callable
from typing import Final, NoReturn

import jsonschema_rs
import msgspec
from jsonschema_rs import ValidationErrorKind

from everlog.domain.data import check_nesting
from everlog.domain.errors import Code, RefusedError
from everlog.domain.limits import SCHEMA_SIZE_MAX

# A pattern that needs more than this is a counted repetition of a large class, or an attack.
# At this size 64 KiB of text take milliseconds; at four times the size they can take seconds.
_PATTERN_SIZE_MAX: Final = 256 * 1024

# The library follows references by recursion: a chain of 5,000 can exhaust the stack, which ends
# the process, and one of 1,000 takes more than a second. Real schemas have some dozens.
_REFERENCES_MAX: Final = 500
_REFERENCE: Final = re.compile(rb'"\$(?:r|dynamicR|recursiveR)ef":')

# Some reasons quote the offending value, which may be as large as the event.
_REASON_LENGTH_MAX: Final = 1_000

_FIELD: Final = "schema"


class EventSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A schema that can be asked; `text` is what was registered, minified."""

    event_type: str
    text: str
    validator: jsonschema_rs.Validator


def compile_event_schema(event_type: str, raw: bytes | msgspec.Raw | None) -> EventSchema:
    """Return the schema that a JSON text describes."""
    if raw is None:
        raise RefusedError(Code.EVENT_SCHEMA_MISSING, "the event schema is missing", field=_FIELD)
    text, value = _parse_json(raw)
    schema = _check_describes_object(value)
    _check_references(schema)
    try:
        validator = jsonschema_rs.validator_for(
            schema,
            validate_formats=False,
            retriever=_refuse_remote_reference,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_SIZE_MAX),
        )
    except jsonschema_rs.ValidationError as error:
        raise _malformed(_locate(error.instance_path, error.message)) from error
    except BaseException as error:
        if not _is_panic(error):
            raise
        raise _malformed("the validator cannot work with it") from error
    return EventSchema(event_type=event_type, text=text, validator=validator)


def find_violation(schema: EventSchema, data: dict[str, object]) -> str | None:
    """Return why the data does not match the schema, None if it does."""
    try:
        if schema.validator.is_valid(data):
            return None
        return _explain(list(schema.validator.iter_errors(data)))
    except BaseException as error:
        if not _is_panic(error):
            raise
        # What cannot be judged has not been found to match.
        return "the validator cannot judge this data"


def _is_panic(error: BaseException) -> bool:
    """Tell whether an error is a bug of the library, seen with two equal `$id`s, for one.

    Its class is not public and lies outside of `Exception`, so that it would end the server.
    """
    return type(error).__name__ == "PanicException"


def _explain(errors: list[jsonschema_rs.ValidationError]) -> str:
    assert errors  # the same validator has just refused the same data
    first = errors[0]
    if isinstance(first.kind, ValidationErrorKind.Required):
        reason = _missing_properties(_siblings(first, errors))
    else:
        reason = _REASONS.get(type(first.kind), _own_message)(first)
    return _locate(first.instance_path, reason)


def _parse_json(raw: bytes | msgspec.Raw) -> tuple[str, object]:
    try:
        minified = msgspec.json.format(raw, indent=-1)
        if len(minified) > SCHEMA_SIZE_MAX:
            raise RefusedError(
                Code.EVENT_SCHEMA_MALFORMED,
                f"malformed event schema: it is larger than {SCHEMA_SIZE_MAX} bytes",
                field=_FIELD,
                limit=SCHEMA_SIZE_MAX,
            )
        value = msgspec.json.decode(minified)
        text = minified.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(f"it is not JSON ({error})") from error
    check_nesting(text, Code.EVENT_SCHEMA_MALFORMED, _FIELD)
    return text, value


def _check_describes_object(value: object) -> dict[str, object]:
    """Check what the original demands of every schema before it looks any closer."""
    if not isinstance(value, dict):
        raise _not_object(f"expected object, but got {_json_type(value)}")
    missing = [name for name in ("type", "properties") if name not in value]
    if missing:
        raise _not_object(_missing_properties(missing))
    if value["type"] != "object":
        raise _not_object('/type: value must be "object"')
    return value


def _check_references(schema: dict[str, object]) -> None:
    # Encoded anew, no name can hide behind escapes, and inside strings the quotes are escaped.
    if len(_REFERENCE.findall(msgspec.json.encode(schema))) > _REFERENCES_MAX:
        raise RefusedError(
            Code.EVENT_SCHEMA_MALFORMED,
            f"malformed event schema: it has more than {_REFERENCES_MAX} references",
            field=_FIELD,
            limit=_REFERENCES_MAX,
        )


def _refuse_remote_reference(_uri: str, /) -> NoReturn:
    # To fetch it would let a client send requests from within the server's network.
    raise LookupError("references to other documents are not fetched")


def _malformed(reason: str) -> RefusedError:
    return RefusedError(
        Code.EVENT_SCHEMA_MALFORMED, f"malformed event schema: {reason}", field=_FIELD
    )


def _not_object(reason: str) -> RefusedError:
    return RefusedError(
        Code.EVENT_SCHEMA_NOT_OBJECT,
        f"the event schema is not an object schema: {reason}",
        field=_FIELD,
    )


def _siblings(
    first: jsonschema_rs.ValidationError, errors: list[jsonschema_rs.ValidationError]
) -> list[str]:
    """Return all properties that the same `required` misses in the same object."""
    return [
        error.kind.property
        for error in errors
        if isinstance(error.kind, ValidationErrorKind.Required)
        and error.instance_path == first.instance_path
        and error.schema_path == first.schema_path
    ]


def _missing_properties(names: list[str]) -> str:
    return f"missing properties: {_quote(names)}"


def _unexpected_properties(error: jsonschema_rs.ValidationError) -> str:
    assert isinstance(error.kind, ValidationErrorKind.AdditionalProperties)
    return f"additionalProperties {_quote(error.kind.unexpected)} not allowed"


def _unexpected_type(error: jsonschema_rs.ValidationError) -> str:
    assert isinstance(error.kind, ValidationErrorKind.Type)
    return f"expected {' or '.join(error.kind.types)}, but got {_json_type(error.instance)}"


def _own_message(error: jsonschema_rs.ValidationError) -> str:
    return error.message


# SDKs and their users know these texts from the original; the rest is the library's wording.
_REASONS: Final[dict[type[ValidationErrorKind], Callable[[jsonschema_rs.ValidationError], str]]] = {
    ValidationErrorKind.AdditionalProperties: _unexpected_properties,
    ValidationErrorKind.Type: _unexpected_type,
}

_JSON_TYPES: Final[dict[type[object], str]] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _json_type(value: object) -> str:
    return _JSON_TYPES[type(value)]


def _quote(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _locate(path: list[str | int], reason: str) -> str:
    """Put the place before the reason, as a JSON pointer (RFC 6901), unless it is the root."""
    pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
    located = f"{pointer}: {reason}" if pointer else reason
    if len(located) <= _REASON_LENGTH_MAX:
        return located
    return f"{located[:_REASON_LENGTH_MAX]}..."
