"""Room on the disk: the log takes what it needs, and no more of what others need too."""

import errno
import os
from pathlib import Path

import pytest

from everlog.domain.errors import DiskFullError
from everlog.storage.log import LogEngine
from everlog.storage.log.segments import ALLOCATION_STEP, SEGMENT_SIZE_MAX
from tests.support.committing import WAYS
from tests.support.disks import QuickDisk
from tests.support.engines import content_of, kill, open_log
from tests.support.events import a_candidate, seal, stage, store

MIB = 1024 * 1024


class SmallDisk(QuickDisk):
    """A disk of a size, on which files take up as much as they are long.

    An allocation that fails keeps what there was, as those of real file systems do.
    """

    def __init__(self, size: int, *, is_size_hidden: bool = False) -> None:
        self._size = size
        # As a quota is, of which nobody is told before it is reached.
        self._is_size_hidden = is_size_hidden
        self._files: dict[int, int] = {}
        # What others have.
        self.others_size = 0
        self.refusal_count = 0

    @property
    def free(self) -> int:
        sizes = (os.fstat(file).st_size for file in self._files.values())
        return self._size - self.others_size - sum(sizes)

    def free_size(self, _: int) -> int:
        return 2**50 if self._is_size_hidden else max(0, self.free)

    def allocate(self, file: int, offset: int, size: int) -> None:
        self._files[os.fstat(file).st_ino] = file
        missing = offset + size - os.fstat(file).st_size
        if missing > self.free:
            self.refusal_count += 1
            os.ftruncate(file, os.fstat(file).st_size + max(0, self.free))
            number = errno.EDQUOT if self._is_size_hidden else errno.ENOSPC
            raise OSError(number, os.strerror(number))
        # As many blocks as that take no real room.
        os.ftruncate(file, max(offset + size, os.fstat(file).st_size))


def open_on(disk: SmallDisk, directory: Path) -> LogEngine:
    return open_log(directory, disk=disk, segment_size_max=SEGMENT_SIZE_MAX)


def fill(engine: LogEngine, *, size: int, way: str = "at once") -> None:
    """Write events of about a size until there is no room."""
    data = f'{{"t":"{"x" * size}"}}'
    with pytest.raises(DiskFullError, match="no space left"):  # noqa: PT012 - until it is refused
        while True:
            stage(engine, a_candidate("/full", data=data))
            batch = seal(engine)
            WAYS[way](engine, batch, QuickDisk())
            engine.publish(batch)
    engine.roll_back()


@pytest.mark.parametrize("is_size_hidden", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [4 * MIB, 48 * MIB])
def test_a_disk_is_used_up_to_its_end(
    tmp_path: Path, size: int, way: str, *, is_size_hidden: bool
) -> None:
    disk = SmallDisk(size, is_size_hidden=is_size_hidden)
    engine = open_on(disk, tmp_path)

    fill(engine, size=50_000, way=way)
    fill(engine, size=500, way=way)

    assert engine.head.log_size > 0.99 * size
    # Nothing is kept that was not needed.
    assert disk.free == size - engine.head.log_size
    # Where nobody says how much there is, it is found out in a few steps.
    assert disk.refusal_count < 100
    content = content_of(engine)
    kill(engine)
    assert content_of(open_on(disk, tmp_path)) == content


def test_most_of_what_is_free_is_left_to_others(tmp_path: Path) -> None:
    for size in (MIB, 16 * MIB, 400 * MIB, 10_000 * MIB):
        disk = SmallDisk(size)
        engine = open_on(disk, tmp_path / str(size))

        store(engine, a_candidate("/a"))

        reserved = size - disk.free - engine.head.log_size
        assert reserved <= min(ALLOCATION_STEP, size / 8)
        assert reserved > 0.9 * min(ALLOCATION_STEP, size / 8)
        assert disk.refusal_count == 0
        kill(engine)


def test_room_that_somebody_makes_is_not_swallowed_by_the_next_write(tmp_path: Path) -> None:
    disk = SmallDisk(8 * MIB)
    disk.others_size = 4 * MIB
    engine = open_on(disk, tmp_path)
    fill(engine, size=500)

    disk.others_size = 0
    store(engine, a_candidate("/later"))

    assert disk.free > 3 * MIB
    disk.others_size = disk.free
    fill(engine, size=50_000)
    disk.others_size -= 100_000
    store(engine, a_candidate("/later"))
    kill(engine)


def test_an_allocation_that_fails_gives_back_what_it_took(tmp_path: Path) -> None:
    disk = SmallDisk(2 * MIB)
    engine = open_on(disk, tmp_path)
    fill(engine, size=500)
    free = disk.free
    before = engine.head.log_size

    for _ in range(3):
        stage(engine, a_candidate("/large", data=f'{{"t":"{"x" * 60_000}"}}'))
        with pytest.raises(DiskFullError):
            engine.commit(seal(engine))
        engine.roll_back()
        assert disk.free == free

    assert (engine.head.log_size, sum(map(_size_of, (tmp_path / "log").iterdir()))) == (
        before,
        before,
    )
    kill(engine)


def _size_of(path: Path) -> int:
    return path.stat().st_size


@pytest.mark.parametrize("way", WAYS)
def test_what_is_reserved_is_given_back_where_the_index_finds_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    disk = SmallDisk(80 * MIB)
    engine = open_on(disk, tmp_path)
    store(engine, a_candidate("/a"))
    reserved = 80 * MIB - disk.free - engine.head.log_size
    # Others take all the rest.
    disk.others_size = disk.free

    def save(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(engine._snapshots, "save", save)
    with pytest.raises(OSError, match="No space left"):
        engine.save_snapshot()
    stage(engine, a_candidate("/b"))
    batch = seal(engine)
    WAYS[way](engine, batch, QuickDisk())
    engine.publish(batch)

    assert disk.free > 0.8 * reserved
    kill(engine)
