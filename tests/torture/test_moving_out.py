"""A store that many write to leaves by backup, and arrives elsewhere: whole, and provably the same.

One backup is asked of the server, one read from its directory, while clients go on writing. Each is
restored, audited against the checkpoint of before, and compared byte for byte.

EVERLOG_MOVING_EVENTS says how many events there are before.
"""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Connection, an_event
from tests.support.server import (
    EVERLOG,
    TOKEN,
    RunningServer,
    clean_environment,
    running_server,
    wait_until,
)

EVENTS = int(os.environ.get("EVERLOG_MOVING_EVENTS", "20000"))
WRITERS = 16
EVENTS_PER_WRITE = 1_000

# A machine four times slower than one that does 10,000 a second.
SECONDS_MAX = 60 + EVENTS / 2_500

ORIGIN = "everlog.test/moving"


@dataclass(frozen=True)
class Left:
    """What left a server while it was written to: two backups, and checkpoints around them."""

    directory: Path
    backups: dict[str, Path]
    # What `everlog backup` said of each.
    summaries: dict[str, dict[str, Any]]
    key: str
    before: Path
    after: Path
    consistency: Path
    # How many writes were acknowledged while backups were made.
    write_count: int


def everlog(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*EVERLOG, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS_MAX,
        check=False,
        env={**clean_environment(), "EVERLOG_API_TOKEN": TOKEN},
    )


def succeed(*arguments: str) -> str:
    done = everlog(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def summary_of(*arguments: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(succeed(*arguments, "--format=json"))["payload"]
    return summary


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("moving")
    key_file, data = folder / "checkpoint-key.pem", folder / "data"
    keys = succeed("generate", "checkpoint-key", f"--file={key_file}", f"--origin={ORIGIN}")
    flags = (f"--checkpoint-key-file={key_file}", f"--checkpoint-origin={ORIGIN}")
    with running_server(*flags, data_directory=data) as server:
        fill(server)
        before = fetch_checkpoint(server, folder / "before.txt", size_min=EVENTS)
        backups = {
            "server": folder / "server.ndjson.zst",
            "directory": folder / "directory.ndjson",
        }
        sources = {"server": f"--url={server.url}", "directory": f"--data-directory={data}"}
        with written(server) as counts:
            summaries = {
                name: summary_of("backup", sources[name], f"--output={path}")
                for name, path in backups.items()
            }
            write_count = sum(counts)
        size_min = EVENTS + write_count
        after = fetch_checkpoint(server, folder / "after.txt", size_min=size_min)
        sizes = [size_of(each) for each in (before, after)]
        consistency = fetch(
            server, f"consistency-proof?from={sizes[0]}&to={sizes[1]}", folder / "consistency.json"
        )
        yield Left(data, backups, summaries, keys, before, after, consistency, write_count)


def fill(server: RunningServer) -> None:
    """Write the events that there are before, on many subjects, some with a schema."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    with Connection(server.url) as connection:
        registered = connection.v1(
            "register-event-schema", {"eventType": "io.everlog.test.counted", "schema": schema}
        )
        assert registered.status == 200, registered.text

    def write(first: int) -> None:
        with Connection(server.url) as connection:
            stop = min(first + EVENTS_PER_WRITE, EVENTS)
            connection.write(
                *[
                    an_event(
                        f"/items/{n % 1_000}",
                        "io.everlog.test.counted",
                        data={"n": n, "text": "\u00e9<"},
                    )
                    for n in range(first, stop)
                ]
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(0, EVENTS, EVENTS_PER_WRITE)))


@contextmanager
def written(server: RunningServer) -> Iterator[list[int]]:
    """Let clients write until the end of the block; give the number of writes of each."""
    counts, is_over = [0] * WRITERS, threading.Event()

    def write(writer: int) -> None:
        with Connection(server.url) as connection:
            for n in count():
                if is_over.is_set():
                    return
                connection.write(an_event(f"/writers/{writer}", data={"n": n}))
                counts[writer] = n + 1

    with ThreadPoolExecutor(WRITERS) as pool:
        running = [pool.submit(write, writer) for writer in range(WRITERS)]
        try:
            yield counts
        finally:
            is_over.set()
            for each in running:
                each.result()


def fetch_checkpoint(server: RunningServer, file: Path, *, size_min: int) -> Path:
    """Keep the first checkpoint of so many events; one is made each second."""
    wait_until(lambda: size_of(fetch(server, "checkpoint", file)) >= size_min)
    return file


def size_of(checkpoint: Path) -> int:
    return int(checkpoint.read_text().splitlines()[1])


def fetch(server: RunningServer, name: str, file: Path) -> Path:
    with Connection(server.url) as connection:
        answer = connection.ask("GET", f"/api/v2/log/{name}")
        assert answer.status == 200, answer.text
        file.write_bytes(answer.body)
    return file


def events_of(directory: Path) -> Iterator[bytes]:
    """Yield the lines of a log without their marks, which say what shared a write or a sync."""
    for segment in sorted(directory.glob("log/*.ndjson")):
        with segment.open("rb") as lines:
            for line in lines:
                if line.startswith(b"\0") or not line.endswith(b"\n"):
                    return
                yield line.rstrip(b" \n")


@pytest.mark.parametrize("source", ["server", "directory"])
def test_a_backup_made_under_writes_arrives_whole(left: Left, source: str, tmp_path: Path) -> None:
    summary, target = left.summaries[source], tmp_path / "restored"
    assert left.write_count > WRITERS
    found = hashlib.sha256(left.backups[source].read_bytes()).hexdigest()
    assert summary["files"] == [{"name": str(left.backups[source]), "sha256": found}]

    restored = summary_of("restore", str(left.backups[source]), str(target))

    assert restored["eventCount"] == summary["eventCount"] > EVENTS
    assert restored["lastEventHash"] == summary["lastEventHash"]
    audited = everlog(
        "audit", f"--data-directory={target}", f"--checkpoint={left.before}", f"--key={left.key}"
    )
    assert audited.returncode == 0, audited.stdout.decode()
    arrived = 0
    for original, copy in zip(events_of(left.directory), events_of(target), strict=False):
        assert copy == original
        arrived += 1
    assert arrived == summary["eventCount"]


def test_the_log_of_after_continues_that_of_before(left: Left) -> None:
    shown = succeed(
        "verify",
        f"--earlier={left.before}",
        f"--checkpoint={left.after}",
        f"--proof={left.consistency}",
        f"--key={left.key}",
    )

    assert f"The first {EVENTS} events of the log {ORIGIN} are still what they were" in shown


def test_a_restored_store_proves_what_the_first_one_signed(left: Left, tmp_path: Path) -> None:
    target = tmp_path / "restored"
    succeed("restore", str(left.backups["server"]), str(target))

    with running_server(data_directory=target) as server:
        size = size_of(left.before)
        proof = fetch(server, f"inclusion-proof?event=0&size={size}", tmp_path / "proof.json")
        with Connection(server.url) as connection:
            event = connection.v1(
                "read-events",
                {
                    "subject": "/",
                    "options": {"recursive": True, "upperBound": {"id": "0", "type": "inclusive"}},
                },
            )
        (tmp_path / "event.json").write_bytes(event.body)
        shown = succeed(
            "verify",
            f"--event={tmp_path / 'event.json'}",
            f"--proof={proof}",
            f"--checkpoint={left.before}",
            f"--key={left.key}",
        )

    assert "0" in shown
