"""A server killed at any moment keeps its promises: what it acknowledged is there, whole.

Each seed kills one server several times under load, and looks at everything after each restart.
EVERLOG_KILL_SEEDS sets how many seeds there are.
"""

import contextlib
import http.client
import json
import os
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Connection, an_event
from tests.support.chain import check_chain
from tests.support.server import DEADLINE_SECONDS, RunningServer, running_server
from tests.support.threads import Background

SEEDS = range(int(os.environ.get("EVERLOG_KILL_SEEDS", "5")))
KILLS = 3
WRITERS = 6

# What a client sees when the server dies.
GONE = (OSError, http.client.HTTPException)

# Writer, and number of the write.
WriteKey = tuple[int, int]


@dataclass
class Record:
    """What the clients know about their writes and observations."""

    attempted: dict[WriteKey, int] = field(default_factory=dict)
    acknowledged: dict[WriteKey, list[dict[str, Any]]] = field(default_factory=dict)
    # The events of each observation, of all rounds.
    observed: list[list[dict[str, Any]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Load:
    """Writers and observers, until enough writes are acknowledged."""

    def __init__(self, record: Record, url: str, rng: random.Random) -> None:
        self._record = record
        self._url = url
        self._remaining = rng.choice([0, 1, rng.randrange(50), rng.randrange(400)])
        self._is_enough = threading.Event()
        seeds = [rng.random() for _ in range(WRITERS)]
        self._running = [Background(lambda n=n: self._write(n, seeds[n])) for n in range(WRITERS)]
        self._running += [Background(lambda v=v: self._observe(v)) for v in ("v1", "v2")]

    def wait_until_enough(self) -> None:
        assert self._remaining == 0 or self._is_enough.wait(DEADLINE_SECONDS)

    def wait_for_end(self) -> None:
        for background in self._running:
            background.result()

    def _write(self, writer: int, seed: float) -> None:
        rng = random.Random(seed)
        with contextlib.suppress(*GONE), Connection(self._url) as connection:
            while True:
                self._write_once(connection, writer, rng)

    def _write_once(self, connection: Connection, writer: int, rng: random.Random) -> None:
        attempted = self._record.attempted
        count = rng.choice([1, 1, 2, 5, 50])
        with self._record.lock:
            number = sum(key[0] == writer for key in attempted)
            attempted[writer, number] = count
        data = {"writer": writer, "write": number, "text": "x" * rng.choice([0, 10, 2_000])}
        subject = f"/writer-{writer}/{number % 7}"
        events = [an_event(subject, data={**data, "index": index}) for index in range(count)]
        if rng.random() < 0.5:
            answer = connection.v1("write-events", {"events": events})
        else:
            answer = connection.v2("write-events", {"events": events})
            assert answer.items[-1] == {"type": "end", "data": {}}
        assert answer.status == 200
        with self._record.lock:
            self._record.acknowledged[writer, number] = answer.events
            self._remaining -= 1
            if self._remaining <= 0:
                self._is_enough.set()

    def _observe(self, version: str) -> None:
        observed: list[dict[str, Any]] = []
        with self._record.lock:
            self._record.observed.append(observed)
        member = "payload" if version == "v1" else "data"
        # The last line may be half an item.
        with (
            contextlib.suppress(*GONE, json.JSONDecodeError),
            Connection(self._url) as connection,
        ):
            items = connection.observe(version)
            observed.extend(item[member] for item in items if item["type"] == "event")


def check_promises(server: RunningServer, record: Record) -> None:
    """Compare the whole log with what the clients were told."""
    with Connection(server.url) as connection:
        body = {"subject": "/", "options": {"recursive": True}}
        events = check_chain(connection.v1("read-events", body).body.splitlines())

    stored: dict[WriteKey, list[dict[str, Any]]] = {}
    for event in events:
        key = event["data"]["writer"], event["data"]["write"]
        stored.setdefault(key, []).append(event)
    for key, write in stored.items():
        first = int(write[0]["id"])
        assert write == events[first : first + len(write)]
        assert [event["data"]["index"] for event in write] == [*range(record.attempted[key])]
    for key, write in record.acknowledged.items():
        assert stored[key] == write
    for writer in range(WRITERS):
        numbers = [key[1] for key in stored if key[0] == writer]
        assert numbers == sorted(numbers)
    for observed in record.observed:
        assert observed == events[: len(observed)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_server_has_kept_every_promise(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    record = Record()
    for _ in range(KILLS):
        hash_version = rng.choice([1, 2])
        with running_server(data_directory=tmp_path, hash_version=hash_version) as server:
            check_promises(server, record)
            load = Load(record, server.url, rng)
            load.wait_until_enough()
            server.kill()
            load.wait_for_end()

    with running_server(data_directory=tmp_path) as server:
        check_promises(server, record)
        assert server.stop() == 0
    with running_server(data_directory=tmp_path) as server:
        check_promises(server, record)
