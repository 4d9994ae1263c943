"""Events that clients know: what one kept from an audit or a backup, and brings to the next one.

What is left to others: whether the log has such an event.
"""

import re
from typing import Final, NamedTuple

from everlog.domain.chain import HASH_V2_PREFIX
from everlog.domain.errors import Code, RefusedError
from everlog.domain.selection import parse_event_id

_match_hash: Final = re.compile(rf"(?:{HASH_V2_PREFIX})?[0-9a-f]{{64}}").fullmatch

_QUOTED_LENGTH_MAX: Final = 100

# What is known of an event, by what is said where some of it is missing.
_NAMES: Final = {
    Code.LAST_AUDITED_EVENT_MISSING: "last audited event",
    Code.LAST_BACKED_UP_EVENT_MISSING: "last backed-up event",
}


class KnownEvent(NamedTuple):
    """Where an event stands in the log, and the hash that it had."""

    position: int
    hash: str


def parse_known_event(
    id_: str | None, hash_: str | None, *, missing: Code, id_field: str, hash_field: str
) -> KnownEvent:
    """Return the event that an id and a hash name; the fields are those of the request.

    Raises:
        RefusedError: One of them is missing, of which `missing` is the code, or malformed.
    """
    for text, field in ((id_, id_field), (hash_, hash_field)):
        if not text:
            message = f"the {_NAMES[missing]} is incomplete: '{field}' is missing"
            raise RefusedError(missing, message, field=field)
    position = parse_event_id(id_, field=id_field)
    assert hash_ is not None
    if _match_hash(hash_) is None:
        quoted = hash_[:_QUOTED_LENGTH_MAX]
        message = (
            f"malformed event hash '{quoted}': a hash must be 64 lower-case hexadecimal digits, "
            f"which may follow '{HASH_V2_PREFIX}'"
        )
        raise RefusedError(Code.EVENT_HASH_MALFORMED, message, field=hash_field, value=quoted)
    return KnownEvent(position, hash_)
