"""Data: the JSON object that an event carries.

`parse_data` removes the space between tokens and nothing else: key order, number text and
escapes stay as the writer sent them, so that the text hashed, stored and served is one and the
same.
`sort_members` puts the members of all objects in order, for hashes of version 1: clients verify
those over data that they have decoded and encoded again, and some of them order the members.
`keep_members` leaves them as they are, for hashes of version 2. Either refuses a name that comes
twice in an object, which each reader would understand in its own way.
An accepted text is valid UTF-8, decodes to Unicode without lone surrogates, and is within the
limits of all readers (`json_text`).
What is left to others: checking it against a schema, and the size of the event as a whole.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from operator import itemgetter
from typing import Final

import msgspec

from everlog.domain.errors import Code, RefusedError
from everlog.domain.json_text import (
    NOT_JSON,
    Fault,
    explain_failure,
    find_fault,
    find_repeated_name,
    quote,
    to_float,
)
from everlog.domain.limits import EVENT_SIZE_MAX, JSON_NESTING_MAX

# The keys of JSON objects are strings anyway; to check them again costs time.
_decode = msgspec.json.Decoder(dict).decode
# The same for texts that may take long.
_decode_large = msgspec.json.Decoder(dict, float_hook=to_float).decode
_encode = msgspec.json.encode
_minify = msgspec.json.format

# In valid JSON: a whole string.
_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'

# In minified JSON: a scalar, an empty object or an array of scalars, or the bracket that opens
# another object or array, behind its name (with the quote that opens it only) where it has one; or
# the bracket that closes one.
_SCALARS: Final = rf'\{{\}}|\[(?:[^\[\]{{}}"]++|{_STRING})*+\]'
_find_members = re.compile(
    rf'(?:({_STRING[:-1]})":)?(?:({_STRING}|{_SCALARS}|[^\[\]{{}},:"]+)|([\[{{]))|([\]}}])'
).findall


# What JSON is that is no object, by how it begins.
_KINDS: Final = (
    (b"[", "an array"),
    (b'"', "a string"),
    (b"n", "null"),
    (b"tf", "a boolean"),
    (b"-0123456789", "a number"),
)

# Numbers in fewer bytes take some milliseconds at worst.
_LARGE_SIZE: Final = 2_048

# In a text of so many characters, the names that come together are remembered, and so many of them:
# two megabytes at the most, since the names of a text take several times its size.
_FLAT_LENGTH_MAX: Final = 1_024
_ORDERS_KEPT: Final = 256


def parse_data(
    raw: bytes | msgspec.Raw | None, *, field: str = "data"
) -> tuple[str, dict[str, object]]:
    """Return the minified text of a JSON object, and the object."""
    if raw is None:
        raise RefusedError(Code.DATA_MISSING, "the event data is missing", field=field)
    minified = b""
    try:
        minified = _minify(raw, indent=-1)
        if len(minified) > EVENT_SIZE_MAX:
            raise _too_large(field)
        data = (_decode if len(minified) < _LARGE_SIZE else _decode_large)(minified)
        text = minified.decode()
    except NOT_JSON as error:
        raise _malformed(_explain(minified or bytes(raw), error), field) from error
    # Whatever a reader may stumble over takes more than this: the least of it is nesting.
    if len(minified) > 2 * JSON_NESTING_MAX:
        fault = find_fault(minified)
        if fault is not None:
            raise _malformed(fault, field)
    return text, data


def check_data(raw: bytes | msgspec.Raw, *, field: str = "data") -> str:
    """Return the text of a JSON object as it stands, if every reader can read it.

    It is what `parse_data` takes, and nothing is removed from it: of what was hashed elsewhere.

    Raises:
        RefusedError: It is none.
    """
    if len(raw) >= _LARGE_SIZE:
        parse_data(raw, field=field)
        return bytes(raw).decode()
    content = bytes(raw)
    try:
        _decode(content)
        text = content.decode()
    except NOT_JSON as error:
        raise _malformed(_explain(content, error), field) from error
    if len(content) > 2 * JSON_NESTING_MAX:
        fault = find_fault(content)
        if fault is not None:
            raise _malformed(fault, field)
    return text


def keep_members(text: str, data: dict[str, object]) -> str:
    """Return a text of `parse_data` as it is, if no name comes twice in an object."""
    fault = find_repeated_name(text.encode(), data)
    if fault is not None:
        raise _malformed(fault, "data")
    return text


def sort_members(text: str, data: dict[str, object]) -> str:
    """Return a text of `parse_data` with the members of all objects ordered by code point.

    Nothing else changes: neither numbers nor escapes nor the order of elements. A name that comes
    twice in an object is refused.
    The data is what the text means. What is in order already is returned as it is.
    """
    if len(text) <= _FLAT_LENGTH_MAX and not ("{" in text[1:] or "[" in text or "\\" in text):
        ordered = _sort_flat_members(text, tuple(data))
        if ordered is not None:
            return ordered
    else:
        ordered = _encode(data, order="sorted").decode()
        if ordered == text:
            return text
        # Written again without an order it is the very same text: then each part of it is written
        # as the encoder writes it, and nothing but the order differs.
        if _encode(data).decode() == text:
            return ordered
    return _sort_parts(text)


def _sort_parts(text: str) -> str:
    """Return the text of an object with its members in order, whichever way they are written.

    It takes a hundred times as long as an encoder does, 20 ms for the largest event.
    """
    by_name = _decode_name if "\\" in text else itemgetter(0)
    # What is open, the innermost last: its own name, empty where it has none, and the members of
    # what holds it, each a name and a text.
    outer: list[tuple[str, list[tuple[str, str]]]] = []
    members: list[tuple[str, str]] = []
    for name, scalar, opening, closing in _find_members(text):
        if scalar:
            members.append((name, f'{name}":{scalar}' if name else scalar))
            continue
        if opening:
            outer.append((name, members))
            members = []
            continue
        if closing == "}":
            members.sort(key=by_name)
            if len({*map(by_name, members)}) < len(members):
                raise _repeated(members, by_name)
        joined = ",".join([member for _, member in members])
        value = f"{{{joined}}}" if closing == "}" else f"[{joined}]"
        own_name, members = outer.pop()
        members.append((own_name, f'{own_name}":{value}' if own_name else value))
    [(_, ordered)] = members
    assert len(ordered) == len(text)
    return ordered


def _sort_flat_members(text: str, names: tuple[str, ...]) -> str | None:
    """Return the text of an object that holds neither others nor escapes, None if that fails.

    Most data is like that, and has the names of some data before it, in their order.
    """
    order = _find_order(names)
    if order is None:
        return text if text.count('":') == len(names) else None
    # A member ends where a comma and a quote follow. So does a string that ends with a comma, but
    # then there are more parts than names; and there are where a name occurs twice.
    parts = text[2:-1].split(',"')
    if len(parts) != len(names):
        return None
    ordered = ',"'.join(order(parts))
    return f'{{"{ordered}}}'


@lru_cache(_ORDERS_KEPT)
def _find_order(names: tuple[str, ...]) -> Callable[[Sequence[str]], tuple[str, ...]] | None:
    """Return what puts as many things as there are names into the names' order, None if it is."""
    order = sorted(range(len(names)), key=names.__getitem__)
    return None if order == [*range(len(names))] else itemgetter(*order)


def _decode_name(member: tuple[str, str]) -> str:
    return msgspec.json.decode(f'{member[0]}"', type=str)


def _repeated(
    members: list[tuple[str, str]], by_name: Callable[[tuple[str, str]], str]
) -> RefusedError:
    """Return the refusal of members, in order, two of which have one name."""
    pairs = pairwise(members)
    member = next(member for member, after in pairs if by_name(member) == by_name(after))
    name = quote(_decode_name(member))
    return _malformed(Fault(f"the member '{name}' comes twice in an object"), "data")


def _explain(text: bytes, error: Exception) -> Fault:
    if isinstance(error, msgspec.ValidationError) and not text.startswith(b"{"):
        kind = next(kind for start, kind in _KINDS if text[:1] in start)
        return Fault(f"data must be a JSON object, but it is {kind}")
    return explain_failure(text, error)


def _malformed(fault: Fault, field: str) -> RefusedError:
    limit = {} if fault.limit is None else {"limit": fault.limit}
    message = f"malformed event data: {fault.reason}"
    return RefusedError(Code.DATA_MALFORMED, message, field=field, **limit)


def _too_large(field: str) -> RefusedError:
    # Even alone, the data is more than an event may hold; nothing larger is looked at any closer.
    return RefusedError(
        Code.EVENT_TOO_LARGE,
        f"the event is too large: an event may hold {EVENT_SIZE_MAX} bytes",
        field=field,
        limit=EVENT_SIZE_MAX,
    )
