"""Judging: whether the events of a write match the schemas of their types.

It happens ahead of the writer's turn and becomes a `Verdict`, which the writer has only to compare
with the schemas that are in force by then: a schema never changes, and comes into force once.
What certainly takes a few milliseconds is judged at once, on the event loop's thread. All else is
judged in a process, which may be killed when it takes too long: the validator cannot be
interrupted, and nobody else would run while it computes.

Guarantees that nothing but bounded work happens on the event loop's thread, that who needs much
waits behind others of the same event type and no longer than for one part of each other type, and
that what cannot be judged is refused.
What is left to others: what a schema means and costs (the domain), and which ones are in force
(`writing.writer`).
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from everlog.domain.errors import (
    BusyError,
    Code,
    StateConflictError,
    TooMuchUnjudgedError,
)
from everlog.domain.event import EventCandidate
from everlog.domain.json_text import to_float
from everlog.domain.limits import UNJUDGED_LENGTH_MAX
from everlog.domain.schema import EventSchema, explain_violation, matches
from everlog.judging_messages import JudgingJob, outcome_of, parts_of
from everlog.service.judging_processes import JudgingProcesses
from everlog.service.querying.conditions import StaleQueryError
from everlog.storage.engine import Engine, Head, LogReader, Scan

# What all of a write may take at most to be judged on the event loop's thread, and how many reasons
# may be found there why an event does not match, each of which takes 20 us.
AT_ONCE_SECONDS_MAX: Final = 0.01
_AT_ONCE_REASONS_MAX: Final = 1_000

# As many may have come since the others were judged when a schema comes into force.
_LAST_EVENTS_MAX: Final = 1_000

_decode_data = msgspec.json.Decoder(dict[str, object], float_hook=to_float).decode

Schemas = Mapping[str, EventSchema]


class UnjudgedError(StaleQueryError, BusyError):
    """Events have to be judged that cannot be judged at once.

    In the writer's turn that means that a schema came into force since the write was judged. As
    with a query that is stale, the write goes back to be judged anew; who cannot do that is asked
    to try again.
    """

    def __init__(self) -> None:
        super().__init__(is_quick=False)
        self.args = ("an event schema has just come into force",)


class Verdict(msgspec.Struct, frozen=True):
    """What was found about the events of a write, and by which schemas."""

    # By event type, for each type in the write; None where it has none.
    schemas: dict[str, EventSchema | None]
    # What is wrong with the first event that does not match.
    violation: StateConflictError | None

    def is_current(self, schemas: Schemas) -> bool:
        """Tell whether these are the schemas in force."""
        return all(schemas.get(name) is found for name, found in self.schemas.items())


def judge_at_once(schemas: Schemas, candidates: Sequence[EventCandidate]) -> Verdict:
    """Judge the events of a write.

    Raises:
        UnjudgedError: That may take more than a few milliseconds.
    """
    found: dict[str, EventSchema | None] = {}
    seconds_left = AT_ONCE_SECONDS_MAX
    violation = None
    # As `find_violation_at_once`, with fewer calls: this runs for every write of such a type.
    for index, candidate in enumerate(candidates):
        schema = found[candidate.type] = schemas.get(candidate.type)
        if schema is not None and violation is None:
            seconds_left, reason = _judge_at_once(schema, candidate.data, seconds_left)
            if reason is not None:
                violation = _violation(schema, reason, index)
    return Verdict(found, violation)


def forget_unpublished(schemas: dict[str, EventSchema], log: LogReader) -> None:
    """Remove the schemas that readers do not see; those came last."""
    while schemas:
        latest = next(reversed(schemas))
        entry = log.event_type(latest, log.head)
        if entry is not None and entry.schema is not None:
            break
        del schemas[latest]


def check_by_schemas(
    schemas: Schemas, candidates: Sequence[EventCandidate], verdict: Verdict | None
) -> None:
    """Refuse a write by the schemas in force, by a verdict that was found by them if there is one.

    Raises:
        RefusedError: An event does not match its schema.
        UnjudgedError: That may take more than a few milliseconds to tell.
    """
    if verdict is None or not verdict.is_current(schemas):
        verdict = judge_at_once(schemas, candidates)
    if verdict.violation is not None:
        raise verdict.violation


def find_violation_at_once(
    schema: EventSchema, events: Iterable[tuple[str, str]]
) -> tuple[str, str] | None:
    """Return the id of the first event that does not match, and why; None if all match.

    Each event is its id and the JSON text of its data.

    Raises:
        UnjudgedError: That may take more than a few milliseconds.
    """
    seconds_left = AT_ONCE_SECONDS_MAX
    for event_id, text in events:
        seconds_left, reason = _judge_at_once(schema, text, seconds_left)
        if reason is not None:
            return event_id, reason
    return None


def _judge_at_once(schema: EventSchema, text: str, seconds_left: float) -> tuple[float, str | None]:
    """Return how much time is left then at least, and why the data does not match, if so."""
    cost = schema.cost
    if cost is None:
        raise UnjudgedError
    seconds_left -= cost.seconds(text)
    if seconds_left < 0:
        raise UnjudgedError
    data = _decode_data(text)
    if matches(schema, data):
        return seconds_left, None
    if cost.reasons(text) > _AT_ONCE_REASONS_MAX:
        raise UnjudgedError
    return seconds_left, explain_violation(schema, data)


def _violation(schema: EventSchema, reason: str, index: int) -> StateConflictError:
    return StateConflictError(
        Code.EVENT_SCHEMA_VIOLATED,
        f"event candidate does not match schema: {reason}",
        eventIndex=index,
        eventType=schema.event_type,
    )


def already_registered(schema: EventSchema) -> StateConflictError:
    """Return the refusal of a schema for a type that has one."""
    return StateConflictError(
        Code.EVENT_SCHEMA_ALREADY_REGISTERED,
        "schema already exists",
        eventType=schema.event_type,
    )


def stored_data(
    log: LogReader, event_type: str, start: int, head: Head
) -> Iterator[list[tuple[str, str]]]:
    """Yield the ids and data, as JSON texts, of all events of a type from a position to a head."""
    scan = Scan(start=start, stop=head.event_count, event_types=frozenset({event_type}))
    for block in log.scan(scan, head):
        events = [_decode_line(line).payload for line in block.splitlines()]
        yield [(event.id, bytes(event.data).decode()) for event in events]


def check_last_events(engine: Engine, schema: EventSchema, start: int) -> None:
    """Refuse a schema that an event from a position up to the tip does not match.

    Raises:
        StateConflictError: There is such an event.
        UnjudgedError: Finding that out may take more than a few milliseconds.
    """
    head = engine.head
    if head.event_count - start > _LAST_EVENTS_MAX:
        raise UnjudgedError
    published = chain.from_iterable(stored_data(engine, schema.event_type, start, head))
    unpublished = (
        (str(position), bytes(_decode_stored(event.json).data).decode())
        for position, event in enumerate(engine.unpublished_events(), head.event_count)
        if event.type == schema.event_type
    )
    violation = find_violation_at_once(schema, chain(published, unpublished))
    if violation is not None:
        raise stored_violation(schema, *violation)


def stored_violation(schema: EventSchema, event_id: str, reason: str) -> StateConflictError:
    """Return the refusal of a schema that a stored event does not match."""
    return StateConflictError(
        Code.EVENT_SCHEMA_VIOLATED,
        f"event with ID {event_id}: {reason}",
        eventId=event_id,
        eventType=schema.event_type,
    )


class _Stored(msgspec.Struct, frozen=True):
    id: str
    data: msgspec.Raw


class _Line(msgspec.Struct, frozen=True):
    payload: _Stored


_decode_stored = msgspec.json.Decoder(_Stored, float_hook=to_float).decode
_decode_line = msgspec.json.Decoder(_Line).decode


class Judge:
    """Judges in processes what cannot be judged at once; on the event loop's thread only."""

    def __init__(self, processes: JudgingProcesses) -> None:
        """Take over the processes."""
        self._processes: Final = processes
        # By event type, while somebody holds or wants one.
        self._turns: Final = WeakValueDictionary[str, asyncio.Lock]()
        self._unjudged_length = 0

    async def judge(self, schemas: Schemas, candidates: Sequence[EventCandidate]) -> Verdict:
        """Judge the events of a write, however long it takes.

        Raises:
            BusyError: Too much data of others is waiting to be judged.
        """
        found = {candidate.type: schemas.get(candidate.type) for candidate in candidates}
        first: tuple[EventSchema, str, int] | None = None
        length = sum([len(candidate.data) for candidate in candidates])
        if self._unjudged_length and self._unjudged_length + length > UNJUDGED_LENGTH_MAX:
            raise TooMuchUnjudgedError(
                f"events of {UNJUDGED_LENGTH_MAX} characters are waiting for being judged already"
            )
        self._unjudged_length += length
        try:
            for schema in found.values():
                if schema is None:
                    continue
                stop = len(candidates) if first is None else first[2]
                indexes = [n for n in range(stop) if candidates[n].type == schema.event_type]
                texts = [candidates[index].data for index in indexes]
                violation = await self.find_violation(schema, texts, is_registered=True)
                if violation is not None:
                    index, reason = violation
                    first = schema, reason, indexes[index]
        finally:
            self._unjudged_length -= length
        return Verdict(found, None if first is None else _violation(*first))

    async def check(self, schema: EventSchema) -> None:
        """Check that a schema that is to be registered is one.

        Raises:
            RefusedError: It is none, or takes too much to compile.
        """
        await self._judge_part(schema, (), is_registered=False)

    async def find_violation(
        self, schema: EventSchema, texts: Sequence[str], *, is_registered: bool
    ) -> tuple[int, str] | None:
        """Return the index of the first data that does not match, and why; None if all do.

        Each text is the JSON of an event's data.

        Raises:
            RefusedError: The schema, which is not registered, is none.
        """
        for first, part in parts_of(texts):
            violation = await self._judge_part(schema, part, is_registered=is_registered)
            if violation is not None:
                index, reason = violation
                return first + index, reason
        return None

    async def close(self) -> None:
        """End all processes."""
        await self._processes.close()

    async def _judge_part(
        self, schema: EventSchema, texts: Sequence[str], *, is_registered: bool
    ) -> tuple[int, str] | None:
        job = JudgingJob(schema.event_type, schema.text, is_registered, texts)
        # One part at a time of each type, so that none takes all processes.
        async with self._turns.setdefault(schema.event_type, asyncio.Lock()):
            messages = await self._processes.run(job)
        return outcome_of(messages, is_registered=is_registered)
