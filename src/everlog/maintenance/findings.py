"""Findings: what an audit says is not as it should be, and how much that matters.

Each kind has one weight. What is wrong with the data was stored and is not what was acknowledged;
what is wrong with the index can be rebuilt from the log; a notice is what a crash may leave and
the next opening puts in order.
"""

from enum import StrEnum
from typing import Final

import msgspec


class Weight(StrEnum):
    """How much a finding matters."""

    DATA = "data"
    INDEX = "index"
    NOTICE = "notice"


class Kind(StrEnum):
    """What was found."""

    # Of the data.
    FORMAT = "format"
    SEGMENT = "segment"
    UNREADABLE = "unreadable"
    BROKEN_LINE = "broken-line"
    EVENTS_MISSING = "events-missing"
    ID = "id"
    PREDECESSOR_HASH = "predecessor-hash"
    HASH = "hash"
    TIME = "time"
    UNFINISHED_WRITE = "unfinished-write"
    LOG_TOO_SHORT = "log-too-short"
    DURABLE_BOUND = "durable-bound"
    SCHEMA = "schema"
    SCHEMAS_TOO_SHORT = "schemas-too-short"
    SCHEMA_VIOLATED = "schema-violated"
    HEAD = "head"
    # Of the log, compared with a checkpoint that somebody kept.
    CHECKPOINT_SIZE = "checkpoint-size"
    CHECKPOINT_ROOT = "checkpoint-root"
    # Of the index.
    CHECKPOINT = "checkpoint"
    COLUMN = "column"
    NAMES = "names"
    MEMORY = "memory"
    # Notices.
    SERVED = "served"
    COPY = "copy"
    TORN_TAIL = "torn-tail"
    UNCONFIRMED = "unconfirmed"
    NO_CHECKPOINT = "no-checkpoint"


_INDEX: Final = frozenset({Kind.CHECKPOINT, Kind.COLUMN, Kind.NAMES, Kind.MEMORY})
_NOTICES: Final = frozenset(
    {Kind.SERVED, Kind.COPY, Kind.TORN_TAIL, Kind.UNCONFIRMED, Kind.NO_CHECKPOINT}
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be, and where."""

    kind: Kind
    # The first event that is concerned; None where no event is, or nobody can tell.
    event_id: int | None
    # Relative to the data directory; or what else says what is not so.
    file: str
    # In that file; None where the file as a whole is meant.
    offset: int | None
    # What it means, as a sentence without its full stop.
    meaning: str

    @property
    def weight(self) -> Weight:
        """How much it matters."""
        if self.kind in _NOTICES:
            return Weight.NOTICE
        return Weight.INDEX if self.kind in _INDEX else Weight.DATA

    @property
    def text(self) -> str:
        """All of it in one line; what a damaged file holds is in it as it is."""
        event = "" if self.event_id is None else f", event {self.event_id}"
        place = self.file if self.offset is None else f"{self.file} at byte {self.offset}"
        return f"{self.weight}: {place}{event}: {self.meaning} [{self.kind}]"


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit has read; its counts end where the log cannot be read any further."""

    event_count: int
    # That of the last event, as it is stored.
    head_hash: str
    log_size: int
    segment_count: int
    schema_count: int
    # Findings that are not notices.
    finding_count: int
    notice_count: int
    # The checkpoints that the log was compared with and that it is as, by their names.
    confirmed_checkpoints: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether everything is as it was written."""
        return self.finding_count == 0
