"""The hash chain: each event's hash covers its content and its predecessor's hash.

Whoever keeps the hash of one event can later prove that nothing up to it was changed.
Two versions exist, may follow each other in one log, and are told apart by their prefix
(compatibility specification, section 4.1). Verification shares this file, and only this file,
with the writer.
"""

from enum import IntEnum
from hashlib import sha256
from typing import Final

GENESIS_HASH: Final = "0" * 64

HASH_V2_PREFIX: Final = "esdb:hash:v2:"


class HashVersion(IntEnum):
    """How the next event is hashed; older events keep the version they were written with."""

    V1 = 1
    V2 = 2


def hash_version_of(hash_: str) -> HashVersion | None:
    """Return the version that a hash announces, None for one that we do not know."""
    if hash_.startswith(HASH_V2_PREFIX):
        return HashVersion.V2
    return None if ":" in hash_ else HashVersion.V1


def hash_v1(
    specversion: str,
    id_: str,
    predecessor_hash: str,
    time: str,
    source: str,
    subject: str,
    type_: str,
    datacontenttype: str,
    data: str,
) -> str:
    """Return the 64 hex digits of version 1, which does not cover the tracing fields."""
    metadata = (
        f"{specversion}|{id_}|{predecessor_hash}|{time}|{source}|{subject}|{type_}"
        f"|{datacontenttype}"
    )
    metadata_digest = sha256(metadata.encode()).hexdigest()
    data_digest = sha256(data.encode()).hexdigest()
    return sha256(f"{metadata_digest}{data_digest}".encode()).hexdigest()


def hash_v2(
    specversion: str,
    id_: str,
    predecessor_hash: str,
    time: str,
    source: str,
    subject: str,
    type_: str,
    datacontenttype: str,
    traceparent: str | None,
    tracestate: str | None,
    data: str,
) -> str:
    """Return the prefix and 64 hex digits of version 2, which covers every field."""
    # An f-string joined at once: this runs for every event written.
    content = (
        f"{HASH_V2_PREFIX}\n{specversion}\n{id_}\n{predecessor_hash}\n{time}\n{source}\n{subject}"
        f"\n{type_}\n{datacontenttype}\n{traceparent or '-'}\n{tracestate or '-'}\n{data}"
    )
    return HASH_V2_PREFIX + sha256(content.encode()).hexdigest()
