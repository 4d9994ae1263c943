"""Register event schema: for good, and only if all stored events of the type match it.

The stored events are checked on a thread while writing goes on; only the few that came meanwhile
are left for the writer to check, in the same step in which the schema comes into force.
"""

import asyncio
from functools import partial
from typing import Final

from everlog.domain.schema import EventSchema
from everlog.service.store import Store
from everlog.service.writing.writer import Outcome, check_stored_events

# As many as are checked on the loop's thread without being noticed: a few milliseconds.
_REMAINING_EVENTS_MAX: Final = 1_000


async def register_event_schema(store: Store, schema: EventSchema) -> None:
    """Register a schema for its event type.

    Raises:
        RefusedError: The type has a schema, or a stored event does not match this one.
        DiskFullError: There is no room.
        DiskBusyError: The disk hangs.
        StoreFailedError: The disk broke its promise.
    """
    checked = 0
    head = store.engine.head
    while head.event_count - checked > _REMAINING_EVENTS_MAX:
        await store.reader.call(partial(check_stored_events, store.engine, schema, checked, head))
        checked, head = head.event_count, store.engine.head
    check_stored_events(store.engine, schema, checked, head)
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def answer(outcome: Outcome) -> None:
        if not done.done():
            done.set_result(outcome)

    store.writer.register(schema, checked_event_count=head.event_count, answer=answer)
    outcome = await done
    if isinstance(outcome, Exception):
        raise outcome
