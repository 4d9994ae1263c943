"""Readers on other threads see one state of the log, whatever the writer does meanwhile."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from everlog.storage.engine import LogReader
from everlog.storage.log import LogEngine, ReadOnlyLog, columns, indexed_log
from tests.support.engines import event_types_of, events_of, open_log, read, subjects_of
from tests.support.events import a_candidate, a_schema, stage, store, store_staged

SECONDS = 1.0
READERS = 3
SUBJECT_COUNT = 40


def name_of(position: int) -> str:
    """Return the subject that was published at a position, whatever was staged there before."""
    return f"/s/{position * 7 % SUBJECT_COUNT}" if position % 3 else "/s"


def type_of(position: int) -> str:
    return f"io.everlog.t{position % 5}"


def check_view(engine: LogReader) -> None:
    """Check all that a reader of the present head sees against what it must be."""
    head = engine.head
    names = [name_of(position) for position in range(head.event_count)]
    types = [type_of(position) for position in range(head.event_count)]
    name, event_type = f"/s/{head.event_count % SUBJECT_COUNT}", type_of(head.event_count)

    expected = [position for position, found in enumerate(names) if found == name]
    assert [int(event.id) for event in events_of(read(engine, name, head=head))] == expected
    found = read(engine, name, recursive=False, event_type=event_type, head=head, is_reversed=True)
    assert [int(event.id) for event in events_of(found)] == [
        position for position in reversed(expected) if types[position] == event_type
    ]
    start = max(head.event_count - 50, 0)
    tail = events_of(read(engine, start=start, head=head))
    assert [(event.subject, event.type) for event in tail] == list(
        zip(names[start:], types[start:], strict=True)
    )
    latest = [position for position in expected if types[position] == event_type]
    assert engine.find_latest(name, event_type, head) == max(latest, default=None)
    assert set(subjects_of(engine, head=head)) == {*names, "/", "/s"}
    assert {entry.name for entry in event_types_of(engine, head=head) if entry.has_events} == set(
        types
    )


def write_and_roll_back(engine: LogEngine, number: int) -> None:
    """Stage what will never be published, then publish what readers expect."""
    position = engine.head.event_count
    stage(engine, *[a_candidate(f"/s/{other}", type_of(other)) for other in range(number % 9 + 1)])
    stage(engine, a_candidate(f"/never/{number}", f"io.everlog.never{number}"))
    engine.roll_back()
    store(
        engine,
        *[
            a_candidate(name_of(after), type_of(after))
            for after in range(position, position + number % 4 + 1)
        ],
    )
    if number % 50 == 0:
        engine.stage_schema(a_schema(f"io.everlog.schema{number}"))
        store_staged(engine)
        engine.save_snapshot()


@pytest.mark.slow
@pytest.mark.parametrize("is_read_only", [False, True])
@pytest.mark.parametrize("chain_step_cost", [0, 1_000_000])
def test_readers_see_one_state_while_the_writer_stages_and_rolls_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chain_step_cost: int, *, is_read_only: bool
) -> None:
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 2)
    monkeypatch.setattr(indexed_log, "_WINDOW", 16)
    monkeypatch.setattr(indexed_log, "_CHAIN_STEP_COST", chain_step_cost)
    engine = open_log(tmp_path, segment_size_max=50_000)
    store(engine, a_candidate(name_of(0), type_of(0)))
    ending, views, faults = threading.Event(), [0] * READERS, []

    def read_until_the_end(reader: int) -> None:
        try:
            with ReadOnlyLog.open(tmp_path) as log:
                while not ending.is_set():
                    log.refresh()
                    check_view(log if is_read_only else engine)
                    views[reader] += 1
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it again
            faults.append(error)

    threads = [threading.Thread(target=read_until_the_end, args=(n,)) for n in range(READERS)]
    run_with_threads(threads, ending, lambda number: write_and_roll_back(engine, number))
    engine.close()

    if faults:
        raise faults[0]
    assert min(views) > 0


def run_with_threads(
    threads: list[threading.Thread], ending: threading.Event, write: Callable[[int], None]
) -> None:
    """Write for a while with the threads running, and wait for their end."""
    interval = sys.getswitchinterval()
    # As many different orders of steps as possible.
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    stop, number = time.monotonic() + SECONDS, 0
    try:
        while time.monotonic() < stop:
            write(number)
            number += 1
    finally:
        ending.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
