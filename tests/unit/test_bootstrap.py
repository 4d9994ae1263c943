"""The composition root, as far as it can be looked at without a server."""

import asyncio
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from everlog import bootstrap
from everlog.http import Limits
from everlog.reporting import store_events
from everlog.service.store import StoreOptions, run_store
from everlog.telemetry import Level
from tests.support.logs import KeptLog
from tests.support.memory_engine import MemoryEngine


class DueEngine(MemoryEngine):
    """An engine that always wants a snapshot, and may not get one."""

    def __init__(self, error: OSError | None) -> None:
        """Fail with the error, if there is one."""
        super().__init__()
        self._error = error

    @property
    def is_snapshot_due(self) -> bool:
        """Always."""
        return True

    def save_snapshot(self) -> None:
        """Fail, or do nothing."""
        if self._error is not None:
            raise self._error


def log_of_a_snapshot(error: OSError | None) -> dict[str, object]:
    kept = KeptLog(level=Level.DEBUG)

    async def save() -> None:
        events = store_events(kept.log, Path())
        options = StoreOptions(events=events)
        async with run_store(DueEngine(error), options, has_sync_process=False) as store:
            store.snapshots.save_if_due()

    asyncio.run(save())
    (line,) = kept.lines
    kept.close()
    return line


@pytest.mark.parametrize(
    "error, level, message, field",
    [
        (None, "debug", "a snapshot of the index was saved", ("eventCount", 0)),
        (
            OSError(errno.EIO, "Input/output error"),
            "warn",
            "a snapshot of the index failed",
            ("reason", "Input/output error"),
        ),
    ],
    ids=["saved", "failed"],
)
def test_a_snapshot_is_told_of_and_its_failure_harms_nobody(
    error: OSError | None, level: str, message: str, field: tuple[str, object]
) -> None:
    line = log_of_a_snapshot(error)

    assert (line["level"], line["message"]) == (level, message)
    assert line[field[0]] == field[1]


@pytest.mark.parametrize(
    "file_limit, connections_max, refused_max",
    [
        (1_000_000, 12_000, 256),
        (12_512, 12_000, 256),
        (12_511, 11_999, 256),
        (1_024, 672, 96),
        (256, 112, 16),
        (3, 2, 0),
    ],
)
def test_connections_leave_the_files_to_the_store_that_it_needs(
    file_limit: int, connections_max: int, refused_max: int
) -> None:
    kept = KeptLog()

    limits = bootstrap._limits_within(file_limit, kept.log)

    assert (limits.connections_max, limits.connections_refused_max) == (
        connections_max,
        refused_max,
    )
    found = [(line["level"], line["openFilesMax"], line["connectionsMax"]) for line in kept.lines]
    kept.close()
    is_told = connections_max < Limits().connections_max
    assert found == ([("warn", file_limit, connections_max)] if is_told else [])


def test_a_server_does_not_load_what_it_may_never_need() -> None:
    program = "import sys, everlog.bootstrap; print(*sys.modules, sep='\\n')"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )

    loaded = set(done.stdout.splitlines())
    # HTTPS, diagnostics, an audit, and commands.
    unneeded = {"cryptography.x509", "importlib.metadata", "everlog.maintenance", "everlog.cli"}
    assert not loaded & unneeded
