"""Data directories: what is refused, with which words, and what is left alone."""

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from everlog.domain.errors import (
    DataDirectoryError,
    DirectoryLockedError,
    StoreFailedError,
    UnknownFormatError,
)
from everlog.maintenance import findings
from everlog.storage.engine import Scan
from everlog.storage.log import ReadOnlyLog
from everlog.storage.log.disk import Folder, PosixDisk
from everlog.storage.log.reading import LogView
from tests.support.audits import audit_of
from tests.support.committing import WAYS
from tests.support.disks import FailingDisk, Fault, Kind, QuickDisk
from tests.support.engines import content_of, kill, open_log
from tests.support.events import a_candidate, seal, stage, store


def test_a_missing_directory_is_created_for_its_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"

    open_log(directory).close()

    assert directory.stat().st_mode & 0o777 == 0o700
    for path in directory.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert (directory / "everlog.json").read_text() == '{"format":"everlog-data","version":1}\n'


def test_an_empty_file_system_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()

    open_log(tmp_path).close()
    open_log(tmp_path).close()


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(DataDirectoryError, match="cannot be created"):
        open_log(tmp_path / "data")


def test_a_directory_that_belongs_to_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)

    with pytest.raises(DataDirectoryError, match="cannot be written to: check who owns it"):
        open_log(tmp_path)


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(UnknownFormatError, match=r"'notes\.txt'.*choose an empty directory"):
        open_log(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_a_crash_while_creating_left_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4711\n")
    (tmp_path / "everlog.new").write_text('{"format":')

    open_log(tmp_path).close()

    assert not (tmp_path / "everlog.new").exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (b'{"format":"everlog-data","version":2}', "data format 2.*format 1 only"),
        (b'{"format":"something","version":1}', "use the version that wrote it"),
        (b'{"format":"everlog-data"}', "damaged.*backup"),
        (b"\xff\xfe", "damaged.*backup"),
        (b'{"format":"\xe5verlog-data","version":1}', "damaged.*backup"),
        (b"", "damaged.*backup"),
    ],
)
def test_an_unknown_format_is_refused_and_left_alone(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "everlog.json").write_bytes(content)

    with pytest.raises(UnknownFormatError, match=message):
        open_log(tmp_path)

    assert (tmp_path / "everlog.json").read_bytes() == content
    assert not (tmp_path / "log").exists()


def test_an_open_directory_is_locked(tmp_path: Path) -> None:
    engine = open_log(tmp_path)

    with pytest.raises(DirectoryLockedError, match=r"in use by another process.*stop that one"):
        open_log(tmp_path)

    engine.close()
    open_log(tmp_path).close()


def test_a_directory_is_locked_for_other_processes_until_the_end_of_its_own(
    tmp_path: Path,
) -> None:
    program = (
        "import pathlib, sys\n"
        "from everlog.storage.log import LogEngine\n"
        "engine = LogEngine.open(pathlib.Path(sys.argv[1]))\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"

        with pytest.raises(DirectoryLockedError, match=f"process id {process.pid}"):
            open_log(tmp_path)

        process.kill()

    kill(open_log(tmp_path))


def test_a_lock_whose_holder_did_not_say_its_name_is_a_lock(tmp_path: Path) -> None:
    engine = open_log(tmp_path)
    (tmp_path / "lock").write_bytes(b"")

    with pytest.raises(DirectoryLockedError, match="process id unknown"):
        open_log(tmp_path)

    engine.close()


@contextmanager
def locked_by_an_older_version(directory: Path) -> Iterator[None]:
    """Hold the file alone, as versions did that had no other lock."""
    with (directory / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def test_older_versions_and_this_one_keep_each_other_out(tmp_path: Path) -> None:
    open_log(tmp_path).close()

    with locked_by_an_older_version(tmp_path):
        with pytest.raises(DirectoryLockedError):
            open_log(tmp_path)
        with ReadOnlyLog.open(tmp_path):
            assert audit_kinds(tmp_path) == [findings.Kind.SERVED]
    engine = open_log(tmp_path)
    with pytest.raises(BlockingIOError), locked_by_an_older_version(tmp_path):
        pass
    engine.close()


def audit_kinds(directory: Path) -> list[findings.Kind]:
    return [found.kind for found in audit_of(directory)[0]]


def test_a_directory_stays_locked_when_its_lock_file_is_deleted(tmp_path: Path) -> None:
    engine = open_log(tmp_path)
    (tmp_path / "lock").unlink()

    with pytest.raises(DirectoryLockedError, match="process id unknown"):
        open_log(tmp_path)

    # Whoever has to stay out leaves nothing behind.
    assert not (tmp_path / "lock").exists()
    kill(engine)


def test_a_reader_knows_of_a_server_whose_lock_file_was_deleted(tmp_path: Path) -> None:
    engine = open_log(tmp_path)
    store(engine, a_candidate("/a"))
    stage(engine, a_candidate("/b"))
    batch = seal(engine)
    file = engine.begin_commit(batch)
    assert file is not None
    (tmp_path / "lock").unlink()

    # A batch that is being synced is none of the log yet.
    with ReadOnlyLog.open(tmp_path) as log:
        assert log.head.event_count == 1
    kill(engine)


@pytest.mark.parametrize("error", [errno.EBADF, errno.EINVAL, errno.ENOLCK])
def test_where_a_folder_cannot_be_locked_the_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    flock = fcntl.flock

    def flock_files(file: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(error, os.strerror(error))
        flock(file, operation)

    monkeypatch.setattr("fcntl.flock", flock_files)
    engine = open_log(tmp_path)

    with pytest.raises(DirectoryLockedError, match=f"process id {os.getpid()}"):
        open_log(tmp_path)
    assert findings.Kind.SERVED in audit_kinds(tmp_path)
    engine.close()


@pytest.mark.parametrize("way", WAYS)
def test_no_batch_is_committed_into_a_directory_that_is_another_one_now(
    tmp_path: Path, way: str
) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    engine = open_log(data)
    store(engine, a_candidate("/a"))
    content = content_of(engine)
    shutil.copytree(data, tmp_path / "copy")
    data.rename(elsewhere)
    (tmp_path / "copy").rename(data)

    stage(engine, a_candidate("/b"))
    with pytest.raises(StoreFailedError, match="data was moved, deleted, exchanged or cut"):
        WAYS[way](engine, seal(engine), PosixDisk())

    engine.roll_back()
    # Reading goes on, also in other processes: nothing is opened by its path.
    assert content_of(engine) == content
    files = engine.files(engine.head)
    assert files is not None
    (data / "log" / f"{0:020d}.ndjson").write_bytes(b"others")
    with LogView(files) as view:
        located = engine.locate(Scan(start=0, stop=1), engine.head)
        assert b"".join(view.scan(located)) == content.log
    with pytest.raises(StoreFailedError):
        engine.check_place()
    engine.close()
    for directory in (data, elsewhere):
        assert b"/b" not in (directory / "log" / f"{0:020d}.ndjson").read_bytes()


def test_a_relative_path_means_what_it_meant_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    engine = open_log(Path("data"))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")

    store(engine, a_candidate("/a"))
    engine.check_place()
    engine.save_snapshot()
    store(engine, a_candidate("/b"))
    engine.close()

    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == []
    with ReadOnlyLog.open(tmp_path / "data") as log:
        assert log.head.event_count == 2


def test_another_file_under_the_name_of_a_segment_is_not_read_by_other_processes(
    tmp_path: Path,
) -> None:
    engine = open_log(tmp_path)
    store(engine, a_candidate("/a"))
    files = engine.files(engine.head)
    assert files is not None
    path = tmp_path / "log" / f"{0:020d}.ndjson"
    shutil.copy(path, tmp_path / "copy")
    (tmp_path / "copy").rename(path)

    with pytest.raises(OSError, match="Stale file handle"):
        LogView(files)

    kill(engine)


def test_a_file_system_without_locks_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_file: int, _operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", flock)

    with pytest.raises(OSError, match="not supported"):
        open_log(tmp_path)


def test_a_folder_above_that_nobody_may_sync_is_no_reason_not_to_start(tmp_path: Path) -> None:
    class ForeignFolders(QuickDisk):
        def sync_directory(self, folder: Folder) -> None:
            if folder.path in tmp_path.parents:
                raise OSError(errno.EACCES, "Permission denied")
            super().sync_directory(folder)

    open_log(tmp_path / "new" / "data", disk=ForeignFolders()).close()
    open_log(tmp_path / "data", disk=ForeignFolders()).close()


def test_a_folder_above_that_cannot_be_synced_is_one(tmp_path: Path) -> None:
    disk = FailingDisk()
    disk.arm(Fault(Kind.SYNC_DIRECTORY, 1))

    with pytest.raises(DataDirectoryError, match="cannot be created: Input/output error"):
        open_log(tmp_path / "data", disk=disk)
