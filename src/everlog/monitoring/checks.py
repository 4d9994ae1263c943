"""What the figures mean: one check each, which passes, warns or fails."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final, NamedTuple

from everlog.domain.limits import OBSERVERS_MAX
from everlog.domain.time import format_time
from everlog.monitoring.figures import Figures
from everlog.service.mirroring.following import FollowingState
from everlog.service.proving.witnesses import WitnessState
from everlog.service.writing.commit_watch import HANGS_AFTER_SECONDS
from everlog.service.writing.states import Condition

# From where on a figure is worth a warning, or means that the server fails. Nothing is refused
# because of these: they are what health checks say.

# The log reserves an eighth of what is free at a time: of less than this, a few seconds' worth of
# the fastest writing, and the end is near.
DISK_FREE_FAIL_BYTES: Final = 128 * 1024 * 1024
# Minutes of the fastest writing, and days of usual writing.
DISK_FREE_WARN_BYTES: Final = 1024 * 1024 * 1024
# Small disks would be below those bounds from the beginning.
DISK_FREE_FAIL_SHARE: Final = 0.02
DISK_FREE_WARN_SHARE: Final = 0.10

# A disk syncs in milliseconds. A quarter of a second is what people notice, and each write waits
# for one sync at least.
SYNC_WARN_SECONDS: Final = 0.25
# What was slow this long ago says nothing about the disk of today.
SYNC_RECENT_SECONDS: Final = 300.0

# Every writer waits for the batch that is on its way, and from the second bound on is refused.
PENDING_WARN_SECONDS: Final = 5.0
PENDING_FAIL_SECONDS: Final = HANGS_AFTER_SECONDS

# A disk that cannot be read may have one bad place, which nobody asks for again.
READ_FAILURE_RECENT_SECONDS: Final = 300.0

# Enough to renew it without haste; the log warns from the same day on.
CERTIFICATE_WARN_SECONDS: Final = 30 * 24 * 3_600.0

# All clients wait for the event loop. It is never held up for a twentieth of this by a request; a
# machine that is too busy, or a disk that is, may do it.
LOOP_DELAY_WARN_SECONDS: Final = 1.0

# A follower on a healthy network is behind by some milliseconds, and asks again each few seconds.
LAG_WARN_SECONDS: Final = 10.0

# Of the connections, the observers and the open files that there may be.
SHARE_WARN: Final = 0.9


class Status(IntEnum):
    """How well a part of the server is, the worst last."""

    PASS = 0
    WARN = 1
    FAIL = 2


class Finding(NamedTuple):
    """What a check found; the sentence says what is wrong, and is empty where nothing is."""

    value: int | float | str | None
    status: Status = Status.PASS
    output: str = ""


class Check(NamedTuple):
    """One part of the server to look at."""

    # A component and what is measured of it, as the format of health checks wants names to be.
    name: str
    component_type: str
    unit: str
    # None where there is nothing to look at.
    judge: Callable[[Figures], Finding | None]


def judge(figures: Figures) -> Iterable[tuple[Check, Finding]]:
    """Yield what each check found."""
    for check in CHECKS:
        finding = check.judge(figures)
        if finding is not None:
            yield check, finding


def overall(findings: Iterable[Finding]) -> Status:
    """Return the worst of several findings."""
    return max((finding.status for finding in findings), default=Status.PASS)


def format_moment(seconds: float) -> str:
    """Return the RFC 3339 text of seconds since 1970."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _writability(figures: Figures) -> Finding:
    value = figures.condition.value
    match figures.condition:
        case Condition.WRITABLE:
            return Finding(value)
        case Condition.READ_ONLY:
            return Finding(value, Status.WARN, "writes are refused until a restart, as was asked")
        case Condition.RESTORING:
            output = "a backup is being restored: whatever else is asked is refused meanwhile"
            return Finding(value, Status.WARN, output)
        case Condition.CATCHING_UP:
            output = "the node does not have all events of its journal yet: requests are refused"
            return Finding(value, Status.FAIL, output)
        case Condition.JOURNAL_UNREACHABLE:
            output = (
                f"writes are refused: the journal cannot be reached: {figures.condition_reason}"
            )
            return Finding(value, Status.FAIL, output)
        case Condition.FOLLOWING:
            return Finding(value)
        case Condition.DISK_FULL:
            output = f"the last write found no room: {figures.condition_reason}"
            return Finding(value, Status.FAIL, output)
        case Condition.STOPPING:
            return Finding(value, Status.WARN, "the server is being stopped")
        case Condition.FAILED:
            output = f"writes are refused until a restart: {figures.condition_reason}"
            return Finding(value, Status.FAIL, output)


def _readability(figures: Figures) -> Finding:
    count, age = figures.read_failure_count, figures.seconds_since_read_failure
    if age is not None and age <= READ_FAILURE_RECENT_SECONDS:
        return Finding(count, Status.FAIL, "the disk does not give what is stored on it")
    return Finding(count)


def _disk_space(figures: Figures) -> Finding:
    disk = figures.disk
    if disk is None:
        return Finding(None, Status.WARN, "the system does not say how much room there is")
    fail = min(DISK_FREE_FAIL_BYTES, DISK_FREE_FAIL_SHARE * disk.size_bytes)
    warn = min(DISK_FREE_WARN_BYTES, DISK_FREE_WARN_SHARE * disk.size_bytes)
    for status, limit in ((Status.FAIL, fail), (Status.WARN, warn)):
        if disk.free_bytes < limit:
            output = f"less than {int(limit)} bytes are free on the disk of the data directory"
            return Finding(disk.free_bytes, status, output)
    return Finding(disk.free_bytes)


def _last_event_id(figures: Figures) -> Finding | None:
    count = figures.head.event_count
    return Finding(str(count - 1)) if count > 0 else None


def _last_commit_time(figures: Figures) -> Finding | None:
    return Finding(format_time(figures.head.time)) if figures.head.event_count > 0 else None


def _sync_latency(figures: Figures) -> Finding | None:
    average, age = figures.commits.average_seconds, figures.seconds_since_commit
    if average is None or age is None:
        return None
    value = round(average, 6)
    if age <= SYNC_RECENT_SECONDS and average > SYNC_WARN_SECONDS:
        return Finding(value, Status.WARN, "the disk is slow: every write waits for it")
    return Finding(value)


def _pending_commit(figures: Figures) -> Finding:
    seconds = figures.pending_seconds
    value = round(seconds, 6)
    if seconds > PENDING_FAIL_SECONDS:
        since = format_moment(figures.now - seconds)
        output = f"a commit hangs since {since}: the disk does not answer, and writes are refused"
        return Finding(value, Status.FAIL, output)
    if seconds > PENDING_WARN_SECONDS:
        output = "the disk does not answer: every write waits for it"
        return Finding(value, Status.WARN, output)
    return Finding(value)


def _unsaved_events(figures: Figures) -> Finding:
    if figures.has_snapshot_failed:
        output = "the index could not be saved: after a crash, opening would take longer"
        return Finding(figures.unsaved_event_count, Status.WARN, output)
    return Finding(figures.unsaved_event_count)


def _tree(figures: Figures) -> Finding | None:
    size, error = figures.proving.tree_size, figures.proving.error
    if size is None:
        return None
    if error:
        return Finding(size, Status.WARN, f"the tree does not grow, or is not signed: {error}")
    return Finding(size)


def _checkpoint(figures: Figures) -> Finding | None:
    proving = figures.proving
    if not proving.has_key:
        return None
    if proving.contradiction:
        output = f"nothing is signed, since the log is another one: {proving.contradiction}"
        return Finding(proving.checkpoint_size, Status.FAIL, output)
    return Finding(proving.checkpoint_size)


def _witnesses(figures: Figures) -> Finding | None:
    witnesses = figures.proving.witnesses
    if not witnesses:
        return None
    count = sum(witness.state is WitnessState.COSIGNING for witness in witnesses)
    for state, status in (
        (WitnessState.CONTRADICTING, Status.FAIL),
        (WitnessState.FAILING, Status.WARN),
    ):
        found = [witness for witness in witnesses if witness.state is state]
        if found:
            output = "; ".join(f"{witness.name}: {witness.reason}" for witness in found)
            return Finding(count, status, output)
    return Finding(count)


def _certificate_end(figures: Figures) -> Finding | None:
    end = figures.certificate_ends_at
    if end is None:
        return None
    value = format_moment(end)
    remaining = end - figures.now
    if remaining <= 0:
        return Finding(value, Status.FAIL, "the certificate has expired: clients refuse it")
    if remaining < CERTIFICATE_WARN_SECONDS:
        output = f"the certificate expires in {int(remaining // 86_400)} days: renew it"
        return Finding(value, Status.WARN, output)
    return Finding(value)


def _connections(figures: Figures) -> Finding:
    count, count_max = figures.http.connections, figures.connections_max
    return _of_those_allowed(count, count_max, f"of {count_max} connections almost all are taken")


def _observers(figures: Figures) -> Finding:
    count, count_max = figures.observer_count, OBSERVERS_MAX
    return _of_those_allowed(count, count_max, f"of {count_max} observers almost all are there")


def _open_files(figures: Figures) -> Finding | None:
    count, count_max = figures.process.open_file_count, figures.process.open_file_count_max
    if count is None:
        return None
    return _of_those_allowed(count, count_max, f"of {count_max} files almost all are open")


def _loop_delay(figures: Figures) -> Finding:
    value = round(figures.longest_loop_delay, 6)
    if value > LOOP_DELAY_WARN_SECONDS:
        return Finding(value, Status.WARN, "all clients had to wait within the last minute")
    return Finding(value)


def _of_those_allowed(count: int, count_max: int, output: str) -> Finding:
    if count > SHARE_WARN * count_max:
        return Finding(count, Status.WARN, output)
    return Finding(count)


def _journal(figures: Figures) -> Finding | None:
    mirror = figures.mirror
    if mirror is None:
        return None
    if mirror.failure:
        return Finding("failed", Status.FAIL, mirror.failure)
    if mirror.unreachable_since is not None:
        since = format_moment(mirror.unreachable_since)
        output = f"the journal cannot be reached since {since}: {mirror.unreachable_reason}"
        return Finding("unreachable", Status.FAIL, output)
    return Finding("reachable")


def _journal_lag(figures: Figures) -> Finding | None:
    mirror = figures.mirror
    if mirror is None:
        return None
    if not mirror.is_caught_up:
        output = f"the node catches up with its journal: it has {figures.head.event_count} events"
        return Finding(mirror.behind_events, Status.FAIL, output)
    return Finding(mirror.behind_events)


def _nodes(figures: Figures) -> Finding | None:
    mirror = figures.mirror
    if mirror is None:
        return None
    if mirror.mismatches:
        return Finding(mirror.nodes, Status.WARN, "; ".join(mirror.mismatches))
    return Finding(mirror.nodes)


def _source(figures: Figures) -> Finding | None:
    following = figures.following
    if following is None:
        return None
    state = following.state
    if following.storing_failure:
        return Finding(state.value, Status.FAIL, f"nothing is stored: {following.storing_failure}")
    match state:
        case FollowingState.FOLLOWING:
            return Finding(state.value)
        case FollowingState.REFUSED:
            output = f"the source is not followed any more: {following.reason}"
            return Finding(state.value, Status.FAIL, output)
        case FollowingState.CONNECTING:
            return Finding(state.value, Status.WARN, "the source has not answered yet")
        case FollowingState.CATCHING_UP:
            output = f"the source has {following.lag_events} events that are not here yet"
            return Finding(state.value, Status.WARN, output)
        case FollowingState.UNREACHABLE:
            since = format_moment(figures.now - following.lag_seconds)
            output = f"the source cannot be read, what is here is of {since}: {following.reason}"
            return Finding(state.value, Status.WARN, output)
        case FollowingState.BEHIND:
            output = f"the source has fewer events than are here: {following.reason}"
            return Finding(state.value, Status.WARN, output)


def _lag_events(figures: Figures) -> Finding | None:
    return None if figures.following is None else Finding(figures.following.lag_events)


def _lag_seconds(figures: Figures) -> Finding | None:
    if figures.following is None:
        return None
    value = round(figures.following.lag_seconds, 3)
    if value > LAG_WARN_SECONDS:
        return Finding(value, Status.WARN, "what is here is older than that, as far as is known")
    return Finding(value)


# In the order in which they are shown.
CHECKS: Final = (
    Check("store:writability", "datastore", "", _writability),
    Check("store:readFailures", "datastore", "failures", _readability),
    Check("disk:free", "system", "bytes", _disk_space),
    Check("log:events", "datastore", "events", lambda found: Finding(found.head.event_count)),
    Check("log:lastEventId", "datastore", "", _last_event_id),
    Check("log:lastCommitTime", "datastore", "", _last_commit_time),
    Check("log:syncLatency", "datastore", "seconds", _sync_latency),
    Check("log:pendingCommit", "datastore", "seconds", _pending_commit),
    Check("index:unsavedEvents", "datastore", "events", _unsaved_events),
    Check("tree:events", "datastore", "events", _tree),
    Check("tree:checkpoint", "datastore", "events", _checkpoint),
    Check("tree:witnesses", "component", "witnesses", _witnesses),
    Check("cluster:journal", "datastore", "", _journal),
    Check("cluster:behind", "datastore", "events", _journal_lag),
    Check("cluster:nodes", "component", "nodes", _nodes),
    Check("follower:source", "datastore", "", _source),
    Check("follower:lagEvents", "datastore", "events", _lag_events),
    Check("follower:lagSeconds", "datastore", "seconds", _lag_seconds),
    Check("tls:certificateEnd", "component", "", _certificate_end),
    Check("http:connections", "component", "connections", _connections),
    Check("http:observers", "component", "observers", _observers),
    Check("process:eventLoopDelay", "system", "seconds", _loop_delay),
    Check("process:openFiles", "system", "files", _open_files),
)
