"""Columns: memory that grows, that nobody takes away, and that other processes may look at."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from everlog.domain.errors import DiskFullError
from everlog.storage.log import columns
from everlog.storage.log.columns import Column, map_cells
from tests.support.engines import content_of, kill, open_log
from tests.support.events import a_candidate, store


@pytest.fixture(params=[True, False], ids=["shared", "of this process"])
def is_shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Tell whether the system has files in memory."""
    if not request.param:
        monkeypatch.delattr(os, "memfd_create")
    return bool(request.param)


def test_a_column_grows_and_whoever_looked_before_sees_what_was_there(*, is_shared: bool) -> None:
    column = Column("x", "Q")
    column.cells[0], column.cells[1] = 7, 2**64 - 1
    cells, array = column.cells, column.array

    column.reserve(3_000_000)

    assert (column.cells[0], column.cells[1]) == (7, 2**64 - 1)
    assert len(column.cells) >= 3_000_000
    assert not column.array[2:].any()
    assert (cells[1], array[0]) == (2**64 - 1, 7)
    assert (column.file is not None) is is_shared


def test_another_process_sees_the_cells_and_cannot_take_them_away() -> None:
    column = Column("x", "I")
    column.cells[:3] = memoryview(np.array([1, 2, 3], np.uint32))
    assert column.file is not None
    code = (
        "import sys; from everlog.storage.log.columns import map_cells; "
        "print(map_cells(int(sys.argv[1]), 'I', 3).tolist())"
    )

    told = subprocess.run(
        [sys.executable, "-c", code, str(column.file)],
        pass_fds=[column.file],
        capture_output=True,
        check=True,
    )

    assert told.stdout == b"[1, 2, 3]\n"
    assert map_cells(column.file, "I", 0).tolist() == []
    with pytest.raises(PermissionError):
        os.ftruncate(column.file, 0)
    assert column.cells[2] == 3


@pytest.mark.parametrize(
    "code, refusal",
    [(errno.ENOMEM, MemoryError), (errno.ENOSPC, MemoryError), (errno.EMFILE, DiskFullError)],
)
def test_a_column_for_which_there_is_no_room_is_as_before(
    monkeypatch: pytest.MonkeyPatch, code: int, refusal: type[Exception]
) -> None:
    column = Column("x", "Q")
    column.cells[5] = 5
    capacity = len(column.cells)

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", fail)
        with pytest.raises(refusal):
            column.reserve(capacity + 1)
        patch.setattr(os, "memfd_create", fail)
        with pytest.raises(refusal):
            Column("y", "Q")
    assert len(column.cells) == capacity
    column.reserve(capacity + 1)
    assert column.cells[5] == 5


LIMITED = """
import resource
from everlog.storage.log.columns import Column
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, -1))
columns = [Column("x", "Q") for _ in range(11)]
for column in columns:
    column.cells[0] = 3
    column.reserve(1_000_000)
    column.cells[999_999] = 4
    assert column.cells[0] == 3
try:
    columns[0].reserve(300_000_000)
except MemoryError:
    print("no memory")
"""


def test_a_limit_on_addresses_is_one_on_memory() -> None:
    told = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, check=True)

    assert told.stdout == b"no memory\n"


@pytest.mark.parametrize("answer", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_an_older_system_has_shared_memory_or_its_own(
    monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    create = os.memfd_create

    def create_old(name: str, flags: int) -> int:
        if answer != errno.EINVAL or flags & columns._MFD_NOEXEC_SEAL:
            raise OSError(answer, os.strerror(answer))
        return create(name, flags)

    monkeypatch.setattr(os, "memfd_create", create_old)

    assert (Column("x", "B").file is None) is (answer != errno.EINVAL)


def test_a_log_without_shared_memory_is_read_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    engine = open_log(tmp_path)
    store(engine, a_candidate("/a"), a_candidate("/b"))
    content = content_of(engine)
    assert engine.files(engine.head) is None
    engine.save_snapshot()
    kill(engine)

    engine = open_log(tmp_path)
    assert engine.report.rebuild_reason is None
    assert content_of(engine) == content
    kill(engine)
