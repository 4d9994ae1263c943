"""The port of whoever decides what comes next in the log, where that is not its writer alone.

The writer judges, stages and seals as ever; then it asks here before the batch is committed. What
others have appended comes in here too, and is applied by the writer as soon as nothing is on its
way. Everything here belongs to the event loop's thread.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from everlog.domain.errors import StoreFailedError
from everlog.domain.event import EventCandidate, candidate_size
from everlog.domain.schema import EventSchema
from everlog.storage.engine import Batch, JournalEntry


class Order(Protocol):
    """Who decides what comes next; a store that is the only one of its log has none."""

    @property
    def batch_size_max(self) -> int:
        """How large a batch may be, in bytes, its schemas included."""

    def take(self) -> Sequence[JournalEntry]:
        """Return others' batches that are here and continue the head, in their order.

        Raises:
            DivergedError: What is here does not continue it.
        """

    @property
    def has_more(self) -> bool:
        """Whether others' batches are here behind those that were taken last.

        Then whatever is judged behind these is lost.
        """

    def note_applied(self, count: int, failure: Exception | None) -> None:
        """Take note that so many of them are applied, and why the others are not."""

    async def append(self, batch: Batch) -> None:
        """Return when the batch stands behind the head for good, whatever becomes of this node.

        Its first events may be others', as they were taken last: then the rest stands behind those.

        Raises:
            BatchLostError: Another one stands there.
            JournalUnreachableError: Nothing was stored, nor will be.
            OrderGivenUpError: Nobody knows, and nobody waits for it any more.
        """

    def note_stored(self, failure: Exception | None) -> None:
        """Take note that the batch that was appended is in the log here, or why it is not."""

    def is_current(self, since: float) -> bool:
        """Tell whether the head has all that was appended before a moment of the loop's time."""

    async def confirm(self) -> None:
        """Return when the head is known to be what it was for others at some moment of the call.

        Raises:
            BatchLostError: There was more; it is applied first.
            JournalUnreachableError: That cannot be found out.
        """

    @property
    def is_contended(self) -> bool:
        """Whether others write too, so that judging ahead of a commit would be in vain."""

    def pause(self) -> float:
        """Return for how many seconds the next batch should be put off, once after each append.

        Others are let in first, where they write too; else those may join whose answers have just
        left, if that takes little of the time that an append takes.
        """


class OrderGivenUpError(StoreFailedError):
    """Whether a batch was appended is unknown, and the server stops: nobody will be told."""


# What stands around the values of an event in its line: names, id, time and hashes, and escapes.
_ENVELOPE_SIZE: Final = 2 * 1024


# Of a batch that others have to read before they go on: more bytes than that become two.
BATCH_SIZE_WANTED: Final = 8 * 1024 * 1024

# So many bytes are read and indexed within some milliseconds.
_JOINED_SIZE_MAX: Final = 128 * 1024


def is_joinable(entries: Sequence[JournalEntry]) -> bool:
    """Tell whether what is judged behind others' batches may be stored with them, by one sync."""
    (entry, *more) = entries
    size = sum(map(len, entry.lines))
    return not more and not entry.schemas and 0 < size <= _JOINED_SIZE_MAX


def size_of(candidates: Sequence[EventCandidate]) -> int:
    """Return how many bytes the lines of a write take at most."""
    return sum([_ENVELOPE_SIZE + candidate_size(candidate) for candidate in candidates])


def size_of_schema(schema: EventSchema) -> int:
    """Return how many bytes of a batch an event schema takes at most."""
    # It stands there as a text of JSON, in which each quote takes two.
    return _ENVELOPE_SIZE + 2 * len(schema.text.encode())
