"""A cluster as it is deployed: nginx in front with the delivered file, and the health check.

What nginx does with nodes that die or are not ready is tried with such as only pretend, since it
has to be known what was sent to whom.
"""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.api import Connection, an_event
from tests.support.balanced_cluster import Front, running_front, running_journals, running_nodes
from tests.support.postgresql_server import running_postgresql
from tests.support.proxy import free_port
from tests.support.server import (
    DEADLINE_SECONDS,
    TOKEN,
    WATCHED,
    RunningServer,
    started_process,
    starting_server,
    wait_until,
)
from tests.support.sources import REPOSITORY

FOLDER = REPOSITORY / "deploy"
HEALTH_CHECK = FOLDER / "docker" / "ping.py"

READS = (
    ("POST", "/api/v1/read-events"),
    ("POST", "/api/v1/read-subjects"),
    ("POST", "/api/v1/read-event-types"),
    ("POST", "/api/v1/read-event-type"),
    ("POST", "/api/v1/run-eventql-query"),
    ("POST", "/api/v1/observe-events"),
    ("QUERY", "/api/v2/data/read-events"),
    ("QUERY", "/api/v2/data/observe-events"),
    ("QUERY", "/api/v2/data/run-eventql-query"),
)
WRITES = (
    ("POST", "/api/v1/write-events"),
    ("POST", "/api/v1/register-event-schema"),
    ("POST", "/api/v1/put-into-read-only-mode"),
    ("POST", "/api/v1/restore"),
    ("POST", "/api/v2/data/write-events"),
    ("POST", "/api/v2/data/register-event-schema"),
    ("POST", "/api/v2/management/restore"),
)

END = b"Server: EventSourcingDB/test\r\nConnection: close\r\n"
WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + END + b"\r\n{}"
NOT_READY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 4\r\n"
    + END
    + b"\r\nwait"
)
# The connection is closed instead of an answer.
DIES = b""


class Pretender:
    """Answers each request in the same way, and counts them."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(DEADLINE_SECONDS)
                # The head, and a body of two bytes.
                request = b""
                while not request.endswith((b"{}", b"\r\n\r\n")) or request.endswith(
                    b": 2\r\n\r\n"
                ):
                    piece = connection.recv(65_536)
                    if not piece:
                        break
                    request += piece
                else:
                    self.count += 1
                    connection.sendall(self.answer)


@contextmanager
def pretending(*answers: bytes) -> Iterator[tuple[Front, list[Pretender]]]:
    """Run nginx in front of such nodes."""
    with ExitStack() as stack:
        nodes = []
        for answer in answers:
            nodes.append(Pretender(answer))
            stack.callback(nodes[-1].close)
        yield stack.enter_context(running_front([node.port for node in nodes])), nodes


def ask_often(front: Front, requests: Sequence[tuple[str, str]]) -> list[int]:
    """Send each request three times, so that it meets each node first; return the statuses."""
    statuses = []
    for method, path in requests:
        for _ in range(3):
            with Connection(front.url) as connection:
                statuses.append(connection.ask(method, path, b"{}").status)
    return statuses


@pytest.mark.slow
@pytest.mark.parametrize("fault", [DIES, NOT_READY], ids=["dies", "not ready"])
def test_a_read_is_asked_of_another_node(fault: bytes) -> None:
    with pretending(fault, WELL, fault) as (front, nodes):
        statuses = ask_often(front, READS)

    assert statuses == [200] * 3 * len(READS)
    assert nodes[1].count == 3 * len(READS)
    # Otherwise nothing was tried.
    assert nodes[0].count + nodes[2].count >= len(READS)


@pytest.mark.slow
def test_a_write_that_was_sent_is_never_sent_again() -> None:
    with pretending(DIES, DIES, DIES) as (front, nodes):
        statuses = ask_often(front, WRITES)

    # Between two of them, nginx may take all nodes for lost.
    assert set(statuses) == {502}
    assert sum(node.count for node in nodes) <= len(statuses)
    assert all(node.count >= 1 for node in nodes)


@pytest.mark.slow
def test_a_write_that_is_refused_for_now_is_for_the_client_to_repeat() -> None:
    with pretending(NOT_READY, NOT_READY, NOT_READY) as (front, nodes):
        statuses = ask_often(front, WRITES)
        with Connection(front.url) as connection:
            answer = connection.ask(*WRITES[0], b"{}")

    assert set(statuses) == {503}
    assert sum(node.count for node in nodes) == len(statuses) + 1
    assert (answer.headers["Retry-After"], answer.text) == ("1", "wait")
    assert answer.headers["Server"] == "EventSourcingDB/test"


@pytest.mark.slow
def test_a_node_that_is_not_there_is_noticed_before_anything_is_sent() -> None:
    with ExitStack() as stack:
        node = Pretender(WELL)
        stack.callback(node.close)
        front = stack.enter_context(running_front([free_port(), node.port, free_port()]))
        statuses = ask_often(front, [*WRITES, *READS])

    assert set(statuses) == {200}
    assert node.count == len(statuses)


@pytest.mark.slow
def test_where_no_node_is_ready_readers_are_told_when_to_come_back() -> None:
    with pretending(NOT_READY, NOT_READY, NOT_READY) as (front, _):
        for _ in range(5):
            with Connection(front.url) as connection:
                answer = connection.ask(*READS[0], b"{}")
                # The node's own words, and not nginx's.
                assert (answer.status, answer.text) == (503, "wait")
                assert answer.headers["Retry-After"] == "1"


@pytest.mark.slow
def test_clients_go_on_when_a_node_is_killed() -> None:
    with (
        running_journals("nats") as new_journal,
        running_nodes(new_journal()) as nodes,
        running_front([node.port for node in nodes]) as front,
    ):
        for number in range(6):
            write(front, number)
        nodes[1].kill()
        for number in range(6, 12):
            write(front, number)
            assert read(front) == list(range(number + 1))


def write(front: Front, number: int) -> None:
    with Connection(front.url) as connection:
        answer = connection.v1("write-events", {"events": [an_event(data={"n": number})]})
    assert answer.status == 200, answer.text


def read(front: Front) -> list[int]:
    with Connection(front.url) as connection:
        answer = connection.v1("read-events", {"subject": "/test", "options": {"recursive": False}})
    assert answer.status == 200, answer.text
    return [event["data"]["n"] for event in answer.events]


# The health check of the image.


def health_check(server: RunningServer, *words: str) -> tuple[int, str]:
    flags = ["run", "--http-enabled", f"--http-port={server.port}", f"--api-token={TOKEN}"]
    done = subprocess.run(
        [sys.executable, "-I", HEALTH_CHECK, *words, *flags],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.slow
def test_a_node_is_ready_once_it_has_caught_up_and_stays_so_without_its_journal() -> None:
    with running_postgresql() as postgresql:
        postgresql.pause()
        variables = {"EVERLOG_JOURNAL": postgresql.url}
        with starting_server("--read-only", environment=variables) as node:
            node.wait_for_log("listening")
            alive = health_check(node)
            code, told = health_check(node, "--ready")
            assert (alive, code) == ((0, ""), 1)
            assert "is not ready" in told

            postgresql.resume()
            node.wait_for_log("the node has what the journal has")
            assert health_check(node, "--ready") == (0, "")

            postgresql.kill()
            wait_until(lambda: any("cannot be reached" in line["message"] for line in node.log))
            assert health_check(node, "--ready") == (0, "")


@pytest.mark.slow
def test_a_server_that_is_alone_is_ready() -> None:
    with starting_server() as server:
        server.wait_for_log("listening")
        assert health_check(server, "--ready") == (0, "")


# NATS, and a node, as Compose starts them.


@pytest.mark.slow
def test_the_servers_of_nats_and_a_node_start_with_what_is_delivered(tmp_path: Path) -> None:
    password = 'p"w$ {\\\u00fc'
    ports = [[free_port() for _ in range(3)] for _ in range(3)]
    with ExitStack() as stack:
        for number, own in enumerate(ports, 1):
            stack.enter_context(
                delivered_nats(tmp_path / str(number), number, own, ports, password)
            )
        services = yaml.safe_load((FOLDER / "docker/nats/compose.yaml").read_text())["services"]
        moved = {
            "--data-directory=/var/lib/everlog": f"--data-directory={tmp_path}/data",
            "--api-token-file=/run/secrets/api-token": f"--api-token-file={tmp_path}/token",
            "--journal-password-file=/run/secrets/journal-password": (
                f"--journal-password-file={tmp_path}/password"
            ),
            "--journal=nats://nats-1,nats-2,nats-3/everlog": (
                "--journal=nats://" + ",".join(f"127.0.0.1:{own[0]}" for own in ports) + "/everlog"
            ),
        }
        words = [moved.get(word, word) for word in services["everlog-1"]["command"]]
        assert len(set(words) & set(moved.values())) == len(moved)
        secret(tmp_path / "token", TOKEN)
        secret(tmp_path / "password", password)
        more = ["--host=127.0.0.1", "--http-port=0"]
        node = stack.enter_context(started_process([*WATCHED, *words, *more], tmp_path, {}))
        node.wait_for_log("the node has what the journal has")
        write(Front(node.url), 0)
        # It knows of nothing that it would have to warn of, the password stays where it is.
        assert not [line for line in node.log if line["message"].startswith("the journal promises")]
        assert password not in b"".join(node.output).decode()
        assert node.stop() == 0


def secret(path: Path, text: str) -> None:
    path.write_text(f"{text}\n", encoding="utf-8")
    path.chmod(0o600)


@contextmanager
def delivered_nats(
    folder: Path, number: int, own: list[int], ports: list[list[int]], password: str
) -> Iterator[None]:
    """Run one of the servers with the delivered file: only ports and folders are others."""
    text = (FOLDER / "docker" / "nats" / "nats.conf").read_text()
    for shown, actual in (
        ("port: 4222", f"host: 127.0.0.1\nport: {own[0]}"),
        ("http: 127.0.0.1:8222", f"http: 127.0.0.1:{own[1]}"),
        ("port: 6222", f"host: 127.0.0.1\n  port: {own[2]}"),
        ("store_dir: /data", f"store_dir: {folder}/data"),
        *((f"nats://nats-{index}:6222", f"nats://127.0.0.1:{other[2]}")
          for index, other in enumerate(ports, 1)),
    ):  # fmt: skip
        assert text.count(shown) == 1
        text = text.replace(shown, actual)
    (folder / "etc" / "nats").mkdir(parents=True)
    (folder / "run" / "secrets").mkdir(parents=True)
    (folder / "etc" / "nats" / "nats.conf").write_text(text)
    access = f"authorization {{ token: {json.dumps(password, ensure_ascii=False)} }}\n"
    (folder / "run" / "secrets" / "journal-authorization").write_text(access)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [nats_server(), "-c", folder / "etc" / "nats" / "nats.conf", f"--name=nats-{number}"],
            stderr=log,
        )
    try:
        yield
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)


def nats_server() -> Path:
    return Path(sys.executable).with_name("nats-server")


def test_nobody_runs_nats_with_a_token_that_was_not_filled_in(tmp_path: Path) -> None:
    (tmp_path / "etc" / "nats").mkdir(parents=True)
    (tmp_path / "run" / "secrets").mkdir(parents=True)
    kubernetes = FOLDER / "kubernetes" / "nats"
    configuration = yaml.safe_load((kubernetes / "configmap.yaml").read_text())["data"]
    access = yaml.safe_load((kubernetes / "authorization-secret.yaml").read_text())["stringData"]
    (tmp_path / "etc" / "nats" / "nats.conf").write_text(configuration["nats.conf"])

    def code(text: str) -> int:
        (tmp_path / "run" / "secrets" / "journal-authorization").write_text(text)
        command = [nats_server(), "-t", "-c", tmp_path / "etc" / "nats" / "nats.conf"]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert code(access["journal-authorization"]) != 0
    assert code('authorization { token: "secret" }') == 0
