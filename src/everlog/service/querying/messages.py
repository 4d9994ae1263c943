"""What a server and the processes of its queries say to each other.

Both directions are frames: length (4 bytes, little endian), kind (1 byte), content. The server asks
for one thing at a time: what a text needs (`PREPARE`), or its rows (`JOB`, and what it needs of the
index in frames of its own, so that the server holds one of them at a time). It may take a job back.
The process answers with frames of rows and one frame that ends it. Both sides are the same release
on the same machine, so that nothing here has a version.
"""

import struct
from enum import IntEnum
from typing import Any, Final

import msgspec

from everlog.domain.errors import Code
from everlog.storage.engine import LocatedScan, LogFiles

FRAME_HEADER: Final = struct.Struct("<IB")

# A row, and what is around it: whatever says that it sends more is not one of ours.
FRAME_SIZE_MAX: Final = 64 * 1024 * 1024


class FrameKind(IntEnum):
    """What a frame holds."""

    JOB = 0
    # Rows, in the form the client gets them.
    ROWS = 1
    # The aggregates of an incremental plan, for preconditions; it ends the job.
    AGGREGATION = 2
    END = 3
    # Why the query cannot go on; it ends the job.
    FAULT = 4
    # The process met a bug; it ends the job.
    BUG = 5
    # The server does not need the rest; the job ends as soon as it can.
    CANCEL = 6
    # A text, of which the server wants to know what it needs of the log.
    PREPARE = 7
    # What that is; it ends the job.
    NEEDS = 8
    # Where the events of a scan are, one frame for each scan, in the order of the needs.
    SCAN = 9
    # Subjects, then event types, where they are needed; each of them ends with an empty frame.
    NAMES = 10
    # The data directory cannot be read: why; it ends the job.
    UNREADABLE = 11


class FoundScan(msgspec.Struct, frozen=True):
    """A scan of a plan with what the server's index says about it."""

    located: LocatedScan
    # None where the plan does not ask for it.
    count_by_event_type: dict[str, int] | None


class RowForm(msgspec.Struct, frozen=True):
    """What stands around a row's value, so that it is an item of a stream."""

    prefix: bytes
    suffix: bytes

    def render(self, rows: list[bytes]) -> bytes:
        """Return rows as items, one after the other."""
        between = self.suffix + self.prefix
        return b"".join((self.prefix, between.join(rows), self.suffix)) if rows else b""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A query to be run in a process of its own; `now` is in nanoseconds since 1970."""

    text: str
    now: int
    # Whether the state of its aggregates is wanted instead of rows.
    is_incremental: bool
    files: LogFiles
    form: RowForm
    # PKCS#8 PEM, for queries that look at signatures.
    signing_key: bytes | None


class Fault(msgspec.Struct, frozen=True):
    """What was wrong with a query, as a client is told: the parts of a `RefusedError`."""

    code: Code
    message: str
    details: dict[str, Any]


def encode_frame(kind: FrameKind, content: bytes) -> bytes:
    """Return a frame."""
    return FRAME_HEADER.pack(len(content), kind) + content
