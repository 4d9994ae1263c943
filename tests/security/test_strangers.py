"""Strangers who take all connections: nobody else is kept out, and the log says so, once."""

import socket
import ssl
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from everlog.http import Limits
from tests.support.api import Connection, an_event
from tests.support.certificates import Issued, issue, write_files
from tests.support.crowds import OBSERVE, VERIFY, WORDS, Crowd, connect_from
from tests.support.rack_server import Plan, entry_point
from tests.support.server import DEADLINE_SECONDS, RunningServer, running_server
from tests.torture.test_many_connections import hard_limit, many_files

CROWDED = "more clients want to be connected than may be"

ONE = ("127.0.0.2",)
TWO = ("127.0.0.2", "127.0.0.3")
MANY = tuple(f"127.1.{number // 100}.{1 + number % 100}" for number in range(400))

# A limit of open files, and the connections that it leaves.
FILES = 512
CONNECTIONS = 224
SMALL = entry_point(Plan(file_limits=(FILES, FILES)))

# A machine that is four times slower must pass.
PATIENCE_SECONDS = 4.0


def gets_in(port: int, context: ssl.SSLContext | None = None) -> bool:
    """Whether a client with the token is answered, on a connection of its own, in time."""
    started = monotonic()
    client = connect_from("127.0.0.1", port)
    if context is not None:
        client = context.wrap_socket(client, server_hostname="127.0.0.1")
    with client:
        client.sendall(VERIFY)
        answer = client.recv(4_096)
    return answer.startswith(b"HTTP/1.1 200 ") and monotonic() - started < PATIENCE_SECONDS


def is_open(client: socket.socket) -> bool:
    """Whether a client that has nothing to read was not closed."""
    client.settimeout(0)
    try:
        return bool(client.recv(65_536))
    except BlockingIOError:
        return True
    finally:
        client.settimeout(DEADLINE_SECONDS)


def check_log(server: RunningServer, started: float) -> None:
    lines = [line for line in server.log if line["message"].startswith(CROWDED)]
    assert 1 <= len(lines) <= 1 + (monotonic() - started) // 60
    assert lines[0]["level"] == "warn"
    assert lines[0]["address"].startswith("127.")
    assert lines[0]["closed"] + lines[0]["refused"] >= 1


@pytest.mark.parametrize("machines", [ONE, TWO, MANY], ids=["one machine", "two", "many"])
@pytest.mark.parametrize("words", WORDS)
def test_strangers_who_take_all_connections_keep_nobody_out(
    words: str, machines: Sequence[str]
) -> None:
    with running_server(entry_point=SMALL) as server, ExitStack() as stack:
        observers = [stack.enter_context(connect_from("127.0.0.1", server.port)) for _ in range(20)]
        for observer in observers:
            observer.sendall(OBSERVE)
            assert observer.recv(4_096).startswith(b"HTTP/1.1 200 ")
        kept = stack.enter_context(Connection(server.url))
        kept.write(an_event())
        started = monotonic()
        with Crowd(server.port, WORDS[words], machines, CONNECTIONS + 50) as crowd:
            server.wait_for_log(CROWDED)
            crowd.go_on()
            while crowd.round_count < 2:
                assert gets_in(server.port)
            # Idle or not, whoever is known is not closed.
            kept.write(an_event())
        assert all(map(is_open, observers))
        check_log(server, started)
        metrics = kept.ask("GET", "/api/v1/health?format=openmetrics").text
    assert "everlog_refused_connections_total 0\n" in metrics
    assert "everlog_closed_connections_total 0\n" not in metrics


@pytest.fixture(scope="module")
def issued() -> Issued:
    return issue()


@pytest.mark.parametrize("words", ["nothing", "half a handshake"])
def test_handshakes_count_as_connections(words: str, issued: Issued, tmp_path: Path) -> None:
    flags = (*write_files(tmp_path, issued).flags, "--https-enabled", "--http-enabled=false")
    context = ssl.create_default_context(cadata=issued.pem.decode())
    with running_server(*flags, entry_point=SMALL) as server:
        started = monotonic()
        with Crowd(server.port, WORDS[words], TWO, CONNECTIONS + 50) as crowd:
            server.wait_for_log(CROWDED)
            crowd.go_on()
            while crowd.round_count < 1:
                assert gets_in(server.port, context)
        check_log(server, started)


def test_whoever_has_the_token_and_takes_all_connections_gives_idle_ones_to_others() -> None:
    with running_server(entry_point=SMALL) as server, ExitStack() as stack:
        greedy = [
            stack.enter_context(connect_from(ONE[0], server.port)) for _ in range(CONNECTIONS)
        ]
        for client in greedy:
            client.sendall(VERIFY)
            assert client.recv(4_096).startswith(b"HTTP/1.1 200 ")
        # They were heard of one after the other.
        assert gets_in(server.port)
        assert greedy[0].recv(1) == b""
        assert all(map(is_open, greedy[1:]))


def test_observers_of_one_address_are_not_closed_for_anybody() -> None:
    with running_server(entry_point=SMALL) as server, ExitStack() as stack:
        observers = [
            stack.enter_context(connect_from(ONE[0], server.port)) for _ in range(CONNECTIONS)
        ]
        for observer in observers:
            observer.sendall(OBSERVE)
            assert observer.recv(4_096).startswith(b"HTTP/1.1 200 ")
        with connect_from("127.0.0.1", server.port) as client:
            assert client.recv(4_096).startswith(b"HTTP/1.1 503 ")
        assert all(map(is_open, observers))


@pytest.mark.slow
def test_the_real_number_of_strangers_keeps_nobody_out() -> None:
    limit = min(Limits().connections_max, hard_limit() - 1_000)
    with many_files(), running_server() as server, ExitStack() as stack:
        observer = stack.enter_context(connect_from("127.0.0.1", server.port))
        observer.sendall(OBSERVE)
        assert observer.recv(4_096).startswith(b"HTTP/1.1 200 ")
        started = monotonic()
        with Crowd(server.port, b"", TWO, limit + 300) as crowd:
            server.wait_for_log(CROWDED)
            crowd.go_on()
            while crowd.round_count < 1:
                assert gets_in(server.port)
        assert is_open(observer)
        check_log(server, started)
