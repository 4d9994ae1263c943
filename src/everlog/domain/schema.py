"""Event schemas: JSON Schema for the data of one event type.

A compiled schema describes an object, is valid by its own meta schema (2020-12 unless `$schema`
names an older draft), and needs nothing but itself: no remote reference is ever fetched.
Patterns run on an engine without backtracking, so that the time to match one is linear in the
text; look-around and back-references are therefore refused, as in the original.
`format` is an annotation and not asserted, as 2020-12 has it.
Its text is within the limits of all readers (`json_text`), since it is served as it was registered.
What is left to others: one schema per type, and checking the events already stored (service).
"""

import re
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
)
from everlog.domain.limits import SCHEMA_SIZE_MAX
from everlog.domain.schema_reasons import explain, json_type, locate, missing_properties

# A pattern that needs more than this is a counted repetition of a large class, or an attack.
# At this size 64 KiB of text take milliseconds; at four times the size they can take seconds.
_PATTERN_SIZE_MAX: Final = 256 * 1024

# The library follows references by recursion: a chain of 5,000 can exhaust the stack, which ends
# the process, and one of 1,000 takes more than a second. Real schemas have some dozens.
_REFERENCES_MAX: Final = 500
_REFERENCE: Final = re.compile(rb'"\$(?:r|dynamicR|recursiveR)ef":')

_FIELD: Final = "schema"


class EventSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A schema that can be asked; `text` is what was registered, minified."""

    event_type: str
    text: str
    validator: jsonschema_rs.Validator


def compile_event_schema(event_type: str, raw: bytes | msgspec.Raw | None) -> EventSchema:
    """Return the schema that a JSON text describes, which is to be registered."""
    if raw is None:
        raise RefusedError(Code.EVENT_SCHEMA_MISSING, "the event schema is missing", field=_FIELD)
    return _compile(event_type, *_parse_json(raw))


def restore_event_schema(event_type: str, text: str) -> EventSchema:
    """Return a schema that was registered, by a version that may have taken what this one does not.

    It is what its type has for good, however deep it is nested and whatever its numbers are.
    """
    return _compile(event_type, text, msgspec.json.decode(text))


def _compile(event_type: str, text: str, value: object) -> EventSchema:
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
        raise _malformed(Fault(locate(error.instance_path, error.message))) from error
    except BaseException as error:
        if not _is_panic(error):
            raise
        raise _malformed(Fault("the validator cannot work with it")) from error
    return EventSchema(event_type=event_type, text=text, validator=validator)


def find_violation(schema: EventSchema, data: dict[str, object]) -> str | None:
    """Return why the data does not match the schema, None if it does."""
    try:
        if schema.validator.is_valid(data):
            return None
        return explain(list(schema.validator.iter_errors(data)))
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


def _parse_json(raw: bytes | msgspec.Raw) -> tuple[str, object]:
    minified = b""
    try:
        minified = msgspec.json.format(raw, indent=-1)
        if len(minified) > SCHEMA_SIZE_MAX:
            raise _malformed(Fault(f"it is larger than {SCHEMA_SIZE_MAX} bytes", SCHEMA_SIZE_MAX))
        value = msgspec.json.decode(minified)
        text = minified.decode()
    except NOT_JSON as error:
        raise _malformed(explain_failure(minified or bytes(raw), error)) from error
    fault = find_fault(minified) or find_repeated_name(minified, value)
    if fault is not None:
        raise _malformed(fault)
    return text, value


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
