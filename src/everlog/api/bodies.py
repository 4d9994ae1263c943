"""Request bodies: from bytes to the structs of a version, and from those to what the domain parses.

Version 2 is strict. Version 1 is as lenient as the original, where clients depend on it: names
match in any case, and `null` is the same as leaving a member out (its structs say so), or all.
Syntax, types, unknown names and names that come twice are faults of the body, and are told with the
path of the member.

In the members of a struct, None, UNSET and the empty string are the same: nothing was said. Which
of them a body may hold is a question of its version (`requests`).
"""

import operator
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar, get_args, get_type_hints

import msgspec

from everlog.api.requests import v1, v2
from everlog.domain.json_text import NOT_JSON, explain_failure, quote
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
# msgspec names the whole for a fault in a member of it.
_ELLIPSIS: Final = re.compile(r"\[\.\.\.\]")

# RFC 8259 section 2.
_WHITESPACE: Final = b" \t\n\r"

# What counts where a body has no options.
_NO_READ_OPTIONS: Final = v2.ReadOptions()
_NO_OBSERVE_OPTIONS: Final = v2.ObserveOptions()


class _Name(str):
    """A name that is equal to no other one, so that a dict keeps all members of an object."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


_encode = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(
    dict[_Name, msgspec.Raw], dec_hook=lambda _, name: _Name(name)
).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


class MalformedRequestError(Exception):
    """The body is not JSON, or body or query are not of the shape that the endpoint takes."""


def read_strictly(decoder: "msgspec.json.Decoder[_Body]", body: bytes) -> _Body:
    """Return the body as a struct.

    Raises:
        MalformedRequestError: It is none, or a member comes twice.
    """
    try:
        found = decoder.decode(body)
    except NOT_JSON as error:
        raise _malformed(body, error) from error
    # The decoder takes the last of two members with one name. What it found is written again, which
    # is as long as the body only if that has all of it, and nothing else. Else both have the same
    # quotes, however they are written, unless members are missing; but for quotes that a string
    # has as numbers.
    written = _encode(found)
    if len(written) != len(body) and (
        written.count(b'"') != body.count(b'"') or (b"\\" in body and b"\\u0022" in body)
    ):
        _fold_names(msgspec.Raw(body), decoder.type, "$")
    return found


def read_leniently(decoder: "msgspec.json.Decoder[_Body]", body: bytes) -> _Body:
    """Return the body as a struct, taking names in any case, and null for no members.

    Raises:
        MalformedRequestError: It is none.
    """
    try:
        # Most bodies are exact, so that leniency costs only those that need it.
        return read_strictly(decoder, body)
    except MalformedRequestError as error:
        if body.strip(_WHITESPACE) == b"null":
            # What the Rust SDK sends where there is nothing to say.
            return read_strictly(decoder, b"{}")
        if _UNKNOWN_FIELD not in str(error):
            raise
    try:
        folded = bytes(_fold_names(msgspec.Raw(body), decoder.type, "$"))
    except NOT_JSON as error:
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
        # Only version 2 has them.
        types=options.types or None if isinstance(options, v2.ReadOptions) else None,
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
    if not body.strip(_WHITESPACE):
        reason = "it is empty, and a JSON object is expected"
    else:
        reason = _ELLIPSIS.sub("", explain_failure(body, error).reason)
    return MalformedRequestError(f"malformed request body: {reason}")


class _Member(NamedTuple):
    """A member that a struct has: its name in JSON, and what it, or each item of it, is."""

    name: str
    body_type: type[msgspec.Struct] | None
    is_list: bool


@cache
def _members_of(body_type: type[msgspec.Struct]) -> Mapping[str, _Member]:
    """Return the members of a struct by their names, and by those without case."""
    hints = get_type_hints(body_type)
    members = [
        _Member(field.encode_name, *_structs_in(hints[field.name]))
        for field in msgspec.structs.fields(body_type)
    ]
    return {name: each for each in members for name in (each.name, each.name.casefold())}


def _structs_in(hint: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    """Return the struct that a type allows, and whether it is a list of those."""
    for choice in get_args(hint) or (hint,):
        for element in (choice, *get_args(choice)):
            if isinstance(element, type) and issubclass(element, msgspec.Struct):
                return element, element is not choice
    return None, False


def _fold_names(body: msgspec.Raw, body_type: type[msgspec.Struct], path: str) -> msgspec.Raw:
    """Give every member its declared name, if it differs in case only; values stay as they are.

    Raises:
        MalformedRequestError: Two members of an object have one name.
    """
    members = _members_of(body_type)
    folded: dict[str, msgspec.Raw] = {}
    is_same = True
    for repeatable, value in _decode_members(body).items():
        given = str(repeatable)
        member = members.get(given) or members.get(given.casefold())
        name = given if member is None else member.name
        if name in folded:
            message = (
                f"malformed request body: the member '{quote(name)}' comes twice - at `{path}`"
            )
            raise MalformedRequestError(message)
        new_value = value
        if member is not None and member.body_type is not None:
            new_value = _fold_value(value, member, member.body_type, f"{path}.{name}")
        folded[name] = new_value
        is_same = is_same and new_value is value and name == given
    return body if is_same else msgspec.Raw(_encode(folded))


def _fold_value(
    value: msgspec.Raw, member: _Member, body_type: type[msgspec.Struct], path: str
) -> msgspec.Raw:
    if _opening_of(value) != (b"[" if member.is_list else b"{"):
        return value
    if not member.is_list:
        return _fold_names(value, body_type, path)
    items = _decode_elements(value)
    folded = [
        _fold_names(item, body_type, f"{path}[{index}]") if _opening_of(item) == b"{" else item
        for index, item in enumerate(items)
    ]
    return value if all(map(operator.is_, folded, items)) else msgspec.Raw(_encode(folded))


def _opening_of(value: msgspec.Raw) -> bytes:
    return bytes(memoryview(value)[:1])


def _precondition_text(text: v1.Precondition | v2.Precondition) -> PreconditionText:
    payload = text.payload or None
    if payload is None:
        return PreconditionText(text.type or None, None)
    recursive = None
    # Only version 2 has options here.
    if isinstance(payload, v2.PreconditionPayload) and payload.options:
        recursive = bool(payload.options.recursive)
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
