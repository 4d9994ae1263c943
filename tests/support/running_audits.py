"""Audits of a running server: their processes, and damage in what the server has open."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.support.api import Answer, Connection
from tests.support.chain import data_text, hash_of
from tests.support.server import RunningServer, wait_until
from tests.support.threads import Background

V2_PATH: Final = "/api/v2/management"

SOUND: Final[dict[str, list[str]]] = {"errors": [], "warnings": []}

# A process lives for a tenth of a second at least.
_SEEN_SECONDS_MAX: Final = 5.0


def audits_of(server: RunningServer) -> list[int]:
    """Return the processes of audits that a server runs now."""
    return [pid for pid in server.children if b"everlog.audit_worker" in _command_of(pid)]


def _command_of(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def ask(server: RunningServer, version: str, name: str, body: object = None) -> Answer:
    """Ask for an audit over a connection of its own, and return the whole answer."""
    with Connection(server.url) as connection:
        if version == "v1":
            return connection.v1(name, body)
        return connection.ask("POST", f"{V2_PATH}/{name}", body)


def items_of(answer: Answer) -> list[Any]:
    """Return the items of an answer; how many heartbeats come first says how busy a machine is."""
    return [item for item in answer.items if item["type"] != "heartbeat"]


def verify(server: RunningServer) -> dict[str, list[str]]:
    """Return what verify-store finds."""
    answer = ask(server, "v1", "verify-store")
    assert answer.status == 200, answer.text
    found: dict[str, list[str]] = answer.json
    return found


@contextmanager
def held_audit(
    server: RunningServer, version: str, name: str, body: object = None
) -> Iterator[tuple[int, Background[Answer]]]:
    """Ask for an audit, and hold its process where it is; it goes on after the block.

    Yields the process, and the answer to come.
    """
    while True:
        asking = Background(partial(ask, server, version, name, body))
        pid = hold(server)
        if pid is not None:
            break
        asking.result()
    try:
        yield pid, asking
    finally:
        release(pid)


def hold(server: RunningServer) -> int | None:
    """Hold the process of an audit that was just asked for; None if that was too late."""
    with suppress(AssertionError):
        wait_until(lambda: len(audits_of(server)) == 1, seconds=_SEEN_SECONDS_MAX)
    for pid in audits_of(server):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            wait_until(partial(_is_held_or_gone, pid))
            return pid if _state_of(pid) == "T" else None
    return None


def _is_held_or_gone(pid: int) -> bool:
    return _state_of(pid) in "TZ"


def release(pid: int) -> None:
    """Let a process go on that was held."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _state_of(pid: int) -> str:
    """Return the letter that the system has for what a process does; Z where there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"


def edit_file(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Change a file in its place, as a disk would; it stays as long as it is."""
    before = path.read_bytes()
    after = edit(before)
    assert len(after) == len(before)
    assert after != before
    with path.open("r+b") as file:
        file.write(after)


def edit_memory(server: RunningServer, column: str, offset: int, content: bytes) -> None:
    """Change a column of the index in the memory of a server."""
    for path in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(OSError):
            if path.readlink().name.startswith(f"memfd:everlog-{column} "):
                file = os.open(path, os.O_RDWR)
                os.pwrite(file, content, offset)
                os.close(file)
                return
    raise AssertionError(column)


def rewritten(log: bytes, event_id: int, old: bytes, new: bytes) -> bytes:
    """Return a log in which an event says something else, and all hashes fit again."""
    lines, predecessor = log.splitlines(keepends=True), b""
    for number in range(event_id, len(lines)):
        line = lines[number]
        if number == event_id:
            line = line.replace(old, new)
            assert line != lines[number]
        event = json.loads(line)["payload"]
        before = event["hash"]
        if predecessor:
            line = line.replace(event["predecessorhash"].encode(), predecessor)
            event["predecessorhash"] = predecessor.decode()
        predecessor = hash_of(event, data_text(line)).encode()
        lines[number] = line.replace(before.encode(), predecessor)
    return b"".join(lines)


def first_segment(server: RunningServer) -> Path:
    return min((server.data_directory / "log").iterdir())


def details_of(answer: Answer) -> dict[str, Any]:
    return dict(answer.error["details"])
