"""`everlog backup` and `everlog restore` as people and scripts run them, with servers that work."""

import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from everlog.storage.log import ReadOnlyLog
from everlog.transfer.backup_lines import to_backup_lines
from tests.support.api import GOOD_TYPE, Connection, an_event
from tests.support.audits import check_audit_is_clean
from tests.support.backups import an_event as an_event_backed_up
from tests.support.backups import chained, lines_of
from tests.support.chain import check_chain
from tests.support.engines import read
from tests.support.server import (
    DEADLINE_SECONDS,
    EVERLOG,
    TOKEN,
    RunningServer,
    clean_environment,
    running_server,
)
from tests.support.threads import Background

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
TEXT = "text " * 200


def environment() -> dict[str, str]:
    return {**clean_environment(), "EVERLOG_API_TOKEN": TOKEN}


def run(*arguments: str | Path, given: bytes = b"", code: int = 0) -> str:
    """Run a command to its end, and return what it prints; it never says the token."""
    done = subprocess.run(
        [*EVERLOG, *map(str, arguments)],
        input=given,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        env=environment(),
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == code, said
    assert TOKEN not in said
    assert "Traceback" not in said
    return said


@contextmanager
def running(*arguments: str | Path, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command that the test ends, or sees ending."""
    # Tests may run where interruptions are ignored, and programs that they start would do so too.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command = [*EVERLOG, *map(str, arguments)]
        process = subprocess.Popen(command, env=environment(), **options)
    finally:
        signal.signal(signal.SIGINT, previous)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE_SECONDS)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def fill(server: RunningServer, count: int, *, text: str = TEXT) -> None:
    with Connection(server.url) as connection:
        for start in range(0, count, 500):
            numbers = range(start, min(count, start + 500))
            events = [an_event(f"/n/{n % 9}", data={"n": n, "text": text}) for n in numbers]
            connection.write(*events)


def events_in(directory: Path) -> bytes:
    with ReadOnlyLog.open(directory) as log:
        lines = read(log)
    return to_backup_lines(lines, 1) if lines else b""


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("source", ["server", "directory"])
@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_a_store_that_is_written_to_is_backed_up_and_restored(
    tmp_path: Path, source: str, suffix: str
) -> None:
    file, copy = tmp_path / f"backup.ndjson{suffix}", tmp_path / "copy"
    with running_server(data_directory=tmp_path / "data") as server:
        fill(server, 2_000)
        with Connection(server.url) as connection:
            schema = {"eventType": GOOD_TYPE, "schema": SCHEMA}
            assert connection.v1("register-event-schema", schema).status == 200
        is_over = False

        def write() -> int:
            written = 0
            with Connection(server.url) as connection:
                while not is_over:
                    connection.write(an_event("/meanwhile", data={"n": written}))
                    written += 1
            return written

        writers = [Background(write) for _ in range(2)]
        flags = ["--url", server.url]
        if source == "directory":
            flags = ["--data-directory", str(server.data_directory)]
        said = json.loads(run("backup", *flags, "--output", file, "--format=json"))["payload"]
        increment = tmp_path / f"increment.ndjson{suffix}"
        run("backup", *flags, "--output", increment, "--incremental-from", file)
        is_over = True
        written = sum(writer.result() for writer in writers)
        assert server.stop() == 0

    restored = json.loads(run("restore", file, copy, "--format=json"))["payload"]
    run("restore", file, increment, tmp_path / "whole")

    assert written > 10
    assert 2_000 <= said["eventCount"] <= 2_000 + written
    assert said["schemaCount"] == 1
    assert {**restored, "files": None} == {**said, "files": None, "rechained": None}
    assert restored["files"][0]["sha256"] == said["files"][0]["sha256"]
    original, whole = events_in(tmp_path / "data"), events_in(tmp_path / "whole")
    for part in (events_in(copy), whole):
        assert original.startswith(part)
    assert whole.count(b"\n") >= said["eventCount"]
    for directory in (copy, tmp_path / "whole"):
        check_audit_is_clean(directory)
    with running_server(data_directory=copy) as server, Connection(server.url) as connection:
        lines = connection.v1("read-events", {"subject": "/", "options": {"recursive": True}})
        check_chain(lines.body.splitlines(), event_count=said["eventCount"])
        assert connection.v1("read-event-type", {"eventType": GOOD_TYPE}).json["schema"] == SCHEMA


def test_a_backup_goes_through_a_pipe_into_a_store(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path / "data") as server:
        fill(server, 300)
        with running("backup", "--url", server.url, "--output=-", stdout=subprocess.PIPE) as making:
            assert making.stdout is not None
            done = subprocess.run(
                [*EVERLOG, "restore", "-", str(tmp_path / "copy")],
                stdin=making.stdout,
                capture_output=True,
                timeout=DEADLINE_SECONDS,
                check=True,
                env=environment(),
            )
            assert making.wait(DEADLINE_SECONDS) == 0
        assert server.stop() == 0

    assert b": 300 events, from 0 (" in done.stdout
    assert events_in(tmp_path / "copy") == events_in(tmp_path / "data")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_a_backup_that_was_ended_is_gone_on_with(
    tmp_path: Path, number: signal.Signals, suffix: str
) -> None:
    file = tmp_path / f"backup.ndjson{suffix}"
    draft = file.with_name(f"{file.name}.part")
    chance = random.Random(4711)
    # So that it does not become too small.
    noise = "".join(chance.choice("abcdefghijklmnop") for _ in range(3_000))
    with running_server(data_directory=tmp_path / "data") as server:
        fill(server, 6_000, text=noise)
        flags = ("backup", "--data-directory", server.data_directory, "--output", file)
        with running(*flags, stderr=subprocess.PIPE) as process:
            wait_until(lambda: draft.exists() and draft.stat().st_size > 0)
            process.send_signal(number)
            code = process.wait(DEADLINE_SECONDS)
            assert process.stderr is not None
            said = process.stderr.read().decode()
        assert not file.exists()
        if number is signal.SIGINT:
            assert code == 130
            assert said == "Error: interrupted; the same command goes on from here\n"
        else:
            assert code == -number
            assert said == ""
        size = draft.stat().st_size
        assert size > 0

        # From the other source: the stream is the same.
        said = run("backup", "--url", server.url, "--output", file)
        assert server.stop() == 0

    assert ": 6,000 events, from 0 (" in said
    assert not draft.exists()
    run("restore", file, tmp_path / "copy")
    assert events_in(tmp_path / "copy") == events_in(tmp_path / "data")


def test_a_server_that_ends_leaves_a_draft_that_is_gone_on_with(tmp_path: Path) -> None:
    file, data = tmp_path / "backup.ndjson", tmp_path / "data"
    with running_server(data_directory=data) as server:
        fill(server, 3_000, text="x" * 5_000)
        with running(
            "backup", "--url", server.url, "--output", file, stderr=subprocess.PIPE
        ) as process:
            draft = tmp_path / "backup.ndjson.part"
            wait_until(lambda: draft.exists() and draft.stat().st_size > 0)
            process.send_signal(signal.SIGSTOP)
            server.kill()
            process.send_signal(signal.SIGCONT)
            assert process.wait(DEADLINE_SECONDS) == 8
            assert process.stderr is not None
            assert b"its answer broke off" in process.stderr.read()
    assert not file.exists()
    kept = draft.read_bytes()

    assert ": 3,000 events, " in run("backup", "--data-directory", data, "--output", file)

    assert file.read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])


def test_another_server_is_not_gone_on_with(tmp_path: Path) -> None:
    draft = tmp_path / "backup.ndjson.part"
    draft.write_bytes(lines_of(chained([an_event_backed_up()])))
    flags = ("--output", tmp_path / "backup.ndjson")
    with running_server() as server:
        said = run("backup", "--url", server.url, *flags, code=3)
        assert "the log has no event 0" in said
        fill(server, 1)
        said = run("backup", "--url", server.url, *flags, code=3)
        assert "hash" in said
        draft.unlink()
        run("backup", "--url", server.url, *flags)


def test_an_output_that_is_closed_or_full_ends_it(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path / "data") as server:
        fill(server, 2_000)
        flags = ("backup", "--data-directory", server.data_directory, "--output")
        with running(*flags, "-", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(10)
            process.stdout.close()
            assert process.wait(DEADLINE_SECONDS) == 141
            assert process.stderr.read() == b""
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [*EVERLOG, *map(str, flags), "-"],
                stdout=full,
                stderr=subprocess.PIPE,
                timeout=DEADLINE_SECONDS,
                check=False,
                env=environment(),
            )
        assert done.returncode == 1
        assert done.stderr == b"Error: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_restore_that_was_ended_leaves_an_empty_store(
    tmp_path: Path, number: signal.Signals
) -> None:
    chain = chained(an_event_backed_up(f'{{"n":{n}}}') for n in range(2_000))
    backup, directory = lines_of(chain), tmp_path / "data"
    with running(
        "restore", "-", directory, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(backup[: len(backup) // 2])
        process.stdin.flush()
        wait_until((directory / "restore.new" / "durable").exists)
        process.send_signal(number)
        assert process.wait(DEADLINE_SECONDS) == (130 if number is signal.SIGINT else -number)
        assert process.stderr is not None
        if number is signal.SIGINT:
            assert process.stderr.read() == b"Error: interrupted; nothing was restored\n"

    assert events_in(directory) == b""
    assert (directory / "restore.new").exists() is (number is signal.SIGKILL)
    with running_server(data_directory=directory) as server, Connection(server.url) as connection:
        assert connection.read_all() == []
        assert server.stop() == 0
    run("restore", "-", directory, given=backup)
    assert events_in(directory) == backup


def test_a_directory_that_a_server_has_open_is_not_restored_into(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path / "data") as server:
        said = run("restore", "-", server.data_directory, code=3)

    assert "is in use by another process" in said


@pytest.mark.slow
def test_memory_does_not_grow_with_a_backup(tmp_path: Path) -> None:
    chain = chained(an_event_backed_up('{"text":"%s"}' % ("x" * 10_000)) for _ in range(15_000))
    file, data = tmp_path / "backup.ndjson", tmp_path / "data"
    with file.open("wb") as output:
        for number in range(0, len(chain), 100):
            output.write(lines_of(chain[number : number + 100]))
    assert file.stat().st_size > 150_000_000

    restoring = peak_of("restore", file, data)
    backing_up = peak_of("backup", "--data-directory", data, "--output", tmp_path / "b.ndjson.zst")

    assert max(restoring, backing_up) < 110_000_000
    again = tmp_path / "again.ndjson"
    run("backup", "--data-directory", data, "--output", again)
    assert again.read_bytes() == file.read_bytes()


def peak_of(*arguments: str | Path) -> int:
    """Return how many bytes of memory a command had at most."""
    peak = 0
    with running(*arguments, stdout=subprocess.DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            if found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text()):
                peak = int(found[1]) * 1024
            time.sleep(0.005)
    assert process.returncode == 0
    assert peak > 0
    return peak
