"""Read event types: all that have events or a schema."""

from collections.abc import Sequence

from everlog.service.store import Store
from everlog.storage.engine import EventType


def read_event_types(store: Store) -> Sequence[EventType]:
    """Return all event types, sorted by name."""
    return store.engine.event_types(store.engine.head)
