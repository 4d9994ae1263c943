"""Faults of the disk while a data directory is opened, saved or closed."""

import contextlib
import errno
import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from everlog.domain.errors import EverlogError
from everlog.storage.log import LogEngine
from tests.support.disks import FailingDisk, Fault, Kind
from tests.support.engines import content_of, kill, open_log, positions_of
from tests.support.events import a_candidate, a_schema, store, store_staged


def open_file_count() -> int:
    # A mapping holds its file until nobody looks at it any more.
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def faults_of(disk: FailingDisk, error: int) -> Iterator[Fault]:
    """Yield one fault for each call since the last arming."""
    for kind, count in list(disk.calls.items()):
        for number in range(count):
            yield Fault(kind, number, error)


@pytest.fixture(autouse=True)
def no_file_stays_open() -> Iterator[None]:
    before = open_file_count()
    yield
    assert open_file_count() == before


def check_every_fault(
    tmp_path: Path,
    error: int,
    *,
    prepare: Callable[[Path], None],
    act: Callable[[Path, FailingDisk], None],
    check: Callable[[Path], None],
) -> None:
    """Let each call that an act makes fail in turn, and check what is left on the disk."""
    disk = FailingDisk()
    prepare(tmp_path / "healthy")
    act(tmp_path / "healthy", disk)
    for number, fault in enumerate(faults_of(disk, error)):
        directory = tmp_path / str(number)
        prepare(directory)
        disk = FailingDisk()
        disk.arm(fault)

        with contextlib.suppress(OSError, EverlogError):
            act(directory, disk)

        assert disk.has_failed
        check(directory)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_new_directory_opens_after_any_fault_while_it_was_created(
    tmp_path: Path, error: int
) -> None:
    def check(directory: Path) -> None:
        engine = open_log(directory)
        store(engine, a_candidate())
        assert engine.head.event_count == 1
        engine.close()

    check_every_fault(
        tmp_path,
        error,
        prepare=lambda _: None,
        act=lambda directory, disk: open_log(directory, disk=disk).close(),
        check=check,
    )


def fill(directory: Path) -> LogEngine:
    engine = open_log(directory)
    for number in range(12):
        store(engine, a_candidate(f"/s{number % 5}"), a_candidate())
    engine.stage_schema(a_schema("io.everlog.schema"))
    store_staged(engine)
    return engine


def fill_and_close(directory: Path) -> None:
    fill(directory).close()


def fill_and_kill(directory: Path) -> None:
    engine = fill(directory)
    engine.save_snapshot()
    store(engine, a_candidate("/late"))
    kill(engine)
    # A batch that was being written when the process died.
    with max((directory / "log").iterdir()).open("r+b") as file:
        file.seek(len(file.read().rstrip(b"\0")))
        file.write(b'{"type":"event","payl')
    with (directory / "schemas.ndjson").open("ab") as file:
        file.write(b'{"type":"schema","payl')


def check_whole(directory: Path, *, event_count: int) -> None:
    engine = open_log(directory)
    try:
        content = content_of(engine)
        assert positions_of(content.log) == list(range(event_count))
        assert [entry.name for entry in content.event_types if entry.schema is not None] == [
            "io.everlog.schema"
        ]
        store(engine, a_candidate())
    finally:
        engine.close()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_directory_opens_after_any_fault_while_it_was_recovered(
    tmp_path: Path, error: int
) -> None:
    check_every_fault(
        tmp_path,
        error,
        prepare=fill_and_kill,
        act=lambda directory, disk: kill(open_log(directory, disk=disk)),
        check=lambda directory: check_whole(directory, event_count=25),
    )


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_directory_opens_after_any_fault_while_its_index_was_rebuilt(
    tmp_path: Path, error: int
) -> None:
    def prepare(directory: Path) -> None:
        fill_and_close(directory)
        shutil.rmtree(directory / "index")

    check_every_fault(
        tmp_path,
        error,
        prepare=prepare,
        act=lambda directory, disk: open_log(directory, disk=disk).close(),
        check=lambda directory: check_whole(directory, event_count=24),
    )


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_directory_opens_after_any_fault_while_it_was_closed(tmp_path: Path, error: int) -> None:
    def act(directory: Path, disk: FailingDisk) -> None:
        engine = open_log(directory, disk=disk)
        try:
            engine.save_snapshot()
        finally:
            engine.close()

    check_every_fault(
        tmp_path,
        error,
        prepare=fill_and_close,
        act=act,
        check=lambda directory: check_whole(directory, event_count=24),
    )


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_directory_opens_although_its_snapshot_cannot_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    fill_and_kill(tmp_path)
    monkeypatch.setattr("everlog.storage.log.engine._SNAPSHOT_EVENTS", 1)
    disk = FailingDisk()
    disk.arm(Fault(Kind.RENAME, 0, error, is_lasting=True))

    engine = open_log(tmp_path, disk=disk)

    assert disk.has_failed
    assert engine.head.event_count == 25
    assert engine.is_snapshot_due
    disk.arm(None)
    engine.save_snapshot()
    assert not engine.is_snapshot_due
    engine.close()


@pytest.mark.parametrize("kind", [Kind.OPEN, Kind.WRITE, Kind.RENAME])
def test_a_directory_is_closed_although_there_is_no_room_for_a_snapshot(
    tmp_path: Path, kind: Kind
) -> None:
    disk = FailingDisk()
    engine = open_log(tmp_path, disk=disk)
    store(engine, a_candidate("/a"))
    disk.arm(Fault(kind, 0, errno.ENOSPC, is_lasting=True))

    engine.close()

    assert disk.has_failed
    engine = open_log(tmp_path)
    assert engine.report.replayed_event_count == 1
    engine.close()
