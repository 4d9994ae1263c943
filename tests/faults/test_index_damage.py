"""Everything below `index/` may be lost, damaged or old: the log makes it anew."""

import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from everlog.domain.errors import CorruptLogError
from everlog.storage.log import columns
from tests.support.engines import Content, content_of, kill, open_log, positions_of, read
from tests.support.events import a_candidate, a_schema, store, store_staged

COLUMNS = ("offset", "subject", "type", "previous", "parent")
NAMES = ("subject-segments", "event-types")
SNAPSHOT = "checkpoint.json"


def fill(directory: Path, *, count: int = 8, data: str = '{"n":1}') -> None:
    engine = open_log(directory)
    for number in range(count):
        name = f"/s{number % 3}/{number}"
        store(engine, a_candidate(name, data=data), a_candidate("/a", f"io.everlog.t{number % 3}"))
    engine.stage_schema(a_schema("io.everlog.phantom"))
    store_staged(engine)
    engine.close()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Small columns, so that every cell matters.
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 1)
    fill(tmp_path / "data")
    return tmp_path / "data"


def answers(directory: Path) -> tuple[Content, list[bytes], str | None]:
    """Open, read in every way that needs the index, and end as a killed process does."""
    engine = open_log(directory)
    content = content_of(engine)
    scans = [read(engine, name, recursive=False) for name in content.subjects]
    scans += [read(engine, name, is_reversed=True) for name in content.subjects]
    scans += [read(engine, event_type=entry.name) for entry in content.event_types]
    kill(engine)
    return content, scans, engine.report.rebuild_reason


def check_rebuilt(directory: Path, damage: Callable[[Path], None], *, reason: str) -> None:
    content, scans, _ = answers(directory)
    damaged = directory.with_name("damaged")
    shutil.copytree(directory, damaged)
    damage(damaged / "index")

    found, found_scans, found_reason = answers(damaged)
    assert (found, found_scans) == (content, scans)
    assert found_reason is not None
    assert reason in found_reason

    engine = open_log(damaged)
    store(engine, a_candidate("/late"))
    engine.close()
    engine = open_log(damaged)
    assert engine.report.rebuild_reason is None
    assert positions_of(read(engine, "/late")) == [content.head.event_count]
    engine.close()
    shutil.rmtree(damaged)


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_an_undamaged_index_is_used(directory: Path) -> None:
    assert answers(directory)[2] is None


def test_a_new_log_has_no_index_to_rebuild(tmp_path: Path) -> None:
    engine = open_log(tmp_path)
    assert engine.report.rebuild_reason is None
    engine.close()


def test_a_lost_index_is_rebuilt(directory: Path) -> None:
    check_rebuilt(directory, shutil.rmtree, reason="no snapshot")


def test_a_lost_snapshot_is_rebuilt(directory: Path) -> None:
    check_rebuilt(directory, lambda index: (index / SNAPSHOT).unlink(), reason="no snapshot")


@pytest.mark.parametrize("name", [*COLUMNS, *NAMES])
def test_a_lost_file_is_rebuilt(directory: Path, name: str) -> None:
    check_rebuilt(directory, lambda index: (index / name).unlink(), reason="snapshot")


@pytest.mark.parametrize("name", [*COLUMNS, *NAMES])
def test_a_file_cut_short_is_rebuilt(directory: Path, name: str) -> None:
    def cut(index: Path) -> None:
        content = (index / name).read_bytes().rstrip(b"\0")
        (index / name).write_bytes(content[: len(content) // 2])

    check_rebuilt(directory, cut, reason="snapshot")


@pytest.mark.parametrize("name", [*COLUMNS, *NAMES])
def test_a_file_of_zeros_is_rebuilt(directory: Path, name: str) -> None:
    def erase(index: Path) -> None:
        (index / name).write_bytes(bytes((index / name).stat().st_size))

    check_rebuilt(directory, erase, reason="snapshot")


@pytest.mark.parametrize("name", [*COLUMNS, *NAMES])
def test_a_damaged_file_is_rebuilt(directory: Path, name: str) -> None:
    size = {"offset": 8, "previous": 8, "subject": 4, "type": 4, "parent": 4}.get(name, 1)
    content = (directory / "index" / name).read_bytes()
    count = len(content) if name in NAMES else len(content.rstrip(b"\0")) // size * size
    for offset in range(0, count, 5):
        check_rebuilt(directory, lambda index, at=offset: flip(index / name, at), reason="snapshot")


def test_a_damaged_snapshot_is_rebuilt(directory: Path) -> None:
    size = (directory / "index" / SNAPSHOT).stat().st_size
    for offset in range(0, size, 7):
        check_rebuilt(
            directory, lambda index, at=offset: flip(index / SNAPSHOT, at), reason="snapshot"
        )


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n2745614147\n", b"null\n634125391\n", b"\xff"]
)
def test_a_snapshot_that_is_none_is_rebuilt(directory: Path, content: bytes) -> None:
    def replace(index: Path) -> None:
        (index / SNAPSHOT).write_bytes(content)

    check_rebuilt(directory, replace, reason="snapshot")


def test_a_snapshot_that_miscounts_its_names_is_rebuilt(directory: Path) -> None:
    def miscount(index: Path) -> None:
        snapshot = json.loads((index / SNAPSHOT).read_bytes().split()[0])
        snapshot["eventTypes"]["count"] += 1
        body = json.dumps(snapshot, separators=(",", ":")).encode()
        (index / SNAPSHOT).write_bytes(body + f"\n{zlib.crc32(body)}\n".encode())

    check_rebuilt(directory, miscount, reason="another number of names than its snapshot")


def test_the_index_of_another_log_is_rebuilt_unless_it_speaks_of_more(directory: Path) -> None:
    other = directory.with_name("other")
    for count in (2, 7):
        fill(other, count=count, data='{"n":2}')

        def exchange(index: Path) -> None:
            shutil.rmtree(index)
            shutil.copytree(other / "index", index)

        check_rebuilt(directory, exchange, reason="snapshot")
        shutil.rmtree(other)
    fill(other, count=20)
    exchange(directory / "index")
    with pytest.raises(CorruptLogError, match="its index was saved with 40 events"):
        open_log(directory)


def test_an_older_index_of_the_same_log_is_brought_up_to_date(directory: Path) -> None:
    older = directory.with_name("older")
    shutil.copytree(directory / "index", older)
    engine = open_log(directory)
    for number in range(20):
        store(engine, a_candidate(f"/late/{number}", "io.everlog.late"), a_candidate("/a"))
    engine.close()
    content, scans, _ = answers(directory)

    shutil.rmtree(directory / "index")
    shutil.copytree(older, directory / "index")
    engine = open_log(directory)
    assert engine.report.rebuild_reason is None
    assert engine.report.replayed_event_count == 40
    engine.close()

    assert answers(directory) == (content, scans, None)
