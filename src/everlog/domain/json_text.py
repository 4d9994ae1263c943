"""JSON texts: what every reader of events can read, and why a text is not like that.

What is stored once is there for good, and read by the JSON parsers of many languages, each with
limits of its own (docs/compatibility.md has the table). So a text of ours stays within all of them:
levels, numbers and names are bounded, and no name comes twice in an object.
`find_fault` and `find_repeated_name` look at all of it as fast as C can, and at single numbers and
names only where something may be wrong.
What is left to others: decoding, which refuses what is no JSON at all, and the size of a text.
"""

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from math import isinf
from typing import Final, NamedTuple

import msgspec

from everlog.domain.limits import JSON_NAME_SIZE_MAX, JSON_NESTING_MAX, JSON_NUMBER_LENGTH_MAX

_encode = msgspec.json.encode

# What decoders raise over a text that is no JSON, not UTF-8, or nested by thousands of levels.
NOT_JSON: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# Makes a 1 of a bracket that opens, and -1 of one that closes; all else is taken away.
_TO_STEPS: Final = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))

# The largest double has 309 digits. Of so many in a row, whole pieces of this size are digits, one
# of them at a multiple of it; and so are they in whatever is longer than a number may be.
_DIGITS_MAX: Final = 308
_PIECE: Final = 154
_find_two_digits = re.compile(rb"[0-9]{2}").search

# What is quoted of a text.
_QUOTED_LENGTH_MAX: Final = 40

# In more bytes nobody looks for the place of a fault, or for which number it is: in so many either
# takes some 15 ms at the most.
_LOCATED_SIZE_MAX: Final = 64 * 1024
_SEARCHED_SIZE_MAX: Final = 256 * 1024

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# How bytes begin that are no UTF-8 JSON, and what they are.
_BEGINNINGS: Final = (
    (_BYTE_ORDER_MARK, "it begins with a byte order mark (U+FEFF), which JSON does not have"),
    (b"\xff\xfe", "it is UTF-16 or UTF-32, and JSON is UTF-8"),
    (b"\xfe\xff", "it is UTF-16 or UTF-32, and JSON is UTF-8"),
    (b"\x1f\x8b", "it is compressed with gzip, and has to be sent as it is"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd, and has to be sent as it is"),
)
_MSGSPEC_PLACE: Final = re.compile(r" \(byte (\d+)\)$")
# What msgspec says of a text without an end, and of half a surrogate pair at the end of a string.
_TRUNCATED: Final = "Input data was truncated"


class Fault(NamedTuple):
    """What is wrong with a text, as a clause that begins with a word for it; and which limit."""

    reason: str
    limit: int | None = None


_TOO_DEEP: Final = Fault(f"it is nested deeper than {JSON_NESTING_MAX} levels", JSON_NESTING_MAX)


def to_float(text: str) -> float:
    """Return the number that a text of JSON stands for.

    The decoder of the library takes up to 18 microseconds for one near the ends of the range, a
    hundred times as long as for others: a large text of them would hold up everybody. So decoders
    of texts that may be large leave them to this, and for others it costs a little.

    Raises:
        ValueError: It is beyond the range of a double.
    """
    number = float(text)
    if isinf(number):
        raise ValueError("Number out of range")
    return number


def find_fault(text: bytes) -> Fault | None:
    """Return what some reader could not read in a valid, minified text; None if all can read it.

    Looked for are levels, numbers and the size of names.
    """
    size = len(text)
    if size > 2 * JSON_NESTING_MAX and is_nested_deeper(text, JSON_NESTING_MAX):
        return _TOO_DEEP
    if (size > _DIGITS_MAX and _may_hold_huge_number(text)) or (
        size > JSON_NAME_SIZE_MAX and _may_hold_huge_name(text)
    ):
        return _look_closely(text)
    return None


def find_repeated_name(text: bytes, value: object) -> Fault | None:
    """Return which name comes twice in an object of a valid text, None if none does.

    The value is what the text means, where the last member of a name is the only one.
    """
    # Both have the same quotes where the value has all members, however strings are escaped; but
    # for quotes that the text has as numbers.
    if text.count(b'"') == _encode(value).count(b'"') and not (
        b"\\" in text and b"\\u0022" in text
    ):
        return None
    return _look_closely(text)


def is_nested_deeper(text: bytes, levels: int) -> bool:
    """Tell whether valid JSON has more levels of arrays and objects within each other than that."""
    # Those in strings are counted too, for an upper bound.
    if text.count(b"{") + text.count(b"[") <= levels:
        return False
    if b"\\" in text:
        # Then each quote that is left begins or ends a string.
        text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    outside = b"".join(text.split(b'"')[::2])
    steps = memoryview(outside.translate(_TO_STEPS, _NO_BRACKETS)).cast("b")
    return max(accumulate(steps), default=0) > levels


def find_foreign_encoding(text: bytes) -> Fault | None:
    """Return what a text is that begins as no JSON in UTF-8 does, None if it does not."""
    return next((Fault(what) for start, what in _BEGINNINGS if text.startswith(start)), None)


def explain_failure(text: bytes, error: Exception) -> Fault:
    """Return why a text could not be decoded, by what one of NOT_JSON says of it."""
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return Fault(f"it is not valid UTF-8{_place_of_odd_string(text)}")
    reason = str(error)
    if isinstance(error, msgspec.ValidationError):
        return _huge_number(text) if "out of range" in reason else Fault(reason)
    foreign = find_foreign_encoding(text)
    if foreign is not None:
        return foreign
    if b"\0" in text:
        return Fault(f"it has a NUL byte (byte {text.index(0)})")
    place = _MSGSPEC_PLACE.search(reason)
    if place is not None and text.startswith(_BYTE_ORDER_MARK, int(place[1])):
        return Fault(f"it has a byte order mark (U+FEFF) between its tokens (byte {place[1]})")
    if reason != _TRUNCATED and "surrogate" not in reason:
        return Fault(reason.replace("JSON is malformed:", "it is not JSON:"))
    # How deep the decoder itself goes before it looks for the end depends on the Python it runs on.
    if len(text) <= _SEARCHED_SIZE_MAX and is_nested_deeper(text, JSON_NESTING_MAX):
        return _TOO_DEEP
    # The decoder says of half a pair at the end of a string that the text has no end.
    odd = _place_of_odd_string(text)
    if odd or reason != _TRUNCATED:
        return Fault(f"it has half of a surrogate pair{odd}")
    if len(text) > _LOCATED_SIZE_MAX:
        return Fault("it ends too early, or half of a surrogate pair stands at the end of a string")
    return Fault("it ends too early")


def quote(text: str) -> str:
    """Return the beginning of a text that a message quotes."""
    if len(text) <= _QUOTED_LENGTH_MAX:
        return text
    return f"{text[:_QUOTED_LENGTH_MAX]}..."


def _may_hold_huge_number(text: bytes) -> bool:
    """Tell whether there may be more than 308 digits in a row; False is certain."""
    if _find_two_digits(text[::_PIECE]) is None:
        return False
    pieces = range(0, len(text), _PIECE)
    return any(text[start : start + _PIECE].isdigit() for start in pieces)


def _may_hold_huge_name(text: bytes) -> bool:
    """Tell whether there may be a name that is larger than names may be; False is certain."""
    if b"\\" in text and b'\\"' in text:
        return True
    # Nothing else has quotes inside: a stretch without one is a part of one string.
    place = 0
    while len(text) - place > JSON_NAME_SIZE_MAX:
        next_place = text.rfind(b'"', place + 1, place + JSON_NAME_SIZE_MAX + 1)
        if next_place < 0:
            return True
        place = next_place
    return False


class _FoundError(Exception):
    """Ends the closer look."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault: Final = fault


def _look_closely(text: bytes) -> Fault | None:
    """Return the first fault of a valid text's numbers and names, each of which is looked at."""
    try:
        json.loads(
            text,
            object_pairs_hook=_check_members,
            parse_int=_check_number,
            parse_float=_check_number,
        )
    except _FoundError as found:
        return found.fault
    except (ValueError, RecursionError):
        # It is not even valid, and whoever decodes it says so.
        return None
    return None


def _check_members(members: list[tuple[str, object]]) -> None:
    names: set[str] = set()
    for name, _ in members:
        if name in names:
            raise _FoundError(Fault(f"the member '{quote(name)}' comes twice in an object"))
        names.add(name)
        if len(name) * 4 > JSON_NAME_SIZE_MAX and len(name.encode()) > JSON_NAME_SIZE_MAX:
            reason = f"the name '{quote(name)}' has more than {JSON_NAME_SIZE_MAX} bytes"
            raise _FoundError(Fault(reason, JSON_NAME_SIZE_MAX))


def _check_number(text: str) -> None:
    if len(text) > JSON_NUMBER_LENGTH_MAX:
        reason = f"the number {quote(text)} has more than {JSON_NUMBER_LENGTH_MAX} characters"
        raise _FoundError(Fault(reason, JSON_NUMBER_LENGTH_MAX))
    if isinf(float(text)):
        raise _FoundError(Fault(f"the number {quote(text)} is beyond the range of a double"))


def _huge_number(text: bytes) -> Fault:
    """Return which number of a text is too large; a decoder has found one."""
    fault = _look_closely(text) if len(text) <= _SEARCHED_SIZE_MAX else None
    return fault or Fault("a number is beyond the range of a double")


def _place_of_odd_string(text: bytes) -> str:
    """Return where the first string is that is no Unicode, as part of a sentence; else nothing."""
    if len(text) > _LOCATED_SIZE_MAX:
        return ""
    try:
        # What is not UTF-8 becomes surrogates too.
        value = json.loads(text.decode(errors="surrogateescape"), parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return ""
    steps = [""]
    pending = [iter([("$", value)])]
    while pending:
        step, item = next(pending[-1], ("", None))
        if not step:
            pending.pop()
            steps.pop()
        elif not (_is_unicode(step) and (not isinstance(item, str) or _is_unicode(item))):
            # A name that cannot be shown is in the object around it.
            path = [*steps, step] if _is_unicode(step) else steps
            return f" - at `{''.join(map(quote, path))}`"
        elif isinstance(item, (dict, list)):
            steps.append(step)
            pending.append(_items_of(item))
    return ""


def _items_of(value: dict[str, object] | list[object]) -> Iterator[tuple[str, object]]:
    """Yield what is directly in a value, each behind the step that leads there."""
    if isinstance(value, dict):
        return ((f".{name}", item) for name, item in value.items())
    return ((f"[{index}]", item) for index, item in enumerate(value))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
