"""An engine on what cannot be written to: it shows the log, and stages nothing."""

from pathlib import Path

import pytest

from everlog.domain.errors import DataDirectoryError, DirectoryLockedError, StoreFailedError
from everlog.storage.engine import Engine, StagedSchema
from everlog.storage.log import LogEngine, ReadOnlyEngine, may_write
from tests.support.engines import open_log, read
from tests.support.events import a_candidate, store


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    engine = open_log(tmp_path / "data")
    store(engine, a_candidate("/a"), a_candidate("/b"))
    engine.close()
    return tmp_path / "data"


def test_it_shows_what_the_engine_shows(directory: Path) -> None:
    written = open_log(directory)
    expected, head = read(written), written.head
    written.close()

    engine: Engine = ReadOnlyEngine.open(directory)

    assert (read(engine), engine.head, engine.tip) == (expected, head, head)
    assert list(engine.unpublished_events()) == []
    assert (engine.is_snapshot_due, engine.unsaved_event_count) == (False, 0)
    assert engine.files(engine.head) is not None
    assert engine.seal() is None
    engine.roll_back()
    engine.check_place()
    engine.save_snapshot()
    with pytest.raises(StoreFailedError):
        engine.stage_schema(StagedSchema("io.everlog.test.a", "{}"))
    engine.close()


def test_the_report_says_what_had_to_be_read_and_that_nothing_was_done(directory: Path) -> None:
    (directory / "index" / "checkpoint.json").unlink()

    engine = ReadOnlyEngine.open(directory)

    assert engine.report.is_writable is False
    assert engine.report.rebuild_reason is not None
    assert (engine.report.event_count, engine.report.replayed_event_count) == (2, 2)
    assert not (directory / "index" / "checkpoint.json").exists()
    engine.close()


def test_who_reads_keeps_out_who_writes_and_nobody_else(directory: Path) -> None:
    engine = ReadOnlyEngine.open(directory)
    other = ReadOnlyEngine.open(directory)
    other.close()
    with pytest.raises(DirectoryLockedError, match="a server that cannot write to it"):
        LogEngine.open(directory)
    engine.close()

    writing = LogEngine.open(directory)
    with pytest.raises(DirectoryLockedError, match="in use by another process"):
        ReadOnlyEngine.open(directory)
    writing.close()


def test_an_empty_log_and_one_without_folders_can_be_shown(tmp_path: Path) -> None:
    open_log(tmp_path / "data").close()
    for path in ("log", "index"):
        for file in (tmp_path / "data" / path).iterdir():
            file.unlink()
        (tmp_path / "data" / path).rmdir()

    engine = ReadOnlyEngine.open(tmp_path / "data")

    assert (engine.head.event_count, engine.files(engine.head)) == (0, None)
    engine.close()
    with pytest.raises(DataDirectoryError):
        ReadOnlyEngine.open(tmp_path / "missing")


def test_what_is_not_there_may_be_made(tmp_path: Path, directory: Path) -> None:
    assert may_write(tmp_path / "missing")
    assert may_write(directory)


@pytest.mark.parametrize("name", [".", "lock", "durable", "log", "index", "index/checkpoint.json"])
def test_each_file_and_folder_counts(
    directory: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = directory / name
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != refused)

    assert not may_write(directory)
