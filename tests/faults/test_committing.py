"""Faults of the disk while a write is staged and committed, each single call in turn."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from everlog.domain.errors import DiskFullError, StoreFailedError
from everlog.storage.engine import Batch
from everlog.storage.log import LogEngine, columns
from tests.support.committing import WAYS
from tests.support.disks import FailingDisk, Fault, Kind
from tests.support.engines import (
    SEGMENT_SIZE,
    Content,
    content_of,
    kill,
    open_log,
    positions_of,
    read,
    split_lines,
)
from tests.support.events import a_candidate, a_schema, seal, stage, store, store_staged

SYNCS = (Kind.SYNC_DATA, Kind.SYNC_DIRECTORY)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Calls = Iterator[Callable[[int, int, int], None]]


class Scene:
    """An engine on a failing disk, and how many calls of each kind a commit makes."""

    def __init__(self, directory: Path, *, is_rolling: bool, way: str = "at once") -> None:
        self.directory = directory
        # An event schema takes more than writing and syncing.
        self.has_schema = way == "at once"
        self._commit = WAYS[way]
        self.disk = FailingDisk()
        self.engine = open_log(directory, disk=self.disk)
        store(self.engine, a_candidate("/a"))
        while (self.engine.head.log_size >= SEGMENT_SIZE) is not is_rolling:
            store(self.engine, a_candidate("/a"))
        self.before = content_of(self.engine)

    def seal_a_batch(self) -> Batch:
        stage(self.engine, a_candidate("/a/new"), a_candidate("/b", "io.everlog.new"))
        if self.has_schema:
            self.engine.stage_schema(a_schema("io.everlog.schema"))
        stage(self.engine, a_candidate("/a"))
        return seal(self.engine)

    def commit(self, batch: Batch) -> None:
        self._commit(self.engine, batch, self.disk)


def faults_of_a_commit(
    directory: Path, error: int, *, is_rolling: bool, way: str
) -> Iterator[Fault]:
    scene = Scene(directory, is_rolling=is_rolling, way=way)
    batch = scene.seal_a_batch()
    scene.disk.arm(None)
    scene.commit(batch)
    for kind, count in list(scene.disk.calls.items()):
        for number in range(count):
            yield Fault(kind, number, error)
            yield Fault(kind, number, error, is_lasting=True)
    scene.engine.close()


def check_commits(scene: Scene, batch: Batch) -> None:
    scene.commit(batch)
    scene.engine.publish(batch)
    check_batch_is_there(content_of(scene.engine), scene)


def check_batch_is_there(content: Content, scene: Scene) -> None:
    first = scene.before.head.event_count
    assert content.log.startswith(scene.before.log)
    assert positions_of(content.log) == list(range(first + 3))
    assert content.subjects == ["/", "/a", "/a/new", "/b"]
    assert [entry.name for entry in content.event_types] == [
        "io.everlog.new",
        *(["io.everlog.schema"] if scene.has_schema else []),
        "io.everlog.test.happened",
    ]


def check_disk_was_full(scene: Scene, batch: Batch) -> None:
    """Check that nothing was stored, and that all is well once there is room."""
    with pytest.raises(DiskFullError, match="no space left"):
        scene.commit(batch)
    scene.engine.roll_back()
    assert content_of(scene.engine) == scene.before
    kill(scene.engine)

    scene.disk.arm(None)
    engine = open_log(scene.directory, disk=scene.disk)
    assert content_of(engine) == scene.before
    assert engine.report.torn_size == 0
    scene.engine = engine


def check_store_failed(scene: Scene, batch: Batch) -> None:
    """Check that no later write is accepted, and that reads go on."""
    with pytest.raises(StoreFailedError, match="failed"):
        scene.commit(batch)
    scene.disk.arm(None)

    with pytest.raises(StoreFailedError):
        scene.commit(batch)
    scene.engine.roll_back()
    stage(scene.engine, a_candidate())
    with pytest.raises(StoreFailedError):
        scene.commit(seal(scene.engine))
    assert content_of(scene.engine) == scene.before
    assert read(scene.engine, "/a", recursive=False) == scene.before.log


def check_reopens_whole(scene: Scene) -> None:
    """Check that every write is there whole or not at all, and that writing goes on."""
    engine = open_log(scene.directory)
    log = content_of(engine).log
    assert log.startswith(scene.before.log)
    # The batch has a write of two events and one of one.
    count = len(split_lines(log)) - scene.before.head.event_count
    assert count in {0, 2, 3}
    store(engine, a_candidate())
    after = content_of(engine)
    engine.close()

    engine = open_log(scene.directory)
    assert content_of(engine) == after
    engine.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_rolling", [False, True])
@pytest.mark.parametrize("error", [*FULL, errno.EIO])
def test_a_commit_survives_every_fault(
    tmp_path: Path, error: int, way: str, *, is_rolling: bool
) -> None:
    faults = list(faults_of_a_commit(tmp_path / "healthy", error, is_rolling=is_rolling, way=way))

    for number, fault in enumerate(faults):
        scene = Scene(tmp_path / str(number), is_rolling=is_rolling, way=way)
        batch = scene.seal_a_batch()
        scene.disk.arm(fault)
        if error not in FULL or fault.kind in SYNCS:
            check_store_failed(scene, batch)
        elif fault.kind is Kind.ALLOCATE and not fault.is_lasting:
            # There was no room for a whole step, but for the batch.
            check_commits(scene, batch)
        elif fault.kind is Kind.TRUNCATE and fault.is_lasting:
            # What was written could not be taken back.
            check_store_failed(scene, batch)
        else:
            check_disk_was_full(scene, batch)
        scene.engine.close()
        check_reopens_whole(scene)


def test_a_commit_in_steps_writes_and_syncs_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, is_rolling=False, way="in steps")
    batch = scene.seal_a_batch()
    scene.disk.arm(None)

    scene.commit(batch)

    # The batch, and the durable bound behind the sync.
    assert scene.disk.calls == {Kind.WRITE: 2, Kind.SYNC_DATA: 1}


@pytest.mark.parametrize("what", ["a schema", "a new segment", "room", "nothing staged before"])
def test_what_takes_more_than_writing_is_not_begun(tmp_path: Path, what: str) -> None:
    scene = Scene(tmp_path, is_rolling=what == "a new segment", way="in steps")
    large = a_candidate("/large", data='{"a":"%s"}' % ("x" * 4 * SEGMENT_SIZE))
    stage(scene.engine, large if what == "room" else a_candidate("/a"))
    if what == "a schema":
        scene.engine.stage_schema(a_schema("io.everlog.schema"))
    batch = seal(scene.engine)
    engine = scene.engine
    if what == "nothing staged before":
        scene.disk.arm(None)
        engine = open_log(tmp_path / "new", disk=scene.disk)
        stage(engine, a_candidate("/a"))
        batch = seal(engine)
    scene.disk.arm(None)

    assert engine.begin_commit(batch) is None

    assert not scene.disk.calls
    engine.commit(batch)
    engine.publish(batch)
    assert engine.head == batch.head


def test_a_commit_that_was_begun_can_be_done_at_once_instead(tmp_path: Path) -> None:
    # As if nobody knew what became of the sync.
    scene = Scene(tmp_path, is_rolling=False, way="in steps")
    batch = scene.seal_a_batch()
    assert scene.engine.begin_commit(batch) is not None

    scene.engine.commit(batch)

    scene.engine.publish(batch)
    check_batch_is_there(content_of(scene.engine), scene)
    content = content_of(scene.engine)
    kill(scene.engine)
    engine = open_log(tmp_path)
    assert content_of(engine) == content
    assert engine.report.torn_size == 0
    engine.close()


@pytest.mark.parametrize("error", FULL)
def test_writing_goes_on_when_space_returns(tmp_path: Path, error: int) -> None:
    for is_rolling in (False, True):
        scene = Scene(tmp_path / str(is_rolling), is_rolling=is_rolling)
        scene.disk.arm(Fault(Kind.WRITE, 0, error, is_lasting=True))
        for _ in range(3):
            with pytest.raises(DiskFullError):
                scene.commit(scene.seal_a_batch())
            scene.engine.roll_back()

        scene.disk.arm(None)
        check_commits(scene, scene.seal_a_batch())

        content = content_of(scene.engine)
        scene.engine.close()
        reopened = open_log(scene.directory)
        assert content_of(reopened) == content
        reopened.close()


def test_a_full_disk_keeps_the_batches_before(tmp_path: Path) -> None:
    scene = Scene(tmp_path, is_rolling=False)
    first = scene.seal_a_batch()
    stage(scene.engine, a_candidate("/c"))
    second = seal(scene.engine)
    scene.commit(first)
    scene.disk.arm(Fault(Kind.WRITE, 0, errno.ENOSPC))
    with pytest.raises(DiskFullError):
        scene.commit(second)

    scene.engine.publish(first)
    scene.engine.roll_back()

    check_batch_is_there(content_of(scene.engine), scene)
    store(scene.engine, a_candidate("/d"))
    content = content_of(scene.engine)
    scene.engine.close()
    reopened = open_log(tmp_path)
    assert content_of(reopened) == content
    reopened.close()


@pytest.mark.parametrize("write_size_max", [1, 7, 512])
def test_short_writes_are_gone_on_with(tmp_path: Path, write_size_max: int) -> None:
    scene = Scene(tmp_path, is_rolling=True)
    scene.disk.write_size_max = write_size_max

    check_commits(scene, scene.seal_a_batch())

    content = content_of(scene.engine)
    scene.engine.close()
    reopened = open_log(tmp_path)
    assert content_of(reopened) == content
    reopened.close()


@pytest.mark.parametrize("write_count", [1, 2, 10, 20])
def test_a_disk_that_is_full_in_the_middle_of_a_write_loses_nothing(
    tmp_path: Path, write_count: int
) -> None:
    scene = Scene(tmp_path, is_rolling=False)
    scene.disk.write_size_max = 64
    scene.disk.arm(Fault(Kind.WRITE, write_count, errno.ENOSPC, is_lasting=True))

    check_disk_was_full(scene, scene.seal_a_batch())

    scene.disk.arm(None)
    store(scene.engine, a_candidate("/late"))
    scene.engine.close()


def test_a_disk_that_takes_no_bytes_has_failed(tmp_path: Path) -> None:
    scene = Scene(tmp_path, is_rolling=False)
    scene.disk.write_size_max = 0

    check_store_failed(scene, scene.seal_a_batch())

    scene.disk.write_size_max = None
    scene.engine.close()
    check_reopens_whole(scene)


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_that_cannot_allocate_will_do(tmp_path: Path, error: int) -> None:
    disk = FailingDisk()
    disk.arm(Fault(Kind.ALLOCATE, 0, error, is_lasting=True))
    engine = open_log(tmp_path, disk=disk)
    for number in range(20):
        store(engine, a_candidate(f"/s{number}"))
    content = content_of(engine)
    engine.close()

    engine = open_log(tmp_path, disk=disk)
    assert content_of(engine) == content
    engine.close()


def test_a_batch_that_was_committed_but_not_published_outlives_closing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, is_rolling=False)
    scene.commit(scene.seal_a_batch())
    scene.engine.close()

    engine = open_log(tmp_path)

    check_batch_is_there(content_of(engine), scene)
    engine.close()


@pytest.fixture
def crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogEngine]:
    """Return an engine whose columns all must grow for five events of new subjects."""
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 4)
    engine = open_log(tmp_path)
    store(engine, a_candidate("/a"), a_candidate("/b"), a_candidate("/a"))
    yield engine
    engine.close()


def stage_five(engine: LogEngine) -> None:
    new = [a_candidate(f"/new/{number}", f"io.everlog.t{number}") for number in range(4)]
    stage(engine, a_candidate("/a"), *new)


@pytest.mark.parametrize(
    "code, refusal",
    [
        (errno.ENOMEM, MemoryError),
        (errno.ENOSPC, MemoryError),
        (errno.EFBIG, DiskFullError),
        (errno.EMFILE, DiskFullError),
    ],
)
def test_an_index_for_which_there_is_no_memory_stages_nothing(
    crowded: LogEngine, monkeypatch: pytest.MonkeyPatch, code: int, refusal: type[Exception]
) -> None:
    engine = crowded
    stage(engine, a_candidate("/staged"))
    tip, before = engine.tip, content_of(engine)
    allocate, failure_count, is_staged = os.posix_fallocate, 0, False

    while not is_staged:
        # A column that has grown keeps its room, so that one more grows each time.
        calls = iter([allocate] if failure_count else [])

        def grow_one(file: int, offset: int, size: int, calls: Calls = calls) -> None:
            if (call := next(calls, None)) is None:
                raise OSError(code, os.strerror(code))
            call(file, offset, size)

        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", grow_one)
            try:
                stage_five(engine)
                is_staged = True
            except refusal:
                failure_count += 1
        if not is_staged:
            assert engine.tip == tip
            assert not engine.state.has_events("/new", recursive=True)
            assert engine.state.latest_position("/staged", recursive=False) == 3
            engine.roll_back()
            assert content_of(engine) == before
            stage(engine, a_candidate("/staged"))

    # Four columns of events at least, and those of subjects.
    assert failure_count > 6
    store_staged(engine)
    assert positions_of(read(engine)) == list(range(9))
    assert positions_of(read(engine, "/new")) == [5, 6, 7, 8]
