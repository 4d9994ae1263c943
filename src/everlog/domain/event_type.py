"""Event types: reverse domain names such as `com.example.book-acquired`.

A value returned by `parse_event_type` has at least three segments of letters, digits, `_` and
`-`, the first at least two characters long.
What is left to others: which types have events or a schema (storage, service).
"""

import re

from everlog.domain.errors import Code, RefusedError
from everlog.domain.limits import EVENT_TYPE_LENGTH_MAX

# No segment can match a dot, so that matching is linear.
_match_event_type = re.compile(
    r"[0-9A-Za-z_-]{2,}\.(?:[0-9A-Za-z_-]+\.)+[0-9A-Za-z_-]+",
).fullmatch


def parse_event_type(text: str | None, *, field: str = "type") -> str:
    """Return the text if it is an event type."""
    if not text:
        raise RefusedError(Code.EVENT_TYPE_MISSING, "the event type is missing", field=field)
    if len(text) > EVENT_TYPE_LENGTH_MAX:
        raise RefusedError(
            Code.EVENT_TYPE_MALFORMED,
            f"malformed event type: it is longer than {EVENT_TYPE_LENGTH_MAX} characters",
            field=field,
            limit=EVENT_TYPE_LENGTH_MAX,
        )
    if _match_event_type(text) is None:
        raise RefusedError(
            Code.EVENT_TYPE_MALFORMED,
            f"malformed event type '{text}': type must be a reverse domain name",
            field=field,
        )
    return text
