"""The process of an audit: what it tells of a job, and that it is gone when nobody listens."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from everlog import audit_worker
from everlog.audit_worker import run_job
from everlog.domain.limits import AUDIT_FINDINGS_MAX
from everlog.service.auditing_messages import (
    LENGTH,
    Answer,
    Audited,
    AuditHead,
    AuditHistory,
    Broken,
    End,
    EventTypeNames,
    Failed,
    Found,
    Job,
    Mismatched,
    Ready,
    Request,
    Verified,
    VerifyStore,
    decode_answer,
    encode,
)
from everlog.storage.log import LogEngine, ReadOnlyEngine
from tests.support.audits import EVENT_COUNT, edit_line, fill_directory
from tests.support.engines import open_log
from tests.support.server import DEADLINE_SECONDS


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LogEngine]:
    fill_directory(tmp_path)
    engine = open_log(tmp_path)
    yield engine
    engine.close()


def head_of(engine: LogEngine | ReadOnlyEngine) -> list[Request]:
    """Return what a server says when it is asked for the head."""
    head, files = engine.head, engine.store_files(engine.head)
    names = files.event_types
    return [
        *(EventTypeNames([name]) for name in names),
        AuditHead(head.event_count, head.log_size, files.schemas_size, head.hash, files.columns),
    ]


def run(engine: LogEngine | ReadOnlyEngine, job: Job) -> tuple[Sequence[Answer], End]:
    told = list[Answer]()
    requests = iter(head_of(engine))
    end = run_job(job, lambda: next(requests), lambda: told.append(Ready()), told.append)
    # It is asked for once, and then nothing more is read.
    assert told[:2] == [Ready(), Ready()]
    return told[2:], end


def directory_of(engine: LogEngine | ReadOnlyEngine) -> int:
    return engine.store_files(engine.head).directory


def test_a_sound_store_is_verified_with_its_memory(engine: LogEngine) -> None:
    files = engine.store_files(engine.head)
    assert set(files.columns) == {
        *("offset", "subject", "type", "previous", "parent", "subject-segments")
    }

    assert run(engine, VerifyStore(directory_of(engine))) == ([], Verified(EVENT_COUNT, 0, 0))


def test_what_is_found_is_told_with_how_much_it_is(engine: LogEngine, tmp_path: Path) -> None:
    edit_line(tmp_path, 2, lambda line: line.replace(b"/a", b"/z", 1))
    (tmp_path / "durable").write_bytes(bytes(28))

    told, end = run(engine, VerifyStore(directory_of(engine)))

    warning, error = told
    assert isinstance(warning, Found)
    assert isinstance(error, Found)
    assert (warning.is_error, error.is_error) == (False, True)
    assert re.fullmatch(r"data: log/0+\.ndjson at byte \d+, event 2: .* \[hash\]", error.text)
    assert end == Verified(EVENT_COUNT, 1, 1)


def test_every_column_and_every_name_in_memory_is_compared(engine: LogEngine) -> None:
    index = engine._index
    columns = [index.offsets, index.subject_ids, index.type_ids, index.previous]
    for column in (*columns, index.subjects.parents):
        column.cells[3] ^= 1
        [found], end = run(engine, VerifyStore(directory_of(engine)))
        assert isinstance(found, Found)
        assert f"index: {column.name} in the memory of the server at byte " in found.text
        assert isinstance(end, Verified)
        assert (end.error_count, end.warning_count) == (1, 0)
        column.cells[3] ^= 1
    index.subjects.segments.cells[2] ^= 1
    found, _ = run(engine, VerifyStore(directory_of(engine)))[0]
    assert isinstance(found, Found)
    assert "the name of subject 1 does not end with 'a'" in found.text
    index.subjects.segments.cells[2] ^= 1
    names = index.event_types.names
    names[0], names[1] = names[1], names[0]
    [found], _ = run(engine, VerifyStore(directory_of(engine)))
    names[0], names[1] = names[1], names[0]
    assert isinstance(found, Found)
    assert found.text.startswith("index: type in the memory of the server at byte 0, event 0: ")
    assert run(engine, VerifyStore(directory_of(engine)))[0] == []


def test_of_a_long_line_the_beginning_is_told(engine: LogEngine, tmp_path: Path) -> None:
    edit_line(tmp_path, 3, lambda line: line.replace(b'"id":"3"', b'"id":"%b"' % (b"7" * 9_000)))
    told, _ = run(engine, VerifyStore(directory_of(engine)))
    assert all(isinstance(found, Found) and len(found.text) < 1_100 for found in told)


def test_no_more_is_told_than_an_answer_has(
    engine: LogEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everlog.audit_worker.AUDIT_FINDINGS_MAX", 3)
    assert AUDIT_FINDINGS_MAX > 3
    for position in range(6):
        edit_line(tmp_path, position, lambda line: line.replace(b"everlog.", b"golreve.", 1))

    told, end = run(engine, VerifyStore(directory_of(engine)))

    assert len(told) == 3
    assert isinstance(end, Verified)
    assert end.error_count == 6


def test_the_history_is_audited(engine: LogEngine, tmp_path: Path) -> None:
    directory, hash_ = directory_of(engine), engine.head.hash
    last = EVENT_COUNT - 1
    assert run(engine, AuditHistory(directory, None)) == ([], Audited((last, hash_)))
    assert run(engine, AuditHistory(directory, (last, hash_)))[1] == Audited((last, hash_))
    assert run(engine, AuditHistory(directory, (last, "0" * 64)))[1] == Mismatched(hash_)

    edit_line(tmp_path, 2, lambda line: line.replace(b"/a", b"/z", 1))
    _, end = run(engine, AuditHistory(directory, (last, hash_)))
    assert isinstance(end, Broken)
    assert end.event_id == 2
    assert end.text.endswith("[hash]")


def test_what_cannot_be_read_is_a_failure_and_so_is_a_bug(
    engine: LogEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Links are not followed.
    (tmp_path / "index").rename(tmp_path / "elsewhere")
    (tmp_path / "index").symlink_to(tmp_path / "elsewhere")
    _, end = run_before_head(VerifyStore(directory_of(engine)))
    assert isinstance(end, Failed)
    assert end.reason.startswith("index cannot be read: ")

    def fail(*_: object, **__: object) -> None:
        raise KeyError

    monkeypatch.setattr("everlog.audit_worker.audit_up_to", fail)
    _, end = run_before_head(VerifyStore(directory_of(engine)))
    assert end == Failed("its process met a bug (KeyError)")


def run_before_head(job: Job) -> tuple[Sequence[Answer], End]:
    told = list[Answer]()

    def fail() -> Request:
        raise AssertionError

    return told, run_job(job, fail, lambda: None, told.append)


def test_a_directory_that_is_only_read_is_verified_too(tmp_path: Path) -> None:
    fill_directory(tmp_path)
    with ReadOnlyEngine.open(tmp_path) as engine:
        assert engine.store_files(engine.head).schemas_size > 0
        assert run(engine, VerifyStore(directory_of(engine))) == ([], Verified(EVENT_COUNT, 0, 0))


def test_it_pauses_where_others_want_to_compute_and_only_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, slept = tmp_path / "schedstat", list[float]()
    monkeypatch.setattr(audit_worker, "_SCHEDULING_FILE", file)
    monkeypatch.setattr("time.sleep", slept.append)
    file.write_text("1000000 5000000 1\n")
    pauses = audit_worker._Pauses()

    # It ran for 10 ms, and waited for less than 1, for 5, and for 900.
    for ran, waited in ((11_000_000, 5_900_000), (21_000_000, 10_900_000), (1 << 40, 1 << 50)):
        file.write_text(f"{ran} {waited} 7\n")
        pauses.take_if_due()
        pauses.take_if_due()

    assert slept == [pytest.approx(0.04), 0.2]
    for text in ("", "none"):
        file.write_text(text)
        audit_worker._Pauses().take_if_due()
    file.unlink()
    audit_worker._Pauses().take_if_due()
    assert len(slept) == 2


@pytest.mark.slow
def test_the_process_speaks_with_a_socket_and_ends_with_it(engine: LogEngine) -> None:
    files = engine.store_files(engine.head)
    for is_told in (True, False):
        ours, theirs = socket.socketpair()
        ours.settimeout(DEADLINE_SECONDS)
        with ours, theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "everlog.audit_worker"],
                stdin=theirs,
                stdout=theirs,
                pass_fds=files.inherited,
            )
            ours.sendall(encode(VerifyStore(files.directory)))
            assert receive(ours) == Ready()
            if is_told:
                ours.sendall(b"".join(map(encode, head_of(engine))))
                assert receive(ours) == Verified(EVENT_COUNT, 0, 0)
        assert process.wait(DEADLINE_SECONDS) == 0
        assert os.waitstatus_to_exitcode(0) == 0


def receive(ours: socket.socket) -> Answer:
    [length] = LENGTH.unpack(ours.recv(LENGTH.size, socket.MSG_WAITALL))
    answer: Answer = decode_answer(ours.recv(length, socket.MSG_WAITALL))
    return answer
