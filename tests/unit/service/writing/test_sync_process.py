"""The process that syncs: real files, real errors, and its end at any time."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from everlog.service.writing.sync_messages import REPLY
from everlog.service.writing.sync_process import SyncProcess, SyncProcessLostError

End = OSError | SyncProcessLostError | None

# One that never says that it is ready, and one that never answers.
SILENT = (sys.executable, "-c", "import os; os.read(0, 1)")
HANGING = (
    sys.executable,
    "-c",
    f"import os, time; os.write(0, bytes({REPLY.size})); time.sleep(60)",
)

# One that hangs up when it is asked, and is still there.
LINGERING = (
    sys.executable,
    "-c",
    f"import os, time; os.write(0, bytes({REPLY.size})); os.read(0, 1); os.close(0); time.sleep(9)",
)


class Bench:
    """A process, and what it says."""

    def __init__(self, command: tuple[str, ...] | None = None) -> None:
        self.losses = 0
        options = {} if command is None else {"command": command}
        self.syncs = SyncProcess(asyncio.get_running_loop(), on_lost=self._lose, **options)
        self.process: subprocess.Popen[bytes] = self.syncs._process

    def _lose(self) -> None:
        self.losses += 1

    async def wait_until_ready(self) -> None:
        await wait_until(lambda: self.syncs.is_ready)

    def begin(self, file: int) -> asyncio.Future[tuple[End, float]]:
        ended: asyncio.Future[tuple[End, float]] = asyncio.get_running_loop().create_future()
        self.syncs.sync(file, lambda error, seconds: ended.set_result((error, seconds)))
        return ended

    async def sync(self, file: int) -> End:
        async with asyncio.timeout(20):
            error, seconds = await self.begin(file)
        assert seconds >= 0
        return error


async def wait_until(is_done: Callable[[], bool]) -> None:
    for _ in range(20_000):
        if is_done():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it takes too long")


def run(work: Callable[[Bench], Awaitable[None]], command: tuple[str, ...] | None = None) -> None:
    async def run_with_bench() -> None:
        bench = Bench(command)
        try:
            if command != SILENT:
                await bench.wait_until_ready()
            await work(bench)
        finally:
            bench.syncs.close()
        assert bench.process.returncode is not None

    asyncio.run(run_with_bench())


def test_files_are_synced_one_after_the_other(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        with (tmp_path / "a").open("wb") as one, (tmp_path / "b").open("wb") as two:
            for file in (one, one, two, two, one):
                file.write(b"x")
                file.flush()
                assert await bench.sync(file.fileno()) is None
            # Each file once: the one before is let go of.
            assert count_files(bench.process.pid) == 4

    run(work)


def test_an_error_is_that_of_the_system(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        reading, writing = os.pipe()
        error = await bench.sync(reading)
        assert isinstance(error, OSError)
        assert error.errno == errno.EINVAL
        with (tmp_path / "a").open("wb") as file:
            assert await bench.sync(file.fileno()) is None
        os.close(reading)
        os.close(writing)

    run(work)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_are_meant_for_the_server_do_not_end_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    async def work(bench: Bench) -> None:
        bench.process.send_signal(number)
        with (tmp_path / "a").open("wb") as file:
            assert await bench.sync(file.fileno()) is None

    run(work)


def test_its_end_is_told_once_and_it_is_not_asked_again() -> None:
    async def work(bench: Bench) -> None:
        bench.process.kill()
        await wait_until(lambda: bench.losses > 0)
        assert not bench.syncs.is_ready
        assert bench.losses == 1

    run(work)


def test_one_that_was_lost_does_not_stay_in_the_table_of_processes(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        with (tmp_path / "a").open("wb") as file:
            error = await bench.sync(file.fileno())
        assert isinstance(error, SyncProcessLostError)
        await wait_until(lambda: not is_in_table(bench.process.pid))

    run(work, LINGERING)


def is_in_table(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_a_sync_whose_process_ends_is_neither_done_nor_failed(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        with (tmp_path / "a").open("wb") as file:
            ended = bench.begin(file.fileno())
            bench.process.kill()
            async with asyncio.timeout(20):
                error, _ = await ended
        assert isinstance(error, SyncProcessLostError)
        assert bench.losses == 1

    run(work, HANGING)


def test_a_process_that_never_gets_ready_is_not_asked_and_can_be_ended() -> None:
    async def work(bench: Bench) -> None:
        await asyncio.sleep(0.05)
        assert not bench.syncs.is_ready
        assert bench.losses == 0

    run(work, SILENT)


def test_a_command_that_is_not_there_is_an_error() -> None:
    async def work() -> None:
        with pytest.raises(FileNotFoundError):
            Bench(("/nonexistent/everlog",))

    asyncio.run(work())


def test_it_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERLOG_API_TOKEN", "a-secret")

    async def work(bench: Bench) -> None:
        environment = environment_of(bench.process.pid)
        assert b"PATH=" in environment
        assert b"a-secret" not in environment

    run(work)


def count_files(process_id: int) -> int:
    return len(list(Path(f"/proc/{process_id}/fd").iterdir()))


def environment_of(process_id: int) -> bytes:
    return Path(f"/proc/{process_id}/environ").read_bytes()


def test_it_ends_with_the_server() -> None:
    program = (
        "import asyncio, os\n"
        "from everlog.service.writing.sync_process import SyncProcess\n"
        "async def work():\n"
        "    syncs = SyncProcess(asyncio.get_running_loop(), on_lost=print)\n"
        "    while not syncs.is_ready:\n"
        "        await asyncio.sleep(0.001)\n"
        "    print(syncs._process.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(work())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False)
    assert ended.returncode == -signal.SIGKILL

    with suppress(ProcessLookupError):
        for _ in range(2_000):
            os.kill(int(ended.stdout), 0)
            if _is_zombie(int(ended.stdout)):
                return
            asyncio.run(asyncio.sleep(0.005))
        pytest.fail("it outlives the server")


def _is_zombie(process_id: int) -> bool:
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
