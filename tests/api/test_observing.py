"""Observing: replay, then live, without a gap; heartbeats; and nothing kept for who is slow."""

import json
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psutil
import pytest

from tests.support.api import Connection, an_event
from tests.support.server import RunningServer, running_server, wait_until
from tests.support.threads import Background

VERSIONS = ("v1", "v2")


def event_of(item: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = item.get("payload") or item["data"]
    return event


def observe_events(
    server: RunningServer, version: str, subject: str, *, count: int, **options: Any
) -> list[int]:
    """Return the ids of the first events of an observation."""
    ids: list[int] = []
    with Connection(server.url) as connection:
        for item in connection.observe(version, subject, **options):
            if item["type"] == "event":
                ids.append(int(event_of(item)["id"]))
                if len(ids) == count:
                    break
    return ids


@pytest.mark.slow
def test_no_observer_misses_or_repeats_an_event_while_writers_write() -> None:
    writes, size = 300, 3

    def write(server: RunningServer, writer: int) -> list[int]:
        ids: list[int] = []
        events = [an_event(f"/writer-{writer}/{n}") for n in range(size)]
        with Connection(server.url) as connection:
            for _ in range(writes):
                ids += [int(event["id"]) for event in connection.write(*events)]
        return ids

    with running_server() as server, Connection(server.url) as connection:
        connection.write(*[an_event("/writer-0/0")] * 1_000)
        writing = [Background(partial(write, server, n)) for n in range(2)]
        total = 1_000 + 2 * writes * size
        observing: dict[tuple[str, str], Background[list[int]]] = {}
        # They begin at different moments of the writing.
        for version in VERSIONS:
            for subject, count in (
                ("/", total),
                ("/writer-0", 1_000 + writes * size),
                ("/writer-1", writes * size),
                ("/writer-1/2", writes),
            ):
                before = len(connection.read_all())
                wait_until(lambda seen=before: len(connection.read_all()) > seen)
                work = partial(observe_events, server, version, subject, count=count)
                observing[version, subject] = Background(work)
        written = [background.result() for background in writing]
        first = list(range(1_000))
        expected = {
            "/": list(range(total)),
            "/writer-0": [*first, *written[0]],
            "/writer-1": written[1],
            "/writer-1/2": written[1][2::size],
        }

        for (_, subject), background in observing.items():
            assert background.result() == expected[subject]


def test_a_lower_bound_is_kept_between_replay_and_live_events() -> None:
    with running_server() as server, Connection(server.url) as connection:
        connection.write(*[an_event()] * 5)
        bound = {"id": "3", "type": "exclusive"}
        seen = Background(partial(observe_events, server, "v2", "/", count=3, lowerBound=bound))
        connection.write(an_event(), an_event())

        assert seen.result() == [4, 5, 6]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_heartbeat_comes_in_each_second_without_an_item(
    server: RunningServer, version: str
) -> None:
    with Connection(server.url) as connection:
        items = connection.observe(version, f"/silent-{version}")
        started = time.monotonic()
        heartbeats = [next(items) for _ in range(3)]
        seconds = time.monotonic() - started

    member = "payload" if version == "v1" else "data"
    assert heartbeats == [{"type": "heartbeat", member: {}}] * 3
    assert 2.9 < seconds < 4.5


@pytest.mark.slow
def test_heartbeats_come_while_others_are_busy() -> None:
    with (
        running_server() as server,
        Connection(server.url) as writing,
        Connection(server.url) as connection,
    ):
        items = connection.observe("v1", "/silent")
        started = time.monotonic()
        while time.monotonic() - started < 1.2:
            writing.write(an_event("/busy"))

        assert next(items)["type"] == "heartbeat"


def open_observation(server: RunningServer, version: str, subject: str) -> socket.socket:
    method, path = ("POST", "v1") if version == "v1" else ("QUERY", "v2/data")
    body = json.dumps({"subject": subject, "options": {"recursive": True}})
    client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    client.sendall(
        f"{method} /api/{path}/observe-events HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {server.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        f"{body}".encode()
    )
    return client


@pytest.mark.parametrize("version", VERSIONS)
def test_the_head_of_the_answer_comes_at_once(server: RunningServer, version: str) -> None:
    started = time.monotonic()
    with open_observation(server, version, f"/empty-{version}") as client:
        head = client.recv(65_536)

    assert time.monotonic() - started < 0.8
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"application/x-ndjson" in head
    assert head.endswith(b"\r\n\r\n")


def descriptors_of(server: RunningServer) -> int:
    return int(psutil.Process(server.pid).num_fds())


def test_an_observer_that_goes_away_leaves_nothing_behind() -> None:
    with running_server() as server, Connection(server.url) as connection:
        connection.write(an_event("/a"))
        before = descriptors_of(server)
        clients = [open_observation(server, VERSIONS[n % 2], "/a") for n in range(200)]
        for client in clients:
            assert client.recv(65_536)
        wait_until(lambda: descriptors_of(server) >= before + 200)

        for client in clients:
            client.close()

        wait_until(lambda: descriptors_of(server) <= before)
        connection.write(an_event("/a"))


def memory_of(server: RunningServer) -> int:
    return int(psutil.Process(server.pid).memory_info().rss)


def receive_lines(client: socket.socket) -> Iterator[bytes]:
    with client.makefile("rb") as file:
        yield from file


@pytest.mark.slow
def test_an_observer_that_does_not_read_costs_no_memory_and_catches_up() -> None:
    large = an_event("/large", data={"text": "x" * 60_000})
    with running_server() as server, Connection(server.url) as connection:
        connection.write(*[large] * 50)
        slow = [open_observation(server, version, "/") for version in VERSIONS * 5]
        for client in slow:
            # A part of the head.
            assert client.recv(20)
        before = memory_of(server)
        # 10 observers would have to hold 60 MB each.
        for _ in range(20):
            connection.write(*[large] * 50)
        grown = memory_of(server) - before

        ids = [
            int(json.loads(line)["payload"]["id"])
            for line in take_events(receive_lines(slow[0]), 1_050)
        ]
        for client in slow:
            client.close()

    assert grown < 150 * 1024 * 1024
    assert ids == list(range(1_050))


def take_events(lines: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield the lines of so many events."""
    for line in lines:
        if line.startswith(b'{"type":"event"'):
            yield line
            if f'"id":"{count - 1}"'.encode() in line[:100]:
                return
