"""Reading a few lines without waiting for a disk, and when that is refused."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from everlog.storage.engine import CachedBlocks, Scan
from everlog.storage.log import LogEngine
from tests.support.engines import open_log, positions_of
from tests.support.events import a_candidate, store

ONE_SUBJECT = Scan(subject="/a", recursive=False, start=0, stop=1_000)

_preadv = os.preadv


def read_patiently(file: int, buffers: Sequence[memoryview], offset: int, flags: int) -> int:
    """Read as if the system had all of the file in memory, whatever the file system knows."""
    assert flags == os.RWF_NOWAIT
    return _preadv(file, buffers, offset)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogEngine]:
    monkeypatch.setattr(os, "preadv", read_patiently)
    engine = open_log(tmp_path, segment_size_max=4 * 1024 * 1024)
    yield engine
    engine.close()


def check_is_left_to_a_scan(engine: LogEngine, scan: Scan) -> None:
    assert engine.read_few(scan, engine.head) is None
    assert b"".join(engine.scan(scan, engine.head)) != b""


@pytest.mark.parametrize(
    "error",
    [errno.EAGAIN, errno.EOPNOTSUPP, errno.EIO],
    ids=["not in memory", "not known to the file system", "not readable"],
)
def test_what_would_take_a_disk_is_left_to_a_scan(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    store(engine, a_candidate("/a"))

    def refuse(_file: int, _buffers: Sequence[memoryview], _offset: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "preadv", refuse)
    check_is_left_to_a_scan(engine, ONE_SUBJECT)


def test_what_is_in_memory_in_part_is_left_to_a_scan(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(engine, a_candidate("/a"))

    def fall_short(file: int, buffers: Sequence[memoryview], offset: int, flags: int) -> int:
        return read_patiently(file, [buffers[0][:-1]], offset, flags)

    monkeypatch.setattr(os, "preadv", fall_short)
    check_is_left_to_a_scan(engine, ONE_SUBJECT)


def test_a_system_that_cannot_say_what_is_in_memory_is_not_asked(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(engine, a_candidate("/a"))
    monkeypatch.setattr("everlog.storage.log.segments._NOWAIT", None)
    check_is_left_to_a_scan(engine, ONE_SUBJECT)


def test_large_events_are_left_to_a_scan(engine: LogEngine) -> None:
    for _ in range(3):
        store(engine, a_candidate("/a", data='{"text":"' + "x" * 20_000 + '"}'))
    assert engine.read_few(ONE_SUBJECT, engine.head) is not None

    store(engine, a_candidate("/a", data='{"text":"' + "x" * 20_000 + '"}'))
    check_is_left_to_a_scan(engine, ONE_SUBJECT)


def test_many_events_are_left_to_a_scan(engine: LogEngine) -> None:
    everything = Scan(start=0, stop=1_000)
    store(engine, *[a_candidate("/a")] * 64)
    for scan in (ONE_SUBJECT, everything):
        lines = engine.read_few(scan, engine.head)
        assert lines is not None
        assert positions_of(lines) == list(range(64))

    store(engine, a_candidate("/a"))
    for scan in (ONE_SUBJECT, everything):
        check_is_left_to_a_scan(engine, scan)


def test_neighbours_are_read_in_one_go(engine: LogEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    store(engine, *[a_candidate(subject) for subject in ("/a", "/a", "/a", "/b", "/a", "/b")])
    sizes = []

    def count(file: int, buffers: Sequence[memoryview], offset: int, flags: int) -> int:
        sizes.append(len(buffers[0]))
        return read_patiently(file, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", count)
    lines = engine.read_few(ONE_SUBJECT, engine.head)

    assert lines is not None
    assert positions_of(lines) == [0, 1, 2, 4]
    assert len(sizes) == 2


def test_lines_of_several_segments_are_left_to_a_scan_where_they_are_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "preadv", read_patiently)
    engine = open_log(tmp_path / "small", segment_size_max=256)
    for subject in ("/a", "/a", "/b", "/a"):
        store(engine, a_candidate(subject))
    assert engine.read_few(Scan(start=0, stop=1_000), engine.head) is None
    assert engine.read_few(Scan(start=3, stop=1_000), engine.head) is not None
    engine.close()


@pytest.mark.parametrize("is_reversed", [False, True])
def test_what_takes_a_few_steps_is_read_at_once(engine: LogEngine, *, is_reversed: bool) -> None:
    store(engine, *[a_candidate(subject) for subject in ("/a", "/a", "/b", "/a/c", "/a")])
    store(engine, *[a_candidate(subject) for subject in ("/", "/a", "/b/d")])
    for subject, recursive, start, stop, positions in (
        ("/a", False, 0, 99, [0, 1, 4, 6]),
        ("/a", False, 1, 5, [1, 4]),
        ("/a", False, 2, 4, []),
        ("/a", False, 8, 99, []),
        ("/b", False, 0, 99, [2]),
        ("/missing", False, 0, 99, []),
        ("/", False, 0, 99, [5]),
        ("/", True, 0, 99, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("/", True, 3, 6, [3, 4, 5]),
    ):
        scan = Scan(
            subject=subject, recursive=recursive, start=start, stop=stop, is_reversed=is_reversed
        )
        lines = engine.read_few(scan, engine.head)
        assert lines is not None
        assert positions_of(lines) == (positions[::-1] if is_reversed else positions)


def fill(engine: LogEngine) -> CachedBlocks:
    """Store more than two blocks, and return them."""
    for _ in range(6):
        store(engine, *[a_candidate("/a", data='{"text":"' + "x" * 200_000 + '"}')])
    blocks = engine.scan(Scan(start=0, stop=1_000), engine.head)
    assert isinstance(blocks, CachedBlocks)
    return blocks


def test_blocks_in_memory_and_others_follow_each_other(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = fill(engine)
    expected = b"".join(engine.scan(Scan(start=0, stop=1_000), engine.head))

    first = blocks.take_cached()
    with monkeypatch.context() as patch:
        patch.setattr("everlog.storage.log.segments._NOWAIT", None)
        assert blocks.take_cached() is None
    second = next(blocks)
    third = blocks.take_cached()

    assert first is not None
    assert third is not None
    assert blocks.is_end
    assert next(blocks, None) is None
    assert b"".join([first.lines, second, third.lines]) == expected
    assert bytes(first.lines).endswith(b"\n")
    assert [expected[offset : offset + 2] for offset in (*first.offsets, *third.offsets)] == [
        b'{"'
    ] * (len(first.offsets) + len(third.offsets))


def test_neighbours_backwards_are_no_blocks_that_could_be_at_hand(engine: LogEngine) -> None:
    store(engine, a_candidate("/a"), a_candidate("/b"))
    blocks = engine.scan(Scan(start=0, stop=2, is_reversed=True), engine.head)
    assert not isinstance(blocks, CachedBlocks)
    assert positions_of(b"".join(blocks)) == [1, 0]
