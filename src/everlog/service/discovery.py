"""Discovery: which subjects and event types there are.

A subject exists if it or one below it has events; an event type if it has events or a schema.
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from itertools import chain
from typing import Final

from everlog.domain.errors import Code, RefusedError
from everlog.service.store import Store
from everlog.storage.engine import ChildSubjects, EventType

# So many are told by the event loop itself, within half a millisecond.
_FEW_EVENT_TYPES_MAX: Final = 256


def read_subjects(store: Store, base_subject: str) -> AsyncIterator[Sequence[str]]:
    """Yield chunks of a subject and all below it, depth first; nothing if it does not exist."""
    head = store.engine.head
    return store.reader.fetch_chunks(store.engine.subjects(base_subject, head))


def subject_exists(store: Store, subject: str) -> bool:
    """Tell whether a subject exists."""
    return store.engine.subject_exists(subject, store.engine.head)


async def read_child_subjects(
    store: Store, subject: str, *, prefix: str, offset: int, limit: int
) -> ChildSubjects:
    """Return some of the subjects directly below one, with counts (`LogReader.child_subjects`).

    It looks at all subjects once for each level below, on a thread.
    """
    head = store.engine.head
    return await store.reader.call(
        partial(
            store.engine.child_subjects, subject, head, prefix=prefix, offset=offset, limit=limit
        )
    )


def read_event_types(store: Store) -> Sequence[EventType] | AsyncIterator[Sequence[EventType]]:
    """Return all event types, sorted by name: at once if they are few, else in chunks."""
    head = store.engine.head
    chunks = store.engine.event_types(head)
    if head.event_type_count <= _FEW_EVENT_TYPES_MAX:
        first, second = next(chunks, ()), next(chunks, None)
        if second is None:
            return first
        # Their schemas are large.
        chunks = chain((first, second), chunks)
    return store.reader.fetch_chunks(chunks)


def read_event_type(store: Store, name: str) -> EventType:
    """Return one event type.

    Raises:
        RefusedError: It has neither events nor a schema.
    """
    entry = store.engine.event_type(name, store.engine.head)
    if entry is None:
        raise RefusedError(
            Code.EVENT_TYPE_UNKNOWN, f"event type '{name}' not found", eventType=name
        )
    return entry
