"""Processes that are started while others are served."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from everlog.service import child_process
from everlog.service.child_process import ChildProcess
from tests.support.sources import REPOSITORY

DEADLINE_SECONDS = 30.0
ECHO = "import os\nwhile data := os.read(0, 100): os.write(1, data)"
Work = Callable[[], Coroutine[None, None, None]]


def run_with_both_loops(work: Work) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await work()

    asyncio.run(bounded())
    uvloop.run(bounded())


async def wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.001)


async def started(program: str, *inherited: int) -> ChildProcess:
    command = (sys.executable, "-c", program)
    return await ChildProcess.start(command, inherited=inherited, buffer_size=1_024)


@pytest.mark.slow
def test_a_process_is_spoken_with_until_it_ends() -> None:
    async def work() -> None:
        process = await started(ECHO)
        for text in (b"one\n", b"two\n"):
            process.input.write(text)
            assert await process.output.readline() == text
        assert process.is_alive

        # It sees that nobody will say anything any more.
        process.input.close()
        assert await process.wait() == 0
        assert not process.is_alive

    run_with_both_loops(work)


@pytest.mark.slow
def test_a_process_that_is_killed_is_known_to_be_gone_before_anybody_waits() -> None:
    async def work() -> None:
        process = await started(ECHO)
        process.kill()
        assert await process.output.read() == b""
        await wait_until(lambda: not process.is_alive)
        # Again is the same as once.
        process.kill()
        assert await process.wait() == -9
        assert await process.wait() == -9
        process.kill()
        process.input.close()

    run_with_both_loops(work)


@pytest.mark.slow
def test_what_is_to_be_inherited_is_and_nothing_else(tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("given", "kept")]
    files = [os.open(name, os.O_RDWR | os.O_CREAT) for name in names]
    given, kept = files
    os.set_inheritable(kept, True)  # noqa: FBT003 - as it is called
    program = f"import os; os.write({given}, b'written'); os.write({kept}, b'no')"

    async def work() -> None:
        process = await started(program, given)
        assert await process.wait() == 1
        process.input.close()

    run_with_both_loops(work)
    assert [name.read_bytes() for name in names] == [b"writtenwritten", b""]
    for file in files:
        os.close(file)


def test_what_cannot_be_started_is_told() -> None:
    async def work() -> None:
        with pytest.raises(FileNotFoundError):
            await ChildProcess.start(("/nowhere/at/all",), buffer_size=1_024)

    run_with_both_loops(work)


@pytest.mark.slow
def test_whoever_gives_up_while_a_process_is_started_leaves_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = child_process._start
    is_wanted = threading.Event()
    started_ones: list[Any] = []

    def start_late(*arguments: Any, **options: Any) -> Any:
        is_wanted.wait(DEADLINE_SECONDS)
        started_ones.append(original(*arguments, **options))
        return started_ones[-1]

    monkeypatch.setattr(child_process, "_start", start_late)

    async def work() -> None:
        is_wanted.clear()
        started_ones.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await started(ECHO)
        is_wanted.set()
        await wait_until(lambda: started_ones != [])
        await wait_until(lambda: started_ones[0].returncode == -9)

    run_with_both_loops(work)


def test_nobody_starts_processes_in_a_way_that_copies_the_tables_of_all_memory() -> None:
    sources = (REPOSITORY / "src").rglob("*.py")

    assert [path for path in sources if "create_subprocess" in path.read_text()] == []
