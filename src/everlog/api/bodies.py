"""Request bodies: from bytes to the structs that a version's `requests` module declares.

Version 2 is strict. Version 1 is as lenient as the original, where clients depend on it: names
match in any case, and `null` is the same as leaving a member out (its structs say so), or all.
Syntax, types and unknown names are faults of the body, and are told with the path of the member.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args, get_type_hints

import msgspec

_Body = TypeVar("_Body", bound=msgspec.Struct)

_UNKNOWN_FIELD: Final = "unknown field"
# What msgspec says of both.
_TRUNCATED: Final = "Input data was truncated"
# msgspec names the whole for a fault in a member of it.
_ELLIPSIS: Final = re.compile(r"\[\.\.\.\]")

# RFC 8259 section 2.
_WHITESPACE: Final = b" \t\n\r"

_NOT_JSON: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


class MalformedRequestError(Exception):
    """The body is not JSON, or body or query are not of the shape that the endpoint takes."""


def read_strictly(decoder: "msgspec.json.Decoder[_Body]", body: bytes) -> _Body:
    """Return the body as a struct.

    Raises:
        MalformedRequestError: It is none.
    """
    if not body:
        message = "malformed request body: it is empty, and a JSON object is expected"
        raise MalformedRequestError(message)
    try:
        return decoder.decode(body)
    except _NOT_JSON as error:
        raise _malformed(error) from error


def read_leniently(decoder: "msgspec.json.Decoder[_Body]", body: bytes) -> _Body:
    """Return the body as a struct, taking names in any case, and null for no members.

    Raises:
        MalformedRequestError: It is none.
    """
    if body.strip(_WHITESPACE) == b"null":
        # What the Rust SDK sends where there is nothing to say.
        body = b"{}"
    try:
        return read_strictly(decoder, body)
    except MalformedRequestError as error:
        if _UNKNOWN_FIELD not in str(error):
            raise
    try:
        folded = _fold_names(body, decoder.type)
    except _NOT_JSON as error:
        raise _malformed(error) from error
    return read_strictly(decoder, folded)


def _malformed(error: Exception) -> MalformedRequestError:
    if isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    elif isinstance(error, UnicodeDecodeError):
        reason = "it is not valid UTF-8"
    elif str(error) == _TRUNCATED:
        reason = "it ends too early, or half of a surrogate pair stands at the end of a string"
    else:
        reason = _ELLIPSIS.sub("", str(error))
    return MalformedRequestError(f"malformed request body: {reason}")


def _fold_names(body: bytes | msgspec.Raw, body_type: type[msgspec.Struct]) -> bytes:
    """Give every member its declared name, if it differs in case only; values stay as they are."""
    names = {field.encode_name.casefold(): field for field in msgspec.structs.fields(body_type)}
    hints = get_type_hints(body_type)
    folded: dict[str, bytes | msgspec.Raw] = {}
    for name, value in _decode_members(body).items():
        field = names.get(name.casefold())
        if field is None:
            folded[name] = value
        else:
            folded[field.encode_name] = _fold_value(value, hints[field.name])
    return _render_object(folded)


def _fold_value(value: msgspec.Raw, hint: Any) -> bytes | msgspec.Raw:
    opening = bytes(value)[:1]
    for choice in (hint, *get_args(hint)):
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct) and opening == b"{":
            return _fold_names(value, choice)
    for choice in get_args(hint):
        elements = [arg for arg in get_args(choice) if isinstance(arg, type)]
        if opening == b"[" and elements and issubclass(elements[0], msgspec.Struct):
            return b"[%b]" % b",".join(
                _fold_value(element, elements[0]) for element in _decode_elements(value)
            )
    return value


def _render_object(members: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    return b"{%b}" % b",".join(
        b"%b:%b" % (msgspec.json.encode(name), value) for name, value in members.items()
    )
