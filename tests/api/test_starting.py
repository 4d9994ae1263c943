"""What a server says of its start: who it is, what it was told, and what it found."""

import shutil
from pathlib import Path
from typing import Any

from everlog._version import __version__
from tests.support.api import Connection, an_event
from tests.support.server import running_server

OPENED = "the data directory is open"
CUT = "an unfinished write at the end of the log was removed"
REBUILT = "the index was rebuilt from the log"

TORN = b'{"torn'


def start(directory: Path, *flags: str) -> list[dict[str, Any]]:
    """Start a server and stop it; return its log."""
    with running_server(*flags, data_directory=directory) as server:
        assert server.stop() == 0
        return server.log


def message(log: list[dict[str, Any]], beginning: str) -> dict[str, Any]:
    (found,) = (line for line in log if line["message"].startswith(beginning))
    return found


def write_and_kill(directory: Path, *, count: int) -> None:
    with running_server(data_directory=directory) as server:
        with Connection(server.url) as client:
            client.write(*[an_event() for _ in range(count)])
        server.kill()


def test_the_first_line_has_the_version_and_every_option(tmp_path: Path) -> None:
    first, *_ = start(tmp_path / "data", "--log-level=debug")

    assert (first["message"], first["version"]) == ("starting", __version__)
    assert first["options"]["data-directory"] == str(tmp_path / "data")
    assert first["options"]["api-token"] == "redacted"
    assert first["options"]["log-level"] == "debug"


def test_what_had_to_be_read_again_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    write_and_kill(directory, count=3)

    after_kill = message(start(directory), OPENED)
    after_stop = message(start(directory), OPENED)

    assert after_kill["directory"] == str(directory)
    assert (after_kill["eventCount"], after_kill["replayedEventCount"]) == (3, 3)
    assert (after_stop["eventCount"], after_stop["replayedEventCount"]) == (3, 0)
    assert after_kill["tornSize"] == after_stop["tornSize"] == 0


def test_what_was_removed_after_a_crash_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    write_and_kill(directory, count=3)
    (segment,) = (directory / "log").iterdir()
    # Behind the last event there may be zeros, for those to come.
    whole = segment.read_bytes().rstrip(b"\0")
    segment.write_bytes(whole + TORN)

    log = start(directory)

    cut = message(log, CUT)
    assert (cut["level"], cut["size"]) == ("warn", len(TORN))
    opened = message(log, OPENED)
    assert (opened["eventCount"], opened["tornSize"]) == (3, len(TORN))


def test_an_index_that_was_made_anew_is_told_with_the_reason(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    write_and_kill(directory, count=3)
    start(directory)
    shutil.rmtree(directory / "index")

    log = start(directory)

    rebuilt = message(log, REBUILT)
    assert rebuilt["level"] == "warn"
    assert rebuilt["reason"]
    assert message(log, OPENED)["replayedEventCount"] == 3
