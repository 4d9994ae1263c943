"""A restore that ends anywhere leaves the empty store or the whole one, and never a part."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog.domain.errors import DataDirectoryError, DiskFullError, StoreFailedError
from everlog.maintenance.audit import audit
from everlog.storage.log import LogEngine, ReadOnlyLog
from everlog.transfer import restoring
from everlog.transfer.backup_lines import to_backup_lines
from everlog.transfer.restoring import Restoring, empty_store
from tests.support.audits import check_audit_is_clean
from tests.support.backups import an_event, chained, lines_of, schema_line
from tests.support.disks import DyingDisk, FailingDisk, Fault, Kind, ProcessDiedError
from tests.support.engines import SEGMENT_SIZE, content_of, open_log
from tests.support.events import a_candidate, store

TYPE = "io.everlog.test.happened"
SCHEMA = schema_line(TYPE, '{"type":"object","properties":{"n":{"type":"integer"}}}')
EVENTS = lines_of(chained(an_event(f'{{"n":{n}}}', subject=f"/s/{n}") for n in range(12)))
BACKUP = SCHEMA + EVENTS


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "_BLOCK_SIZE", 2_000)


def restore(directory: Path, disk: DyingDisk | FailingDisk) -> None:
    with (
        empty_store(directory, disk=disk),
        Restoring(directory, disk=disk, segment_size_max=SEGMENT_SIZE) as running,
    ):
        running.feed(BACKUP)
        running.finish()


def check_is_empty_or_whole(directory: Path) -> bool:
    """Check what the next opening finds, and return whether it is whole."""
    engine = open_log(directory)
    content = content_of(engine)
    is_whole = content.log != b""
    if is_whole:
        assert to_backup_lines(content.log, 1) == EVENTS
        assert [entry.schema is not None for entry in content.event_types] == [True]
    else:
        assert content.head.event_count == 0
        assert content.event_types == []
    # Nothing of the restore is left, and writing goes on.
    names = {path.name for path in directory.iterdir()}
    assert not names & {"restore.new", "restored"}
    store(engine, a_candidate())
    engine.close()
    check_audit_is_clean(directory)
    return is_whole


def test_a_killed_restore_leaves_nothing_or_everything(tmp_path: Path) -> None:
    count, outcomes = deaths(tmp_path), []
    assert count > 100
    for number in range(count):
        directory = tmp_path / str(number)
        disk = DyingDisk(number)
        with pytest.raises(ProcessDiedError):
            restore(directory, disk)
        if directory.exists():
            outcomes.append(check_is_empty_or_whole(directory))

    # It is done at one moment.
    assert outcomes == sorted(outcomes)
    assert {*outcomes} == {False, True}


def test_a_restore_that_loses_the_power_leaves_nothing_or_everything(tmp_path: Path) -> None:
    outcomes = []
    for number in range(deaths(tmp_path)):
        directory, left = tmp_path / str(number), tmp_path / f"left-{number}"
        disk = DyingDisk(number)
        with pytest.raises(ProcessDiedError):
            restore(directory, disk)
        disk.restore(directory, left)
        outcomes.append(check_is_empty_or_whole(left))

    assert outcomes == sorted(outcomes)
    assert {*outcomes} == {False, True}


def deaths(tmp_path: Path) -> int:
    """Return how many calls a restore makes."""
    disk = DyingDisk()
    restore(tmp_path / "healthy", disk)
    assert check_is_empty_or_whole(tmp_path / "healthy")
    return disk.call_count


def faults() -> Iterator[Fault]:
    for kind in Kind:
        for number in range(0, 40, 3):
            yield Fault(kind, number)
            yield Fault(kind, number, error=28, is_lasting=True)


def test_a_disk_that_fails_leaves_nothing_or_everything(tmp_path: Path) -> None:
    failed = 0
    for number, fault in enumerate(faults()):
        directory, disk = tmp_path / str(number), FailingDisk()
        LogEngine.open(directory).close()
        disk.arm(fault)
        try:
            restore(directory, disk)
        except (DataDirectoryError, DiskFullError, StoreFailedError, OSError):
            assert disk.has_failed
            failed += 1
            check_is_empty_or_whole(directory)
        else:
            assert check_is_empty_or_whole(directory)
    assert failed > 30


def test_a_directory_in_which_a_restore_waits_for_its_place_is_not_read(tmp_path: Path) -> None:
    engine = LogEngine.open(tmp_path)
    with Restoring(tmp_path) as running:
        running.feed(BACKUP)
        running.finish()
    engine.close()

    with pytest.raises(DataDirectoryError, match="start a server on it once"):
        ReadOnlyLog.open(tmp_path)
    with pytest.raises(DataDirectoryError, match="start a server on it once"):
        list(audit(tmp_path, on_progress=lambda _: None))
    assert check_is_empty_or_whole(tmp_path)
