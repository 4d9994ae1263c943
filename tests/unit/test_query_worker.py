"""The process of a query: what it says about a job, in which order, and when it stops."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from everlog import query_worker
from everlog.domain.errors import Code
from everlog.eventql.planning.plan import EventScan
from everlog.eventql.query import prepare
from everlog.query_worker import Inbox, LocatedLog, RowFrames, run_next
from everlog.service.querying import processes
from everlog.service.querying.log import HeadLog, Needs, needs_of, to_storage_scan
from everlog.service.querying.messages import (
    Fault,
    FoundScan,
    FrameKind,
    Job,
    RowForm,
    encode_frame,
)
from everlog.service.querying.processes import QueryProcess
from everlog.service.store import Store, open_store
from everlog.storage.log import LogEngine
from tests.support.events import a_candidate, store

DEADLINE_SECONDS = 30.0

FORM = RowForm(b"<", b">")
EVENTS = 5


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogEngine]:
    engine = LogEngine.open(tmp_path_factory.mktemp("log") / "data")
    for number in range(EVENTS):
        store(engine, a_candidate(data=f'{{"n":{number}}}'))
    yield engine
    engine.close()


def job_of(engine: LogEngine, text: str, *, is_incremental: bool = False) -> Inbox:
    """Return all frames of a job, as they came from the server."""
    head, log = engine.head, HeadLog(engine, engine.head)
    files = engine.files(head)
    assert files is not None
    job = Job(
        text=text,
        now=0,
        is_incremental=is_incremental,
        files=files,
        form=FORM,
        signing_key=None,
    )
    needs = needs_of(prepare(text))
    inbox = Inbox()
    inbox.put(FrameKind.JOB, msgspec.msgpack.encode(job))
    for scan, by_event_type in needs.scans.items():
        counts = log.count_by_event_type(scan) if by_event_type else None
        located = engine.locate(to_storage_scan(scan, engine, head), head)
        inbox.put(FrameKind.SCAN, msgspec.msgpack.encode(FoundScan(located, counts)))
    if needs.has_subjects:
        for names in log.subjects():
            inbox.put(FrameKind.NAMES, msgspec.msgpack.encode(names))
        inbox.put(FrameKind.NAMES, b"")
    return inbox


def answers_to(inbox: Inbox) -> list[tuple[FrameKind, bytes]]:
    frames: list[tuple[FrameKind, bytes]] = []
    run_next(inbox, lambda kind, content: frames.append((kind, content)))
    return frames


def frames_of(engine: LogEngine, text: str) -> list[tuple[FrameKind, bytes]]:
    return answers_to(job_of(engine, text))


def test_rows_come_before_the_end(engine: LogEngine) -> None:
    frames = frames_of(engine, "FROM e IN events PROJECT INTO e.data.n")

    assert frames == [(FrameKind.ROWS, b"<0><1><2><3><4>"), (FrameKind.END, b"")]


def test_rows_come_before_what_is_wrong_with_the_next_one(engine: LogEngine) -> None:
    first, (kind, content) = frames_of(engine, "FROM e IN events PROJECT INTO 6 / (2 - e.data.n)")

    assert first == (FrameKind.ROWS, b"<3><6>")
    assert kind is FrameKind.FAULT
    fault = msgspec.msgpack.decode(content, type=Fault)
    assert fault.code is Code.QUERY_UNEVALUABLE
    assert "event '2'" in fault.message
    assert fault.details["eventId"] == "2"
    assert fault.details["startToken"]["text"] == "6"


@pytest.mark.parametrize(
    "error, message",
    [
        (MemoryError(), "the query needs more memory than it may have"),
        (MemoryError("as it says"), "as it says"),
    ],
)
def test_too_much_memory_is_a_fault_of_the_query(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    [(kind, content)] = failing_frames_of(engine, monkeypatch, error)

    assert kind is FrameKind.FAULT
    fault = Fault(Code.QUERY_UNEVALUABLE, message, {})
    assert msgspec.msgpack.decode(content, type=Fault) == fault


def test_of_a_bug_only_its_kind_is_told(engine: LogEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = failing_frames_of(engine, monkeypatch, ValueError("/books/42 is somebody's"))

    assert frames == [(FrameKind.BUG, b"ValueError")]


def failing_frames_of(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> list[tuple[FrameKind, bytes]]:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(query_worker, "execute", fail)
    return frames_of(engine, "FROM e IN events PROJECT INTO e")


@pytest.mark.parametrize(
    "text",
    [
        "FROM e IN events PROJECT INTO e",
        "FROM e IN events ORDER BY e.data.n PROJECT INTO e",
        "FROM a IN events FROM b IN events PROJECT INTO [a.id, b.id]",
    ],
)
def test_a_job_that_was_taken_back_ends_without_rows(engine: LogEngine, text: str) -> None:
    inbox = job_of(engine, text)
    inbox.put(FrameKind.CANCEL, b"")

    assert answers_to(inbox) == [(FrameKind.END, b"")]


def test_a_job_that_is_taken_back_before_all_of_it_came_is_forgotten(engine: LogEngine) -> None:
    text = "FROM s IN subjects FROM e IN events PROJECT INTO s"
    whole = job_of(engine, text)
    inbox = Inbox()
    inbox.put(*whole.wait_for_job())
    inbox.put(FrameKind.CANCEL, b"")
    # Whatever of it comes late concerns nobody.
    inbox.put(FrameKind.NAMES, b"")
    inbox.put(FrameKind.PREPARE, b"FROM e IN events PROJECT INTO e.id")

    assert answers_to(inbox) == [(FrameKind.END, b"")]
    [(kind, _)] = answers_to(inbox)
    assert kind is FrameKind.NEEDS


@pytest.mark.parametrize(
    "text",
    [
        "FROM e IN events WHERE e.data.n < 9 PROJECT INTO e.id",
        "FROM e IN events ORDER BY e.data.n PROJECT INTO e.id",
        "FROM e IN events PROJECT INTO SUM(e.data.n) == 10",
    ],
)
def test_a_job_that_is_taken_back_is_interrupted_wherever_it_is(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    is_incremental = "SUM" in text
    inbox = job_of(engine, text, is_incremental=is_incremental)
    monkeypatch.setattr(inbox, "_interrupt", inbox.interrupt_job)

    class Rows(LocatedLog):
        def scan(self, scan: EventScan) -> Iterator[bytes]:
            yield from super().scan(scan)
            # As a signal would, in the midst of it.
            inbox.put(FrameKind.CANCEL, b"")
            raise AssertionError

    monkeypatch.setattr(query_worker, "LocatedLog", Rows)

    assert answers_to(inbox)[-1] == (FrameKind.END, b"")


def test_a_frame_that_is_being_sent_is_sent_to_its_end(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = job_of(engine, "FROM e IN events PROJECT INTO e.data.n")
    monkeypatch.setattr(inbox, "_interrupt", inbox.interrupt_job)
    frames: list[tuple[FrameKind, bytes]] = []

    def send(kind: FrameKind, content: bytes) -> None:
        if kind is FrameKind.ROWS:
            inbox.put(FrameKind.CANCEL, b"")
        frames.append((kind, content))

    run_next(inbox, send)

    assert frames == [(FrameKind.ROWS, b"<0><1><2><3><4>"), (FrameKind.END, b"")]


@pytest.mark.slow
def test_a_process_that_is_within_a_long_row_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine that is busy with other things.
    monkeypatch.setattr(processes, "_CANCEL_SECONDS_MAX", 20.0)
    row = "REPLACE(REPLACE('xxxxxxxxxx', 'x', '{x}'), 'x', '{y}')".format(
        x="x" * 100, y="\u00e9" * 900
    )
    for _ in range(40):
        row = f"LOWER(UPPER({row}))"
    text = f"FROM e IN events PROJECT INTO [{', '.join([f'LEN({row})'] * 25)}]"

    async def leave(opened: Store) -> QueryProcess:
        """Go away while a row is computed that takes seconds, and return whose it was."""
        lent = opened.queries._processes
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0), aclosing(opened.queries.run(text, form=FORM)) as rows:
                assert [row async for row in rows] == []
        while lent._ending:
            await asyncio.wait(lent._ending)
        [process] = lent._idle
        return process

    async def work() -> None:
        async with open_store(tmp_path) as opened:
            store(opened.engine, a_candidate())
            first, second = await leave(opened), await leave(opened)
            assert first is second
            assert first.is_alive

    asyncio.run(work())


@pytest.mark.slow
def test_the_process_ends_with_a_server_that_has_not_read_what_it_said() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        command = (sys.executable, "-m", "everlog.query_worker")
        process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno())
    with process, ours:
        text = b"FROM e IN events PROJECT INTO e"
        ours.sendall(encode_frame(FrameKind.PREPARE, text))
        # Left there: whoever reads at the other end is told that the connection was reset.
        assert ours.recv(1, socket.MSG_PEEK)
        ours.close()
        try:
            assert process.wait(DEADLINE_SECONDS) == 0
        finally:
            process.kill()


# What a text needs.


def test_a_text_is_told_what_it_needs() -> None:
    text = "FROM e IN events FROM s IN subjects WHERE e.type == 'io.e.t' PROJECT INTO e"
    inbox = Inbox()
    inbox.put(FrameKind.PREPARE, text.encode())

    [(kind, content)] = answers_to(inbox)

    assert kind is FrameKind.NEEDS
    needs = msgspec.msgpack.decode(content, type=Needs)
    assert needs == needs_of(prepare(text))
    assert needs.has_subjects
    assert [*needs.scans.values()] == [False]


def test_a_text_that_is_no_query_is_told_with_all_its_errors() -> None:
    inbox = Inbox()
    inbox.put(FrameKind.PREPARE, b"FROM e IN events PROJECT INTO [e.one, e.two]")

    [(kind, content)] = answers_to(inbox)

    fault = msgspec.msgpack.decode(content, type=Fault)
    assert kind is FrameKind.FAULT
    assert fault.code is Code.QUERY_MALFORMED
    assert len(fault.details["errors"]) == 2


# What is bounded.


def test_a_row_is_not_larger_than_the_server_may_pass_on(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_worker, "ROW_SIZE_MAX", 200_000)
    text = "FROM e IN events PROJECT INTO IF(e.data.n < 2, e.data.n, {})"
    large = "REPLACE(REPLACE('xxxxxxxxxx', 'x', '{x}'), 'x', '{y}')".format(x="x" * 50, y="y" * 900)

    *rows, (kind, content) = frames_of(engine, text.format(large))

    assert b"".join(row for _, row in rows) == b"<0><1>"
    assert kind is FrameKind.FAULT
    assert "200000 bytes" in msgspec.msgpack.decode(content, type=Fault).message


def test_what_was_aggregated_is_not_larger_than_the_server_may_keep(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "FROM e IN events PROJECT INTO SUM(e.data.n) == 10"
    [(kind, content)] = answers_to(job_of(engine, text, is_incremental=True))
    assert kind is FrameKind.AGGREGATION

    monkeypatch.setattr(query_worker, "AGGREGATES_SIZE_MAX", len(content) - 1)
    [(kind, _)] = answers_to(job_of(engine, text, is_incremental=True))
    assert kind is FrameKind.FAULT


def test_a_disk_that_cannot_be_read_is_told_as_such(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    inbox = job_of(engine, "FROM e IN events PROJECT INTO e")
    monkeypatch.setattr(os, "pread", fail)

    assert answers_to(inbox) == [(FrameKind.UNREADABLE, b"Input/output error")]


class Clock:
    """A clock that stands still until it is moved."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


def test_rows_are_gathered_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(query_worker, "time", clock)
    sent: list[bytes] = []
    frames = RowFrames(FORM, lambda _, content: sent.append(content))

    # The first rows go out at once, the next ones wait.
    frames.add([b"1"])
    frames.add([b"2", b"3"])
    frames.add([])
    assert sent == [b"<1>"]

    # Until their time is over, even if no more come.
    clock.now += 1
    frames.add([])
    assert sent == [b"<1>", b"<2><3>"]

    # Or until there are enough of them.
    frames.add([b"4"])
    frames.add([b"x" * 200_000])
    assert sent[2:] == [b"<4>", b"<" + b"x" * 200_000 + b">"]

    # Or until there are no more.
    frames.add([b"5"])
    frames.flush()
    frames.flush()
    assert sent[4:] == [b"<5>"]
