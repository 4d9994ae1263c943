"""Audits as the server sees them: whatever their process does, an audit has an end."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import uvloop

from everlog.domain.errors import Code, RefusedError, TooManyAuditsError
from everlog.service import auditing
from everlog.service.auditing import AuditFailedError, AuditReport, Audits
from everlog.service.auditing_messages import (
    AuditHead,
    Broken,
    Found,
    Verified,
    encode,
)
from everlog.storage.log import LogEngine
from tests.support.engines import open_log
from tests.support.events import a_candidate, store
from tests.support.memory_engine import MemoryEngine
from tests.support.sources import REPOSITORY

DEADLINE_SECONDS = 30.0

# What a process does, with what it is told in `requests`.
PROCESS = f"""
import os, sys, time
sys.path[:0] = [{str(REPOSITORY / "src")!r}]
from everlog.service.auditing_messages import *

def read():
    [length] = LENGTH.unpack(os.read(0, LENGTH.size))
    content = b""
    while len(content) < length:
        content += os.read(0, length - len(content))
    return decode_request(content)

def send(answer):
    os.write(1, encode(answer))

job = read()
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LogEngine]:
    engine = open_log(tmp_path)
    for number in range(3):
        store(engine, a_candidate("/a", f"io.everlog.t{number}"))
    yield engine
    engine.close()


class Told:
    """What an audit yielded, and how it ended."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.error: RefusedError | None = None
        self.reports: list[AuditReport] = []
        self.failures: list[AuditFailedError] = []


def run(
    engine: Any,
    program: str,
    *,
    on_answer: Callable[[Audits], None] = lambda _: None,
    is_of_history: bool = False,
) -> Told:
    """Run an audit whose process is a program, to its end."""
    told = Told()

    async def work() -> None:
        audits = Audits(
            engine,
            on_ended=told.reports.append,
            on_failed=told.failures.append,
            command=(sys.executable, "-c", PROCESS + program),
        )
        running: Any = audits.audit_history(None) if is_of_history else audits.verify_store()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), aclosing(running) as answers:
                async for answer in answers:
                    told.answers.append(answer)
                    on_answer(audits)
        except RefusedError as error:
            told.error = error
        await audits.close()

    uvloop.run(work())
    return told


def test_what_the_process_tells_is_yielded_and_its_end_is_reported(engine: LogEngine) -> None:
    told = run(
        engine,
        'send(Found(True, "a")); send(Progressed(1, 2)); send(Found(False, "b"))\n'
        "send(Verified(3, 1, 1))",
    )

    found = [answer for answer in told.answers if answer is not None]
    assert found == [
        Found(is_error=True, text="a"),
        Found(is_error=False, text="b"),
        Verified(3, 1, 1),
    ]
    [report] = told.reports
    assert report[:4] == ("verify-store", 3, 1, 1)
    assert (told.error, told.failures) == (None, [])


def test_the_process_is_told_the_head_when_it_is_ready(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "_NAMES_PER_MESSAGE", 2)
    store(engine, a_candidate("/b"))
    told = run(
        engine,
        "send(Ready())\n"
        "names = []\n"
        "while isinstance(request := read(), EventTypeNames):\n"
        "    names.append(','.join(request.names))\n"
        "counts = f'{request.event_count} {request.log_size}'\n"
        "head = f'{counts} {request.hash} {sorted(request.columns)}'\n"
        "send(Found(True, ' '.join(names) + ' ' + head))\n"
        "send(Verified(0, 1, 0))",
    )

    head = engine.head
    columns = ["offset", "parent", "previous", "subject", "subject-segments", "type"]
    assert (
        Found(
            is_error=True,
            text="io.everlog.t0,io.everlog.t1 io.everlog.t2,io.everlog.test.happened "
            f"4 {head.log_size} {head.hash} {columns}",
        )
        in told.answers
    )
    assert head.event_count == 4


@pytest.mark.parametrize(
    "program, reason",
    [
        ("os._exit(3)", "its process ended with exit code 3"),
        ("os.kill(os.getpid(), 9)", "its process was ended by SIGKILL, perhaps for lack of memory"),
        (
            "send(Progressed(5, 9)); os.kill(os.getpid(), 6)",
            "its process was ended by SIGABRT, perhaps for lack of memory, after 5 of 9 bytes",
        ),
        ("send(Failed('no'))", "no"),
        ("os.write(1, b'xxxxx'); time.sleep(60)", "its process said what makes no sense"),
        ("os.write(1, LENGTH.pack(2) + b'xx'); time.sleep(60)", "its process said what makes no"),
        ("os.write(1, LENGTH.pack(9) + b'x')", "its process ended with exit code 0"),
    ],
)
def test_a_process_that_fails_is_told_of(engine: LogEngine, program: str, reason: str) -> None:
    told = run(engine, f"send(Found(True, 'a'))\n{program}")

    assert Found(is_error=True, text="a") in told.answers
    assert isinstance(told.error, AuditFailedError)
    assert told.error.code is Code.AUDIT_FAILED
    assert told.error.reason.startswith(reason)
    assert (told.failures, told.reports) == ([told.error], [])


def test_a_process_that_cannot_be_started_is_told_of(engine: LogEngine) -> None:
    failures: list[AuditFailedError] = []

    async def work() -> None:
        audits = Audits(
            engine,
            on_ended=lambda _: None,
            on_failed=failures.append,
            command=("/missing",),
        )
        with pytest.raises(AuditFailedError, match="cannot be started: No such file"):
            await anext(audits.verify_store())

    asyncio.run(work())
    assert len(failures) == 1


def test_an_engine_without_files_cannot_be_audited() -> None:
    told = run(MemoryEngine(), "")

    assert isinstance(told.error, AuditFailedError)
    assert "no files" in told.error.reason


def test_time_passes_while_a_process_is_silent_and_while_it_talks(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "HEARTBEAT_INTERVAL_SECONDS", 0.01)
    for program in (
        "time.sleep(0.2)",
        "for _ in range(200): send(Progressed(1, 2)); time.sleep(0.001)",
    ):
        told = run(engine, f"{program}\nsend(Verified(3, 0, 0))")
        assert told.answers.count(None) > 2
        assert told.answers[-1] == Verified(3, 0, 0)


def test_what_the_server_ends_is_ended_and_what_comes_then_is_refused(engine: LogEngine) -> None:
    told = run(
        engine, "send(Found(True, 'a')); time.sleep(60)", on_answer=lambda audits: audits.end()
    )

    assert told.error is not None
    assert told.error.code is Code.SERVER_SHUTTING_DOWN
    assert (told.reports, told.failures) == ([], [])

    async def work() -> None:
        audits = Audits(engine, on_ended=lambda _: None, on_failed=lambda _: None)
        audits.end()
        with pytest.raises(RefusedError) as raised:
            await anext(audits.audit_history(None))
        assert raised.value.code is Code.SERVER_SHUTTING_DOWN

    asyncio.run(work())


def test_who_stops_asking_ends_the_process(engine: LogEngine) -> None:
    async def work() -> None:
        audits = Audits(
            engine,
            on_ended=lambda _: None,
            on_failed=lambda _: None,
            command=(
                sys.executable,
                "-c",
                f"{PROCESS}\nsend(Found(True, str(os.getpid()))); time.sleep(60)",
            ),
        )
        running = audits.verify_store()
        found = await anext(running)
        while found is None:
            found = await anext(running)
        assert isinstance(found, Found)
        await running.aclose()
        await audits.close()
        with pytest.raises(ProcessLookupError):
            os.kill(int(found.text), 0)

    uvloop.run(work())


def test_a_broken_chain_is_reported_as_an_error(engine: LogEngine) -> None:
    told = run(engine, "send(Broken(2, 'here'))", is_of_history=True)

    assert told.answers[-1] == Broken(2, "here")
    assert told.reports[0][:4] == ("audit-history", 3, 1, 0)


def test_there_are_so_many_permits_and_no_more(engine: LogEngine) -> None:
    async def work() -> None:
        audits = Audits(engine, on_ended=lambda _: None, on_failed=lambda _: None)
        with audits.permits.acquire(), pytest.raises(TooManyAuditsError, match="is running"):
            audits.permits.acquire()
        audits.permits.acquire()

    asyncio.run(work())


def test_messages_are_prefixed_with_their_length() -> None:
    head = AuditHead(1, 2, 3, "hash", {"offset": (5, 6)})
    content = encode(head)
    assert int.from_bytes(content[:4], "little") == len(content) - 4
