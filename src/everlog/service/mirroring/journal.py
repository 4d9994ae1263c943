"""The port of a journal that several nodes share, and the form of what stands in it.

A journal is one sequence of *entries*, each at a *place*: a number above zero that grows with each
entry and may leave some out. Nodes are alike, and there is no leader: who appends names the place
behind which the entry is to stand, and where another entry stands there already, it is *lost*.

**Every call is one attempt of bounded time.** It connects where there is no connection, and says
how it ended; whoever calls decides what to do next (`mirror`). Of an append there are four ends:

- it returns the place: the entry is durable, by whatever quorum the journal has;
- `EntryLostError`: something stands behind that place already, perhaps this very entry, by an
  earlier attempt whose answer was lost;
- `JournalUnreachableError` (`domain.errors`): nothing of it was stored, nor will be;
- `OutcomeUnknownError`: nobody knows. Whoever wants to know reads what stands there, and appends
  the very same entry again: that can store it once only, since its place is taken then.

**What `read` returns is proven.** It includes all that was acknowledged by anybody before the call
began, and nothing that can still be lost: so it asks what a deposed primary cannot answer.

All of it happens on one event loop. What is left to others: what the entries mean (`mirror`).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from everlog.domain.errors import EverlogError, SettingsError, UnknownFormatError
from everlog.storage.engine import StagedSchema

# The place before all entries.
BEGINNING: Final = 0

ENTRY_FORMAT: Final = 1

# What stands in front of each entry, so that nothing else is taken for one.
_MAGIC: Final = b"everlog-entry "


class OutcomeUnknownError(EverlogError):
    """The answer to an append was lost: it may be stored, or be stored still."""


class EntryLostError(EverlogError):
    """Another entry stands in the place, or this very one does already."""


class UnfitJournalError(SettingsError):
    """The journal cannot keep what is promised, or is none of ours; the message says what to do."""


class UnknownEntryFormatError(UnknownFormatError):
    """What stands in the journal was written by another version; it is refused, not guessed."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as it stands in a shared journal."""

    # 32 hex digits, made anew for each batch: an attempt is told from another one's by it.
    batch_id: str
    # Who appended it, for people.
    node: str
    # So many events stand before it, and with it.
    first: int
    end: int
    # The hashes of the last event before it, and of its own last event; the same without events.
    predecessor_hash: str
    hash: str
    # How its node hashes new events.
    hash_version: int
    schemas: Sequence[StagedSchema] = ()
    # One line for each event, as in `storage.line`; the last one has the mark of a batch.
    lines: bytes = b""


class PlacedEntry(NamedTuple):
    """An entry, and where it stands."""

    place: int
    entry: Entry


class Page(NamedTuple):
    """Entries that follow each other, the first so many behind a place."""

    entries: Sequence[PlacedEntry]
    # Whether nothing stood behind them when the call began: then whoever has them is current.
    is_end: bool


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself, for the others to compare."""

    # Made anew whenever the node starts.
    node_id: str
    node: str
    version: str
    entry_format: int
    hash_version: int
    # The fingerprints of public keys, empty where there is none.
    signing_key: str
    checkpoint_key: str
    # Nanoseconds since 1970, by the node's clock, when it was said.
    clock: int
    # Whoever only looks says so, since nobody can ask without saying something.
    is_node: bool = True


class Announced(NamedTuple):
    """What another node has said lately."""

    announcement: Announcement
    # How many seconds its clock is ahead of ours, as the journal saw both; negative if behind.
    clock_offset: float
    # How many seconds ago it was said, by the journal's clock.
    age: float


class SharedJournal(Protocol):
    """A journal that several nodes share; see the module's text for how calls end."""

    # How many bytes an encoded entry may have.
    entry_size_max: int
    # What is worth a warning about it, for an operator; known once it is open.
    remarks: Sequence[str]

    async def open(self) -> str:
        """Connect, create the journal if there is none, check that it can keep what is promised.

        Returns its identity, which tells it from every other journal.

        Raises:
            JournalUnreachableError: It does not answer; trying again may help.
            UnfitJournalError: It would not; trying again does not help.
        """

    async def append(self, entry: Entry, *, after: int) -> int:
        """Let an entry stand behind a place, durable; return its own place.

        Raises:
            EntryLostError, OutcomeUnknownError, JournalUnreachableError: See the module's text.
        """

    async def read(self, *, after: int, size_max: int, proves_end: bool = True) -> Page:
        """Return what stands behind a place: about so many bytes of it, one entry at least.

        Who does not need to know whether that is all may say so, which can be quicker: what is
        returned is proven all the same, and there may be more than that, or there may be nothing.

        Raises:
            JournalUnreachableError: There is no proven answer.
            UnknownEntryFormatError: What stands there is not understood.
        """

    async def find(self, position: int) -> int:
        """Return the place behind which the first entry stands that ends at a position, or later.

        `read` from there shows what a log with so many events may lack. If all entries end before
        it, that is the place of the last one.

        Raises:
            JournalUnreachableError: There is no answer.
        """

    async def wait(self, *, after: int) -> None:
        """Return when something stands behind a place, or after a second, or at once.

        It proves nothing, and raises nothing: whoever wants to know reads.
        """

    async def announce(self, announcement: Announcement) -> Sequence[Announced]:
        """Say something of this node, and return what others have said in the last minute.

        Raises:
            JournalUnreachableError: There is no answer.
        """

    async def close(self) -> None:
        """Let go of the connections; what had begun ends as it may."""


class _Header(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    format: int
    batch_id: str
    node: str
    first: int
    end: int
    predecessor_hash: str
    hash: str
    hash_version: int
    schemas: Sequence[StagedSchema] = ()


_encode_header = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(_Header).decode


def encode_entry(entry: Entry) -> bytes:
    """Return an entry as it stands in a journal: a line that describes it, and its lines.

    everlog-entry {"format":1,"batchId":...}<LF>
    {"type":"event","payload":{...}}<LF>
    ...
    """
    header = _Header(
        format=ENTRY_FORMAT,
        batch_id=entry.batch_id,
        node=entry.node,
        first=entry.first,
        end=entry.end,
        predecessor_hash=entry.predecessor_hash,
        hash=entry.hash,
        hash_version=entry.hash_version,
        schemas=entry.schemas,
    )
    return b"".join((_MAGIC, _encode_header(header), b"\n", entry.lines))


def decode_entry(content: bytes) -> Entry:
    """Return the entry that stands in a journal.

    Raises:
        UnknownEntryFormatError: It is none, or one of another format.
    """
    head, separator, lines = content.partition(b"\n")
    if not separator or not head.startswith(_MAGIC):
        raise UnknownEntryFormatError("what stands in the journal is no entry of Everlog's")
    try:
        header = _decode_header(head[len(_MAGIC) :])
    except msgspec.MsgspecError as error:
        message = f"an entry of the journal is not understood: {error}"
        raise UnknownEntryFormatError(message) from error
    if header.format != ENTRY_FORMAT:
        message = (
            f"an entry of the journal has the format {header.format}, and this version knows "
            f"{ENTRY_FORMAT} only: run the same version on all nodes"
        )
        raise UnknownEntryFormatError(message)
    return Entry(
        batch_id=header.batch_id,
        node=header.node,
        first=header.first,
        end=header.end,
        predecessor_hash=header.predecessor_hash,
        hash=header.hash,
        hash_version=header.hash_version,
        schemas=header.schemas,
        lines=lines,
    )
