"""Events for tests of the storage: only what matters is said, the rest is a default.

Everything is deterministic: times follow the tip, data follows the arguments.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from everlog.domain.chain import HashVersion
from everlog.domain.event import AcceptedEvent, EventCandidate, accept_event
from everlog.domain.time import format_time, next_event_time, parse_time
from everlog.storage.engine import Batch, Engine, Head, JournalEntry, StagedSchema
from everlog.storage.line import Mark, parse_line, render_line, render_write

FIRST_TIME = 1_700_000_000_000_000_001
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def a_candidate(
    subject: str = "/books/42",
    type_: str = "io.everlog.test.happened",
    *,
    data: str = '{"n":1}',
    traceparent: str | None = None,
    tracestate: str | None = None,
) -> EventCandidate:
    return EventCandidate(
        source="https://everlog.test",
        subject=subject,
        type=type_,
        data=data,
        traceparent=traceparent,
        tracestate=tracestate,
    )


def a_schema(event_type: str, text: str = '{"type":"object","properties":{}}') -> StagedSchema:
    return StagedSchema(event_type, text)


def time_after(tip: Head) -> int:
    return next_event_time(FIRST_TIME, previous=tip.time + 1)[0]


def accept_at(
    tip: Head,
    candidates: Sequence[EventCandidate],
    *,
    time: int,
    hash_version: HashVersion = HashVersion.V2,
) -> list[AcceptedEvent]:
    """Give candidates their places behind a tip."""
    accepted: list[AcceptedEvent] = []
    previous_hash = tip.hash
    for position, candidate in enumerate(candidates, start=tip.event_count):
        event = accept_event(
            candidate,
            position=position,
            time=format_time(time),
            predecessor_hash=previous_hash,
            hash_version=hash_version,
        )
        accepted.append(event)
        previous_hash = event.hash
    return accepted


def an_entry(
    head: Head,
    *writes: Sequence[EventCandidate],
    schemas: Sequence[StagedSchema] = (),
    hash_version: HashVersion = HashVersion.V2,
) -> JournalEntry:
    """Return the batch of some writes that somebody else put behind a head."""
    tip, lines = head, list[bytes]()
    last: AcceptedEvent | None = None
    for candidates in writes:
        time = time_after(tip)
        events = accept_at(tip, candidates, time=time, hash_version=hash_version)
        lines += render_write(events)
        last = events[-1]
        count = tip.event_count + len(events)
        tip = replace(tip, event_count=count, hash=last.hash, time=time)
    if last is not None:
        lines[-1] = render_line(last.json, Mark.BATCH)
    return JournalEntry(head.event_count, head.hash, lines, schemas)


def entries_behind(
    head: Head,
    *batches: Sequence[EventCandidate | StagedSchema],
    hash_version: HashVersion = HashVersion.V2,
) -> list[JournalEntry]:
    """Return batches that somebody else put behind a head, each with one write, or with schemas."""
    entries: list[JournalEntry] = []
    for batch in batches:
        candidates = [part for part in batch if isinstance(part, EventCandidate)]
        schemas = [part for part in batch if isinstance(part, StagedSchema)]
        writes = [candidates] if candidates else []
        entry = an_entry(head, *writes, schemas=schemas, hash_version=hash_version)
        entries.append(entry)
        if candidates:
            last, _ = parse_line(entry.lines[-1])
            head = replace(
                head,
                event_count=head.event_count + len(candidates),
                hash=last.hash,
                time=parse_time(last.time),
            )
    return entries


def stage(
    engine: Engine,
    *candidates: EventCandidate,
    time: int | None = None,
    hash_version: HashVersion = HashVersion.V2,
    is_end: bool = True,
) -> list[AcceptedEvent]:
    """Stage one write, or a part of one that is not its end."""
    tip = engine.tip
    time = time_after(tip) if time is None else time
    events = accept_at(tip, candidates, time=time, hash_version=hash_version)
    engine.stage(events, time=time, is_end=is_end)
    return events


def seal(engine: Engine) -> Batch:
    batch = engine.seal()
    assert batch is not None
    return batch


def store_staged(engine: Engine) -> Batch:
    """Bring all that is staged to the disk and to the readers, as one batch."""
    batch = seal(engine)
    engine.commit(batch)
    engine.publish(batch)
    return batch


def store(
    engine: Engine, *candidates: EventCandidate, hash_version: HashVersion = HashVersion.V2
) -> Batch:
    """Store one write as a batch of its own."""
    stage(engine, *candidates, hash_version=hash_version)
    return store_staged(engine)
