"""Filling a log without a server: the engine alone, a batch of many writes at a time."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.events import SOURCE, TYPE, data_of, subject_of
from everlog.domain.chain import HashVersion
from everlog.domain.event import EventCandidate, accept_event
from everlog.domain.time import next_event_time
from everlog.storage.log import LogEngine

_EVENTS_PER_WRITE = 1_000
_WRITES_PER_BATCH = 10


def fill_log(directory: Path, event_count: int) -> None:
    """Write so many of the usual events into a new data directory, and close it cleanly."""
    write_log(directory, _candidates(event_count))


def write_log(directory: Path, candidates: Iterator[EventCandidate]) -> None:
    """Write events into a new data directory, and close it cleanly."""
    engine = LogEngine.open(directory)
    try:
        write_count = 0
        while chunk := list(islice(candidates, _EVENTS_PER_WRITE)):
            tip = engine.tip
            now, text = next_event_time(time.time_ns(), previous=tip.time)
            hash_, events = tip.hash, []
            for position, candidate in enumerate(chunk, start=tip.event_count):
                event = accept_event(
                    candidate,
                    position=position,
                    time=text,
                    predecessor_hash=hash_,
                    hash_version=HashVersion.V2,
                )
                events.append(event)
                hash_ = event.hash
            engine.stage(events, time=now)
            write_count += 1
            if write_count % _WRITES_PER_BATCH == 0:
                _commit(engine)
        _commit(engine)
    finally:
        engine.close()


def _candidates(event_count: int) -> Iterator[EventCandidate]:
    for position in range(event_count):
        subject = subject_of(position, event_count=event_count)
        yield EventCandidate(SOURCE, subject, TYPE, data_of(position))


def _commit(engine: LogEngine) -> None:
    batch = engine.seal()
    if batch is not None:
        engine.commit(batch)
        engine.publish(batch)
