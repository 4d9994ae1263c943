"""Trace context: the W3C headers that tie an event to the trace it was written in.

Both texts are kept as they were given, since version 2 of the hash covers them.
What is left to others: making traces.
"""

import re
from typing import Final

from everlog.domain.errors import Code, RefusedError
from everlog.domain.limits import TRACESTATE_LENGTH_MAX, TRACESTATE_MEMBERS_MAX

# W3C Trace Context, section 3.2.2, version 00; an id of zeros only is invalid there.
_match_traceparent = re.compile(
    r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}",
).fullmatch

# Section 3.3.1 (level 2): a key begins with a lower-case letter or a digit; a value is printable
# ASCII without comma and equals sign, and does not end with a space.
_match_member = re.compile(
    r"([a-z0-9][a-z0-9_\-*/@]{0,255})="
    r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]",
).fullmatch

_QUOTED_LENGTH_MAX: Final = 100


def parse_traceparent(text: str, *, field: str = "traceparent") -> str:
    """Return the text if it is a traceparent of version 00."""
    if _match_traceparent(text) is None:
        raise RefusedError(
            Code.TRACEPARENT_MALFORMED,
            f"malformed traceparent '{text[:_QUOTED_LENGTH_MAX]}': traceparent must be 00, a trace "
            "ID, a parent ID and flags, in lower-case hexadecimal digits, separated by hyphens",
            field=field,
        )
    return text


def parse_tracestate(text: str, *, traceparent: str | None, field: str = "tracestate") -> str:
    """Return the text if it is a tracestate and goes with a traceparent."""
    if traceparent is None:
        raise RefusedError(
            Code.TRACESTATE_WITHOUT_TRACEPARENT,
            "traceparent is required when tracestate is provided",
            field=field,
        )
    if len(text) > TRACESTATE_LENGTH_MAX:
        raise RefusedError(
            Code.TRACESTATE_MALFORMED,
            f"malformed tracestate: it is longer than {TRACESTATE_LENGTH_MAX} characters",
            field=field,
            limit=TRACESTATE_LENGTH_MAX,
        )
    members = text.split(",")
    if len(members) > TRACESTATE_MEMBERS_MAX:
        raise RefusedError(
            Code.TRACESTATE_MALFORMED,
            f"malformed tracestate: it has more than {TRACESTATE_MEMBERS_MAX} members",
            field=field,
            limit=TRACESTATE_MEMBERS_MAX,
        )
    keys: set[str] = set()
    for member in members:
        match = _match_member(member.strip(" "))
        if match is None:
            raise RefusedError(
                Code.TRACESTATE_MALFORMED,
                "malformed tracestate: tracestate must be a comma-separated list of key=value "
                "with lower-case keys",
                field=field,
            )
        if match[1] in keys:
            raise RefusedError(
                Code.TRACESTATE_MALFORMED,
                f"malformed tracestate: the key '{match[1]}' occurs more than once",
                field=field,
            )
        keys.add(match[1])
    return text
