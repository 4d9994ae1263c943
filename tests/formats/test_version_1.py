"""Data directories that an earlier version wrote are read for ever.

Nothing here may ever need to change: neither the files nor what is expected of them. Copies are
opened, since opening a directory is to take it over.
"""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from everlog.domain.event import is_hash_valid
from everlog.storage.engine import EventType, Head
from everlog.storage.line import Mark
from everlog.storage.log import LogEngine
from tests.formats.write_fixture import DATA, SUBJECTS, TYPES
from tests.support.engines import (
    content_of,
    event_types_of,
    events_of,
    marks_of,
    positions_of,
    read,
    split_lines,
    subjects_of,
)
from tests.support.events import TRACEPARENT, a_candidate, store

FIXTURES = Path(__file__).parent / "version-1"

HEAD = Head(
    event_count=32,
    log_size=15_939,
    subject_count=8,
    event_type_count=4,
    hash="esdb:hash:v2:a316a8dbd82dae34f4e168b3da5e3a1bb8eb8219e9e8523070c8d90088e83c1b",
    time=1_714_521_611_000_003_250,
)
LOG_DIGEST = "b6a3f53afbf63b4d69952d815d1a8859c4572272d96ef110d7f681e484e302bf"


@pytest.fixture(params=["with-index", "with-segments-of-subjects", "without-index"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return shutil.copytree(FIXTURES / request.param, tmp_path / "data")


def test_everything_is_there(directory: Path) -> None:
    engine = LogEngine.open(directory)

    assert engine.head == HEAD
    assert engine.report.torn_size == 0
    assert sha256(read(engine)).hexdigest() == LOG_DIGEST
    events = events_of(read(engine))
    for number, event in enumerate(events):
        assert event.id == str(number)
        assert event.subject == SUBJECTS[number % 6]
        assert event.type == TYPES[number % 3]
        assert bytes(event.data).decode() == DATA[number % 4]
        assert event.traceparent == (TRACEPARENT if number % 4 == 3 else None)
        assert event.tracestate == ('vendor="quoted\\\\",other=1' if number % 8 == 7 else None)
        assert is_hash_valid(event)
        assert event.predecessorhash == (events[number - 1].hash if number else "0" * 64)
    versions = ["2" if event.hash.startswith("esdb:hash:v2:") else "1" for event in events]
    assert "".join(versions) == "12222111222222222222111222222222"
    engine.close()


def test_writes_and_batches_end_where_they_did(directory: Path) -> None:
    engine = LogEngine.open(directory)

    marks = marks_of(read(engine))

    assert marks[:2] == [Mark.WRITE, Mark.BATCH]
    assert marks[2:] == [Mark.EVENT, Mark.EVENT, Mark.BATCH] * 10
    engine.close()


def test_the_index_answers(directory: Path) -> None:
    engine = LogEngine.open(directory)

    assert subjects_of(engine) == [
        "/",
        "/books",
        "/books/42",
        "/books/42/pages",
        "/books/42/pages/1",
        "/books-old",
        "/readers",
        "/readers/jane-doe_1",
    ]
    assert positions_of(read(engine, "/books/42")) == [1, 2, 7, 8, 13, 14, 19, 20, 25, 26, 31]
    assert positions_of(read(engine, "/books", recursive=False)) == [3, 9, 15, 21, 27]
    assert positions_of(read(engine, event_type=TYPES[2], is_reversed=True)) == list(
        range(29, -1, -3)
    )
    assert engine.find_latest("/books/42", TYPES[1], engine.head) == 31
    assert event_types_of(engine) == [
        EventType(TYPES[0], has_events=True, schema='{"type":"object","properties":{}}'),
        EventType(TYPES[1], has_events=True, schema=None),
        EventType(
            "io.everlog.never-written",
            has_events=False,
            schema='{"type":"object","properties":{"a":{"type":"null"}}}',
        ),
        EventType(TYPES[2], has_events=True, schema=None),
    ]
    engine.close()


def test_the_index_is_used_where_there_is_one(directory: Path) -> None:
    has_index = (directory / "index").exists()

    engine = LogEngine.open(directory)

    assert engine.report.replayed_event_count == (0 if has_index else 32)
    assert engine.report.rebuild_reason == (None if has_index else "there is no snapshot")
    engine.close()


def test_writing_goes_on(directory: Path) -> None:
    engine = LogEngine.open(directory)
    before = read(engine)

    store(engine, a_candidate("/new"))

    content = content_of(engine)
    assert content.log.startswith(before)
    assert events_of(content.log)[-1].predecessorhash == HEAD.hash
    engine.close()
    engine = LogEngine.open(directory)
    assert content_of(engine) == content
    engine.close()


def test_the_log_is_read_with_nothing_but_a_json_parser() -> None:
    segments = sorted((FIXTURES / "with-index" / "log").iterdir())

    lines = [line for segment in segments for line in split_lines(segment.read_bytes())]

    assert [json.loads(line)["payload"]["id"] for line in lines] == [str(n) for n in range(32)]
    assert [segment.name for segment in segments] == [
        "00000000000000000000.ndjson",
        "00000000000000000017.ndjson",
    ]
