"""The token of a running server: where it comes from, what opens, what does not, and exchanging it.

Each server is a process of its own, as an operator runs it.
"""

import http.client
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.api import Connection, an_event
from tests.support.server import (
    DEADLINE_SECONDS,
    RunningServer,
    clean_environment,
    run_to_end,
    running_server,
    wait_until,
)

OLD = "The0ld1-token-of-the-tests-0123456789"
NEW = "TheNew2-token-of-the-tests-0123456789"

PLAIN = ("--http-enabled", "--https-enabled=false", "--data-directory-temporary", "--http-port=0")

RELOADED = "the token file was read again"
REFUSED = "the token file cannot be used"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "api-token"
    path.write_text(f"{OLD}\n")
    return path


@pytest.fixture
def server(file: Path) -> Iterator[RunningServer]:
    with running_server(f"--api-token-file={file}") as server:
        yield server


def status_of(server: RunningServer, token: str) -> int:
    with Connection(server.url) as client:
        headers = {"Authorization": f"Bearer {token}"}
        return client.ask("POST", "/api/v1/verify-api-token", headers=headers).status


def reload(server: RunningServer, message: str) -> None:
    """Have the files read again, and return when that is done."""

    def count() -> int:
        return sum(line["message"].startswith(message) for line in server.log)

    before = count()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: count() > before)


def check_opens(server: RunningServer, *tokens: str) -> None:
    for token in (OLD, NEW, "another"):
        assert status_of(server, token) == (200 if token in tokens else 401), token


def check_says_nothing_secret(server: RunningServer) -> None:
    server.stop()
    output = b"".join([*server.output, *server.errors])
    for token in (OLD, NEW):
        assert token.encode() not in output


def test_a_token_is_exchanged_while_clients_go_on(server: RunningServer, file: Path) -> None:
    check_opens(server, OLD)

    file.write_text(f"{OLD}\n{NEW}\n")
    reload(server, RELOADED)
    check_opens(server, OLD, NEW)
    assert server.log[-1]["tokenCount"] == 2

    file.write_text(f"{NEW}\n")
    reload(server, RELOADED)
    check_opens(server, NEW)
    assert server.log[-1]["tokenCount"] == 1

    check_says_nothing_secret(server)


def test_a_connection_that_is_open_needs_the_new_token_too(
    server: RunningServer, file: Path
) -> None:
    with Connection(server.url) as client:

        def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return client.ask("POST", "/api/v1/verify-api-token", headers=headers).status

        # Repeated, since a head that comes again is not read again.
        assert [status(OLD) for _ in range(4)] == [200] * 4
        file.write_text(NEW)
        reload(server, RELOADED)
        assert [status(OLD) for _ in range(4)] == [401] * 4
        assert [status(NEW) for _ in range(4)] == [200] * 4
        assert status(OLD) == 401


BAD_FILES = (b"", b"\n\n", b"a\nb\nc\n", b" padded\n", b"caf\xc3\xa9\n", b"x" * 20_000)


def test_a_file_that_cannot_be_used_changes_nothing(server: RunningServer, file: Path) -> None:
    for content in BAD_FILES:
        file.write_bytes(content)
        reload(server, REFUSED)
        check_opens(server, OLD)
    file.unlink()
    reload(server, REFUSED)
    check_opens(server, OLD)

    errors = [line for line in server.log if line["level"] == "error"]
    assert len(errors) == len(BAD_FILES) + 1
    for error in errors:
        assert error["reason"].startswith(f"--api-token-file {file}")
    check_says_nothing_secret(server)


def test_whoever_observes_goes_on_when_the_token_is_exchanged(
    server: RunningServer, file: Path
) -> None:
    with Connection(server.url) as observer:
        body = {"subject": "/", "options": {"recursive": True}}
        headers = {"Authorization": f"Bearer {OLD}"}
        answer = observer.send("POST", "/api/v1/observe-events", body, headers=headers)
        file.write_text(NEW)
        reload(server, RELOADED)

        with Connection(server.url) as writer:
            event = an_event(data={"text": "after the exchange"})
            headers = {"Authorization": f"Bearer {NEW}"}
            written = writer.ask(
                "POST", "/api/v1/write-events", {"events": [event]}, headers=headers
            )
            assert written.status == 200

        while b"after the exchange" not in (line := answer.readline()):
            assert line


def test_a_server_whose_token_is_in_no_file_survives_the_signal() -> None:
    with running_server() as server:
        reload(server, "there is no token file to read again")
        assert server.stop() == 0


@pytest.mark.parametrize(
    "token, lacking",
    [
        ("secret", ["32 characters", "upper case letters", "digits"]),
        ("x" * 40, ["upper case letters", "digits"]),
    ],
)
def test_a_weak_token_is_warned_about_by_the_rule(token: str, lacking: list[str]) -> None:
    with running_server(environment={"EVERLOG_API_TOKEN": token}) as server:
        warning = server.wait_for_log("the API token is weak")

        assert (warning["level"], warning["lacking"]) == ("warn", lacking)
        assert "32 characters" in warning["message"]
        server.stop()
        assert token.encode() not in b"".join([*server.output, *server.errors])


def test_a_strong_token_is_not_warned_about(server: RunningServer) -> None:
    assert not [line for line in server.log if "weak" in line["message"]]


# Each row: flags, environment (with the file's path in place of FILE), and the token that counts.
SOURCES: tuple[tuple[tuple[str, ...], dict[str, str], str], ...] = (
    (("--api-token", NEW), {"EVERLOG_API_TOKEN": OLD}, NEW),
    (("--api-token", NEW), {"EVERLOG_API_TOKEN": "", "EVERLOG_API_TOKEN_FILE": "FILE"}, NEW),
    (("--api-token-file=FILE",), {"EVERLOG_API_TOKEN": NEW}, OLD),
    (("--api-token-file=FILE",), {"EVERLOG_API_TOKEN_FILE": "/missing"}, OLD),
    ((), {"EVERLOG_API_TOKEN": "", "EVERLOG_API_TOKEN_FILE": "FILE"}, OLD),
    ((), {"EVERLOG_API_TOKEN": NEW}, NEW),
)


@pytest.mark.parametrize("flags, environment, token", SOURCES)
def test_a_flag_overrides_the_environment(
    file: Path, flags: tuple[str, ...], environment: dict[str, str], token: str
) -> None:
    flags = tuple(flag.replace("FILE", str(file)) for flag in flags)
    environment = {name: text.replace("FILE", str(file)) for name, text in environment.items()}

    with running_server(*flags, environment=environment) as server:
        check_opens(server, token)


@pytest.mark.parametrize(
    "flags, environment",
    [
        (("--api-token", NEW, "--api-token-file", "x"), {}),
        ((), {"EVERLOG_API_TOKEN": NEW, "EVERLOG_API_TOKEN_FILE": "x"}),
    ],
)
def test_two_sources_of_a_kind_are_refused(
    flags: tuple[str, ...], environment: dict[str, str]
) -> None:
    ended = run_to_end("run", *PLAIN, *flags, environment=environment)

    assert ended.code == 2
    assert "the API token must come from one place" in ended.errors
    assert NEW not in ended.output + ended.errors


def test_a_token_file_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    ended = run_to_end("run", *PLAIN, f"--api-token-file={tmp_path / 'missing'}")

    assert ended.code == 2
    assert "cannot be read: No such file or directory" in ended.output


def test_the_text_of_a_token_from_a_file_is_nowhere_in_memory(server: RunningServer) -> None:
    check_is_in_memory(server, b"--api-token-file=", expected=True)
    check_is_in_memory(server, OLD.encode(), expected=False)


def check_is_in_memory(server: RunningServer, text: bytes, *, expected: bool) -> None:
    """Search every byte that the process may read or write."""
    maps = Path(f"/proc/{server.pid}/maps").read_text()
    found = False
    with Path(f"/proc/{server.pid}/mem").open("rb", buffering=0) as memory:
        # The columns of the index have addresses for far more than they hold, and no text in them.
        places = r"^([0-9a-f]+)-([0-9a-f]+) rw(?!.*/memfd:)"
        for first, last in re.findall(places, maps, re.MULTILINE):
            memory.seek(int(first, 16))
            try:
                found |= text in memory.read(int(last, 16) - int(first, 16))
            except OSError:
                # A part of the kernel's that no process can read.
                continue
    assert found == expected


def test_programs_that_the_server_starts_inherit_no_token() -> None:
    program = (
        "import os\n"
        "from everlog import bootstrap\n"
        "from everlog.cli.main import cli\n"
        "bootstrap.run_server = lambda *_: print('EVERLOG_API_TOKEN' in os.environ)\n"
        "cli(['run', '--data-directory=x', '--http-enabled', '--https-enabled=false'])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment() | {"EVERLOG_API_TOKEN": NEW},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=DEADLINE_SECONDS,
    )

    assert done.stdout == "False\n", done.stderr


# Whatever is wrong: the answer is the same.
REASONS: tuple[bytes, ...] = (
    b"",
    b"Authorization:\r\n",
    b"Authorization: Bearer\r\n",
    b"Authorization: Bearer wrong\r\n",
    b"Authorization: Bearer " + OLD[:-1].encode() + b"\r\n",
    b"Authorization: Bearer " + OLD.encode() + b"x\r\n",
    b"Authorization: Bearer " + OLD.lower().encode() + b"\r\n",
    b"Authorization: Bearer " + b"x" * 8_000 + b"\r\n",
    b"Authorization: Basic eDp5\r\n",
    b"Authorization: " + OLD.encode() + b"\r\n",
    b"Authorization: Token " + OLD.encode() + b"\r\n",
    b"Proxy-Authorization: Bearer " + OLD.encode() + b"\r\n",
    b"X-Api-Key: " + OLD.encode() + b"\r\n",
    b"Cookie: token=" + OLD.encode() + b"\r\n",
)

TARGETS = (
    b"/api/v1/verify-api-token",
    b"/api/v1/write-events",
    b"/api/v2/data/write-events",
    b"/api/v1/there-is-no-such-endpoint",
    b"/api/v1/verify-api-token?access_token=" + OLD.encode(),
    b"/api/v1/verify-api-token?token=" + OLD.encode(),
    b"/api/v1/verify-api-token?authorization=Bearer%20" + OLD.encode(),
    b"http://x:" + OLD.encode() + b"@localhost/api/v1/verify-api-token",
)


def test_a_refusal_is_the_same_byte_for_byte_whatever_the_reason(server: RunningServer) -> None:
    answers = {
        re.sub(rb"Date: [^\r]*", b"Date:", refusal(server, target, reason))
        for target in TARGETS
        for reason in (REASONS if target is TARGETS[0] else REASONS[:1])
    }

    assert len(answers) == 1, answers
    (answer,) = answers
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.endswith(b"\r\n\r\nunauthorized\n")


def refusal(server: RunningServer, target: bytes, header: bytes) -> bytes:
    """Return the answer to a request whose body is announced and never sent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS) as client:
        client.sendall(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n%b\r\n"
            % (target, header)
        )
        answer = b""
        while part := client.recv(65_536):
            answer += part
    return answer


def test_a_token_in_the_query_opens_nothing(server: RunningServer) -> None:
    for name in ("token", "access_token", "api_token", "api-token", "authorization", "auth", "key"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
        with closing(connection):
            connection.request("GET", f"/api/v1/read-events?{name}={OLD}")
            assert connection.getresponse().status == 401
    check_says_nothing_secret(server)
