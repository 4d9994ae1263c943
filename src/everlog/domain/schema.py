"""Event schemas: JSON Schema for the data of one event type.

A compiled schema describes an object, is valid by its own meta schema (2020-12 unless `$schema`
names an older draft), and needs nothing but itself: no remote reference is ever fetched.
Patterns run on an engine without backtracking, so that the time to match one is linear in the
text; look-around and back-references are therefore refused, as in the original.
`format` is an annotation and not asserted, as 2020-12 has it.
Its text is within the limits of all readers (`json_text`), since it is served as it was registered.

Nothing of the validator can be interrupted, neither compiling nor judging nor explaining. So a
schema comes in two kinds. What a *light* one takes is known beforehand (`schema_cost`): it is
compiled at once, within some milliseconds. All others are nothing but their text, until
`compile_event_schema` or `recompile_event_schema` compiles them, in a process that may be killed.
What is left to others: one schema per type, where data is judged, and checking the events already
stored (service).
"""

import re
from functools import lru_cache
from typing import Final, NoReturn

import jsonschema_rs
import msgspec

from everlog.domain.errors import Code, RefusedError
from everlog.domain.json_text import (
    NOT_JSON,
    Fault,
    explain_failure,
    find_fault,
    find_repeated_name,
    to_float,
)
from everlog.domain.limits import SCHEMA_SIZE_MAX
from everlog.domain.schema_cost import JudgingCost, judging_cost
from everlog.domain.schema_reasons import explain, json_type, locate, missing_properties, shorten

# A pattern that needs more than this is a counted repetition of a large class, or an attack.
# At this size 64 KiB of text take milliseconds; at four times the size they can take seconds.
_PATTERN_SIZE_MAX: Final = 256 * 1024

# The library follows references by recursion: a chain of 5,000 can exhaust the stack, which ends
# the process, and one of 1,000 takes more than a second. Real schemas have some dozens.
_REFERENCES_MAX: Final = 500
_REFERENCE: Final = re.compile(rb'"\$(?:r|dynamicR|recursiveR)ef":')

# Reading and compiling so much takes some milliseconds.
_LIGHT_SIZE_MAX: Final = 32 * 1024

_FIELD: Final = "schema"

_decode_object: Final = msgspec.json.Decoder(dict[str, object], float_hook=to_float).decode
_decode_value: Final = msgspec.json.Decoder(float_hook=to_float).decode

_UNEXPLAINED: Final = "it does not match, and finding out why would take too long"


class EventSchema(msgspec.Struct, frozen=True):
    """A schema; `text` is what was registered, minified.

    It can be asked where it has a validator, and has one at once where it is light, so that its
    cost is known.
    """

    event_type: str
    text: str
    validator: jsonschema_rs.Validator | None = None
    cost: JudgingCost | None = None


def read_event_schema(event_type: str, raw: bytes | msgspec.Raw | None) -> EventSchema:
    """Return the schema that a JSON text describes, compiled if it is light.

    Takes some milliseconds. If it is not compiled, it has not been found to be a schema either.

    Raises:
        RefusedError: It is missing, too large, or none.
    """
    text = _minify(raw)
    if len(text) > _LIGHT_SIZE_MAX:
        return EventSchema(event_type, text)
    schema = _check(text)
    cost = judging_cost(schema)
    return EventSchema(event_type, text, None if cost is None else _compile(schema), cost)


def compile_event_schema(event_type: str, raw: bytes | msgspec.Raw | None) -> EventSchema:
    """Return the schema that a JSON text describes, compiled, however long it takes.

    Raises:
        RefusedError: It is missing, too large, or none.
    """
    text = _minify(raw)
    schema = _check(text)
    return EventSchema(event_type, text, _compile(schema), judging_cost(schema))


def restore_event_schema(event_type: str, text: str) -> EventSchema:
    """Return a schema that was registered, whatever the limits were then, compiled if it is light.

    Takes some milliseconds. One that cannot be compiled any more is as one that is not light.
    """
    if len(text) > _LIGHT_SIZE_MAX:
        return EventSchema(event_type, text)
    try:
        schema = _decode_object(text)
        cost = judging_cost(schema)
        return EventSchema(event_type, text, None if cost is None else _compile(schema), cost)
    except (RefusedError, msgspec.DecodeError):
        return EventSchema(event_type, text)


def recompile_event_schema(event_type: str, text: str) -> EventSchema:
    """Return a schema that was registered, compiled, however long it takes.

    Raises:
        RefusedError: It cannot be compiled any more.
    """
    return EventSchema(event_type, text, _compile(_decode_object(text)))


def matches(schema: EventSchema, data: dict[str, object]) -> bool:
    """Tell whether data matches a schema that has a validator."""
    assert schema.validator is not None
    try:
        return schema.validator.is_valid(data)
    except BaseException as error:
        if not _is_panic(error):
            raise
        # What cannot be judged has not been found to match.
        return False


def explain_violation(schema: EventSchema, data: dict[str, object]) -> str:
    """Return why data does not match a schema that has a validator, and that it does not match."""
    try:
        errors = list(_compile_explaining(schema.text).iter_errors(data))
    except RefusedError:
        return _UNEXPLAINED
    except BaseException as error:
        if not _is_panic(error):
            raise
        errors = []
    return explain(errors) if errors else "the validator cannot judge this data"


def find_violation(schema: EventSchema, data: dict[str, object]) -> str | None:
    """Return why data does not match a schema that has a validator, None if it does."""
    return None if matches(schema, data) else explain_violation(schema, data)


@lru_cache(64)
def _compile_explaining(text: str) -> jsonschema_rs.Validator:
    """Return what judges as a schema does, and explains no more than is told."""
    return _compile(shorten(_decode_object(text)))


def _compile(schema: dict[str, object]) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            schema,
            validate_formats=False,
            retriever=_refuse_remote_reference,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_SIZE_MAX),
        )
    except jsonschema_rs.ValidationError as error:
        raise _malformed(Fault(locate(error.instance_path, error.message))) from error
    except BaseException as error:
        if not _is_panic(error):
            raise
        raise _malformed(Fault("the validator cannot work with it")) from error


def _is_panic(error: BaseException) -> bool:
    """Tell whether an error is a bug of the library, seen with two equal `$id`s, for one.

    Its class is not public and lies outside of `Exception`, so that it would end the server.
    """
    return type(error).__name__ == "PanicException"


def _minify(raw: bytes | msgspec.Raw | None) -> str:
    if raw is None:
        raise RefusedError(Code.EVENT_SCHEMA_MISSING, "the event schema is missing", field=_FIELD)
    minified = b""
    try:
        minified = msgspec.json.format(raw, indent=-1)
        if len(minified) > SCHEMA_SIZE_MAX:
            raise _malformed(Fault(f"it is larger than {SCHEMA_SIZE_MAX} bytes", SCHEMA_SIZE_MAX))
        return minified.decode()
    except NOT_JSON as error:
        raise _malformed(explain_failure(minified or bytes(raw), error)) from error


def _check(text: str) -> dict[str, object]:
    """Return the schema that a minified text describes, as far as it can be known without effort.

    Raises:
        RefusedError: It is no JSON, not what every reader can read, not about an object, or refers
            too often.
    """
    minified = text.encode()
    try:
        value = _decode_value(minified)
    except NOT_JSON as error:
        raise _malformed(explain_failure(minified, error)) from error
    fault = find_fault(minified) or find_repeated_name(minified, value)
    if fault is not None:
        raise _malformed(fault)
    schema = _check_describes_object(value)
    _check_references(schema)
    return schema


def _check_describes_object(value: object) -> dict[str, object]:
    """Check what the original demands of every schema before it looks any closer."""
    if not isinstance(value, dict):
        raise _not_object(f"expected object, but got {json_type(value)}")
    missing = [name for name in ("type", "properties") if name not in value]
    if missing:
        raise _not_object(missing_properties(missing))
    if value["type"] != "object":
        raise _not_object('/type: value must be "object"')
    return value


def _check_references(schema: dict[str, object]) -> None:
    # Encoded anew, no name can hide behind escapes, and inside strings the quotes are escaped.
    if len(_REFERENCE.findall(msgspec.json.encode(schema))) > _REFERENCES_MAX:
        raise _malformed(Fault(f"it has more than {_REFERENCES_MAX} references", _REFERENCES_MAX))


def _refuse_remote_reference(_uri: str, /) -> NoReturn:
    # To fetch it would let a client send requests from within the server's network.
    raise LookupError("references to other documents are not fetched")


def _malformed(fault: Fault) -> RefusedError:
    limit = {} if fault.limit is None else {"limit": fault.limit}
    message = f"malformed event schema: {fault.reason}"
    return RefusedError(Code.EVENT_SCHEMA_MALFORMED, message, field=_FIELD, **limit)


def _not_object(reason: str) -> RefusedError:
    return RefusedError(
        Code.EVENT_SCHEMA_NOT_OBJECT,
        f"the event schema is not an object schema: {reason}",
        field=_FIELD,
    )
