"""A data directory as queries see it: what a server would serve, read from either end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everlog.domain.errors import (
    CorruptLogError,
    DataDirectoryError,
    DirectoryLockedError,
    UnknownFormatError,
)
from everlog.eventql.planning.plan import EventScan
from everlog.maintenance import segments
from everlog.maintenance.query_log import QueryLog, opened_query_log
from tests.support.audits import EVENT_COUNT, FIRST, edit_line
from tests.support.engines import content_of, kill, open_log, split_lines
from tests.support.eventql.logs import event_of, is_selected
from tests.support.events import a_candidate, seal, stage

ALL = EventScan()


@contextmanager
def opened_log(directory: Path) -> Iterator[QueryLog]:
    with opened_query_log(directory, on_read=lambda _: None) as log:
        yield log


def lines_of(log: QueryLog, scan: EventScan = ALL) -> list[bytes]:
    return split_lines(log.scan(scan))


def served_lines(directory: Path) -> list[bytes]:
    """Return what a server would serve; opening it may change the directory."""
    engine = open_log(directory)
    lines = split_lines(content_of(engine).log)
    engine.close()
    return lines


def test_everything_is_there_and_nothing_is_changed(directory: Path) -> None:
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    with opened_log(directory) as log:
        lines, count = lines_of(log), log.event_count

    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    assert count == EVENT_COUNT
    assert lines == served_lines(directory)


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
        assert (log.event_count, lines_of(log), log.count(ALL)) == (0, [], 0)
        assert lines_of(log, EventScan(is_reversed=True)) == []
        assert [*log.subjects()] == [[]]


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
        patch.setattr(segments, "_BLOCK_SIZE", block_size)
        expected = [line for line in lines_of(log) if is_selected(event_of(line), scan)]
        by_type: dict[str, int] = {}
        for line in expected:
            event_type = event_of(line)["type"]
            by_type[event_type] = by_type.get(event_type, 0) + 1

        assert log.count(scan) == len(expected)
        assert [*log.count_by_event_type(scan).items()] == [*by_type.items()]
        assert lines_of(log, scan) == (expected[::-1] if scan.is_reversed else expected)


@pytest.mark.parametrize("direction", [ALL, EventScan(is_reversed=True)])
def test_what_lies_outside_of_the_ids_is_not_read(directory: Path, direction: EventScan) -> None:
    read: list[int] = []
    stop = int(sorted((directory / "log").iterdir())[1].stem)

    with opened_query_log(directory, on_read=read.append) as log:
        first = replace(direction, id_stop=stop)
        assert len(lines_of(log, first)) == stop == sum(read)
        assert log.count_within_ids(first) == stop
        read.clear()
        assert len(lines_of(log, replace(direction, id_start=stop))) == sum(read)
        read.clear()
        assert log.count(EventScan(id_start=2, id_stop=5)) == 3
        assert read == []


def test_what_was_committed_before_a_crash_is_there(killed: Path) -> None:
    # The bound is one batch behind, as after a loss of power.
    with opened_log(killed) as log:
        lines = lines_of(log)

    assert len(lines) == EVENT_COUNT + 3
    assert lines == served_lines(killed)


def cut_in_the_last_line(content: bytes) -> bytes:
    return content[:-20]


def cut_behind_a_line_without_a_mark(content: bytes) -> bytes:
    return b"".join(split_lines(content)[:-2])


def change_the_last_line(content: bytes) -> bytes:
    *lines, last = split_lines(content)
    return b"".join(lines) + last.replace(b'{"n":1}', b'{"n":2}')


def unchain_the_last_line(content: bytes) -> bytes:
    lines = split_lines(content)
    return b"".join(lines[:-2]) + lines[-1]


def remove_all_of_the_batch(content: bytes) -> bytes:
    return b"".join(split_lines(content)[:-3])


@pytest.mark.parametrize(
    "damage",
    [
        cut_in_the_last_line,
        cut_behind_a_line_without_a_mark,
        change_the_last_line,
        unchain_the_last_line,
        remove_all_of_the_batch,
    ],
)
def test_a_torn_tail_is_left_out_as_a_server_leaves_it_out(
    killed: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = max((killed / "log").iterdir())
    path.write_bytes(damage(path.read_bytes().rstrip(b"\0")))

    with opened_log(killed) as log:
        lines, count = lines_of(log), log.event_count
        assert lines_of(log, EventScan(is_reversed=True)) == lines[::-1]

    assert count == len(lines) < EVENT_COUNT + 3
    assert lines == served_lines(killed)


def test_without_a_bound_the_last_batch_is_judged_by_its_chain(directory: Path) -> None:
    (directory / "durable").unlink()

    with opened_log(directory) as log:
        assert log.event_count == EVENT_COUNT


def test_a_batch_that_begins_a_segment_is_chained_to_the_segment_before(directory: Path) -> None:
    (directory / "durable").unlink()
    path = max((directory / "log").iterdir())
    path.write_bytes(split_lines(path.read_bytes())[0])

    with opened_log(directory) as log:
        count = log.event_count

    assert count == int(path.stem) + 1
    assert count == len(served_lines(directory))


def check_is_refused(directory: Path, error: type[Exception], text: str) -> None:
    """Check that reading everything, from either end, is refused."""
    for scan in (ALL, EventScan(is_reversed=True)):
        with pytest.raises(error, match=text), opened_log(directory) as log:
            lines_of(log, scan)


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


def test_a_log_that_ends_before_the_bound_is_refused(directory: Path) -> None:
    path = max((directory / "log").iterdir())
    path.write_bytes(b"".join(split_lines(path.read_bytes())[:-1]))
    check_is_refused(directory, CorruptLogError, f"before event {EVENT_COUNT - 1}")

    for path in (directory / "log").iterdir():
        path.unlink()
    check_is_refused(directory, CorruptLogError, "which was on the disk")


def test_an_end_that_is_not_as_it_was_written_is_refused(directory: Path) -> None:
    edit_line(directory, EVENT_COUNT - 1, lambda line: line.replace(b'"source"', b'"sourse"'))

    check_is_refused(directory, CorruptLogError, "the end of log/[0-9]+.ndjson is not as it was")


def test_other_damage_is_refused(directory: Path) -> None:
    (directory / "log" / "notes.txt").touch()
    check_is_refused(directory, CorruptLogError, "notes.txt")
    (directory / "log" / "notes.txt").unlink()

    format_file = directory / "everlog.json"
    content = format_file.read_bytes()
    format_file.write_bytes(content[:-3])
    check_is_refused(directory, CorruptLogError, "everlog.json")
    format_file.write_bytes(content)

    schemas = directory / "schemas.ndjson"
    content = schemas.read_bytes()
    schemas.write_bytes(content + content[:10])
    with opened_log(directory) as log:
        assert "io.everlog.two" in log.event_types()
    schemas.write_bytes(content.replace(b'"schema"', b'"schemo"', 1))
    check_is_refused(directory, CorruptLogError, "schemas.ndjson")


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    check_is_refused(tmp_path / "none", DataDirectoryError, "is not a directory")
    check_is_refused(tmp_path, UnknownFormatError, "not a data directory")


def test_a_server_and_queries_exclude_each_other(directory: Path) -> None:
    with opened_log(directory), opened_log(directory), pytest.raises(DirectoryLockedError):
        open_log(directory)

    engine = open_log(directory)
    check_is_refused(directory, DirectoryLockedError, "in use by a server")
    engine.close()


def test_what_the_system_cannot_read_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened_log(directory) as log:

        def fail(*_: object) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(segments.os, "pread", fail)
        for scan in (ALL, EventScan(is_reversed=True)):
            with pytest.raises(DataDirectoryError, match="Input/output error"):
                lines_of(log, scan)


def test_a_write_that_is_not_whole_is_no_part_of_the_log(tmp_path: Path) -> None:
    engine = open_log(tmp_path)
    stage(engine, a_candidate("/a"), a_candidate("/b"))
    engine.commit(seal(engine))
    kill(engine)
    path = tmp_path / FIRST
    lines = split_lines(path.read_bytes().rstrip(b"\0"))
    (tmp_path / "durable").write_bytes(b"")
    path.write_bytes(lines[0])

    with opened_log(tmp_path) as log:
        assert (log.event_count, lines_of(log)) == (0, [])
