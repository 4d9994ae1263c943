"""The kinds of work, each the same for all stores: what one operation is, given a session.

A number is different for each operation of a run, whichever thread or process does it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from benchmarks.events import EVENTS_PER_SUBJECT, LIBRARIES, data_of, subject_of
from benchmarks.sessions.session import NewEvent, Session

# Returns how many events were written or read.
Operation = Callable[[int], int]

# Events are written to so many subjects, unless the work needs a subject of its own.
_SUBJECTS_WRITTEN = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an operation needs to know besides its number."""

    # Of the filled store, 0 where there is none.
    event_count: int
    # No other run has it: subjects with this text are pristine.
    run: str
    # Which of all sessions of the run.
    session: int


def write(session: Session, _: Context) -> Operation:
    """Write one event."""

    def operate(number: int) -> int:
        session.write([_event(number)])
        return 1

    return operate


def write_10(session: Session, _: Context) -> Operation:
    """Write 10 events at once."""

    def operate(number: int) -> int:
        session.write([_event(number * 10 + more) for more in range(10)])
        return 10

    return operate


def write_100(session: Session, _: Context) -> Operation:
    """Write 100 events at once."""

    def operate(number: int) -> int:
        session.write([_event(number * 100 + more) for more in range(100)])
        return 100

    return operate


def write_pristine(session: Session, context: Context) -> Operation:
    """Write one event if its subject is pristine, which it is."""

    def operate(number: int) -> int:
        subject = f"/libraries/{number % LIBRARIES}/books/{context.run}-{number}"
        session.write_pristine(NewEvent(subject, data_of(number)))
        return 1

    return operate


def write_next(session: Session, context: Context) -> Operation:
    """Write one event if its subject's latest is the one that is known, which it is."""
    subject = f"/libraries/{context.session % LIBRARIES}/books/{context.run}-{context.session}"

    def operate(number: int) -> int:
        session.write_next(NewEvent(subject, data_of(number)))
        return 1

    return operate


def read_subject(session: Session, context: Context) -> Operation:
    """Read the ten events of a subject."""
    return _reader(session, context)


def read_everything(session: Session, context: Context) -> Operation:
    """Read all events in order."""
    return lambda _: _expect(session.read_everything(), at_least=context.event_count)


def read_recursive(session: Session, context: Context) -> Operation:
    """Read the events of one library, nearly 1 % of all, in order."""
    at_least = _events_of_library(context.event_count)

    def operate(number: int) -> int:
        subject = f"/libraries/{number * 7 % LIBRARIES}"
        return _expect(session.read_recursive(subject), at_least=at_least)

    return operate


def mixed(session: Session, context: Context) -> Operation:
    """Write one event or read the ten events of a subject, each as often."""
    read = _reader(session, context)
    random = Random(context.session)

    def operate(number: int) -> int:
        if random.random() < 0.5:
            return read(number)
        session.write([_event(number)])
        return 1

    return operate


WORKS: dict[str, Callable[[Session, Context], Operation]] = {
    work.__name__: work
    for work in (
        write,
        write_10,
        write_100,
        write_pristine,
        write_next,
        read_subject,
        read_everything,
        read_recursive,
        mixed,
    )
}


def _reader(session: Session, context: Context) -> Operation:
    count = context.event_count
    random = Random(context.session)

    def operate(_: int) -> int:
        # Not of the archive, so that each has ten events.
        subject = subject_of(random.randrange(count - count // 10), event_count=count)
        return _expect(session.read_subject(subject), at_least=EVENTS_PER_SUBJECT)

    return operate


def _events_of_library(event_count: int) -> int:
    subjects = (event_count - event_count // 20) // EVENTS_PER_SUBJECT
    return subjects // LIBRARIES * EVENTS_PER_SUBJECT


def _expect(found: int, *, at_least: int) -> int:
    """Judge what a store returned: a wrong answer is not a fast one."""
    if found < at_least:
        raise RuntimeError(f"read {found} events, {at_least} were written")
    return found


def _event(number: int) -> NewEvent:
    # A tree of its own: what is read must not grow by what is written meanwhile.
    subject = number * 7919 % _SUBJECTS_WRITTEN
    return NewEvent(f"/written/{subject % LIBRARIES}/books/{subject}", data_of(number))
