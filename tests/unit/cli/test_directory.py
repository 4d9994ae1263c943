"""A data directory as queries see it: from either end, and each event in its place."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everlog.cli.directory import DirectoryLog, DirectoryTransport
from everlog.domain.errors import CorruptLogError, DataDirectoryError
from everlog.eventql.planning.plan import EventScan
from everlog.storage.log import ReadOnlyLog, columns, reading
from tests.support.audits import EVENT_COUNT, FIRST, edit_line, fill_directory
from tests.support.engines import content_of, open_log, split_lines
from tests.support.eventql.logs import event_of, is_selected

ALL = EventScan()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 16)
    fill_directory(tmp_path / "data")
    return tmp_path / "data"


@contextmanager
def opened_log(directory: Path) -> Iterator[DirectoryLog]:
    with ReadOnlyLog.open(directory) as reader:
        yield DirectoryLog(reader, reader.head, lambda _: None)


def lines_of(log: DirectoryLog, scan: EventScan = ALL) -> list[bytes]:
    return split_lines(log.scan(scan))


def rows_of(directory: Path, text: str) -> list[bytes]:
    with closing(DirectoryTransport(directory)) as transport:
        return [row for rows in transport.query(text) for row in rows]


def test_names_are_those_of_the_engine(directory: Path) -> None:
    with opened_log(directory) as log:
        subjects = [name for chunk in log.subjects() for name in chunk]
        event_types = log.event_types()

    engine = open_log(directory)
    content = content_of(engine)
    engine.close()
    assert sorted(subjects) == sorted(content.subjects)
    assert sorted(event_types) == [entry.name for entry in content.event_types]


def test_a_log_without_events_has_nothing(tmp_path: Path) -> None:
    open_log(tmp_path).close()

    with opened_log(tmp_path) as log:
        assert (lines_of(log), log.count(ALL)) == ([], 0)
        assert lines_of(log, EventScan(is_reversed=True)) == []
        assert [*log.subjects()] == []


SUBJECTS = ("/a", "/a/b", "/c", "/d/5", "/d/11", "/none")
TYPES = ("io.everlog.test.happened", "io.everlog.other", "io.everlog.none")
TIMES = st.none() | st.integers(0, EVENT_COUNT + 1)
SCANS = st.builds(
    EventScan,
    event_types=st.none() | st.frozensets(st.sampled_from(TYPES)),
    subjects=st.none() | st.frozensets(st.sampled_from(SUBJECTS)),
    subject_prefix=st.none() | st.sampled_from(("", "/", "/a", "/d/1", "/none")),
    id_start=st.integers(0, EVENT_COUNT + 2),
    id_stop=st.none() | st.integers(0, EVENT_COUNT + 2),
    time_start=TIMES.map(lambda count: count and 1_700_000_000_000_000_000 + count),
    time_stop=TIMES.map(lambda count: count and 1_700_000_000_000_000_000 + count),
    is_reversed=st.booleans(),
)


@pytest.mark.parametrize("block_size", [64, 1_000, 1 << 20])
@given(scan=SCANS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_scan_selects_exactly_what_its_conditions_say(
    directory: Path, block_size: int, scan: EventScan
) -> None:
    with pytest.MonkeyPatch.context() as patch, opened_log(directory) as log:
        patch.setattr(reading, "BLOCK_SIZE", block_size)
        expected = [line for line in lines_of(log) if is_selected(event_of(line), scan)]
        by_type: dict[str, int] = {}
        for line in expected:
            event_type = event_of(line)["type"]
            by_type[event_type] = by_type.get(event_type, 0) + 1

        assert log.count(scan) == len(expected)
        assert [*log.count_by_event_type(scan).items()] == [*by_type.items()]
        assert lines_of(log, scan) == (expected[::-1] if scan.is_reversed else expected)


@pytest.mark.parametrize("direction", [ALL, EventScan(is_reversed=True)])
def test_what_is_not_selected_is_not_read(directory: Path, direction: EventScan) -> None:
    events: list[int] = []

    with ReadOnlyLog.open(directory) as reader:
        log = DirectoryLog(reader, reader.head, events.append)
        assert len(lines_of(log, replace(direction, id_start=2, id_stop=7))) == 5 == sum(events)
        events.clear()
        assert len(lines_of(log, replace(direction, subjects=frozenset({"/a"})))) == sum(events)
        events.clear()
        assert log.count(EventScan(id_start=2, id_stop=5)) == 3
        assert log.count_by_event_type(EventScan(event_types=frozenset(TYPES)))
        assert events == []


@pytest.mark.parametrize(
    "position, edit, named",
    [
        (1, lambda line: line.replace(b'"id":"1"', b'"id":"7"'), (1, 1)),
        (3, lambda line: line.replace(b'"subject":', b'"subjekt":'), (3, 3)),
        (4, lambda line: b"x" + line[1:], (4, 4)),
        (4, lambda line: bytes(len(line) - 1) + b"\n", (4, 4)),
        (4, lambda line: line[:40] + b"\n" + line[41:], (4, 4)),
    ],
)
def test_an_event_that_is_not_in_its_place_is_named(
    directory: Path, position: int, edit: Callable[[bytes], bytes], named: tuple[int, int]
) -> None:
    edit_line(directory, position, edit)

    for is_reversed, event in zip((False, True), named, strict=True):
        with pytest.raises(CorruptLogError) as raised, opened_log(directory) as log:
            lines_of(log, EventScan(is_reversed=is_reversed))
        assert f"event {event} in {FIRST} is not as it was written" in str(raised.value)
        assert "everlog audit" in str(raised.value)
        assert raised.value.position == event


def test_an_event_that_only_an_index_selects_is_looked_at_too(directory: Path) -> None:
    edit_line(directory, 4, lambda line: line.replace(b'"id":"4"', b'"id":"5"'))
    subject = event_of(lines_without_place(directory)[4])["subject"]

    with opened_log(directory) as log:
        with pytest.raises(CorruptLogError, match="event 4 "):
            lines_of(log, EventScan(subjects=frozenset({subject})))
        assert len(lines_of(log, EventScan(subjects=frozenset({"/c"})))) == 1


def lines_without_place(directory: Path) -> list[bytes]:
    return [
        line
        for path in sorted((directory / "log").iterdir())
        for line in split_lines(path.read_bytes())
    ]


def test_a_file_that_becomes_shorter_is_noticed(directory: Path) -> None:
    path = max((directory / "log").iterdir())
    with opened_log(directory) as log:
        size = len(split_lines(path.read_bytes())[0])
        os.truncate(path, size)

        for is_reversed in (False, True):
            with pytest.raises(CorruptLogError, match="is not as it was written"):
                lines_of(log, EventScan(is_reversed=is_reversed))
        os.truncate(path, 0)
        with pytest.raises(CorruptLogError, match=f"event {path.stem.lstrip('0')} in"):
            lines_of(log, EventScan(id_start=int(path.stem)))


def test_a_query_is_answered_beside_a_server(directory: Path) -> None:
    engine = open_log(directory)

    assert rows_of(directory, "FROM e IN events PROJECT INTO COUNT()") == [b"%d" % EVENT_COUNT]

    engine.close()


def test_what_the_system_cannot_read_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("everlog.storage.log.segments.os.pread", fail)
    with pytest.raises(DataDirectoryError, match="Input/output error"):
        rows_of(directory, "FROM e IN events PROJECT INTO e.id")
