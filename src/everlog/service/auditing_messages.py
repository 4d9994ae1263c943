"""What a server and the process of an audit say to each other.

Both directions are messages: length (4 bytes, little endian), content (MessagePack). The server
sends a job. When the process has opened what is exchanged while the server runs, it is *ready*, and
the server tells it the head: names of event types, and what ends them. The process answers with
what it finds and how far it has come, and with one message that ends the job. Both sides are the
same release on the same machine, so that nothing here has a version.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

LENGTH: Final = struct.Struct("<I")

# More than any message has: names of event types come in parts, and findings are cut.
MESSAGE_SIZE_MAX: Final = 16 * 1024 * 1024


class _Message(msgspec.Struct, frozen=True, tag=True):
    """Tells by its tag what it is."""


class VerifyStore(_Message, frozen=True):
    """The job: audit all that there is. `directory` is the open data directory."""

    directory: int


class AuditHistory(_Message, frozen=True):
    """The job: verify the chain of all events, and that one of them still has its hash."""

    directory: int
    # Its id and its hash; None where nothing was audited before.
    last_audited: tuple[int, str] | None


class EventTypeNames(_Message, frozen=True):
    """The names of some event types, in the order of their numbers."""

    names: Sequence[str]


class AuditHead(_Message, frozen=True):
    """Up to where is audited: counts, sizes in bytes, the hash of the last event.

    `columns` are open files in memory, by the names of the columns, with the number of cells.
    """

    event_count: int
    log_size: int
    schemas_size: int
    hash: str
    columns: Mapping[str, tuple[int, int]]


class Ready(_Message, frozen=True):
    """The head may be told."""


class Found(_Message, frozen=True):
    """Something is not as it should be, or worth knowing."""

    is_error: bool
    text: str


class Progressed(_Message, frozen=True):
    """So many bytes of the log have been read."""

    done_size: int
    total_size: int


class Verified(_Message, frozen=True):
    """It is done; how many findings there were, of which not all were told."""

    event_count: int
    error_count: int
    warning_count: int


class Audited(_Message, frozen=True):
    """It is done: the chain is whole. The last event's id and hash; None where there is none."""

    last: tuple[int, str] | None


class Mismatched(_Message, frozen=True):
    """It is done: the last audited event has this hash now."""

    hash: str


class Broken(_Message, frozen=True):
    """It is done: the chain is broken, here."""

    event_id: int | None
    text: str


class Failed(_Message, frozen=True):
    """It is given up, and why."""

    reason: str


Job = VerifyStore | AuditHistory
Request = Job | EventTypeNames | AuditHead
Told = Found | Progressed
EndInOrder = Verified | Audited | Mismatched | Broken
End = EndInOrder | Failed
Answer = Ready | Told | End

decode_request: Final = msgspec.msgpack.Decoder(Request).decode
decode_answer: Final = msgspec.msgpack.Decoder(Answer).decode


def encode(content: Request | Answer) -> bytes:
    """Return what is sent."""
    encoded = msgspec.msgpack.encode(content)
    return LENGTH.pack(len(encoded)) + encoded
