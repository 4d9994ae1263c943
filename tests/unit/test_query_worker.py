"""The process of a query: what it says about a job, in which order, and when it stops."""

import errno
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from everlog import query_worker
from everlog.domain.errors import Code
from everlog.eventql.query import EvaluationContext, QueryLimits, execute, prepare
from everlog.query_worker import Inbox, JobCancelledError, RowFrames, run_next
from everlog.service.querying.log import HeadLog, Needs, needs_of, to_storage_scan
from everlog.service.querying.messages import Fault, FoundScan, FrameKind, Job, RowForm
from everlog.storage.log import LogEngine
from tests.support.events import a_candidate, store

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


class Leaving(Inbox):
    """A server that takes its job back after some rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows

    def check_is_wanted(self) -> None:
        self._rows -= 1
        if self._rows < 0:
            raise JobCancelledError


@pytest.mark.parametrize("count", range(1, EVENTS))
def test_whether_a_job_is_wanted_is_asked_at_each_row(engine: LogEngine, count: int) -> None:
    judged = 0

    def sign(hash_: str) -> str:
        nonlocal judged
        judged += 1
        return hash_

    plan = prepare("FROM e IN events WHERE e.signature == '' PROJECT INTO e.id")
    context = EvaluationContext(
        now=0,
        random=lambda: 0.5,
        sign=sign,
        limits=QueryLimits(),
        check=Leaving(count).check_is_wanted,
    )

    with pytest.raises(JobCancelledError):
        list(execute(plan, HeadLog(engine, engine.head), context))
    assert judged == count


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
