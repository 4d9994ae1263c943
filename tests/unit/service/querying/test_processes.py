"""The processes of queries: lent, taken back, kept or ended, whatever they do.

They are played by small programs, so that each can misbehave in its own way.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress

import pytest

from everlog.service.querying.messages import FrameKind, Job, RowForm
from everlog.service.querying.processes import QueryProcess, QueryProcessDiedError, QueryProcesses
from everlog.storage.engine import LogFiles

DEADLINE_SECONDS = 30.0

JOB = Job(
    text="FROM e IN events PROJECT INTO e",
    now=0,
    is_incremental=False,
    files=LogFiles(folder=-1, segments=[], offsets=-1, event_count=0, log_size=0),
    scans=[],
    subjects=None,
    event_types=None,
    form=RowForm(b"", b"\n"),
    signing_key=None,
)

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
}


def processes_of(program: str, *, count_max: int = 2) -> QueryProcesses:
    command = (sys.executable, "-c", _FRAMES + PROGRAMS[program])
    return QueryProcesses(count_max=count_max, command=command)


def run(work: Callable[[], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await work()

    asyncio.run(bounded())


async def frames_of(processes: QueryProcesses) -> list[tuple[FrameKind, bytes]]:
    async with processes.borrow() as process:
        return [frame async for frame in process.run(JOB)]


async def first_row(process: QueryProcess) -> bytes:
    """Take a row and go away."""
    async with aclosing(process.run(JOB)) as frames:
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
def test_a_process_that_dies_is_told_and_not_lent_again() -> None:
    async def work() -> None:
        processes = processes_of("dying")
        for _ in range(2):
            with pytest.raises(QueryProcessDiedError):
                await frames_of(processes)
        await processes.close()

    run(work)


@pytest.mark.slow
def test_a_process_that_died_while_nobody_needed_it_is_replaced() -> None:
    async def work() -> None:
        processes = processes_of("good")
        async with processes.borrow() as first:
            assert [frame async for frame in first.run(JOB)]
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
                assert [frame async for frame in process.run(JOB)]

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
        (_, names), _ = [frame async for frame in process.run(JOB)]
        await process.end()

        assert b"PATH" in names
        assert b"EVERLOG" not in names

    run(work)
