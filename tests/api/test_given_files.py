"""What is named to a server may be anything, and have any name: it starts in time, or says why."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.api import Connection, an_event
from tests.support.server import (
    EVERLOG,
    TOKEN,
    RunningServer,
    clean_environment,
    run_to_end,
    running_server,
    starting_server,
    wait_until,
)
from tests.support.threads import Background

WITHOUT_TOKEN = {"EVERLOG_API_TOKEN": ""}
REFUSED = "the token file cannot be used: the tokens stay as they are"

# No UTF-8, as Linux allows it.
STRANGE = os.fsdecode(b"\xff-\xc3\xa4-\xfe")
SHOWN = "\\xff-\u00e4-\\xfe"


@contextmanager
def server_with_token_file(path: Path) -> Iterator[RunningServer]:
    with starting_server(
        f"--api-token-file={path}", is_temporary=True, environment=WITHOUT_TOKEN
    ) as server:
        yield server


def put(path: Path, text: str) -> None:
    with path.open("w") as pipe:
        pipe.write(text)


def test_a_token_may_come_through_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "token"
    os.mkfifo(path)
    with server_with_token_file(path) as server:
        writing = Background(lambda: put(path, TOKEN))
        server.wait_for_log("listening")
        writing.result()
        with Connection(server.url) as connection:
            connection.write(an_event())


@pytest.mark.slow
def test_a_pipe_without_a_token_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "token"
    os.mkfifo(path)
    with server_with_token_file(path) as server:
        assert server.wait() == 2
    assert "nobody has written to this pipe" in server.log[-1]["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_waits_for_a_pipe_can_be_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "token"
    os.mkfifo(path)
    with server_with_token_file(path) as server:
        server.wait_for_log("starting")
        server.ask_to_stop(number)
        assert server.wait() == 0
    assert [line["message"] for line in server.log[-2:]] == ["stopping", "stopped"]


@pytest.mark.slow
def test_a_token_file_that_has_become_a_pipe_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    with server_with_token_file(path) as server:
        server.wait_for_log("listening")
        path.unlink()
        os.mkfifo(path)
        server.process.send_signal(signal.SIGHUP)
        with Connection(server.url) as connection:
            for _ in range(50):
                connection.write(an_event())
            reason = server.wait_for_log(REFUSED)["reason"]
            assert "nobody has written to this pipe" in reason
            # The next one is heard.
            path.unlink()
            path.write_text(f"{TOKEN}\nanother-token")
            server.process.send_signal(signal.SIGHUP)
            assert server.wait_for_log("the token file was read again")["tokenCount"] == 2
        assert server.stop() == 0


@pytest.mark.slow
def test_a_stop_does_not_wait_for_a_pipe_either(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    with server_with_token_file(path) as server:
        server.wait_for_log("listening")
        path.unlink()
        os.mkfifo(path)
        server.process.send_signal(signal.SIGHUP)
        with Connection(server.url) as connection:
            connection.write(an_event())
        assert server.stop() == 0
    assert server.errors == []


def test_names_that_are_no_text_can_be_used(tmp_path: Path) -> None:
    data = tmp_path / STRANGE
    token = tmp_path / f"token-{STRANGE}"
    token.write_text(TOKEN)
    with running_server(
        f"--api-token-file={token}", data_directory=data, environment=WITHOUT_TOKEN
    ) as server:
        with Connection(server.url) as connection:
            connection.write(*[an_event()] * 3)
            diagnostics = connection.ask("GET", "/api/v1/diagnostics")
            assert diagnostics.status == 200
            assert diagnostics.json["options"]["data-directory"].endswith(SHOWN)
            assert connection.ask("GET", "/api/v1/health").status in {200, 503}
            # Long enough for a process of its own.
            query = "FROM a IN events FROM b IN events PROJECT INTO COUNT()" + " " * 5_000
            answer = connection.v1("run-eventql-query", {"query": query})
            assert answer.status == 200
            assert b'"payload":9' in answer.body.replace(b" ", b"")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("the token file was read again")
        assert server.stop() == 0
    assert server.errors == []
    assert server.wait_for_log("the data directory is open")["directory"].endswith(SHOWN)
    assert "unexpected error" not in [line["message"] for line in server.log]

    for command in (("audit",), ("query", "FROM e IN events PROJECT INTO COUNT()")):
        ended = run_to_end(*command, f"--data-directory={data}")
        assert (ended.code, ended.errors) == (0, "")


@pytest.mark.parametrize(
    "flag, code",
    [
        ("--api-token-file", 2),
        ("--signing-key-file", 2),
        ("--https-certificate-file", 2),
        ("--host", 5),
    ],
)
def test_names_that_are_no_text_are_told_where_they_cannot_be_used(flag: str, code: int) -> None:
    flags = [
        "--host=127.0.0.1",
        "--data-directory-temporary",
        "--http-enabled",
        "--http-port=0",
        "--https-private-key-file=/missing",
    ]
    if flag != "--https-certificate-file":
        flags.append("--https-enabled=false")
    variables = {} if flag == "--api-token-file" else {"EVERLOG_API_TOKEN": TOKEN}
    ended = run_to_end("run", *flags, f"{flag}={STRANGE}", environment=variables)

    assert ended.code == code
    assert SHOWN in ended.log[-1]["message"]
    assert ended.errors == ""


def test_a_strange_name_in_the_directory_is_told(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path) as server:
        assert server.stop() == 0
    (tmp_path / "log" / STRANGE).write_text("x")

    ended = run_to_end("audit", f"--data-directory={tmp_path}")
    assert (ended.code, SHOWN in ended.output) == (4, True)
    ended = run_to_end("audit", f"--data-directory={tmp_path}", "--format=json")
    assert (ended.code, "ff" in ended.output) == (4, True)
    with starting_server(data_directory=tmp_path) as server:
        assert server.wait() == 4
    assert SHOWN in server.log[-1]["message"]


# A user who may not do everything, even if the tests run as one who may.
BOUND = (
    "import ctypes, os, sys\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "if os.geteuid() == 0:\n"
    "    for capability in (1, 2):\n"
    "        assert libc.prctl(24, capability, 0, 0, 0) == 0\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


def end_of(data: Path) -> tuple[int, str]:
    """Return the code and the last message of a server that cannot start."""
    entry_point = (sys.executable, "-c", BOUND, *EVERLOG)
    with starting_server(data_directory=data, entry_point=entry_point) as server:
        code = server.wait()
    assert server.errors == []
    assert server.log[-1]["level"] == "fatal"
    return code, server.log[-1]["message"]


@pytest.mark.parametrize("name", [".", "lock", "durable", "everlog.json", "log", "schemas.ndjson"])
def test_what_cannot_be_read_ends_with_code_3_and_the_truth(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    with running_server(data_directory=data) as server:
        with Connection(server.url) as connection:
            connection.write(an_event())
        assert server.stop() == 0
    path = data / name
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        code, message = end_of(data)
    finally:
        path.chmod(mode)

    assert code == 3
    assert str(data) in message
    assert path.name in message
    assert "Permission denied" in message


def long_name(path: Path) -> Path:
    return path / ("x" * 300)


def loop(path: Path) -> Path:
    (path / "loop").symlink_to(path / "loop")
    return path / "loop"


def below_a_loop(path: Path) -> Path:
    return loop(path) / "data"


def below_a_file(path: Path) -> Path:
    (path / "file").write_text("x")
    return path / "file" / "data"


@pytest.mark.parametrize(
    "make, reason",
    [
        (long_name, "File name too long"),
        (loop, "symbolic links"),
        (below_a_loop, "symbolic links"),
        (below_a_file, "Not a directory"),
        (lambda _: Path("/proc/nowhere"), "No such file or directory"),
    ],
    ids=["long", "loop", "below a loop", "below a file", "in /proc"],
)
def test_where_there_can_be_no_directory_the_server_says_why(
    tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    path = make(tmp_path)

    code, message = end_of(path)

    assert code == 3
    assert reason in message
    assert str(path) in message


def test_a_directory_that_was_deleted_can_be_left(tmp_path: Path) -> None:
    """The working directory of a command may be gone."""
    gone = tmp_path / "gone"
    gone.mkdir()
    process = subprocess.Popen(
        [*EVERLOG, "run", "--data-directory=data", "--http-enabled", "--https-enabled=false"],
        cwd=gone,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**clean_environment(), "EVERLOG_API_TOKEN": TOKEN, "EVERLOG_HTTP_PORT": "0"},
        preexec_fn=gone.rmdir,  # noqa: PLW1509 - nothing else runs here.
    )
    with process:
        wait_until(lambda: process.poll() is not None)
        output, errors = process.communicate()
    assert (process.returncode, errors) == (3, b"")
    assert b"data" in output.splitlines()[-1]
