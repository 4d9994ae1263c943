"""The two ways in which an engine commits a batch."""

from collections.abc import Callable

from everlog.storage.engine import Batch, Engine
from everlog.storage.log.disk import Disk, PosixDisk

Commit = Callable[[Engine, Batch, Disk], None]

_REAL_DISK = PosixDisk()


def commit_at_once(engine: Engine, batch: Batch, disk: Disk) -> None:  # noqa: ARG001 - as below
    """Let the engine do everything, as a thread does."""
    engine.commit(batch)


def commit_in_steps(engine: Engine, batch: Batch, disk: Disk = _REAL_DISK) -> None:
    """Sync in the engine's stead if that is all that is left to do, as a process does."""
    file = engine.begin_commit(batch)
    if file is None:
        engine.commit(batch)
        return
    error = None
    try:
        disk.sync_data(file)
    except OSError as caught:
        error = caught
    engine.end_commit(batch, error)


WAYS: dict[str, Commit] = {"at once": commit_at_once, "in steps": commit_in_steps}
