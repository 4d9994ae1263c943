"""What an owner and its fronts tell each other.

Frames go both ways over one socket, in order: a size, a kind, and content that is MessagePack where
there is any. Both ends are processes of the same server and run the same code.
"""

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, Final

import msgspec

from everlog.domain import errors
from everlog.domain.errors import Code, EverlogError, RefusedError
from everlog.domain.event import AcceptedEvent, EventCandidate
from everlog.domain.precondition import Precondition

HEADER: Final = Struct("<IB")

# Both end a process that takes longer to do what takes a moment.
ANSWER_SECONDS_MAX: Final = 5.0


class Kind(IntEnum):
    """What a frame says; of a front if it is so called, else of the owner."""

    # How to serve: the first frame.
    START = 1
    # Of a front: clients may come.
    READY = 2
    # Of a front: writes, in their order; and what became of some.
    INTENTS = 3
    OUTCOMES = 4
    # There is a new head; whether a front wants to know that each time.
    MOVED = 5
    OBSERVING = 6
    # How many connections have ended since the last time, and how many observers and queries there
    # are; how many of those there are in all other processes.
    COUNTS = 7
    OTHERS = 8
    # What clients have used up of their allowances: to be told to all others.
    SPENT = 9
    # Figures are wanted; figures.
    ASK = 10
    FIGURES = 11
    # Of a front: a line for the log.
    LOG = 12
    # These tokens count, and the certificate is to be read; of a front: that is done.
    RELOAD = 13
    # Nobody is to reach the store, or everybody again; of a front: that is done.
    LOCK = 14
    UNLOCK = 15
    DONE = 16
    # End in order: the server stops, or another front takes over.
    STOP = 17


class Intent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A write that has been parsed; the number tells it from the others of its front."""

    number: int
    candidates: list[EventCandidate]
    preconditions: list[Precondition]


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why nothing was stored: the name of an error, and what it holds."""

    name: str
    message: str
    code: str
    details: dict[str, Any]


class WrittenEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of an event that was stored, what an answer needs."""

    json: bytes
    hash: str


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of a write."""

    number: int
    events: list[WrittenEvent]
    failure: Failure | None = None


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """What there is of one front, and of all others."""

    connections_ended: int
    observers: int
    queries: int


class Spent(msgspec.Struct, frozen=True, array_like=True):
    """What a client has used up: failed attempts, and units of the rate limit."""

    client: str
    failures: int
    units: int


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """A line for the log; the fields are JSON."""

    level: int
    message: str
    fields: bytes


encode: Final = msgspec.msgpack.Encoder().encode
decode_intents: Final = msgspec.msgpack.Decoder(list[Intent]).decode
decode_told: Final = msgspec.msgpack.Decoder(list[Told]).decode
decode_counts: Final = msgspec.msgpack.Decoder(Counts).decode
decode_spent: Final = msgspec.msgpack.Decoder(list[Spent]).decode
decode_line: Final = msgspec.msgpack.Decoder(LogLine).decode


class OwnerFailedError(Exception):
    """The owner met a bug, of which it has told already."""


def tell(number: int, outcome: Sequence[AcceptedEvent] | Exception) -> Told:
    """Return what a front is told of the outcome of a write."""
    if not isinstance(outcome, Exception):
        return Told(number, [WrittenEvent(event.json, event.hash) for event in outcome])
    code, details = "", {}
    if isinstance(outcome, RefusedError):
        code, details = outcome.code.value, outcome.details
    name = type(outcome).__name__ if isinstance(outcome, EverlogError) else ""
    return Told(number, [], Failure(name, str(outcome), code, dict(details)))


def outcome_of(told: Told) -> Sequence[AcceptedEvent] | Exception:
    """Return an outcome as it was told; of its events, what an answer needs."""
    failure = told.failure
    if failure is None:
        return [AcceptedEvent("", "", event.json, event.hash) for event in told.events]
    if failure.code:
        error = getattr(errors, failure.name, RefusedError)
        return _make(error, failure, code=Code(failure.code))
    found = getattr(errors, failure.name, None)
    if found is None or not issubclass(found, EverlogError):
        return OwnerFailedError()
    return _make(found, failure, code=None)


def _make(kind: type[EverlogError], failure: Failure, *, code: Code | None) -> EverlogError:
    """Return an error that says the same; not all are made of what they say."""
    error = kind.__new__(kind)
    error.args = (failure.message,)
    if isinstance(error, RefusedError):
        assert code is not None
        vars(error).update(code=code, message=failure.message, details=failure.details)
    return error
