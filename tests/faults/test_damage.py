"""Damage in the durable part of the log is refused, and nothing is changed on the disk."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog.domain.chain import HashVersion
from everlog.domain.errors import CorruptLogError
from everlog.domain.event import accept_event
from tests.support.engines import content_of, kill, open_log, split_lines
from tests.support.events import (
    TRACEPARENT,
    a_candidate,
    a_schema,
    stage,
    store,
    store_staged,
)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Return a data directory without index, of several batches, writes and segments."""
    engine = open_log(tmp_path / "data")
    store(engine, a_candidate("/a", traceparent=TRACEPARENT, tracestate='a="b"'))
    stage(engine, a_candidate("/a", data='{"t":"\u00e9"}'), a_candidate("/b"))
    stage(engine, a_candidate("/c"))
    store_staged(engine)
    store(engine, a_candidate("/a"), hash_version=HashVersion.V1)
    for number in range(6):
        store(engine, a_candidate(f"/d/{number}"))
    engine.stage_schema(a_schema("io.everlog.one"))
    engine.stage_schema(a_schema("io.everlog.two"))
    store_staged(engine)
    assert len(list((tmp_path / "data" / "log").iterdir())) == 3
    engine.close()
    shutil.rmtree(tmp_path / "data" / "index")
    return tmp_path / "data"


def segments_of(directory: Path) -> list[Path]:
    return sorted((directory / "log").iterdir())


def files_of(directory: Path) -> dict[Path, bytes]:
    """Return everything but the index and the lock, which are no part of the data."""
    return {
        path.relative_to(directory): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.parent.name != "index" and path.name != "lock"
    }


def check_refused(directory: Path, *, position: int | None, match: str = ".") -> None:
    before = files_of(directory)

    with pytest.raises(CorruptLogError, match=match) as raised:
        open_log(directory)

    assert raised.value.position == position
    if position is not None:
        assert f"id {position} " in str(raised.value)
    assert "backup" in str(raised.value)
    assert files_of(directory) == before


def position_at(directory: Path, offset: int) -> int:
    return segments_of(directory)[0].read_bytes()[:offset].count(b"\n")


@pytest.mark.slow
def test_a_flipped_bit_anywhere_before_the_last_batch_is_refused(directory: Path) -> None:
    path = segments_of(directory)[0]
    content = path.read_bytes()

    for offset, byte in enumerate(content):
        flipped = byte ^ (1, 32, 128)[offset % 3]
        path.write_bytes(content[:offset] + bytes((flipped,)) + content[offset + 1 :])
        check_refused(directory, position=position_at(directory, offset))


def test_the_last_batch_is_as_safe_as_the_others_once_it_is_durable(directory: Path) -> None:
    path = segments_of(directory)[-1]
    content = path.read_bytes()
    line = split_lines(content)[-1]

    for offset in range(len(content) - len(line), len(content)):
        path.write_bytes(content[:offset] + bytes((content[offset] ^ 1,)) + content[offset + 1 :])
        check_refused(directory, position=10)


def test_without_the_durable_bound_damage_is_known_by_the_batches_behind(directory: Path) -> None:
    (directory / "durable").write_bytes(b"")
    path = segments_of(directory)[0]
    content = path.read_bytes()

    for offset in range(0, len(content), 3):
        path.write_bytes(content[:offset] + bytes((content[offset] ^ 4,)) + content[offset + 1 :])
        check_refused(directory, position=position_at(directory, offset))


def test_missing_bytes_are_refused(directory: Path) -> None:
    path = segments_of(directory)[0]
    content = path.read_bytes()

    for offset in range(0, len(content), 11):
        for size in (1, 64):
            path.write_bytes(content[:offset] + content[offset + size :])
            before = files_of(directory)
            with pytest.raises(CorruptLogError, match="damaged"):
                open_log(directory)
            assert files_of(directory) == before


def test_bytes_too_many_are_refused(directory: Path) -> None:
    path = segments_of(directory)[0]
    content = path.read_bytes()

    for offset in range(0, len(content), 11):
        path.write_bytes(content[:offset] + b"x" + content[offset:])
        check_refused(directory, position=position_at(directory, offset))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_missing_segment_is_refused(directory: Path, number: int) -> None:
    segments = segments_of(directory)
    first = int(segments[number].stem)
    segments[number].unlink()

    check_refused(directory, position=first)


def test_missing_and_swapped_lines_are_refused(directory: Path) -> None:
    path = segments_of(directory)[0]
    lines = split_lines(path.read_bytes())

    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    check_refused(directory, position=2, match="its id is '3'")

    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    check_refused(directory, position=0, match="its id is '1'")

    path.write_bytes(b"".join([*lines[:2], lines[1], *lines[2:]]))
    check_refused(directory, position=2, match="its id is '1'")


def test_a_rewritten_event_is_refused_for_its_hash_or_the_next_ones(directory: Path) -> None:
    path = segments_of(directory)[0]
    lines = split_lines(path.read_bytes())

    path.write_bytes(b"".join([lines[0].replace(b'{"n":1}', b'{"n":2}'), *lines[1:]]))
    check_refused(directory, position=0, match="its hash is not that of its content")

    # The same event as an honest writer would have made it after another one.
    other = directory.with_name("other")
    engine = open_log(other)
    store(engine, a_candidate("/a", data='{"n":2}'))
    engine.close()
    path.write_bytes(b"".join([*split_lines(segments_of(other)[0].read_bytes()), *lines[1:]]))
    check_refused(directory, position=1, match="does not name the hash of the event before it")


def test_an_event_without_a_time_is_refused_even_if_its_hash_is_right(directory: Path) -> None:
    open_log(directory).close()
    engine = open_log(directory)
    head = engine.head
    event = accept_event(
        a_candidate(),
        position=head.event_count,
        time="yesterday",
        predecessor_hash=head.hash,
        hash_version=HashVersion.V2,
    )
    engine.stage([event], time=head.time)
    store_staged(engine)
    kill(engine)

    check_refused(directory, position=head.event_count, match="yesterday")


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_log_shorter_than_its_durable_bound_is_refused(directory: Path, size: int) -> None:
    path = segments_of(directory)[-1]
    content = path.read_bytes()
    lines = split_lines(content)
    kept = sum(map(len, lines[:-1])) + size
    path.write_bytes(content[:kept])

    check_refused(directory, position=10)


def test_damage_is_refused_with_an_index_too(directory: Path) -> None:
    open_log(directory).close()
    path = segments_of(directory)[-1]
    content = path.read_bytes()
    path.write_bytes(content[:-20])

    check_refused(directory, position=10)


@pytest.mark.parametrize("name", ["notes.txt", "1.ndjson.gz", "x.ndjson"])
def test_a_stranger_among_the_segments_is_refused(directory: Path, name: str) -> None:
    (directory / "log" / name).write_bytes(b"")

    with pytest.raises(CorruptLogError, match=re.escape(name)):
        open_log(directory)


def test_a_segment_that_is_there_twice_is_refused(directory: Path) -> None:
    first = segments_of(directory)[0]
    shutil.copy(first, first.with_name("0.ndjson"))

    with pytest.raises(CorruptLogError, match="twice"):
        open_log(directory)


def test_damaged_schemas_are_refused(directory: Path) -> None:
    path = directory / "schemas.ndjson"
    content = path.read_bytes()

    for offset, byte in enumerate(content):
        flipped = byte ^ (1, 32, 128)[offset % 3]
        path.write_bytes(content[:offset] + bytes((flipped,)) + content[offset + 1 :])
        check_refused(directory, position=None, match=r"schemas\.ndjson")

    path.write_bytes(content)
    engine = open_log(directory)
    assert [entry.name for entry in content_of(engine).event_types if entry.schema] == [
        "io.everlog.one",
        "io.everlog.two",
    ]
    kill(engine)


def test_missing_schemas_are_refused(directory: Path) -> None:
    path = directory / "schemas.ndjson"
    content = path.read_bytes()

    for size in range(len(content)):
        path.write_bytes(content[:size])
        check_refused(directory, position=None, match=r"schemas\.ndjson")
    path.unlink()
    with pytest.raises(CorruptLogError, match=r"schemas\.ndjson"):
        open_log(directory)
