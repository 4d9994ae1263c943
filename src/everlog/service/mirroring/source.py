"""The port of a source: the server that a follower mirrors.

**Every call is one attempt of bounded time,** on a thread that may wait. Two things may go wrong:

- `SourceError`: it does not answer, or what it says is no answer. Trying again may help.
- `UnfitSourceError`: what it says is understood, and cannot be what follows here. Trying again does
  not help, and nothing of it may be stored.

**What a stream gives away is verified:** events that may be stored, whose ids follow, each with the
hash of the one before it and its own, in whole writes.
What is left to others: HTTP and the words of the API (`everlog.following`), and what becomes of the
writes (`following`).
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from everlog.domain.errors import EverlogError
from everlog.domain.event import AcceptedEvent
from everlog.domain.known_event import KnownEvent


class SourceError(EverlogError):
    """The source cannot be asked, or its answer is none; trying again may help.

    `str` says why for an operator, and holds neither a secret nor what the source said.
    """


class UnfitSourceError(EverlogError):
    """What the source has is not what follows here; nothing of it was taken over.

    `position` is that of the first event that is not right, as far as that is known; None where no
    event is concerned.
    """

    def __init__(self, message: str, *, position: int | None) -> None:
        super().__init__(message)
        self.position: Final = position


class Writes(NamedTuple):
    """Whole writes that follow each other."""

    first_position: int
    predecessor_hash: str
    # As in `storage.line`: the last line of each write has the mark of a write.
    lines: Sequence[bytes]
    # What the lines hold, and the time of the last one, in nanoseconds since 1970.
    events: Sequence[AcceptedEvent]
    time: int
    size: int


class SourceType(NamedTuple):
    """An event type of the source; the text of its schema is minified."""

    name: str
    schema: str | None


class SourceStream(Protocol):
    """Everything behind an event, and what comes."""

    @property
    def version(self) -> str:
        """Which version of the API is spoken."""

    @property
    def is_marked(self) -> bool:
        """Whether the source says where its writes end."""

    @property
    def count(self) -> int:
        """How many events the source has, as far as the stream has shown."""

    @property
    def is_proven(self) -> bool:
        """Whether the source was seen to have the event behind which the stream begins."""

    @property
    def is_current(self) -> bool:
        """Whether the source has said that there is nothing behind what was taken."""

    def take(self, *, seconds: float) -> Writes | None:
        """Return the whole writes that have come, or None if there are none within the time.

        Raises:
            SourceError: It has ended, or says nothing any more.
            UnfitSourceError: An event is not what follows.
        """

    def close(self) -> None:
        """Let go of the connection, from any thread."""


class Source(Protocol):
    """The server that is followed; all of it may be called on any thread, by one at a time."""

    @property
    def address(self) -> str:
        """Where it is, for people; it holds no secret."""

    def observe(self, known: KnownEvent | None, *, time: int) -> SourceStream:
        """Return what is behind an event, which the source must have, or everything.

        The time is that of the event, in nanoseconds since 1970.

        Raises:
            SourceError: There is no stream.
        """

    def read_event_types(self) -> Iterator[SourceType]:
        """Yield all event types of the source.

        Raises:
            SourceError: There is no answer, or not to the end.
            UnfitSourceError: A schema cannot be kept here.
        """

    def find_latest(self, position: int) -> int | None:
        """Return the position of the latest event, None if there is none from a position on.

        Raises:
            SourceError: There is no answer.
        """

    def find_hash(self, position: int) -> str | None:
        """Return the hash of one event, None if there is no such event.

        Raises:
            SourceError: There is no answer.
        """
