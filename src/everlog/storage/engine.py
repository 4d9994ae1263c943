"""The two ports of storage, and the engine that is both: what every implementation promises.

**`LogReader` is what a head shows.** Everything in a log only grows, so that whoever holds a head
and looks at nothing beyond its counts sees one state of the log for as long as it likes.

**`Journal` decides the order and makes a batch durable.** An append ends in one of three ways:
it is *appended*; it is *lost*, since another batch stands in this place, which `BatchLostError`
brings along; or it has failed for good. A journal that does not know how an append ended asks, and
appends the very same batch again, until it knows: it never guesses, and never returns before.

**`Engine` is one log on this machine:** a reader of it, its own journal, and what a single writer
needs. Others' batches come in by `apply`, wherever they are from; or by `stage_entry`, where what
is staged behind them is to share their sync.

A write passes four moments. *Staged*: it has its place and later writes are judged as if it were
stored. *Sealed*: it belongs to a batch. *Committed*: the batch is on the disk. *Published*: readers
see it. Staging is refused or undone as a whole; a published event never goes away.

There are two ways to commit. `commit` does all of it and waits for the disk. `begin_commit` and
`end_commit` do not: somebody else syncs a file in between.

Threads: `stage...`, `seal`, `begin_commit`, `end_commit`, `publish`, `roll_back`, `apply` and `tip`
belong to the one writer. `commit` may run on another thread, beside nothing but `stage...`; `apply`
waits for the disk and may, too, beside nothing at all. Batches are committed one at a time, in
order. Reading may happen on any thread, always; what is read then is what a head shows, and who
looks at the tip from elsewhere learns how far it is and nothing more.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec

from everlog.domain.chain import GENESIS_HASH
from everlog.domain.errors import EverlogError
from everlog.domain.event import AcceptedEvent
from everlog.domain.precondition import SubjectState
from everlog.domain.subject import ROOT


class Head(msgspec.Struct, frozen=True, gc=False):
    """How much of everything there is, and the end of the hash chain."""

    event_count: int = 0
    log_size: int = 0
    subject_count: int = 0
    event_type_count: int = 0
    hash: str = GENESIS_HASH
    # Nanoseconds since 1970 of the latest event; 0 where there is none.
    time: int = 0


class StagedSchema(NamedTuple):
    """An event schema on its way into the store; `text` is minified JSON."""

    event_type: str
    text: str


class Batch(msgspec.Struct, frozen=True):
    """Writes and schema registrations that become durable together."""

    first_position: int
    events: Sequence[AcceptedEvent]
    # One line for each event, as in `storage.line`.
    lines: Sequence[bytes]
    schemas: Sequence[StagedSchema]
    head: Head
    # So many of the first events are others', and stand in a journal already.
    others_count: int = 0

    @property
    def others_size(self) -> int:
        """How many bytes their lines have."""
        return sum(map(len, self.lines[: self.others_count]))


class ReadLines(NamedTuple):
    """What lines hold, for who has read and verified them."""

    events: Sequence[AcceptedEvent]
    # Nanoseconds since 1970 of the last one.
    time: int


class JournalEntry(NamedTuple):
    """A batch as it stands in a journal, for whoever takes it over from there.

    An entry is what shares one sync wherever it is stored: its last line has the mark of a batch,
    no line before it has. A torn tail is told from damage by that, so that several batches never
    become one entry as they are.
    """

    first_position: int
    predecessor_hash: str
    # As in `storage.line`; none where only event schemas were registered.
    lines: Sequence[bytes]
    schemas: Sequence[StagedSchema] = ()
    # None where nobody has read the lines.
    read: ReadLines | None = None


class BatchLostError(EverlogError):
    """Another batch stands in the place of the one that was to be committed.

    Nothing of that one is stored, and nothing will be. `entries` are the others' batches since the
    published head, in their order, one at least: whoever staged rolls back, applies them, and
    judges anew.
    """

    def __init__(self, entries: Sequence[JournalEntry]) -> None:
        super().__init__("another batch stands in this place")
        assert len(entries) > 0
        self.entries: Final = entries


class UnchainedEntryError(EverlogError):
    """An entry does not continue the log; nothing of it was taken over.

    `position` is that of its first event that is not right, None where no event is concerned.
    """

    def __init__(self, message: str, *, position: int | None) -> None:
        super().__init__(message)
        self.position: Final = position


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to read: those at positions from `start` up to before `stop` that ...

    ... have one of the event types, and one of the subjects. Subjects are told in one of three
    ways: by their names, by how their names begin, or as a subject and perhaps all below it.
    The first that is given counts; by default it is the third, with the whole tree.
    """

    start: int
    stop: int
    subject: str = ROOT
    recursive: bool = True
    subject_prefix: str | None = None
    subjects: frozenset[str] | None = None
    event_types: frozenset[str] | None = None
    is_reversed: bool = False


class SegmentPlace(NamedTuple):
    """Where a segment is found: its name, the number of its file, and the offset of the log."""

    name: str
    inode: int
    offset: int


class LogFiles(msgspec.Struct, frozen=True):
    """What another process needs to read the log by itself, as of one head.

    `folder` is the open folder of the segments, and `offsets` the open file of where lines begin,
    64 bits each, which lies in memory. Both stay the same, so that a process inherits them when it
    is started; no path is given, which may mean something else by then.
    """

    folder: int
    segments: list[SegmentPlace]
    offsets: int
    event_count: int
    log_size: int

    @property
    def inherited(self) -> tuple[int, ...]:
        """The open files that a process needs."""
        return (self.folder, self.offsets)


class ColumnPlace(NamedTuple):
    """Where another process finds a column of the index, and how many cells of it are meant.

    The file is open, lies in memory, and stays the same.
    """

    file: int
    cell_count: int


class StoreFiles(msgspec.Struct, frozen=True):
    """What another process needs to look at all that there is, as of one head.

    `directory` is the open data directory, which stays the same. The columns have the names of the
    files that a snapshot keeps them in; there are none where they are not in files. `event_types`
    are the names by their numbers.
    """

    directory: int
    schemas_size: int
    columns: dict[str, ColumnPlace]
    event_types: Sequence[str]

    @property
    def inherited(self) -> tuple[int, ...]:
        """The open files that a process needs."""
        return (self.directory, *(place.file for place in self.columns.values()))


class SharedFiles(msgspec.Struct, frozen=True):
    """What another process has to inherit to read a log with the index of this one.

    All are open files: the data directory, the folder of its segments, the board, and the columns
    by their names.
    """

    directory: int
    log_folder: int
    path: str
    board: int
    columns: Mapping[str, int]

    @property
    def inherited(self) -> tuple[int, ...]:
        """The open files that a process needs."""
        return (self.directory, self.log_folder, self.board, *self.columns.values())


class LocatedScan(msgspec.Struct, frozen=True):
    """A scan whose events have been found, for a process that has the files but no index.

    `selected` has a bit for each position from `start` up to before `stop`, in the order of
    `numpy.packbits`; None selects all.
    """

    start: int
    stop: int
    is_reversed: bool
    selected: bytes | None
    event_count: int


class EventType(NamedTuple):
    """An event type that has events, a schema, or both."""

    name: str
    has_events: bool
    schema: str | None


class CachedBlock(msgspec.Struct, frozen=True, eq=False):
    """A block of lines that was at hand; its memory belongs to whoever took it."""

    lines: bytes | memoryview
    # Where each line begins, counted from any offset.
    offsets: Sequence[int]


class SubjectCounts(NamedTuple):
    """A subject, and how much there is on it, below it, and directly below it."""

    subject: str
    event_count: int
    # With those of all subjects below.
    recursive_event_count: int
    child_count: int


class ChildSubjects(NamedTuple):
    """Some of the subjects directly below one, in the order of their characters."""

    parent: SubjectCounts
    # How many of the children begin as was asked for.
    match_count: int
    children: Sequence[SubjectCounts]


@runtime_checkable
class CachedBlocks(Protocol):
    """Blocks of a scan that can tell whether the next one is at hand."""

    # How large a block may be, unless a line is larger; may be changed between two of them.
    block_size: int

    @property
    def start(self) -> int:
        """The position of the next event."""

    @property
    def is_end(self) -> bool:
        """Whether there is no next block."""

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""

    def __next__(self) -> bytes:
        """Return the next block, however long reading it takes."""

    def take_cached(self) -> CachedBlock | None:
        """Return the next block, which must exist, if that takes no waiting for a disk."""


class LogReader(Protocol):
    """What a head of a log shows; every method may be called on any thread.

    What reads lines raises a `ReadFailedError` where the disk does not give them.
    """

    @property
    def head(self) -> Head:
        """The published head."""

    def scan(self, scan: Scan, head: Head) -> Iterator[bytes]:
        """Return blocks of whole lines (`storage.line`), a few hundred KiB each at most.

        They are `CachedBlocks` where they can be.
        """

    def read_few(self, scan: Scan, head: Head) -> CachedBlock | None:
        """Return all lines of a scan if they are few and at hand; None means to use `scan`.

        Neither waits for a disk to read lines nor searches, so that an event loop may call it.
        """

    def count(self, scan: Scan, head: Head) -> int:
        """Return how many events a scan means; reads none of them."""

    def size(self, scan: Scan, head: Head, *, count_max: int) -> int:
        """Return how many bytes the lines of its first events take; reads none of them."""

    def count_few(self, scan: Scan, head: Head) -> int | None:
        """Return what `count` does, if the index knows it within a few steps; None if it does not.

        It takes less than a tenth of a millisecond, so that an event loop may call it.
        """

    def count_by_event_type(self, scan: Scan, head: Head) -> dict[str, int]:
        """Return the same by event type, in the order of each type's first event, without zeros."""

    def find_time(self, time: int, head: Head) -> int:
        """Return the position of the first event at or after a time, in nanoseconds since 1970."""

    def files(self, head: Head) -> LogFiles | None:
        """Return where another process can read the log, None if it cannot."""

    def locate(self, scan: Scan, head: Head) -> LocatedScan:
        """Find the events of a scan for a process that reads `files`."""

    def find_latest(self, subject: str, event_type: str, head: Head) -> int | None:
        """Return the position of the latest event of a type on exactly this subject."""

    def subject_exists(self, subject: str, head: Head) -> bool:
        """Tell whether the subject or one below it has events."""

    def subjects(self, base_subject: str, head: Head) -> Iterator[Sequence[str]]:
        """Yield chunks of the base and all subjects below it that exist, depth first."""

    def child_subjects(
        self, subject: str, head: Head, *, prefix: str, offset: int, limit: int
    ) -> ChildSubjects:
        """Return some of the children whose last segment begins so, and how much is on each.

        `offset` of those are left out, and no more than `limit` returned. A subject that does not
        exist has neither events nor children.
        """

    def event_types(self, head: Head) -> Iterator[Sequence[EventType]]:
        """Yield chunks of all event types, sorted by name."""

    def event_type(self, name: str, head: Head) -> EventType | None:
        """Return one event type, None if it has neither events nor a schema."""


class Journal(Protocol):
    """What decides which batch is next, and makes it durable."""

    def commit(self, batch: Batch) -> None:
        """Make a batch durable.

        Raises:
            BatchLostError: Another batch stands in its place.
            DiskFullError: There is no room; the disk is as before.
            StoreFailedError: The disk broke its promise; call nothing but reads and `close` now.
        """

    def begin_commit(self, batch: Batch) -> int | None:
        """Write a batch, and return the file that has to be synced before `end_commit`.

        None where that is not all that there is to do: then nothing was done, and `commit` is to be
        used. It may also be used instead of `end_commit`, if nobody knows how the sync ended.

        Raises:
            BatchLostError: Another batch stands in its place.
            DiskFullError: There is no room; the disk is as before.
            StoreFailedError: The disk broke its promise; call nothing but reads and `close` now.
        """

    def end_commit(self, batch: Batch, error: OSError | None) -> None:
        """Take note of how the sync ended: the batch is durable if there was no error.

        Raises:
            DiskFullError: There is no room; the disk is as before.
            StoreFailedError: The disk broke its promise; call nothing but reads and `close` now.
        """


class Engine(LogReader, Journal, Protocol):
    """One log: see the module's text for the moments of a write and for threads."""

    @property
    def tip(self) -> Head:
        """The head as it will be when all that is staged has been published."""

    @property
    def state(self) -> SubjectState:
        """The subjects as of the tip, for preconditions."""

    def stage(self, events: Sequence[AcceptedEvent], *, time: int, is_end: bool = True) -> None:
        """Add one write's events at the tip, or some of them, if that is not their end.

        Then nothing but the rest is staged, and nothing sealed, before the end, and readers see all
        of it or nothing, as always. What was staged of it before stays where the rest fails, until
        it is rolled back.

        Raises:
            DiskFullError: Too many files are open; nothing was staged.
            MemoryError: There is no memory for them; nothing was staged.
        """

    def stage_schema(self, schema: StagedSchema) -> None:
        """Add an event schema; the type must not have one."""

    def stage_entry(self, entry: JournalEntry) -> None:
        """Add a batch from elsewhere, of events only, so that whatever follows is in one with it.

        Nothing may be staged before it. It is checked as by `apply`, hashes included.

        Raises:
            UnchainedEntryError: The entry does not continue the log; nothing was staged.
            DiskFullError, MemoryError: There is no room; nothing was staged.
        """

    def seal(self) -> Batch | None:
        """Take all that was staged since the last call as one batch, None if there is nothing."""

    def publish(self, batch: Batch) -> None:
        """Let readers see a committed batch."""

    def roll_back(self) -> None:
        """Forget all that is staged, sealed or failed to commit: the tip is the head again."""

    def unpublished_events(self) -> Iterator[AcceptedEvent]:
        """Yield the events between head and tip, in order."""

    def apply(self, entry: JournalEntry, *, is_verified: bool) -> Batch:
        """Take over a batch from elsewhere, durable and published; return it as if it were ours.

        Nothing may be staged: what was has been judged on another tip. That the lines are events,
        that their ids follow, and that each names the hash of the one before is always checked;
        that a hash is that of its event is left out where somebody trusted has verified it. Who has
        also read the lines says what they hold, and then they are not read again.

        Raises:
            UnchainedEntryError: The entry does not continue the log; nothing was changed.
            DiskFullError, MemoryError: There is no room; nothing was changed.
            StoreFailedError: The disk broke its promise; call nothing but reads and `close` now.
        """

    def store_files(self, head: Head) -> StoreFiles | None:
        """Return where another process can look at everything, None if it cannot.

        What it names is durable, and never changes up to the head.
        """

    # Housekeeping.

    def check_place(self) -> None:
        """Look whether all that the log is written to is still there; may run on another thread.

        Raises:
            StoreFailedError: Something is not; call nothing but reads and `close` now.
        """

    @property
    def is_snapshot_due(self) -> bool:
        """Whether opening would take noticeably long if the process died now."""

    @property
    def unsaved_event_count(self) -> int:
        """How many events opening would have to read again if the process died now."""

    def save_snapshot(self) -> None:
        """Save what opening would otherwise have to rebuild; may run on another thread."""

    def close(self) -> None:
        """Release everything; a later opening is fast."""
