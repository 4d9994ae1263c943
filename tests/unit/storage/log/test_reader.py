"""A log opened for reading only: what a server would serve, beside one or without, unchanged."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from everlog.domain.errors import CorruptLogError, DataDirectoryError, UnknownFormatError
from everlog.storage.engine import Batch, Scan
from everlog.storage.log import LogEngine, ReadOnlyLog, reader
from everlog.storage.log import directory as log_directory
from everlog.storage.log.disk import Disk, Folder, PosixDisk
from everlog.storage.log.recovery import Replay
from tests.support.audits import EVENT_COUNT, FIRST, SEGMENT_SIZE, edit_line
from tests.support.engines import (
    Content,
    content_of,
    event_types_of,
    kill,
    open_log,
    positions_of,
    read,
    split_lines,
)
from tests.support.events import a_candidate, a_schema, an_entry, seal, stage, store, store_staged


class ReadingDisk(PosixDisk):
    """A disk on a medium that cannot be written to."""

    def open(self, folder: Folder | None, name: str, flags: int) -> int:
        assert flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC) == os.O_RDONLY
        return super().open(folder, name, flags)

    def _refuse(self, *_: object) -> NoReturn:
        raise OSError(30, "Read-only file system")

    make_directory = write = sync_data = allocate = truncate = rename = sync_directory = _refuse


@contextmanager
def opened_log(directory: Path) -> Iterator[ReadOnlyLog]:
    with ReadOnlyLog.open(directory, disk=ReadingDisk()) as log:
        yield log


def served(directory: Path) -> Content:
    """Return what a server would serve; opening it may change the directory."""
    engine = open_log(directory)
    content = content_of(engine)
    engine.close()
    return content


def files_of(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_everything_is_there_and_nothing_is_changed(directory: Path) -> None:
    before = files_of(directory)

    with opened_log(directory) as log:
        content = content_of(log)

    assert files_of(directory) == before
    assert content.head.event_count == EVENT_COUNT
    assert content == served(directory)


@pytest.mark.parametrize("missing", ["index", "index/checkpoint.json", "index/type", "lock"])
def test_what_can_be_made_anew_may_be_missing(directory: Path, missing: str) -> None:
    path = directory / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    with opened_log(directory) as log:
        content = content_of(log)

    assert not path.exists()
    assert content == served(directory)


def test_a_log_without_events_has_nothing(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    with opened_log(tmp_path) as log:
        assert content_of(log) == Content(log.head, b"", [], [])

    for name in ("log", "index", "schemas.ndjson", "durable"):
        path = tmp_path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with opened_log(tmp_path) as log:
        assert log.head.event_count == 0


# Its end.


def test_what_was_committed_before_a_crash_is_there(killed: Path) -> None:
    # The bound is one batch behind, as after a loss of power.
    with opened_log(killed) as log:
        content = content_of(log)

    assert content.head.event_count == EVENT_COUNT + 3
    assert content == served(killed)


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
        content = content_of(log)
        backwards = split_lines(read(log, is_reversed=True))

    assert backwards == split_lines(content.log)[::-1]
    assert content.head.event_count < EVENT_COUNT + 3
    assert content == served(killed)


def test_without_a_bound_the_last_batch_is_judged_by_its_chain(directory: Path) -> None:
    (directory / "durable").unlink()

    with opened_log(directory) as log:
        assert log.head.event_count == EVENT_COUNT


def test_a_batch_that_begins_a_segment_is_chained_to_the_segment_before(directory: Path) -> None:
    (directory / "durable").unlink()
    shutil.rmtree(directory / "index")
    path = max((directory / "log").iterdir())
    path.write_bytes(split_lines(path.read_bytes())[0])

    with opened_log(directory) as log:
        content = content_of(log)

    assert content.head.event_count == int(path.stem) + 1
    assert content == served(directory)


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
        assert (log.head.event_count, read(log)) == (0, b"")


def check_is_refused(directory: Path, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text), opened_log(directory):
        pass


def test_a_log_that_ends_before_the_bound_is_refused(directory: Path) -> None:
    path = max((directory / "log").iterdir())
    path.write_bytes(b"".join(split_lines(path.read_bytes())[:-1]))
    check_is_refused(directory, CorruptLogError, f"id {EVENT_COUNT - 1} .*ends before it")

    for path in (directory / "log").iterdir():
        path.unlink()
    check_is_refused(directory, CorruptLogError, "id 0 .*ends before it")


def test_an_event_behind_the_snapshot_that_is_damaged_is_named(killed: Path) -> None:
    open_log(killed).close()
    (killed / "index" / "checkpoint.json").unlink()
    edit_line(killed, 13, lambda line: line.replace(b'"source"', b'"sourse"'))

    with pytest.raises(CorruptLogError, match="everlog audit") as raised, opened_log(killed):
        pass
    assert raised.value.position == 13


def test_other_damage_is_refused(directory: Path) -> None:
    (directory / "log" / "notes.txt").touch()
    check_is_refused(directory, CorruptLogError, "notes.txt")
    (directory / "log" / "notes.txt").unlink()

    format_file = directory / "everlog.json"
    content = format_file.read_bytes()
    format_file.write_bytes(content[:-3])
    check_is_refused(directory, UnknownFormatError, "everlog.json is damaged")
    format_file.write_bytes(content)

    schemas = directory / "schemas.ndjson"
    content = schemas.read_bytes()
    schemas.write_bytes(content + content[:10])
    with opened_log(directory) as log:
        assert "io.everlog.two" in [entry.name for entry in event_types_of(log)]
    schemas.write_bytes(content.replace(b'"schema"', b'"schemo"', 1))
    check_is_refused(directory, CorruptLogError, "schemas.ndjson")


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    check_is_refused(tmp_path / "none", DataDirectoryError, "is not a directory")
    check_is_refused(tmp_path, UnknownFormatError, "not a data directory")
    (tmp_path / "everlog.json").write_text('{"format":"everlog-data","version":2}')
    check_is_refused(tmp_path, UnknownFormatError, "format 1 only")


# Beside a server.


def test_a_server_starts_writes_and_stops_while_a_reader_goes_on(directory: Path) -> None:
    with opened_log(directory) as log:
        before = content_of(log)
        engine = open_log(directory, segment_size_max=SEGMENT_SIZE)
        for number in range(40):
            store(engine, a_candidate(f"/new/{number}", f"io.everlog.new.{number % 3}"))
            engine.stage_schema(a_schema(f"io.everlog.schema.{number}"))
            store_staged(engine)
            if number % 7 == 0:
                engine.save_snapshot()
            with opened_log(directory) as other:
                assert content_of(other) == content_of(engine)
        assert content_of(log) == before

        assert log.refresh() == engine.head
        assert content_of(log) == content_of(engine)
        engine.close()
        store(open_log(directory), a_candidate("/late"))
        log.refresh()
        assert positions_of(read(log, "/late")) == [log.head.event_count - 1]


@pytest.fixture
def busy(directory: Path) -> Iterator[tuple[LogEngine, Batch]]:
    """Yield an engine that has written a batch of which nobody knows whether it will stay."""
    engine = open_log(directory, segment_size_max=1 << 20)
    store(engine, a_candidate("/makes/room"))
    stage(engine, a_candidate("/in/flight"))
    batch = seal(engine)
    assert engine.begin_commit(batch) is not None
    yield engine, batch
    kill(engine)


def test_what_is_being_synced_is_not_shown(directory: Path, busy: tuple[LogEngine, Batch]) -> None:
    engine, batch = busy
    assert batch.lines[0] in (directory / FIRST).read_bytes() or len(engine.report) > 0

    with opened_log(directory) as log:
        assert log.head == engine.head
        assert not log.subject_exists("/in/flight", log.head)

        engine.end_commit(batch, None)
        assert log.refresh() == batch.head
        assert split_lines(read(log, "/in/flight")) == batch.lines


def test_a_schema_that_is_being_synced_is_not_shown(directory: Path) -> None:
    engine = open_log(directory)
    engine.stage_schema(a_schema("io.everlog.in.flight"))
    batch = seal(engine)
    engine._schemas.append(batch.schemas)

    with opened_log(directory) as log:
        assert content_of(log) == content_of(engine)
        engine._move_bound(batch)
        log.refresh()
        assert log.event_type("io.everlog.in.flight", log.head) is not None
    kill(engine)


def test_a_bound_that_a_loss_of_power_made_older_takes_nothing_away(
    directory: Path, killed: Path
) -> None:
    bound = (directory / "durable").read_bytes()
    with opened_log(killed) as log:
        before = content_of(log)
        open_log(killed).close()
        (directory / "durable").write_bytes(bound)
        # A server that is just opening has the lock, and has not moved the bound.
        with ExitStack() as resources:
            disk = PosixDisk()
            folder = log_directory.open_directory(directory, disk, resources)
            log_directory.DirectoryLock(folder, disk, resources)

            log.refresh()
            with opened_log(killed) as other:
                assert content_of(log) == content_of(other) == before


def test_a_server_that_comes_while_the_end_is_looked_for_decides_about_it(
    directory: Path, busy: tuple[LogEngine, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = busy
    answers = iter([False, True, True])
    monkeypatch.setattr(reader, "is_served", lambda *_: next(answers))

    with opened_log(directory) as log:
        assert log.head == engine.head
        assert content_of(log) == content_of(engine)


def test_damage_is_looked_at_again_where_a_server_has_come(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, calls = iter([False, True, True]), iter([CorruptLogError("torn", position=1), None])
    replay = reader.replay

    def fail_once(*arguments: object, **options: object) -> Replay:
        if error := next(calls):
            raise error
        return replay(*arguments, **options)  # type: ignore[arg-type]  # Whatever it was.

    monkeypatch.setattr(reader, "is_served", lambda *_: next(answers))
    monkeypatch.setattr(reader, "replay", fail_once)

    with opened_log(directory) as log:
        assert log.head.event_count == EVENT_COUNT


def test_a_bound_that_is_read_while_it_is_written_is_read_again(
    directory: Path, busy: tuple[LogEngine, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = busy
    read_file, torn = log_directory.read_file, [b"torn" * 7]

    def read_early(disk: Disk, folder: Folder, name: str) -> bytes:
        return torn.pop() if name == "durable" and torn else read_file(disk, folder, name)

    monkeypatch.setattr(log_directory, "read_file", read_early)

    with opened_log(directory) as log:
        assert log.head == engine.head


def test_only_what_is_behind_the_snapshot_is_read(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_log(directory)
    store(engine, a_candidate("/a"), a_candidate("/new"))
    read_counts: list[int] = []
    replay = reader.replay

    def counted(*arguments: object, **options: object) -> Replay:
        found = replay(*arguments, **options)  # type: ignore[arg-type]  # As above.
        read_counts.append(found.event_count)
        return found

    monkeypatch.setattr(reader, "replay", counted)
    with opened_log(directory) as log:
        store(engine, a_candidate("/a"))
        log.refresh()
        assert read_counts == [2, 1]
        assert content_of(log) == content_of(engine)
    engine.close()


def test_staged_cells_of_the_server_are_not_seen(directory: Path) -> None:
    engine = open_log(directory)
    with opened_log(directory) as log:
        # They stand in the same cells of the same files.
        stage(engine, a_candidate("/staged", "io.everlog.staged"), a_candidate("/a"))
        engine.roll_back()
        entry = an_entry(engine.head, [a_candidate("/b", "io.everlog.b"), a_candidate("/a")])
        engine.apply(entry, is_verified=False)
        log.refresh()
        stage(engine, a_candidate("/staged"), a_candidate("/staged"))

        assert content_of(log) == content_of(engine)
        scan = Scan(start=0, stop=99, event_types=frozenset({"io.everlog.b"}))
        assert positions_of(b"".join(log.scan(scan, log.head))) == [EVENT_COUNT]
    kill(engine)


def test_types_that_get_other_numbers_when_an_index_is_made_anew_harm_no_reader(
    tmp_path: Path,
) -> None:
    engine = open_log(tmp_path)
    store(engine, a_candidate("/a", "io.everlog.one"))
    engine.stage_schema(a_schema("io.everlog.phantom"))
    store_staged(engine)
    store(engine, a_candidate("/a", "io.everlog.two"))
    engine.close()
    with opened_log(tmp_path) as log:
        (tmp_path / "index" / "checkpoint.json").unlink()
        kill(open_log(tmp_path))

        for event_type, expected in (("io.everlog.two", [1]), ("io.everlog.phantom", [])):
            assert positions_of(read(log, event_type=event_type)) == expected


def test_the_file_of_an_event_is_known(directory: Path) -> None:
    paths = sorted((directory / "log").iterdir())
    with opened_log(directory) as log:
        second = int(paths[1].stem)
        assert [log.path_of(position) for position in (0, second - 1, second, EVENT_COUNT - 1)] == [
            paths[0],
            paths[0],
            paths[1],
            paths[1],
        ]
        # Another process would not find what is in the memory of this one.
        assert log.files(log.head) is None


def test_a_server_that_starts_waits_for_who_only_looks_at_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_log(tmp_path).close()
    looks = os.open(tmp_path / "lock", os.O_RDONLY)
    log_directory.fcntl.flock(looks, log_directory.fcntl.LOCK_SH)
    waits: list[float] = []

    def let_go(seconds: float) -> None:
        waits.append(seconds)
        os.close(looks)

    monkeypatch.setattr(log_directory.time, "sleep", let_go)

    open_log(tmp_path).close()

    assert len(waits) == 1
