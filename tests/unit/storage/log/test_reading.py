"""Reading a few lines without waiting for a disk, and when that is refused."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from everlog.storage.engine import CachedBlocks, Scan
from everlog.storage.log import LogEngine, indexed_log
from tests.support.engines import few_lines, open_log, positions_of
from tests.support.events import a_candidate, stage, store

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
    monkeypatch.setattr("everlog.storage.log.reading._NOWAIT", None)
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
        lines = few_lines(engine, scan, engine.head)
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
    lines = few_lines(engine, ONE_SUBJECT, engine.head)

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
        lines = few_lines(engine, scan, engine.head)
        assert lines is not None
        assert positions_of(lines) == (positions[::-1] if is_reversed else positions)


ONE, TWO = frozenset({"io.everlog.one"}), frozenset({"io.everlog.two"})


# Each row: what is asked for besides all of it, and the positions.
@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize(
    "asked, positions",
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"event_types": ONE}, [0, 2, 4]),
        ({"event_types": ONE, "start": 1, "stop": 4}, [2]),
        ({"event_types": ONE | TWO | {"io.everlog.missing"}}, [0, 1, 2, 3, 4, 5]),
        ({"event_types": frozenset({"io.everlog.missing"})}, []),
        ({"event_types": frozenset[str]()}, []),
        ({"subjects": frozenset({"/a", "/b", "/missing"})}, [0, 1, 3, 4]),
        ({"subjects": frozenset({"/a", "/c"}), "start": 2}, [2, 3, 5]),
        ({"subjects": frozenset({"/a", "/b"}), "event_types": TWO}, [1, 3]),
        ({"subject": "/a", "recursive": False, "event_types": ONE}, [0]),
        ({"subject_prefix": ""}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_types_and_names_of_subjects_take_a_few_steps(
    engine: LogEngine, asked: dict[str, Any], positions: list[int], *, is_reversed: bool
) -> None:
    for number, subject in enumerate(("/a", "/b", "/c", "/a", "/b", "/c")):
        store(engine, a_candidate(subject, ("io.everlog.one", "io.everlog.two")[number % 2]))
    head = engine.head
    # Neither of these counts.
    stage(engine, a_candidate("/a", "io.everlog.one"), a_candidate("/b", "io.everlog.missing"))

    scan = Scan(**{"start": 0, "stop": 99, "is_reversed": is_reversed, **asked})
    lines = few_lines(engine, scan, head)

    assert lines is not None
    assert positions_of(lines) == (positions[::-1] if is_reversed else positions)
    assert engine.count_few(scan, head) == len(positions)


def test_what_takes_many_steps_is_not_done_at_once(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed_log, "_FEW_STEPS_MAX", 4)
    monkeypatch.setattr(indexed_log, "_FEW_MASKED_MAX", 8)
    monkeypatch.setattr(indexed_log, "_FEW_NAMES_LENGTH_MAX", 40)
    store(engine, *[a_candidate(f"/a/{number % 2}", f"io.t{number % 3}") for number in range(9)])
    some = frozenset({"/a/0", "/a/1"})
    three = frozenset({"io.t0", "io.t1", "io.t2"})
    for asked in (
        {"subject": "/a"},
        {"subject_prefix": "/a/"},
        {"subjects": some, "event_types": three},
        {"subjects": frozenset(f"/missing/{number}" for number in range(5))},
        {"event_types": three, "start": 0, "stop": 9},
    ):
        scan = Scan(**{"start": 0, "stop": 9, **asked})
        assert (
            indexed_log.Selector(engine._index).select_few(scan, engine.head, count_max=64) is None
        )
    assert engine.count_few(Scan(start=0, stop=9, subjects=some), engine.head) is None

    # Many events of a type are only counted once.
    of_type = Scan(start=0, stop=9, event_types=three)
    assert engine.count_few(of_type, engine.head) is None
    assert engine.count(of_type, engine.head) == 9
    assert engine.count_few(of_type, engine.head) == 9
    store(engine, a_candidate("/b", "io.t0"))
    grown = Scan(start=0, stop=10, event_types=three)
    assert engine.count_few(grown, engine.head) == 10
    assert engine.count_few(Scan(start=0, stop=10), engine.head) == 10


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
        patch.setattr("everlog.storage.log.reading._NOWAIT", None)
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
