"""The changes that a writer takes, each kept whole until it is durable, and what refuses them all.

What is left to others: when they are judged, and in what order (`writer`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from everlog.domain.errors import (
    BusyError,
    CatchingUpError,
    Code,
    DiskBusyError,
    JournalUnreachableError,
    RefusedError,
    StoreFailedError,
)
from everlog.domain.event import AcceptedEvent, EventCandidate
from everlog.domain.precondition import SubjectPrecondition
from everlog.domain.schema import EventSchema
from everlog.service.judging import Verdict
from everlog.service.querying.conditions import StandingQuery
from everlog.service.writing.states import Condition
from everlog.storage.engine import Batch, Head

# Either the events as stored, in the order of the request, or why nothing was stored.
Outcome = Sequence[AcceptedEvent] | Exception
Answer = Callable[[Outcome], None]
Preconditions = Sequence[SubjectPrecondition | StandingQuery]

_REFUSALS: Final[Mapping[Condition, tuple[Code, str]]] = MappingProxyType(
    {
        Condition.FAILED: (
            Code.STORE_FAILED,
            "the store has failed: no write is accepted until the server is restarted",
        ),
        Condition.STOPPING: (Code.SERVER_SHUTTING_DOWN, "server is shutting down"),
        Condition.RESTORING: (
            Code.RESTORE_IN_PROGRESS,
            "a backup is being restored: writing is not permitted",
        ),
        Condition.READ_ONLY: (
            Code.STORE_READ_ONLY,
            "the store is read-only until the server is restarted without --read-only",
        ),
    }
)


# What refuses every new change.
REFUSING: Final = frozenset(
    {*_REFUSALS, Condition.CATCHING_UP, Condition.JOURNAL_UNREACHABLE, Condition.FOLLOWING}
)


def refusal_of(condition: Condition, *, reason: str, source: str) -> RefusedError | BusyError:
    """Return what a change is told in a condition that refuses every new one.

    `reason` is why it is so, and `source` the address of the server that is followed, if one is.
    """
    match condition:
        case Condition.CATCHING_UP:
            return CatchingUpError()
        case Condition.JOURNAL_UNREACHABLE:
            return JournalUnreachableError(reason)
        case Condition.FOLLOWING:
            message = f"this server follows {source}: write there"
            return RefusedError(Code.STORE_READ_ONLY, message, source=source)
        case _:
            code, message = _REFUSALS[condition]
            return RefusedError(code, message)


# What is judged as soon as it arrives: so many events of one write, and characters of their data,
# take some milliseconds. More of either is judged bit by bit.
_AT_ONCE_EVENTS_MAX: Final = 256
_AT_ONCE_LENGTH_MAX: Final = 1024 * 1024


class WriterEvents(msgspec.Struct, frozen=True):
    """Whom the writer tells; each is called on the event loop's thread."""

    # Ours or another's: readers see it.
    published: Callable[[Batch], None]
    # What new changes are told from now on, and the error that made it so, if one did.
    condition_changed: Callable[[Condition, Exception | None], None]
    # An answer could not be delivered: a bug, which must not harm the other answers of its batch.
    answer_failed: Callable[[Exception], None]


def shared_refusal() -> RefusedError:
    """Return what who wants to restore a backup is told where the order is decided elsewhere."""
    message = (
        "the store takes its events from a journal that it shares with other nodes: load the "
        "backup into an empty journal with 'everlog journal load'"
    )
    return RefusedError(Code.STORE_READ_ONLY, message)


def too_large(size: int, size_max: int) -> RefusedError:
    """Return what a write is told that no batch can hold."""
    message = (
        f"the write may take {size} bytes in the journal, and an entry of it may have {size_max}: "
        "write less at a time"
    )
    return RefusedError(Code.EVENT_TOO_LARGE, message, limit=size_max)


class Judging(Protocol):
    """Who judges changes."""

    def judge_write(
        self,
        candidates: Sequence[EventCandidate],
        preconditions: Preconditions,
        verdict: Verdict | None = None,
    ) -> Outcome | None:
        """Judge a write at the tip, and stage it unless it is refused; None if that takes long."""

    def judge_registration(self, schema: EventSchema, checked_event_count: int) -> Outcome:
        """Judge the registration of a schema at the tip, and stage it unless it is refused."""


class Change(Protocol):
    """A change that waits until what it is based on is durable, kept whole until then."""

    outcome: Outcome

    @property
    def answer(self) -> Answer:
        """Whom to tell the outcome, once."""

    @property
    def came_at(self) -> float:
        """When it came, in the loop's time, where the order is decided elsewhere.

        It is refused only by what was so for everybody at that moment or later.
        """

    @property
    def size(self) -> int:
        """How many bytes of a batch it takes at most, where the order is decided elsewhere."""

    def judge(self, writer: Judging) -> Outcome | None:
        """Judge it at the tip, and stage it unless it is refused; None if that takes long."""

    def forget(self, head: Head) -> None:
        """Forget what is known of events behind a head: others stand there now."""


class Write(msgspec.Struct):
    """Events that are written together, or not at all."""

    candidates: Sequence[EventCandidate]
    preconditions: Preconditions
    answer: Answer
    verdict: Verdict | None
    outcome: Outcome = ()
    came_at: float = 0.0
    size: int = 0

    def judge(self, writer: Judging) -> Outcome | None:
        return writer.judge_write(self.candidates, self.preconditions, self.verdict)

    def forget(self, head: Head) -> None:
        for precondition in self.preconditions:
            if isinstance(precondition, StandingQuery):
                precondition.forget(head)


class Registration(msgspec.Struct):
    """An event schema on its way into the store."""

    schema: EventSchema
    # So many first events have been checked.
    checked_event_count: int
    answer: Answer
    outcome: Outcome = ()
    came_at: float = 0.0
    size: int = 0

    def judge(self, writer: Judging) -> Outcome:
        return writer.judge_registration(self.schema, self.checked_event_count)

    def forget(self, head: Head) -> None:
        # Only published events have been checked.
        assert self.checked_event_count <= head.event_count


class Settled(msgspec.Struct):
    """What depends on no event, however often the others are judged: it waits for its turn only."""

    answer: Answer
    outcome: Outcome = ()
    came_at: float = 0.0
    size: int = 0

    def judge(self, _: Judging) -> Outcome:
        return self.outcome

    def forget(self, _: Head) -> None:
        """There is nothing that it knows."""


def describe(precondition: SubjectPrecondition | StandingQuery) -> str:
    """Return a precondition in a few words, for the one whose write it refused."""
    if isinstance(precondition, StandingQuery):
        return "the query's answer is FALSE"
    name = type(precondition).__name__
    scope = " recursively" if precondition.recursive else ""
    return f"{name[0].lower()}{name[1:]} on '{precondition.subject}'{scope}"


def forget_behind(head: Head, changes: Iterable[Change]) -> None:
    """Let changes forget what they know of events behind a head: others stand there now."""
    for change in changes:
        change.forget(head)


def split_current(
    changes: Iterable[Change], is_current: Callable[[float], bool]
) -> tuple[list[Change], list[Change]]:
    """Return the refusals that are known to be right for everybody, and the others."""
    current: list[Change] = []
    others: list[Change] = []
    for change in changes:
        is_right = isinstance(change, Settled) or is_current(change.came_at)
        (current if is_right else others).append(change)
    return current, others


def is_large(candidates: Sequence[EventCandidate]) -> bool:
    """Tell whether judging these takes more than some milliseconds."""
    if len(candidates) > _AT_ONCE_EVENTS_MAX:
        return True
    return sum([len(candidate.data) for candidate in candidates]) > _AT_ONCE_LENGTH_MAX


def busy() -> DiskBusyError:
    """Return what a change is told while the disk does not keep up."""
    return DiskBusyError("the disk does not keep up: nothing was stored; try again later")


def as_store_failed(failure: Exception) -> StoreFailedError:
    """Return a failure as what those who wait for the disk are told."""
    if isinstance(failure, StoreFailedError):
        return failure
    # Its kind only: what it says may quote an event.
    error = StoreFailedError(f"an unexpected error while storing: {type(failure).__name__}")
    error.__cause__ = failure
    return error
