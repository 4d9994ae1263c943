"""Request bodies: from bytes to the structs of a version, and from those to what the domain parses.

Version 2 is strict. Version 1 is as lenient as the original, where clients depend on it: names
match in any case, and `null` is the same as leaving a member out (its structs say so), or all.
Syntax, types and unknown names are faults of the body, and are told with the path of the member.

In the members of a struct, None, UNSET and the empty string are the same: nothing was said. Which
of them a body may hold is a question of its version (`requests`).
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args, get_type_hints

import msgspec

from everlog.api.requests import v1, v2
from everlog.domain.precondition import Precondition, PreconditionPayloadText, PreconditionText
from everlog.domain.selection import (
    BoundText,
    FromLatestEventText,
    Selection,
    parse_observe_selection,
    parse_read_selection,
)
from everlog.service.write import parse_preconditions

_Body = TypeVar("_Body", bound=msgspec.Struct)

_UNKNOWN_FIELD: Final = "unknown field"
# What msgspec says of both.
_TRUNCATED: Final = "Input data was truncated"
# msgspec names the whole for a fault in a member of it.
_ELLIPSIS: Final = re.compile(r"\[\.\.\.\]")

# RFC 8259 section 2.
_WHITESPACE: Final = b" \t\n\r"

# What counts where a body has no options.
_NO_READ_OPTIONS: Final = v2.ReadOptions()
_NO_OBSERVE_OPTIONS: Final = v2.ObserveOptions()

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
    try:
        return decoder.decode(body)
    except _NOT_JSON as error:
        raise _malformed(body, error) from error


def read_leniently(decoder: "msgspec.json.Decoder[_Body]", body: bytes) -> _Body:
    """Return the body as a struct, taking names in any case, and null for no members.

    Raises:
        MalformedRequestError: It is none.
    """
    try:
        return decoder.decode(body)
    except _NOT_JSON as error:
        # Most bodies are exact, so that leniency costs only those that need it.
        if body.strip(_WHITESPACE) == b"null":
            # What the Rust SDK sends where there is nothing to say.
            return read_strictly(decoder, b"{}")
        if _UNKNOWN_FIELD not in str(error):
            raise _malformed(body, error) from error
    try:
        folded = _fold_names(body, decoder.type)
    except _NOT_JSON as error:
        raise _malformed(body, error) from error
    return read_strictly(decoder, folded)


def preconditions_of(body: v1.WriteEvents | v2.WriteEvents) -> list[Precondition]:
    """Return under which conditions something is to be written."""
    return parse_preconditions([_precondition_text(text) for text in body.preconditions or ()])


def parse_read(body: v1.ReadEvents | v2.ReadEvents) -> Selection:
    """Return which events are to be read."""
    options = body.options or _NO_READ_OPTIONS
    lower, upper, latest = options.lower_bound, options.upper_bound, options.from_latest_event
    return parse_read_selection(
        subject=body.subject or None,
        recursive=bool(options.recursive),
        order=options.order or None,
        lower_bound=_bound_text(lower) if lower else None,
        upper_bound=_bound_text(upper) if upper else None,
        from_latest_event=_from_latest_event_text(latest) if latest else None,
    )


def parse_observe(body: v1.ObserveEvents | v2.ObserveEvents) -> Selection:
    """Return which events are to be observed."""
    options = body.options or _NO_OBSERVE_OPTIONS
    lower, latest = options.lower_bound, options.from_latest_event
    return parse_observe_selection(
        subject=body.subject or None,
        recursive=bool(options.recursive),
        lower_bound=_bound_text(lower) if lower else None,
        from_latest_event=_from_latest_event_text(latest) if latest else None,
    )


def _malformed(body: bytes, error: Exception) -> MalformedRequestError:
    if not body:
        reason = "it is empty, and a JSON object is expected"
    elif isinstance(error, RecursionError):
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


def _precondition_text(text: v1.Precondition | v2.Precondition) -> PreconditionText:
    payload = text.payload or None
    if payload is None:
        return PreconditionText(text.type or None, None)
    recursive = None
    # Only version 2 has options here.
    if isinstance(payload, v2.PreconditionPayload) and payload.options:
        recursive = payload.options.recursive
    return PreconditionText(
        text.type or None,
        PreconditionPayloadText(
            payload.subject or None,
            payload.event_id or None,
            recursive=recursive,
            query=payload.query or None,
        ),
    )


def _bound_text(bound: v1.Bound | v2.Bound) -> BoundText:
    return BoundText(bound.id or None, bound.type or None)


def _from_latest_event_text(latest: v1.FromLatestEvent | v2.FromLatestEvent) -> FromLatestEventText:
    return FromLatestEventText(
        latest.subject or None, latest.type or None, latest.if_event_is_missing or None
    )
