"""Bugs made for the purpose: each is in the engine, the disk or the audit, and must be noticed.

The page about reliability describes them; none is in the product.
"""

import itertools
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from everlog.domain.errors import DiskFullError, EverlogError, StoreFailedError
from everlog.domain.event import Event
from everlog.maintenance import audit, audit_index, audit_log
from everlog.storage import line as stored_line
from everlog.storage.engine import Batch
from everlog.storage.line import Mark, parse_next_line
from everlog.storage.log import (
    LogEngine,
    columns,
    directory,
    disk,
    recovery,
    schemas,
    segments,
    snapshot,
)
from everlog.storage.log.directory import DurableBound
from everlog.storage.log.disk import Disk, Folder
from everlog.storage.log.segments import Segments
from tests.support import rot
from tests.support.events import a_candidate
from tests.support.faulty_calls import (
    BrokenPromiseError,
    Client,
    Failure,
    FaultyCalls,
    numbers_that_differ,
)
from tests.support.power import PowerDisk, ProcessDiedError
from tests.support.power_runs import (
    Judge,
    LostPromiseError,
    Machine,
    ShowEverything,
    is_not_of_the_index,
    run_everything,
    run_with_a_failing_sync,
)
from tests.support.rot import HiddenRotError

Plant = Callable[[pytest.MonkeyPatch], None]


def do_nothing(*_: object, **__: object) -> None:
    """Be a call that is forgotten."""


# Power.


def forget_to_sync_the_log(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(segments, "sync", do_nothing)


def forget_to_sync_schemas(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(schemas, "sync", do_nothing)


def forget_to_sync_the_names_of_segments(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(segments, "sync_names", do_nothing)


def let_the_disk_lie_about_syncs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PowerDisk, "sync_data", do_nothing)


def rename_what_was_not_synced(patch: pytest.MonkeyPatch) -> None:
    def replace_file(used: Disk, folder: Folder, name: str, content: bytes) -> None:
        draft = str(Path(name).with_suffix(".new"))
        file = disk.open_in_place(used, folder, draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        disk.write_all(used, file, content, 0)
        os.close(file)
        used.rename(folder, draft, name)
        used.sync_directory(folder)

    patch.setattr(directory, "replace_file", replace_file)


def move_the_bound_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    commit = LogEngine.commit

    def commit_late(self: LogEngine, batch: Batch) -> None:
        size = self._schemas.size
        self._durable.write(DurableBound(batch.head.event_count, batch.head.log_size, size))
        commit(self, batch)

    patch.setattr(LogEngine, "commit", commit_late)


def keep_writes_without_an_end(patch: pytest.MonkeyPatch) -> None:
    def parse(line: bytes, **options: Any) -> tuple[Event, Mark]:
        return parse_next_line(line, **options)[0], Mark.WRITE

    patch.setattr(recovery, "parse_next_line", parse)


def trust_what_a_failed_sync_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Segments, "write_again", do_nothing)


def trust_the_names_that_a_dead_process_created(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(directory, "sync_names_above", do_nothing)


def run_for_a_short_time(folder: Path) -> None:
    """Do all that an engine does, and look at every state of the disk."""
    show = ShowEverything(Judge(folder / "states"), is_not_of_the_index)
    run_everything(Machine(folder / "machine", show))


def die_at_the_start(folder: Path) -> None:
    """Die after the first folder was created, start again, and lose the power."""
    show = ShowEverything(Judge(folder / "states"), is_not_of_the_index)
    machine = Machine(folder / "machine", show)
    machine.disk.calls_until_death = 2
    with pytest.raises(ProcessDiedError):
        machine.start()
    machine.disk.calls_until_death = None
    machine.start()
    machine.write([a_candidate("/a")])
    machine.show()


def meet_a_failing_sync(folder: Path) -> None:
    show = ShowEverything(Judge(folder / "states"), is_not_of_the_index)
    run_with_a_failing_sync(Machine(folder / "machine", show))


NOTICED = (LostPromiseError, EverlogError)

POWER: tuple[tuple[Plant, Callable[[Path], None]], ...] = (
    (forget_to_sync_the_log, run_for_a_short_time),
    (forget_to_sync_schemas, run_for_a_short_time),
    (forget_to_sync_the_names_of_segments, run_for_a_short_time),
    (let_the_disk_lie_about_syncs, run_for_a_short_time),
    (rename_what_was_not_synced, run_for_a_short_time),
    (move_the_bound_before_the_sync, run_for_a_short_time),
    (keep_writes_without_an_end, run_for_a_short_time),
    (trust_the_names_that_a_dead_process_created, die_at_the_start),
    (trust_what_a_failed_sync_left, meet_a_failing_sync),
)


@pytest.mark.slow
@pytest.mark.parametrize("plant, run", POWER)
def test_losing_power_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Plant, run: Callable[[Path], None]
) -> None:
    plant(monkeypatch)

    with pytest.raises(NOTICED):
        run(tmp_path)


# Faults.


def acknowledge_what_the_disk_had_no_room_for(patch: pytest.MonkeyPatch) -> None:
    commit = LogEngine.commit

    def commit_anyway(self: LogEngine, batch: Batch) -> None:
        try:
            commit(self, batch)
        except DiskFullError:
            self._committed_size = batch.head.log_size

    patch.setattr(LogEngine, "commit", commit_anyway)


def leave_what_was_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LogEngine, "_undo", lambda *_, **__: DiskFullError("no space left"))


def sync_once_more_after_a_failure(patch: pytest.MonkeyPatch) -> None:
    def sync(used: Disk, file: int) -> None:
        try:
            used.sync_data(file)
        except OSError:
            used.sync_data(file)

    patch.setattr(segments, "sync", sync)


def take_a_part_of_a_write_for_all(patch: pytest.MonkeyPatch) -> None:
    def write_once(used: Disk, file: int, data: bytes, offset: int) -> None:
        used.write(file, data, offset)

    patch.setattr(segments, "write_all", write_once)


def go_on_after_the_store_failed(patch: pytest.MonkeyPatch) -> None:
    undo = LogEngine._undo

    def forgive(self: LogEngine, error: Exception, *, offset: int, schemas_size: int) -> Exception:
        found = undo(self, error, offset=offset, schemas_size=schemas_size)
        self._has_failed = False
        return found

    patch.setattr(LogEngine, "_undo", forgive)


def call_everything_a_full_disk(patch: pytest.MonkeyPatch) -> None:
    undo = LogEngine._undo

    def soothe(self: LogEngine, error: Exception, *, offset: int, schemas_size: int) -> Exception:
        found = undo(self, error, offset=offset, schemas_size=schemas_size)
        return DiskFullError(str(found)) if isinstance(found, StoreFailedError) else found

    patch.setattr(LogEngine, "_undo", soothe)


FAULTS: tuple[tuple[Plant, Failure], ...] = (
    (acknowledge_what_the_disk_had_no_room_for, Failure.FULL),
    (leave_what_was_refused, Failure.FULL),
    (sync_once_more_after_a_failure, Failure.BROKEN),
    (take_a_part_of_a_write_for_all, Failure.SHORT),
    (go_on_after_the_store_failed, Failure.BROKEN),
    (call_everything_a_full_disk, Failure.BROKEN),
)


@pytest.mark.slow
@pytest.mark.parametrize("plant, failure", FAULTS)
def test_a_failing_call_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Plant, failure: Failure
) -> None:
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 8)
    healthy = FaultyCalls()
    Client(tmp_path / "healthy", healthy).run()
    plant(monkeypatch)

    # A reader that finds no line where one should be is at a loss, too.
    with pytest.raises((BrokenPromiseError, EverlogError, ValueError)):
        fail_each_call(tmp_path, failure, numbers_that_differ(healthy.sites, failure))


def fail_each_call(folder: Path, failure: Failure, numbers: Sequence[int]) -> None:
    # From all parts of the run, so that the first that tells of the bug comes early.
    for number in itertools.chain.from_iterable(numbers[start::16] for start in range(16)):
        client = Client(folder / str(number), FaultyCalls(number, failure))
        client.run()
        client.check()


# Rot.


def cut_instead_of_refusing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "_refuse_damage", do_nothing)
    patch.setattr(recovery, "read_bound", lambda *_: DurableBound())


def recover_without_hashes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stored_line, "is_hash_valid", lambda _: True)


def trust_the_index(patch: pytest.MonkeyPatch) -> None:
    def read_names(used: Disk, folder: Folder, name: str, names: snapshot._Names) -> list[str]:
        content = disk.read_file(used, folder, name)[: names.size]
        return content.decode(errors="replace").split("\n")[: names.count]

    patch.setattr(snapshot, "_read_names", read_names)


def audit_without_hashes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(audit_log, "compute_hash", lambda event: event.hash)


def audit_without_the_bound(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(audit, "_read_bound", lambda _: (audit_log.DurableBound(), []))


def audit_without_the_index(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(audit_index.IndexAudit, "load", lambda *_: iter(()))


ROT = (
    cut_instead_of_refusing,
    recover_without_hashes,
    trust_the_index,
    audit_without_hashes,
    audit_without_the_bound,
    audit_without_the_index,
)


@pytest.mark.slow
@pytest.mark.parametrize("plant", ROT)
def test_a_flipped_bit_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Plant) -> None:
    stored = rot.Directory(tmp_path / "data")
    plant(monkeypatch)

    with pytest.raises(HiddenRotError):
        flip_bits(stored, rot.Judge(stored, tmp_path / "copies"))


def flip_bits(stored: rot.Directory, judge: rot.Judge) -> None:
    rng = random.Random(1)
    for _ in range(200):
        judge.judge(stored.draw(rng))
