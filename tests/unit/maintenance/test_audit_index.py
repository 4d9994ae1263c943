"""The audit of the index: whatever it says of an event that the event's line does not is told."""

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everlog.maintenance.findings import Finding, Kind, Weight
from everlog.storage.log import columns
from tests.support.audits import audit_of
from tests.support.engines import open_log
from tests.support.events import a_candidate, store

COLUMNS = {"offset": "<u8", "subject": "<u4", "type": "<u4", "previous": "<u8", "parent": "<u4"}
NAMES = ("subject-segments", "event-types")
CHECKPOINT = "checkpoint.json"
EVENT_COUNT = 24


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 16)
    engine = open_log(tmp_path)
    for number in range(EVENT_COUNT // 2):
        store(
            engine, a_candidate(f"/s{number % 3}/{number % 4}"), a_candidate("/s1", "io.everlog.b")
        )
    engine.close()
    assert audit_of(tmp_path)[0] == []
    return tmp_path / "index"


def check_told(index: Path, *expected: tuple[Kind, str]) -> list[Finding]:
    findings, _ = audit_of(index.parent)
    assert [(found.kind, found.file) for found in findings] == [
        (kind, f"index/{name}") for kind, name in expected
    ], findings
    assert all(found.weight is Weight.INDEX for found in findings)
    return findings


def sealed(index: Path, change: Callable[[Any], object]) -> None:
    """Change the checkpoint as a program with a bug would: with the right checksum."""
    checkpoint = json.loads((index / CHECKPOINT).read_bytes().split(b"\n")[0])
    change(checkpoint)
    body = json.dumps(checkpoint, separators=(",", ":")).encode()
    (index / CHECKPOINT).write_bytes(body + f"\n{zlib.crc32(body)}\n".encode())


@pytest.mark.parametrize("name", COLUMNS)
def test_a_wrong_cell_is_told_with_its_event_even_if_the_checksum_is_right(
    index: Path, name: str
) -> None:
    cells = np.fromfile(index / name, COLUMNS[name])
    cells[5] += 1
    cells.tofile(index / name)
    event_id = None if name == "parent" else 5

    _, cell = check_told(index, (Kind.COLUMN, name), (Kind.COLUMN, name))
    assert (cell.event_id, cell.offset) == (event_id, 5 * cells.itemsize)

    subject_count = (index / "subject-segments").read_bytes().count(b"\n")
    count = subject_count if name == "parent" else EVENT_COUNT
    checksum = zlib.crc32(cells[:count].data)
    sealed(index, lambda checkpoint: checkpoint["columns"].update({name: checksum}))
    assert check_told(index, (Kind.COLUMN, name)) == [cell]


@pytest.mark.parametrize("name", [*COLUMNS, *NAMES])
def test_a_missing_and_a_short_file_are_told(index: Path, name: str) -> None:
    kind = Kind.NAMES if name in NAMES else Kind.COLUMN
    (index / name).write_bytes((index / name).read_bytes()[:10])
    assert "shorter" in check_told(index, (kind, name))[0].meaning

    (index / name).unlink()
    assert "missing" in check_told(index, (kind, name))[0].meaning


@pytest.mark.parametrize("name", [*NAMES, CHECKPOINT])
def test_a_flipped_bit_is_told(index: Path, name: str) -> None:
    content = (index / name).read_bytes()
    kind = Kind.CHECKPOINT if name == CHECKPOINT else Kind.NAMES
    for offset in range(len(content)):
        flipped = bytes((content[offset] ^ (1, 4, 128)[offset % 3],))
        (index / name).write_bytes(content[:offset] + flipped + content[offset + 1 :])
        check_told(index, (kind, name))


@pytest.mark.parametrize("content", [b"null", b"{}", b"[1]"])
def test_a_checkpoint_that_is_none_is_told(index: Path, content: bytes) -> None:
    (index / CHECKPOINT).write_bytes(content + f"\n{zlib.crc32(content)}\n".encode())

    check_told(index, (Kind.CHECKPOINT, CHECKPOINT))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda found: found.update(hash="0" * 64), "another end"),
        (lambda found: found.update(logSize=found["logSize"] + 1), "another end"),
        (lambda found: found["subjectSegments"].update(count=2), "another number of names"),
    ],
)
def test_a_checkpoint_that_says_something_else_than_the_log_is_told(
    index: Path, change: Callable[[Any], object], message: str
) -> None:
    sealed(index, change)

    assert any(message in found.meaning for found in audit_of(index.parent)[0])


def test_a_checkpoint_of_more_events_than_there_are_is_told(index: Path, tmp_path: Path) -> None:
    engine = open_log(tmp_path / "shorter")
    store(engine, a_candidate("/s0/0"))
    engine.close()
    shutil.rmtree(tmp_path / "shorter" / "index")
    shutil.copytree(index, tmp_path / "shorter" / "index")

    findings, _ = audit_of(tmp_path / "shorter")

    assert "speaks of 24 events, but the log has 1" in findings[-1].meaning


def test_a_subject_without_events_is_told(index: Path) -> None:
    content = (index / "subject-segments").read_bytes() + b"phantom\n"
    (index / "subject-segments").write_bytes(content)
    count = content.count(b"\n")
    parents = np.append(np.fromfile(index / "parent", "<u4")[: count - 1], np.uint32(0))
    parents.tofile(index / "parent")

    def add(checkpoint: Any) -> None:
        checkpoint["subjectSegments"] = {
            "count": count,
            "size": len(content),
            "checksum": zlib.crc32(content),
        }
        checkpoint["columns"]["parent"] = zlib.crc32(parents[:count].data)

    sealed(index, add)

    (found,) = check_told(index, (Kind.NAMES, "subject-segments"))
    assert f"it names {count} subjects, but {count - 1} have events" in found.meaning


def test_a_lost_index_is_a_notice(index: Path) -> None:
    shutil.rmtree(index)

    findings, summary = audit_of(index.parent)

    assert [found.kind for found in findings] == [Kind.NO_CHECKPOINT]
    assert summary.is_ok
