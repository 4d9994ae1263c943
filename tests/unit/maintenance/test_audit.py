"""The audit of a directory: what is as it was written, what is refused, and all findings."""

import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog.domain.errors import DataDirectoryError, DirectoryLockedError, UnknownFormatError
from everlog.maintenance.audit import Head, Progress, audit, audit_up_to, head_of_server
from everlog.maintenance.audit_index import MemoryIndex
from everlog.maintenance.audit_log import DurableBound
from everlog.maintenance.files import opened_directory
from everlog.maintenance.findings import Finding, Kind, Summary
from everlog.storage.engine import Head as LogHead
from tests.support.audits import (
    EVENT_COUNT,
    FIRST,
    SEGMENT_SIZE,
    audit_of,
    check_finding,
    check_kinds,
    edit_line,
)
from tests.support.engines import kill, open_log
from tests.support.events import a_candidate, a_schema, seal, stage, store, store_staged


def test_what_was_written_is_as_it_was_written(directory: Path) -> None:
    findings, summary = audit_of(directory)

    engine = open_log(directory)
    head = engine.head
    kill(engine)
    assert findings == []
    assert summary == Summary(
        event_count=EVENT_COUNT,
        head_hash=head.hash,
        log_size=head.log_size,
        segment_count=2,
        schema_count=2,
        finding_count=0,
        notice_count=0,
    )
    assert summary.is_ok


def test_an_empty_directory_is_fine(tmp_path: Path) -> None:
    open_log(tmp_path).close()

    findings, summary = audit_of(tmp_path)

    assert findings == []
    assert (summary.event_count, summary.head_hash) == (0, "0" * 64)


def test_nothing_is_changed_and_a_copy_that_nobody_may_write_to_will_do(directory: Path) -> None:
    def state() -> dict[Path, tuple[bytes, int]]:
        return {
            path: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in directory.rglob("*")
            if path.is_file()
        }

    (directory / "lock").unlink()
    before = state()

    assert audit_of(directory)[0] == []

    assert state() == before


def test_progress_is_told_in_bytes(directory: Path) -> None:
    told: list[tuple[int, int]] = []
    list(audit(directory, on_progress=lambda found: told.append((found.done, found.total))))

    size = sum(path.stat().st_size for path in (directory / "log").iterdir())
    assert told[-1] == (size, size)
    assert Progress().done == 0


def test_every_flaw_is_told_and_not_only_the_first(directory: Path) -> None:
    for position in (0, 3, 10):
        edit_line(directory, position, lambda line: line.replace(b'"n":', b'"m":'))
    edit_line(directory, 5, lambda line: b"x" + line)
    (directory / "log" / "notes.txt").touch()
    shutil.copy(directory / FIRST, directory / "log" / "0.ndjson")

    findings, summary = audit_of(directory)

    assert [(found.kind, found.event_id) for found in findings] == [
        (Kind.SEGMENT, None),
        (Kind.SEGMENT, None),
        (Kind.HASH, 0),
        (Kind.BROKEN_LINE, 5),
        (Kind.HASH, 10),
    ]
    assert summary.finding_count == 5


def test_a_damaged_bound_is_told(directory: Path) -> None:
    path = directory / "durable"
    content = path.read_bytes()
    for offset in range(len(content)):
        path.write_bytes(content[:offset] + bytes((content[offset] ^ 4,)) + content[offset + 1 :])
        findings, _ = audit_of(directory)
        assert findings[0].kind is Kind.DURABLE_BOUND
    for missing in (b"", bytes(28)):
        path.write_bytes(missing)
        assert audit_of(directory)[1].is_ok


def test_a_bound_that_means_another_log_is_told(directory: Path) -> None:
    path = directory / "durable"
    count, log_size, schemas_size = BOUND.unpack(path.read_bytes()[:-4])
    for wrong, kind in (
        ((count - 1, log_size, schemas_size), Kind.DURABLE_BOUND),
        ((count, log_size - 1, schemas_size), Kind.DURABLE_BOUND),
        ((count, log_size + 1, schemas_size), Kind.LOG_TOO_SHORT),
        ((count, log_size, schemas_size + 1), Kind.SCHEMAS_TOO_SHORT),
    ):
        body = BOUND.pack(*wrong)
        path.write_bytes(body + zlib.crc32(body).to_bytes(4, "little"))
        check_kinds(directory, kind)


@pytest.mark.parametrize(
    "content, meaning",
    [(b"", "damaged"), (b'{"format":"other","version":1}\n', "damaged"), (b"{", "damaged")],
)
def test_a_damaged_format_is_told(directory: Path, content: bytes, meaning: str) -> None:
    (directory / "everlog.json").write_bytes(content)

    check_finding(
        directory, Kind.FORMAT, event_id=None, file="everlog.json", offset=None, meaning=meaning
    )


def test_beside_a_server_all_that_is_durable_is_audited_and_no_more(directory: Path) -> None:
    engine = open_log(directory)
    store(engine, a_candidate("/new/one"))
    before = engine.head
    [notice], summary = audit_of(directory)
    assert (notice.kind, notice.event_id) == (Kind.SERVED, before.event_count)
    assert (summary.event_count, summary.head_hash) == (before.event_count, before.hash)

    # On the disk, but not durable: nobody knows yet whether it stays.
    stage(engine, a_candidate("/new/two"))
    batch = seal(engine)
    assert engine.begin_commit(batch) is not None
    assert audit_of(directory)[1] == summary
    engine.end_commit(batch, None)
    assert audit_of(directory)[1].event_count == before.event_count + 1

    edit_line(directory, 0, lambda line: line.replace(b"/a", b"/z", 1))
    assert [found.kind for found in audit_of(directory)[0]] == [Kind.SERVED, Kind.HASH]
    engine.publish(batch)
    engine.close()


def test_whatever_a_server_writes_meanwhile_an_audit_takes_nothing_of_it_for_damage(
    directory: Path,
) -> None:
    engine = open_log(directory, segment_size_max=SEGMENT_SIZE)
    heads = list[LogHead]()

    def write_on(_: object = None) -> None:
        # Segments are begun, snapshots saved, and something is always on its way to the disk.
        number = engine.head.event_count
        store(engine, a_candidate(f"/live/{number}"), a_candidate(f"/live/{number}/x"))
        engine.stage_schema(a_schema(f"io.everlog.live{number}"))
        store_staged(engine)
        engine.save_snapshot()
        stage(engine, a_candidate(f"/late/{number}"))
        engine.roll_back()

    def find_head() -> Head:
        write_on()
        head, files = engine.head, engine.store_files(engine.head)
        heads.append(head)
        memory = MemoryIndex(files.columns, [*files.event_types])
        bound = DurableBound(head.event_count, head.log_size, files.schemas_size, "the server")
        return head_of_server(opened, bound, head.hash, memory)

    with opened_directory(directory) as opened:
        for _ in range(5):
            found = list[Finding | Summary]()
            for each in audit_up_to(opened, find_head, on_progress=write_on):
                found.append(each)
                write_on()
            [summary] = found
            assert isinstance(summary, Summary)
            assert summary.event_count == heads[-1].event_count < engine.head.event_count
            assert summary.head_hash == heads[-1].hash
    engine.close()
    assert audit_of(directory)[0] == []
    assert len(list((directory / "log").iterdir())) > 5


def test_a_bound_that_is_lost_beside_a_server_is_told(directory: Path) -> None:
    engine = open_log(directory)
    (directory / "durable").write_bytes(b"x" * 28)
    assert Kind.DURABLE_BOUND in {found.kind for found in audit_of(directory)[0]}
    engine.close()


def test_a_server_is_kept_out_meanwhile_and_told_why(directory: Path) -> None:
    running = audit(directory, on_progress=lambda _: None)
    edit_line(directory, 0, lambda line: b"x" + line)
    assert isinstance(next(running), Finding)

    with pytest.raises(DirectoryLockedError, match="in use by another process \\(an audit, or"):
        open_log(directory)
    assert audit_of(directory)[1].finding_count == 1

    assert len(list(running)) == 1
    edit_line(directory, 0, lambda line: line[1:])
    open_log(directory).close()


def test_a_server_that_came_meanwhile_is_noticed(directory: Path) -> None:
    (directory / "lock").unlink()
    edit_line(directory, 0, lambda line: b"x" + line)
    running = audit(directory, on_progress=lambda _: None)
    next(running)
    (directory / "lock").touch()

    with pytest.raises(DirectoryLockedError, match="meanwhile"):
        list(running)


def refusals(tmp_path: Path) -> Iterator[tuple[Path, type[Exception], str]]:
    (tmp_path / "file").touch()
    yield tmp_path / "file", DataDirectoryError, "is not a directory"
    yield tmp_path / "missing", DataDirectoryError, "is not a directory"
    (tmp_path / "empty").mkdir()
    yield tmp_path / "empty", UnknownFormatError, r"no everlog\.json"
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "everlog.json").write_text('{"format":"everlog-data","version":2}')
    yield tmp_path / "new", UnknownFormatError, "data format 2"
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "everlog.json").symlink_to(tmp_path / "new" / "everlog.json")
    yield tmp_path / "link", DataDirectoryError, "cannot be read"


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    for directory, error, message in refusals(tmp_path):
        with pytest.raises(error, match=message):
            audit_of(directory)


BOUND = struct.Struct("<QQQ")
