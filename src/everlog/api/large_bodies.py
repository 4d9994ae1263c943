"""Large bodies of writes: from bytes to the same struct as always, part by part.

A decoder cannot be interrupted, and takes a tenth of a second for the largest body there may be;
what it makes of millions of empty elements takes gigabytes. So a body is cut between the elements
of its arrays, and each part is read by itself, as a body that holds nothing else. Where elements
end is told by quotes, brackets and commas alone.

Guarantees that the outcome is that of reading the body whole, with the same words for a fault
(of several, another one may come first); that no step takes more than some milliseconds; and that
no more elements are read than a write may have. Meant for a thread.
What is left to others: reading a part (`look_v1`, `look_v2`), and what the elements mean.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, NoReturn

import msgspec
import numpy as np

from everlog.api.bodies import MalformedRequestError
from everlog.api.requests import v1, v2
from everlog.domain.errors import Code, RefusedError
from everlog.domain.json_text import find_foreign_encoding
from everlog.domain.limits import EVENT_SENT_SIZE_MAX
from everlog.service.breaks import Rests
from everlog.service.write import COUNTS_MAX, refuse_count

_Body = v1.WriteEvents | v2.WriteEvents
_Read = Callable[[bytes], _Body]

# Bytes that are looked at together, and that are read together: a few milliseconds each.
_WINDOW_SIZE: Final = 256 * 1024
_PART_SIZE: Final = 64 * 1024

# What is not in an array, with the space between: names and brackets.
_FRAME_SIZE_MAX: Final = 256 * 1024
_MEMBERS_MAX: Final = 16

# What a byte outside of strings says about where things begin and end; all others say nothing.
_QUOTE, _OPENING, _CLOSING, _COMMA = 1, 2, 3, 4
_KINDS: Final = np.zeros(256, np.uint8)
_KINDS[[*b'"[{]},']] = [_QUOTE, _OPENING, _OPENING, _CLOSING, _CLOSING, _COMMA]
_STEPS: Final = np.array([0, 0, 1, -1, 0], np.int32)

# Members stand inside one bracket, elements inside two.
_OF_MEMBERS, _OF_ELEMENTS = 1, 2

# Which bracket opens the whole, and the value of each of its members; and what is none.
_BRACKETS: Final = (0, ord("{"), ord("["))
_OTHERS: Final = (b"%b", b"[%b]", b"{%b{}}")

# In what is wrong with a part: the number of an element, and of a byte.
_INDEX: Final = re.compile(r"(?<=\[)\d+(?=\])")
_BYTE: Final = re.compile(r"(?<=\(byte )\d+(?=\))")


class _Mark(NamedTuple):
    """A bracket or a comma, and how many brackets are open behind it."""

    position: int
    kind: int
    depth: int


@dataclass(slots=True)
class _Array:
    """The value of a member, from its opening bracket on."""

    name: str
    # Where the member begins, and its value.
    member: int
    opening: int
    # Where elements end: commas, and in the end the closing bracket.
    ends: list[int] = field(default_factory=list)


def read_in_parts(read: _Read, body: bytes) -> _Body:
    """Return what `read` makes of a body, without letting it have more than a part of it.

    Raises:
        MalformedRequestError: It is not the body of a write.
        RefusedError: It has more events or preconditions than it may, or an event is too large.
    """
    foreign = find_foreign_encoding(body)
    if foreign is not None:
        _refuse(foreign.reason)
    arrays = _find_arrays(read, body)
    pieces, start = [], 0
    for array in arrays:
        pieces.append(body[start : array.opening + 1])
        start = array.ends[-1]
    if sum(map(len, pieces)) + len(body) - start > _FRAME_SIZE_MAX:
        _refuse("it holds too much besides events and preconditions")
    found = read(b"".join([*pieces, body[start:]]))
    elements = {array.name: [*_read_elements(read, body, array)] for array in arrays}
    return msgspec.structs.replace(found, **elements)


def _find_arrays(read: _Read, body: bytes) -> list[_Array]:
    """Find the elements of all members that are arrays."""
    arrays: list[_Array] = []
    current: _Array | None = None
    member = member_count = 0
    for mark in _find_marks(body):
        if mark.kind == _OPENING:
            if body[mark.position] != _BRACKETS[mark.depth]:
                # It is told what is wrong with it.
                key = body[member : mark.position] if mark.depth == _OF_ELEMENTS else b""
                read(_OTHERS[mark.depth] % key)
                _refuse("it has another shape")
            if mark.depth == _OF_ELEMENTS:
                name = _find_name(read, body[member : mark.position])
                current = _Array(name, member, mark.position)
                arrays.append(current)
        if mark.depth < _OF_ELEMENTS and current is None:
            # A member begins here, or was no array, or the whole is at its end.
            member = mark.position + 1
            member_count += 1
            if member_count > _MEMBERS_MAX:
                _refuse("it has too many members")
        elif current is not None and mark.kind != _OPENING:
            current.ends.append(mark.position)
            if len(current.ends) > COUNTS_MAX[current.name]:
                refuse_count(current.name)
            if mark.kind == _CLOSING:
                current = None
    if current is not None:
        _refuse("it ends too early")
    return arrays


def _find_name(read: _Read, key: bytes) -> str:
    """Return which member it is whose name and colon these are."""
    if len(key) > _FRAME_SIZE_MAX:
        _refuse("a name in it is too long")
    found = read(b"{%b[]}" % key)
    return "events" if found.events == [] else "preconditions"


def _find_marks(body: bytes) -> Iterator[_Mark]:
    """Yield what begins and ends members and elements, in order."""
    start, depth, is_in_string = 0, 0, False
    rests = Rests()
    while start < len(body):
        rests.take_if_due()
        window = body[start : start + _WINDOW_SIZE]
        # A backslash stays with what it escapes.
        if (len(window) - len(window.rstrip(b"\\"))) % 2 and start + len(window) < len(body):
            window = window[:-1]
        if b"\\" in window:
            window_unescaped = window.replace(rb"\\", b"__").replace(rb"\"", b"__")
        else:
            window_unescaped = window
        kinds = _KINDS[np.frombuffer(window_unescaped, np.uint8)]
        positions = np.flatnonzero(kinds)
        kinds = kinds[positions]
        is_quote = kinds == _QUOTE
        quotes = np.cumsum(is_quote) + is_in_string
        is_outside = (quotes & 1 == 0) & ~is_quote
        positions, kinds = positions[is_outside], kinds[is_outside]
        depths = np.cumsum(_STEPS[kinds]) + depth
        limits = np.where(kinds == _CLOSING, _OF_MEMBERS, _OF_ELEMENTS)
        shown = np.flatnonzero(depths <= limits)
        for index in shown:
            yield _Mark(start + int(positions[index]), int(kinds[index]), int(depths[index]))
        if len(quotes):
            is_in_string = bool(quotes[-1] & 1)
        if len(depths):
            depth = int(depths[-1])
        start += len(window)


def _read_elements(read: _Read, body: bytes, array: _Array) -> Iterator[Any]:
    opening = b"{%b[" % body[array.member : array.opening]
    first, start, rests = 0, array.opening + 1, Rests()
    for index, end in enumerate(array.ends):
        previous_end = array.ends[index - 1] if index else array.opening
        if end - previous_end - 1 > EVENT_SENT_SIZE_MAX:
            _refuse_element(array.name, index)
        following_end = array.ends[index + 1] if index + 1 < len(array.ends) else None
        if following_end is not None and following_end - start <= _PART_SIZE:
            continue
        part = body[start:end]
        if len(array.ends) > 1 and not part.strip():
            _refuse("JSON is malformed: an element is missing")
        try:
            found = read(b"%b%b]}" % (opening, part))
        except MalformedRequestError as error:
            raise _relocated(error, first, start - len(opening)) from None
        yield from getattr(found, array.name)
        rests.take_if_due()
        first, start = index + 1, end + 1


def _relocated(error: MalformedRequestError, index: int, byte: int) -> MalformedRequestError:
    """Return what is wrong with a part as what is wrong with the whole."""
    message = _INDEX.sub(lambda found: str(int(found[0]) + index), str(error), count=1)
    message = _BYTE.sub(lambda found: str(int(found[0]) + byte), message, count=1)
    return MalformedRequestError(message)


def _refuse(reason: str) -> NoReturn:
    message = f"malformed request body: {reason}"
    raise MalformedRequestError(message)


def _refuse_element(name: str, index: int) -> NoReturn:
    if name != "events":
        _refuse(f"more than {EVENT_SENT_SIZE_MAX} bytes - at `$.{name}[{index}]`")
    raise RefusedError(
        Code.EVENT_TOO_LARGE,
        f"the event is too large: with the space in it, {EVENT_SENT_SIZE_MAX} bytes may be sent",
        field=f"events[{index}]",
        eventIndex=index,
        limit=EVENT_SENT_SIZE_MAX,
    )
