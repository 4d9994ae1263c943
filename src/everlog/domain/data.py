"""Data: the JSON object that an event carries.

`parse_data` removes the space between tokens and nothing else: key order, number text and
escapes stay as the writer sent them, so that the text hashed, stored and served is one and the
same.
An accepted text is valid UTF-8, decodes to Unicode without lone surrogates, has numbers within
the range of a double, and is nested no deeper than JSON_NESTING_MAX.
What is left to others: checking it against a schema, and the size of the event as a whole.
"""

import re
from typing import Final, NoReturn

import msgspec

from everlog.domain.errors import Code, RefusedError
from everlog.domain.limits import EVENT_SIZE_MAX, JSON_NESTING_MAX

# The keys of JSON objects are strings anyway; to check them again costs time.
_decode = msgspec.json.Decoder(dict).decode
_minify = msgspec.json.format

# In valid JSON: a whole string, or one bracket outside of strings.
_STRING_OR_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]')


def parse_data(
    raw: bytes | msgspec.Raw | None, *, field: str = "data"
) -> tuple[str, dict[str, object]]:
    """Return the minified text of a JSON object, and the object."""
    if raw is None:
        raise RefusedError(Code.DATA_MISSING, "the event data is missing", field=field)
    try:
        minified = _minify(raw, indent=-1)
        if len(minified) > EVENT_SIZE_MAX:
            _refuse_size(field)
        data = _decode(minified)
        text = minified.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(
            Code.DATA_MALFORMED,
            f"malformed event data: data must be a JSON object ({error})",
            field=field,
        ) from error
    # Each level takes two brackets; those in strings are counted too, for an upper bound.
    if len(text) > 2 * JSON_NESTING_MAX and text.count("{") + text.count("[") > JSON_NESTING_MAX:
        check_nesting(text, Code.DATA_MALFORMED, field)
    return text, data


def check_nesting(text: str, code: Code, field: str) -> None:
    """Refuse valid JSON that is nested deeper than JSON_NESTING_MAX.

    The text is looked at, not the decoded value: of a key that occurs twice, the value holds
    only the last occurrence.
    """
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        found = match[0]
        if found in "[{":
            depth += 1
            if depth > JSON_NESTING_MAX:
                raise RefusedError(
                    code,
                    f"the JSON is nested deeper than {JSON_NESTING_MAX} levels",
                    field=field,
                    limit=JSON_NESTING_MAX,
                )
        elif found in "]}":
            depth -= 1


def _refuse_size(field: str) -> NoReturn:
    # Even alone, the data is more than an event may hold; nothing larger is looked at any closer.
    raise RefusedError(
        Code.EVENT_TOO_LARGE,
        f"the event is too large: an event may hold {EVENT_SIZE_MAX} bytes",
        field=field,
        limit=EVENT_SIZE_MAX,
    )
