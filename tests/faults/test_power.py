"""The power goes: what was acknowledged is there, and what was not is there whole or not at all."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from everlog.domain.errors import StoreFailedError
from everlog.storage.log.disk import Folder
from tests.support.disks import Kind, LosingDisk
from tests.support.engines import SEGMENT_SIZE, content_of, open_log
from tests.support.events import a_candidate, a_schema, seal, stage, store, store_staged


class Machine:
    """A data directory two levels below what was there before, on a disk that forgets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.disk = LosingDisk()
        (directory / "before").mkdir()
        descriptor = os.open(directory, os.O_RDONLY)
        self.disk.sync_directory(Folder(descriptor, directory))
        os.close(descriptor)
        self.engine = open_log(directory / "before" / "new" / "data", disk=self.disk)

    def reopen(self) -> None:
        self.engine.close()
        self.engine = open_log(self.directory / "before" / "new" / "data", disk=self.disk)

    def check_nothing_is_lost(self) -> None:
        """Take the power at this moment, and check that all that was published is there."""
        expected = content_of(self.engine)
        target = self.directory / "after"
        self.disk.restore(self.directory / "before", target)
        engine = open_log(target / "new" / "data")
        found = content_of(engine)
        assert found.log.startswith(expected.log)
        assert set(expected.event_types) <= set(found.event_types)
        store(engine, a_candidate())
        engine.close()
        shutil.rmtree(target)


def test_nothing_that_was_published_is_lost_with_the_power(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.check_nothing_is_lost()

    for number in range(30):
        store(machine.engine, a_candidate(f"/s{number % 4}"), a_candidate())
        if number % 5 == 0:
            machine.engine.stage_schema(a_schema(f"io.everlog.t{number}"))
            store_staged(machine.engine)
        if number % 7 == 0:
            machine.engine.save_snapshot()
        machine.check_nothing_is_lost()

    machine.reopen()
    machine.check_nothing_is_lost()
    machine.engine.close()


@pytest.mark.parametrize("failing", [Kind.SYNC_DATA, Kind.SYNC_DIRECTORY])
@pytest.mark.parametrize("is_rolling", [False, True])
def test_what_opening_finds_after_a_failed_sync_is_not_lost_with_the_power(
    tmp_path: Path, failing: Kind, *, is_rolling: bool
) -> None:
    machine = Machine(tmp_path)
    store(machine.engine, a_candidate("/a"))
    while (machine.engine.head.log_size >= SEGMENT_SIZE) is not is_rolling:
        store(machine.engine, a_candidate("/a"))
    machine.engine.stage_schema(a_schema("io.everlog.old"))
    store_staged(machine.engine)

    for number in range(2):
        machine.disk.failing = failing
        stage(machine.engine, a_candidate("/b"), a_candidate("/c"))
        machine.engine.stage_schema(a_schema(f"io.everlog.t{number}"))
        with contextlib.suppress(StoreFailedError):
            machine.engine.commit(seal(machine.engine))
        machine.disk.failing = None
        machine.reopen()
        machine.check_nothing_is_lost()

    store(machine.engine, a_candidate("/d"))
    machine.check_nothing_is_lost()
    machine.engine.close()
