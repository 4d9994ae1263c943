"""Observe events: replay what is there, then go on with what comes, with no gap between.

Yields blocks of lines, and an empty block for each second in which there was nothing to yield,
which is when a heartbeat is due. Ends when the server goes down.

**Why there is no gap.** The head is looked at, and then waited for the next batch, without awaiting
anything in between: `Observers.wait` has registered before it gives the event loop to anybody. Who
is waiting is woken on the loop too, after the head has moved. So a batch is in the head that was
looked at, or wakes us; and what it woke us for is read from where we were, so that nothing comes
twice.
"""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Final

from everlog.domain.selection import FromLatestEvent, IfEventIsMissing, Selection
from everlog.service.observers import Interest
from everlog.service.permits import Permit
from everlog.service.read_events import scan_behind
from everlog.service.reader import Transform
from everlog.service.store import Store
from everlog.storage.engine import Scan
from everlog.storage.line import parse_line

HEARTBEAT_INTERVAL_SECONDS: Final = 1.0

HEARTBEAT: Final = b""


async def observe_events(
    store: Store, selection: Selection, *, permit: Permit, transform: Transform
) -> AsyncGenerator[bytes, None]:
    """Yield the blocks of a selection, without end, with heartbeats between.

    The permit was acquired before, so that a request can still be refused; here it is released.
    """
    with permit:
        position = selection.lower
        if selection.from_latest_event is not None:
            async for found in _find_start(store, selection.from_latest_event):
                if found is None:
                    yield HEARTBEAT
                else:
                    position = found
        interest = Interest(selection.subject, selection.recursive)
        while not store.observers.is_closed:
            head = store.engine.head
            if position >= head.event_count:
                # Nothing may be awaited between reading the head and this.
                if not await store.observers.wait(interest, seconds=HEARTBEAT_INTERVAL_SECONDS):
                    yield HEARTBEAT
                continue
            recent = store.observers.recent(
                interest, start=position, stop=head.event_count, convert=transform.convert
            )
            if recent is not None:
                position = recent.stop
                # Whoever does not take a block must not keep it here, too.
                blocks = [recent.block]
                del recent
                if blocks[0]:
                    yield blocks.pop()
                if position < head.event_count:
                    await store.observers.take_turn()
                continue
            scan = Scan(
                subject=interest.subject,
                recursive=interest.recursive,
                start=position,
                stop=head.event_count,
            )
            following = partial(scan_behind, store, scan, head)
            async for block in store.reader.fetch_blocks(following, transform):
                blocks = [block]
                del block
                yield blocks.pop()
            position = head.event_count


async def _find_start(store: Store, latest: FromLatestEvent) -> AsyncGenerator[int | None, None]:
    """Yield the position to start from, after a None for each second of waiting for it."""
    head = store.engine.head
    found = await store.reader.call(
        lambda: store.engine.find_latest(latest.subject, latest.type, head)
    )
    if found is None and latest.if_event_is_missing is IfEventIsMissing.READ_EVERYTHING:
        found = 0
    interest = Interest(latest.subject, recursive=False)
    seen = head.event_count
    while found is None and not store.observers.is_closed:
        head = store.engine.head
        if seen < head.event_count:
            scan = Scan(
                subject=latest.subject,
                recursive=False,
                start=seen,
                stop=head.event_count,
                event_types=frozenset({latest.type}),
            )
            found = await store.reader.call(partial(_first_position, store, scan))
            seen = head.event_count
        # As above: nothing may be awaited between reading the head and this.
        elif not await store.observers.wait(interest, seconds=HEARTBEAT_INTERVAL_SECONDS):
            yield None
    if found is not None:
        yield found


def _first_position(store: Store, scan: Scan) -> int | None:
    for block in store.engine.scan(scan, store.engine.head):
        event, _ = parse_line(block[: block.index(b"\n") + 1])
        return int(event.id)
    return None
