"""The processes of queries: lent, taken back, kept or ended, whatever they do.

They are played by small programs, so that each can misbehave in its own way.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress

import msgspec
import pytest
import uvloop

from everlog.service.querying.messages import FrameKind, Job, RowForm, encode_frame
from everlog.service.querying.processes import (
    QueryProcess,
    QueryProcessDiedError,
    QueryProcesses,
    QueryProcessGarbledError,
    QueryProcessLostError,
    QueryProcessUnstartableError,
)
from everlog.storage.engine import LogFiles

DEADLINE_SECONDS = 30.0

JOB = Job(
    text="FROM e IN events PROJECT INTO e",
    now=0,
    is_incremental=False,
    files=LogFiles(folder=-1, segments=[], offsets=-1, event_count=0, log_size=0),
    form=RowForm(b"", b"\n"),
    signing_key=None,
)


async def job() -> AsyncGenerator[bytes, None]:
    """Yield the only frame of a job."""
    yield encode_frame(FrameKind.JOB, msgspec.msgpack.encode(JOB))


# What all programs begin with: frames in, frames out.
_FRAMES = """
import os, struct, sys, time
HEADER = struct.Struct("<IB")
JOB, ROWS, END, CANCEL = 0, 1, 3, 6
def receive():
    size, kind = HEADER.unpack(sys.stdin.buffer.read(HEADER.size) or os._exit(0))
    sys.stdin.buffer.read(size)
    return kind
def send(kind, content=b""):
    os.write(1, HEADER.pack(len(content), kind) + content)
"""

PROGRAMS = {
    # Answers each job with its own number, and stops when it is told to.
    "good": """
while True:
    assert receive() == JOB
    send(ROWS, str(os.getpid()).encode())
    send(END)
""",
    # Goes on until its job is taken back.
    "endless": """
while True:
    assert receive() == JOB
    send(ROWS, str(os.getpid()).encode())
    assert receive() == CANCEL
    send(ROWS, b"more")
    send(END)
""",
    # Begins a frame, and sends its end only when its job is taken back.
    "halting": """
while True:
    assert receive() == JOB
    os.write(1, HEADER.pack(4, ROWS) + b"ha")
    assert receive() == CANCEL
    os.write(1, b"lf")
    send(END)
""",
    # Never looks whether its job is still wanted.
    "deaf": """
receive()
send(ROWS, str(os.getpid()).encode())
time.sleep(600)
""",
    "dying": """
receive()
send(ROWS, b"last words")
os._exit(1)
""",
    "killed": """
receive()
os.kill(os.getpid(), 9)
""",
    # Closes its socket, and stays.
    "mute": """
receive()
os.close(0)
os.close(1)
time.sleep(600)
""",
    # A frame without end, and one of a kind that there is not.
    "boasting": """
receive()
os.write(1, HEADER.pack(2 ** 32 - 1, ROWS) + b"x" * 1000)
time.sleep(600)
""",
    "babbling": """
receive()
send(99, b"?")
time.sleep(600)
""",
}


def processes_of(
    program: str, *, count_max: int = 2, lost: list[QueryProcessLostError] | None = None
) -> QueryProcesses:
    """Return processes that run a program; `lost` is told why one did not do as it was asked."""
    command = (sys.executable, "-c", _FRAMES + PROGRAMS[program])
    on_lost = ([] if lost is None else lost).append
    return QueryProcesses(count_max=count_max, on_lost=on_lost, command=command)


def run(work: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(_bounded(work))


async def _bounded(work: Callable[[], Coroutine[None, None, None]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        await work()


async def frames_of(
    processes: QueryProcesses, lent: list[QueryProcess] | None = None
) -> list[tuple[FrameKind, bytes]]:
    """Return what a process says to a job; `lent` is told which one it is."""
    async with processes.borrow() as process:
        if lent is not None:
            lent.append(process)
        return [frame async for frame in process.run(job())]


async def first_row(process: QueryProcess) -> bytes:
    """Take a row and go away."""
    async with aclosing(process.run(job())) as frames:
        _, row = await anext(frames)
    return row


def wait_dead(process_id: int) -> None:
    """Wait until a process is dead, while the event loop hears nothing of it."""
    # A thread of its own may have been told instead.
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT)


@pytest.mark.slow
def test_a_process_runs_one_job_after_the_other() -> None:
    async def work() -> None:
        processes = processes_of("good")
        first, second = await frames_of(processes), await frames_of(processes)
        await processes.close()

        assert first == second
        assert [kind for kind, _ in first] == [FrameKind.ROWS, FrameKind.END]

    run(work)


@pytest.mark.slow
def test_a_process_whose_job_was_taken_back_runs_the_next_one() -> None:
    async def work() -> None:
        processes = processes_of("endless")
        async with processes.borrow() as process:
            first = await first_row(process)
            await process.cancel()
            assert process.is_free
            assert await first_row(process) == first
        await processes.close()

    run(work)


@pytest.mark.slow
def test_a_frame_that_was_given_up_halfway_is_read_to_its_end() -> None:
    async def work() -> None:
        processes = processes_of("halting")
        async with processes.borrow() as process:
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await first_row(process)
                await process.cancel()
                assert process.is_free
        await processes.close()

    run(work)


@pytest.mark.slow
def test_a_process_that_does_not_listen_is_killed() -> None:
    async def work() -> None:
        processes = processes_of("deaf")
        async with processes.borrow() as process:
            assert await first_row(process)

        await process._process.wait()
        assert not process.is_alive
        await processes.close()

    run(work)


@pytest.mark.slow
def test_closing_ends_all_processes_those_too_that_do_not_listen() -> None:
    async def work() -> None:
        processes = processes_of("deaf")
        async with processes.borrow() as process:
            assert await first_row(process)
            await processes.close()
            # Whoever has borrowed it may go on until then.
            assert process.is_alive
        await processes.close()

        assert not process.is_alive

    run(work)


@pytest.mark.slow
@pytest.mark.parametrize(
    "program, kind, reason",
    [
        ("dying", QueryProcessDiedError, "exit code 1"),
        ("killed", QueryProcessDiedError, "SIGKILL"),
        ("mute", QueryProcessDiedError, "it closed its socket"),
        ("boasting", QueryProcessGarbledError, ""),
        ("babbling", QueryProcessGarbledError, ""),
    ],
)
def test_a_process_that_fails_is_told_and_not_lent_again(
    program: str, kind: type[QueryProcessLostError], reason: str
) -> None:
    async def work() -> None:
        lost: list[QueryProcessLostError] = []
        processes = processes_of(program, lost=lost)
        failed: list[QueryProcess] = []
        for _ in range(2):
            with pytest.raises(kind):
                await frames_of(processes, failed)
        await processes.close()

        assert failed[0] is not failed[1]
        assert not any(process.is_alive for process in failed)
        assert [(type(error), str(error)) for error in lost] == [(kind, reason)] * 2

    run(work)


@pytest.mark.slow
def test_a_job_for_a_process_that_has_just_died_is_told_so() -> None:
    async def work() -> None:
        processes = processes_of("good")
        async with processes.borrow() as process:
            assert [frame async for frame in process.run(job())]
            process._process.kill()
            # The loop knows by now that the pipe is closed, and refuses to write to it.
            await process._process.wait()
            for _ in range(2):
                with pytest.raises(QueryProcessDiedError, match="SIGKILL"):
                    assert [frame async for frame in process.run(job())]
            await process.cancel()
        await processes.close()

    run(work)
    uvloop.run(_bounded(work))


@pytest.mark.slow
def test_a_process_that_was_stopped_can_be_taken_back() -> None:
    async def work() -> None:
        processes = processes_of("endless")
        async with processes.borrow() as process:
            assert await first_row(process)
            os.kill(process._process.pid, signal.SIGSTOP)
        await processes.close()

        assert not process.is_alive

    run(work)


def test_a_process_that_cannot_be_started_is_told() -> None:
    async def work() -> None:
        lost: list[QueryProcessLostError] = []
        processes = QueryProcesses(count_max=1, on_lost=lost.append, command=("/nowhere/at/all",))
        for _ in range(2):
            with pytest.raises(QueryProcessUnstartableError, match="No such file"):
                async with processes.borrow():
                    pass
        await processes.close()

        assert len(lost) == 2

    run(work)


@pytest.mark.slow
def test_a_process_that_died_while_nobody_needed_it_is_replaced() -> None:
    async def work() -> None:
        processes = processes_of("good")
        async with processes.borrow() as first:
            assert [frame async for frame in first.run(job())]
        first._process.kill()
        wait_dead(first._process.pid)

        async with processes.borrow() as second:
            assert second is not first
            assert second.is_alive
        await processes.close()

    run(work)


@pytest.mark.slow
def test_no_more_are_lent_than_may_be() -> None:
    async def work() -> None:
        processes = processes_of("good", count_max=1)
        async with processes.borrow():
            waiting = asyncio.ensure_future(frames_of(processes))
            done, _ = await asyncio.wait({waiting}, timeout=0.1)
            assert not done
        assert len(await waiting) == 2
        await processes.close()

    run(work)


@pytest.mark.slow
def test_no_more_are_kept_than_are_worth_it() -> None:
    async def work() -> None:
        processes = processes_of("good", count_max=3)
        async with (
            processes.borrow() as first,
            processes.borrow() as second,
            processes.borrow() as third,
        ):
            lent = (first, second, third)
            for process in lent:
                assert [frame async for frame in process.run(job())]

        # Given back in the opposite order.
        await first.end()
        assert [process.is_alive for process in lent] == [False, True, True]
        await processes.close()
        assert not any(process.is_alive for process in lent)

    run(work)


@pytest.mark.slow
def test_processes_are_not_told_the_secrets_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERLOG_API_TOKEN", "secret")

    async def work() -> None:
        program = "send(ROWS, repr(sorted(os.environ)).encode()); send(END); receive()"
        process = await QueryProcess.start((sys.executable, "-c", _FRAMES + program))
        (_, names), _ = [frame async for frame in process.run(job())]
        await process.end()

        assert b"PATH" in names
        assert b"EVERLOG" not in names

    run(work)
