"""What a real server proves, the offline verifier believes, and an audit finds in its files."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import (
    DEADLINE_SECONDS,
    TOKEN,
    RunningServer,
    run_to_end,
    running_server,
)

ORIGIN = "log.example.com/orders"

pytestmark = pytest.mark.slow


class Auditor:
    """Somebody with a folder of files, and the commands that need no server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        made = run_to_end(
            "generate", "checkpoint-key", f"--file={directory / 'key.pem'}", f"--origin={ORIGIN}"
        )
        assert made.code == 0, made.errors
        self.keys = made.output

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def keep(self, name: str, content: bytes) -> str:
        (self.directory / name).write_bytes(content)
        return name

    def verify(self, **files: str) -> tuple[int, str]:
        options = [f"--{option}={self.path(name)}" for option, name in files.items()]
        ended = run_to_end("verify", "--key", self.keys, *options)
        assert ended.errors == ""
        return ended.code, ended.output

    def audit(self, *checkpoints: str) -> tuple[int, str]:
        options = [f"--checkpoint={self.path(name)}" for name in checkpoints]
        data = f"--data-directory={self.directory / 'data'}"
        ended = run_to_end("audit", data, "--key", self.keys, *options)
        return ended.code, ended.output

    @contextmanager
    def serve(self, *flags: str) -> Iterator[RunningServer]:
        with running_server(
            f"--checkpoint-key-file={self.directory / 'key.pem'}",
            f"--checkpoint-origin={ORIGIN}",
            *flags,
            data_directory=self.directory / "data",
        ) as server:
            yield server
            assert server.stop() == 0


def ask(server: RunningServer, path: str, body: Any = None) -> bytes:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    content = None if body is None else json.dumps(body)
    reads_of_v2 = "QUERY" if path.startswith("/api/v2/data/read") else "POST"
    method = "GET" if body is None else reads_of_v2
    connection.request(method, path, content, {"Authorization": f"Bearer {TOKEN}"})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    assert response.status == 200, answer
    return answer


def write(server: RunningServer, count: int) -> None:
    event = {
        "source": "https://shop.example.com",
        "subject": "/orders/1",
        "type": "com.example.order-placed",
        "data": {"z": 1.50, "a": "<\u00fc>"},
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    ask(server, "/api/v1/write-events", {"events": [event] * count})


def checkpoint(server: RunningServer, size: int) -> bytes:
    """Return a checkpoint of so many events, once there is one."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        note = ask(server, "/api/v2/log/checkpoint")
        if note.split(b"\n")[1] == str(size).encode():
            return note
        assert time.monotonic() < deadline, note
        time.sleep(0.05)


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    return Auditor(tmp_path)


READ_ALL = {"subject": "/", "options": {"recursive": True}}


# Wherever an event may be had from.
SOURCES = {
    "/api/v1/read-events": READ_ALL,
    "/api/v2/data/read-events": READ_ALL,
    "/api/v1/backup": {},
    "/api/v2/management/backup": {},
}


def test_every_event_that_a_server_hands_out_is_shown_to_be_in_its_log(auditor: Auditor) -> None:
    with auditor.serve() as server:
        write(server, 2)
    with auditor.serve("--hash-version=2") as server:
        write(server, 2)
        auditor.keep("checkpoint", checkpoint(server, 4))
        for path, body in SOURCES.items():
            auditor.keep(path.replace("/", "-"), ask(server, path, body))
        for number in range(4):
            asked = f"/api/v2/log/inclusion-proof?event={number}&size=4"
            auditor.keep(f"proof-{number}", ask(server, asked))

    for path in SOURCES:
        for number in range(4):
            code, output = auditor.verify(
                event=path.replace("/", "-"), proof=f"proof-{number}", checkpoint="checkpoint"
            )
            assert code == 0, output
            assert f"number {number + 1} of the first 4 events of the log {ORIGIN}" in output
            # Version 1 of the hash does not cover it.
            assert ("not shown: traceparent" in output) == (number < 2)


def test_a_log_that_goes_on_after_a_restart_has_only_grown(auditor: Auditor) -> None:
    sizes = [2, 3, 8]
    with auditor.serve() as server:
        write(server, 2)
        auditor.keep("kept-2", checkpoint(server, 2))
        write(server, 1)
        auditor.keep("kept-3", checkpoint(server, 3))
    with auditor.serve() as server:
        write(server, 5)
        auditor.keep("kept-8", checkpoint(server, 8))
        for start, end in ((2, 8), (3, 8), (2, 3)):
            path = f"/api/v2/log/consistency-proof?from={start}&to={end}"
            auditor.keep(f"growth-{start}-{end}", ask(server, path))
        # A server may have it open.
        assert auditor.audit(*(f"kept-{size}" for size in sizes))[0] == 0

    for start, end in ((2, 8), (3, 8), (2, 3)):
        code, output = auditor.verify(
            earlier=f"kept-{start}", proof=f"growth-{start}-{end}", checkpoint=f"kept-{end}"
        )
        assert code == 0, output
    code, output = auditor.verify(earlier="kept-8", proof="growth-2-3", checkpoint="kept-3")
    assert (code, "become shorter, from 8 events to 3" in output) == (4, True)


def test_a_log_that_was_written_anew_is_found_by_who_kept_a_checkpoint(auditor: Auditor) -> None:
    with auditor.serve() as server:
        write(server, 4)
        auditor.keep("kept", checkpoint(server, 4))
    assert auditor.audit("kept")[0] == 0

    # Whoever can write to the disk begins it anew, and every chain in it is whole.
    (auditor.directory / "data").rename(auditor.directory / "before")
    with running_server(data_directory=auditor.directory / "data") as server:
        write(server, 5)
        assert server.stop() == 0

    code, output = auditor.audit("kept")
    assert code == 4
    assert "its first 4 events are not those of the checkpoint" in output
    assert "[checkpoint-root]" in output
