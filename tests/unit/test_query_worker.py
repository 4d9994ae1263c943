"""The process of a query: what it says about a job, in which order, and when it stops."""

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from everlog import query_worker
from everlog.eventql.query import prepare, scans_of
from everlog.query_worker import RowFrames, run_job
from everlog.service.querying.log import to_storage_scan
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


def job_of(engine: LogEngine, text: str) -> Job:
    head = engine.head
    scans = [to_storage_scan(scan, engine, head) for scan in scans_of(prepare(text))]
    return Job(
        text=text,
        now=0,
        is_incremental=False,
        files=engine.files(head),
        scans=[FoundScan(engine.locate(scan, head), None) for scan in scans],
        subjects=None,
        event_types=None,
        form=FORM,
        signing_key=None,
    )


def frames_of(
    engine: LogEngine, text: str, is_cancelled: threading.Event | None = None
) -> list[tuple[FrameKind, bytes]]:
    frames: list[tuple[FrameKind, bytes]] = []
    run_job(
        job_of(engine, text),
        lambda kind, content: frames.append((kind, content)),
        is_cancelled or threading.Event(),
    )
    return frames


def test_rows_come_before_the_end(engine: LogEngine) -> None:
    frames = frames_of(engine, "FROM e IN events PROJECT INTO e.data.n")

    assert frames == [(FrameKind.ROWS, b"<0><1><2><3><4>"), (FrameKind.END, b"")]


def test_rows_come_before_what_is_wrong_with_the_next_one(engine: LogEngine) -> None:
    first, (kind, content) = frames_of(engine, "FROM e IN events PROJECT INTO 6 / (2 - e.data.n)")

    assert first == (FrameKind.ROWS, b"<3><6>")
    assert kind is FrameKind.FAULT
    fault = msgspec.msgpack.decode(content, type=Fault)
    assert fault.event_id == "2"
    assert fault.span is not None


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
    assert msgspec.msgpack.decode(content, type=Fault) == Fault(message, None, None, None)


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
    is_cancelled = threading.Event()
    is_cancelled.set()

    assert frames_of(engine, text, is_cancelled) == [(FrameKind.END, b"")]


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
    assert sent[2:] == [b"<4><" + b"x" * 200_000 + b">"]

    # Or until there are no more.
    frames.add([b"5"])
    frames.flush()
    frames.flush()
    assert sent[3:] == [b"<5>"]
