"""The last audited event: what a client kept from an audit, and brings to the next one.

What is left to others: whether the log has such an event.
"""

import re
from typing import Final, NamedTuple

from everlog.domain.chain import HASH_V2_PREFIX
from everlog.domain.errors import Code, RefusedError
from everlog.domain.selection import parse_event_id

_match_hash: Final = re.compile(rf"(?:{HASH_V2_PREFIX})?[0-9a-f]{{64}}").fullmatch

_QUOTED_LENGTH_MAX: Final = 100


class AuditedEvent(NamedTuple):
    """An event up to which the chain was found to be whole, and the hash that it had."""

    event_id: int
    hash: str


def parse_audited_event(
    event_id: str | None, hash_: str | None, *, id_field: str, hash_field: str
) -> AuditedEvent:
    """Return the event that an id and a hash name; the fields are those of the request.

    Raises:
        RefusedError: One of them is missing, or malformed.
    """
    for text, field in ((event_id, id_field), (hash_, hash_field)):
        if not text:
            message = f"the last audited event is incomplete: '{field}' is missing"
            raise RefusedError(Code.LAST_AUDITED_EVENT_MISSING, message, field=field)
    position = parse_event_id(event_id, field=id_field)
    assert hash_ is not None
    if _match_hash(hash_) is None:
        quoted = hash_[:_QUOTED_LENGTH_MAX]
        message = (
            f"malformed event hash '{quoted}': a hash must be 64 lower-case hexadecimal digits, "
            f"which may follow '{HASH_V2_PREFIX}'"
        )
        raise RefusedError(Code.EVENT_HASH_MALFORMED, message, field=hash_field, value=quoted)
    return AuditedEvent(position, hash_)
