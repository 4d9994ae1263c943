"""Register event schema: for good, and only if all stored events of the type match it.

Whoever wants to know first whether it would be accepted has it checked, which changes nothing.

The stored events are judged in a process while writing goes on, unless they are few; only those
that came meanwhile are left for the writer, in the same step in which the schema comes into force.
"""

import asyncio
from typing import Final

from everlog.domain.errors import BusyError
from everlog.domain.schema import EventSchema
from everlog.service.judging import (
    UnjudgedError,
    already_registered,
    stored_data,
    stored_violation,
)
from everlog.service.store import Store
from everlog.service.writing.changes import Outcome
from everlog.storage.engine import Head

# Each time all events are judged that came during the time before.
_ATTEMPTS_MAX: Final = 10


async def register_event_schema(store: Store, schema: EventSchema) -> None:
    """Register a schema for its event type.

    Raises:
        RefusedError: It is none, the type has one, or a stored event does not match this one.
        BusyError: Events of the type come faster than they can be judged.
        DiskFullError: There is no room.
        DiskBusyError: The disk hangs.
        StoreFailedError: The disk broke its promise.
    """
    if schema.validator is None:
        await store.judge.check(schema)
    checked = 0
    for _ in range(_ATTEMPTS_MAX):
        outcome = await _hand_over(store, schema, checked)
        if not isinstance(outcome, UnjudgedError):
            break
        head = store.engine.head
        await _check_stored_events(store, schema, checked, head)
        checked = head.event_count
    else:
        raise BusyError("events of the type come faster than they can be judged")
    if isinstance(outcome, Exception):
        raise outcome


async def check_event_schema(store: Store, schema: EventSchema) -> int:
    """Tell whether a schema could be registered now: return how many stored events match it.

    Raises:
        RefusedError: It is none, the type has one, or a stored event does not match this one.
        BusyError: Judging has too much to do.
    """
    if schema.validator is None:
        await store.judge.check(schema)
    head = store.engine.head
    entry = store.engine.event_type(schema.event_type, head)
    if entry is not None and entry.schema is not None:
        raise already_registered(schema)
    return await _check_stored_events(store, schema, 0, head)


async def _hand_over(store: Store, schema: EventSchema, checked_event_count: int) -> Outcome:
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def answer(outcome: Outcome) -> None:
        if not done.done():
            done.set_result(outcome)

    store.writer.register(schema, checked_event_count=checked_event_count, answer=answer)
    return await done


async def _check_stored_events(store: Store, schema: EventSchema, start: int, head: Head) -> int:
    """Refuse a schema that an event between a position and a head does not match; count those."""
    count = 0
    events = stored_data(store.engine, schema.event_type, start, head)
    async for chunk in store.reader.fetch_chunks(events):
        violation = await store.judge.find_violation(
            schema, [data for _, data in chunk], is_registered=False
        )
        if violation is not None:
            index, reason = violation
            event_id, _ = chunk[index]
            raise stored_violation(schema, event_id, reason)
        count += len(chunk)
    return count
