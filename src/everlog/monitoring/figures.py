"""All figures of one moment, and where they come from.

What the server knows is read on the event loop's thread in one step, so that the figures fit
together; what the system has to be asked for comes from a thread, a moment earlier.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from everlog.http import Statistics
from everlog.monitoring.diagnostics import Release
from everlog.monitoring.loop_delay import LoopDelay
from everlog.monitoring.machine import DiskSpace, ProcessFigures, read_disk_space, read_process
from everlog.monitoring.tally import EndpointName, Tally
from everlog.service.mirroring.following import FollowingFigures
from everlog.service.mirroring.options import MirrorFigures
from everlog.service.proving.checkpoints import ProvingFigures
from everlog.service.served_store import ServedStore
from everlog.service.writing.figures import CommitFigures, Histogram
from everlog.service.writing.states import Condition
from everlog.storage.engine import Head
from everlog.threads import call_on_thread

_NANOSECONDS: Final = 1_000_000_000

# A disk that hangs is a thing to be told of, and not to be waited for.
_DISK_SECONDS_MAX: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything at one moment; times are seconds since 1970, durations seconds."""

    release: Release
    now: float
    started_at: float
    condition: Condition
    # Why it is so, empty where nobody has to be told.
    condition_reason: str
    head: Head
    commits: CommitFigures
    # How long ago the last batch became durable, and how long the present one has been on its way.
    seconds_since_commit: float | None
    pending_seconds: float
    unsaved_event_count: int
    snapshot_count: int
    snapshot_failure_count: int
    has_snapshot_failed: bool
    proving: ProvingFigures
    # None where the log is not shared.
    mirror: MirrorFigures | None
    # None where no other server is followed.
    following: FollowingFigures | None
    observer_count: int
    query_count: int
    http: Statistics
    connections_max: int
    answers: Mapping[EndpointName, tuple[int, ...]]
    refusals: Mapping[str, int]
    bug_count: int
    read_failure_count: int
    # None where there was none.
    seconds_since_read_failure: float | None
    # How late the event loop was, each time, and at worst within the last minute.
    loop_delays: Histogram
    longest_loop_delay: float
    disk: DiskSpace | None
    process: ProcessFigures
    # When the certificate ends; None without HTTPS.
    certificate_ends_at: float | None


class DiskGauge:
    """The room on the disk of a directory, where the disk says in time how much there is."""

    def __init__(self, directory: Path) -> None:
        """Ask nothing yet."""
        self._directory: Final = directory
        # One thread waits at most, however long that takes and however often it is asked.
        self._asked: asyncio.Future[DiskSpace | None] | None = None

    async def read(self) -> DiskSpace | None:
        """Return how much room there is, None if the system does not say."""
        asked = self._asked
        if asked is None or asked.done():
            asked = self._asked = call_on_thread(partial(read_disk_space, self._directory))
        # Whoever comes while this waits may ask anew.
        done, _ = await asyncio.wait({asked}, timeout=_DISK_SECONDS_MAX)
        return asked.result() if done else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """Where the figures come from; `clock` returns nanoseconds since 1970."""

    release: Release
    clock: Callable[[], int]
    started_at: float
    served: ServedStore
    tally: Tally
    # The event loop's time, in seconds.
    loop_clock: Callable[[], float]
    statistics: Callable[[], Statistics]
    connections_max: int
    bug_count: Callable[[], int]
    disk: DiskGauge
    loop_delay: LoopDelay
    certificate_ends_at: Callable[[], float | None]

    async def read(self) -> Figures:
        """Return the figures of this moment."""
        # Reading threads may all wait for a disk that does not answer, which is to be told now.
        process = await call_on_thread(read_process)
        disk = await self.disk.read()
        store = self.served.latest
        snapshots = store.snapshots
        commits = store.writer.figures
        now = self.loop_clock()
        return Figures(
            release=self.release,
            now=self.clock() / _NANOSECONDS,
            started_at=self.started_at,
            condition=store.writer.condition,
            condition_reason=store.writer.reason,
            head=store.engine.head,
            commits=commits,
            seconds_since_commit=None if commits.ended_at is None else now - commits.ended_at,
            pending_seconds=0.0 if commits.begun_at is None else now - commits.begun_at,
            unsaved_event_count=store.engine.unsaved_event_count,
            snapshot_count=snapshots.saved_count,
            snapshot_failure_count=snapshots.failure_count,
            has_snapshot_failed=snapshots.has_failed,
            proving=store.checkpoints.figures(),
            mirror=None if store.mirror is None else store.mirror.figures,
            following=None if store.follower is None else store.follower.figures(),
            observer_count=store.observers.permits.held_count,
            query_count=store.queries.permits.held_count,
            http=self.statistics(),
            connections_max=self.connections_max,
            answers={name: tuple(counts) for name, counts in self.tally.answers.items()},
            refusals=dict(self.tally.refusals),
            bug_count=self.bug_count(),
            read_failure_count=store.read_failures.count,
            seconds_since_read_failure=store.read_failures.seconds_since,
            loop_delays=self.loop_delay.seconds,
            longest_loop_delay=self.loop_delay.longest_recent_seconds,
            disk=disk,
            process=process,
            certificate_ends_at=self.certificate_ends_at(),
        )
