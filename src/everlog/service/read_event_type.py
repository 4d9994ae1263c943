"""Read event type: one of them, by name."""

from everlog.domain.errors import Code, RefusedError
from everlog.service.store import Store
from everlog.storage.engine import EventType


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
