"""Read events: a selection becomes a scan of one head, and the scan becomes blocks of lines."""

from collections.abc import AsyncIterator, Iterator
from functools import partial

import msgspec

from everlog.domain.errors import Code, StateConflictError
from everlog.domain.selection import IfEventIsMissing, Order, Selection
from everlog.service.reader import AS_STORED, Block, Transform
from everlog.service.store import Store
from everlog.storage.engine import Head, LogReader, Scan


async def read_events(
    store: Store, selection: Selection, *, transform: Transform
) -> bytes | AsyncIterator[Block]:
    """Return the events of a selection in the form that the client wants, in blocks if many.

    Raises:
        RefusedError: The latest event to start from lies above the upper bound.
    """
    head = store.engine.head
    if selection.from_latest_event is None:
        scan: Scan | None = _scan(selection, selection.lower, head)
    else:
        scan = await store.reader.call(lambda: scan_of(store.engine, selection, head))
    if scan is None:
        return b""
    return await store.reader.fetch_all_or_blocks(
        partial(scan_behind, store, scan, head), transform
    )


def scan_behind(store: Store, scan: Scan, head: Head, position: int | None) -> Iterator[bytes]:
    """Return the blocks of a scan behind the event at a position, all of them for None."""
    if position is not None and scan.is_reversed:
        scan = msgspec.structs.replace(scan, stop=position)
    elif position is not None:
        scan = msgspec.structs.replace(scan, start=position + 1)
    return store.engine.scan(scan, head)


def read_few_events(store: Store, selection: Selection, *, transform: Transform) -> Block | None:
    """Return what `read_events` would, if it is little and at hand; never waits for a disk."""
    if selection.from_latest_event is not None:
        return None
    head = store.engine.head
    block = store.engine.read_few(_scan(selection, selection.lower, head), head)
    if block is None or transform is AS_STORED:
        return block
    return transform.convert(bytes(block.lines)) if block.lines else b""


def scan_of(log: LogReader, selection: Selection, head: Head) -> Scan | None:
    """Return what a selection means as of a head, None where that is nothing.

    Raises:
        RefusedError: The latest event to start from lies above the upper bound.
    """
    latest = selection.from_latest_event
    if latest is None:
        return _scan(selection, selection.lower, head)
    position = log.find_latest(latest.subject, latest.type, head)
    if position is None:
        if latest.if_event_is_missing is IfEventIsMissing.READ_NOTHING:
            return None
        return _scan(selection, selection.lower, head)
    if selection.upper is not None and position > selection.upper:
        raise StateConflictError(
            Code.RANGE_UNSATISFIABLE,
            "fromLatestEvent results in an event ID greater than upperBound ID",
            field="options.upperBound",
            eventId=str(position),
        )
    return _scan(selection, position, head)


def _scan(selection: Selection, start: int, head: Head) -> Scan:
    is_bounded = selection.upper is not None and selection.upper < head.event_count
    return Scan(
        subject=selection.subject,
        recursive=selection.recursive,
        start=start,
        stop=selection.upper + 1
        if is_bounded and selection.upper is not None
        else head.event_count,
        event_types=selection.event_types,
        is_reversed=selection.order is Order.ANTICHRONOLOGICAL,
    )
