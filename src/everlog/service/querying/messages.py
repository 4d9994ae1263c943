"""What a server and the processes of its queries say to each other.

Both directions are frames: length (4 bytes, little endian), kind (1 byte), content. The server
sends jobs, and may take one back; the process answers each with frames of rows and one frame that
ends it. Both sides are the same release on the same machine, so that nothing here has a version.
"""

import struct
from enum import IntEnum
from typing import Final

import msgspec

from everlog.storage.engine import LocatedScan, LogFiles

FRAME_HEADER: Final = struct.Struct("<IB")


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
    # In the order in which the plan names its scans.
    scans: list[FoundScan]
    # None where the plan does not ask for them.
    subjects: list[str] | None
    event_types: list[str] | None
    form: RowForm
    # PKCS#8 PEM, for queries that look at signatures.
    signing_key: bytes | None


class Fault(msgspec.Struct, frozen=True):
    """A `QueryUnevaluableError` or, without a span, a `QueryLimitError`."""

    message: str
    span: tuple[int, int] | None
    hint: str | None
    event_id: str | None


def encode_frame(kind: FrameKind, content: bytes) -> bytes:
    """Return a frame."""
    return FRAME_HEADER.pack(len(content), kind) + content
