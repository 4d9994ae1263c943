"""Back up: all event schemas and events of one head, or the events behind one that is backed up.

Writes go on meanwhile: what comes behind the head belongs to the next backup.
What is left to others: how it is written down (`transfer`), and where it goes to.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from everlog.domain.errors import Code, StateConflictError
from everlog.domain.known_event import KnownEvent
from everlog.service.read_events import scan_behind
from everlog.service.reader import Following
from everlog.service.store import Store
from everlog.storage.engine import Head, LogReader, Scan
from everlog.storage.line import parse_line


async def begin_backup(store: Store, last: KnownEvent | None, head: Head) -> Following:
    """Return the events of a head, those behind the last backed-up one if there is one.

    Raises:
        RefusedError: The log has no such event, or another one in its place.
        ReadFailedError: The disk does not give that event.
    """
    start = 0
    if last is not None:
        await store.reader.call(partial(_check_backed_up, store.engine, last, head))
        start = last.position + 1
    return partial(scan_behind, store, Scan(start=start, stop=head.event_count), head)


def list_schemas(store: Store, head: Head) -> Iterator[Sequence[tuple[str, str]]]:
    """Yield chunks of the event types that have a schema, and its text; for a reading thread."""
    for chunk in store.engine.event_types(head):
        yield [(each.name, each.schema) for each in chunk if each.schema is not None]


def _check_backed_up(log: LogReader, last: KnownEvent, head: Head) -> None:
    position = last.position
    if position >= head.event_count:
        message = f"the last backed-up event is unknown: the log has no event {position}"
        raise StateConflictError(Code.LAST_BACKED_UP_EVENT_UNKNOWN, message, eventId=str(position))
    block = next(log.scan(Scan(start=position, stop=position + 1), head))
    event, _ = parse_line(block)
    if event.hash != last.hash:
        message = f"the last backed-up event is another one: event {position} has another hash"
        raise StateConflictError(
            Code.LAST_BACKED_UP_EVENT_MISMATCHED, message, eventId=str(position)
        )
