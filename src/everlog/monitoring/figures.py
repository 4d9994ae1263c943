"""All figures of one moment, and where they come from.

What the server knows is read on the event loop's thread in one step, so that the figures fit
together; what the system has to be asked for comes from a thread, a moment earlier.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Final, Protocol

import msgspec

from everlog.http import Statistics, no_counts
from everlog.monitoring.diagnostics import Release
from everlog.monitoring.loop_delay import LoopDelay
from everlog.monitoring.machine import DiskSpace, ProcessFigures, read_disk_space, read_process
from everlog.monitoring.tally import EndpointName, Tally
from everlog.service.mirroring.following import FollowingFigures
from everlog.service.mirroring.options import MirrorFigures
from everlog.service.proving.checkpoints import ProvingFigures
from everlog.service.served_store import ServedStore
from everlog.service.store import Store
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


class FrontFigures(msgspec.Struct, frozen=True):
    """What one front says of itself, in the place of what one server would count."""

    http: Statistics
    # By method and path of the endpoint.
    answers: list[tuple[str, str, list[int]]]
    refusals: dict[str, int]
    bug_count: int
    read_failure_count: int
    seconds_since_read_failure: float | None
    observer_count: int
    query_count: int
    loop_delay_counts: list[int]
    loop_delay_sum: float
    longest_loop_delay: float
    process: ProcessFigures


encode_front: Final = msgspec.msgpack.Encoder().encode
decode_front: Final = msgspec.msgpack.Decoder(FrontFigures).decode


def figures_of_front(
    *,
    http: Statistics,
    tally: Tally,
    bug_count: int,
    store: Store,
    loop_delay: LoopDelay,
    process: ProcessFigures,
) -> FrontFigures:
    """Return what a front says of itself now."""
    failures = store.read_failures
    return FrontFigures(
        http=http,
        answers=[(*name, [*counts]) for name, counts in tally.answers.items()],
        refusals=dict(tally.refusals),
        bug_count=bug_count,
        read_failure_count=failures.count,
        seconds_since_read_failure=failures.seconds_since,
        observer_count=store.observers.permits.held_count,
        query_count=store.queries.permits.held_count,
        loop_delay_counts=[*loop_delay.seconds.counts],
        loop_delay_sum=loop_delay.seconds.sum,
        longest_loop_delay=loop_delay.longest_recent_seconds,
        process=process,
    )


class Fronts(Protocol):
    """Who knows what fronts say of themselves."""

    async def read(self) -> Sequence[FrontFigures]:
        """Return what those say that are there, and what those said last who are gone."""


def as_gone(figures: FrontFigures) -> FrontFigures:
    """Return what is left of a front's figures: what it has counted, and nothing that it has."""
    http = replace(figures.http, connections=0, streams=0)
    process = ProcessFigures(0, figures.process.cpu_seconds, 0, 0)
    return msgspec.structs.replace(
        figures,
        http=http,
        process=process,
        observer_count=0,
        query_count=0,
        longest_loop_delay=0.0,
        seconds_since_read_failure=None,
    )


def joined(fronts: Sequence[FrontFigures]) -> FrontFigures:
    """Return the figures of some fronts as those of one."""
    answers: dict[tuple[str, str], list[int]] = {}
    refusals: Counter[str] = Counter()
    for front in fronts:
        refusals.update(front.refusals)
        for method, path, counts in front.answers:
            answers[method, path] = _sums([answers.get((method, path), []), counts])
    since = [each.seconds_since_read_failure for each in fronts]
    return FrontFigures(
        http=_join_statistics([front.http for front in fronts]),
        answers=[(*name, counts) for name, counts in answers.items()],
        refusals=dict(refusals),
        bug_count=sum(front.bug_count for front in fronts),
        read_failure_count=sum(front.read_failure_count for front in fronts),
        seconds_since_read_failure=min((each for each in since if each is not None), default=None),
        observer_count=sum(front.observer_count for front in fronts),
        query_count=sum(front.query_count for front in fronts),
        loop_delay_counts=_sums([front.loop_delay_counts for front in fronts]),
        loop_delay_sum=sum(front.loop_delay_sum for front in fronts),
        longest_loop_delay=max((front.longest_loop_delay for front in fronts), default=0.0),
        process=ProcessFigures(
            sum(front.process.resident_bytes for front in fronts),
            sum(front.process.cpu_seconds for front in fronts),
            sum(front.process.open_file_count or 0 for front in fronts),
            sum(front.process.open_file_count_max for front in fronts),
        ),
    )


def _sums(lists: Sequence[Sequence[int]]) -> list[int]:
    return [sum(numbers) for numbers in zip_longest(*lists, fillvalue=0)]


def _join_statistics(statistics: Sequence[Statistics]) -> Statistics:
    early: Counter[int] = Counter()
    sums: Counter[str] = Counter()
    for each in statistics:
        found = asdict(each)
        early.update(found.pop("early_answers"))
        sums.update(found)
    return Statistics(early_answers=dict(early), **sums)


def _with_fronts(figures: Figures, fronts: Sequence[FrontFigures]) -> Figures:
    """Return the figures of an owner and its fronts as those of one server.

    Every request came to a front, and is counted there; the owner knows by what code it refused.
    """
    found = joined(fronts)
    own, process = figures.loop_delays, figures.process
    delays = Histogram(own.bounds)
    delays.counts[:] = _sums([own.counts, found.loop_delay_counts])
    delays.sum = own.sum + found.loop_delay_sum
    since = (figures.seconds_since_read_failure, found.seconds_since_read_failure)
    return replace(
        figures,
        observer_count=found.observer_count,
        query_count=figures.query_count + found.query_count,
        http=found.http,
        answers={
            **dict.fromkeys(figures.answers, tuple(no_counts())),
            **{EndpointName(method, path): tuple(counts) for method, path, counts in found.answers},
        },
        refusals=dict(Counter(figures.refusals) + Counter(found.refusals)),
        bug_count=figures.bug_count + found.bug_count,
        read_failure_count=figures.read_failure_count + found.read_failure_count,
        seconds_since_read_failure=min((each for each in since if each is not None), default=None),
        loop_delays=delays,
        longest_loop_delay=max(figures.longest_loop_delay, found.longest_loop_delay),
        process=ProcessFigures(
            process.resident_bytes + found.process.resident_bytes,
            process.cpu_seconds + found.process.cpu_seconds,
            None
            if process.open_file_count is None
            else process.open_file_count + (found.process.open_file_count or 0),
            process.open_file_count_max + found.process.open_file_count_max,
        ),
    )


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
    # None where this process speaks with clients itself.
    fronts: Fronts | None = None

    async def read(self) -> Figures:
        """Return the figures of this moment."""
        # Reading threads may all wait for a disk that does not answer, which is to be told now.
        process = await call_on_thread(read_process)
        disk = await self.disk.read()
        fronts = None if self.fronts is None else await self.fronts.read()
        figures = self._own(process, disk)
        return figures if fronts is None else _with_fronts(figures, fronts)

    def _own(self, process: ProcessFigures, disk: DiskSpace | None) -> Figures:
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
