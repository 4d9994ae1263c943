"""The figures as metrics: one table of what there is, what it is called, and what it means.

No label takes its value from a client: endpoints, statuses and codes are ours, and few, and
witnesses are the operator's.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final, NamedTuple

from everlog.domain.limits import OBSERVERS_MAX, QUERIES_MAX
from everlog.monitoring.checks import Status, judge, overall
from everlog.monitoring.figures import Figures
from everlog.monitoring.openmetrics import Family, Kind, Sample, format_number, render
from everlog.service.mirroring.following import FollowingFigures, FollowingState
from everlog.service.mirroring.options import MirrorFigures
from everlog.service.proving.witnesses import WitnessState
from everlog.service.writing.figures import Histogram
from everlog.service.writing.states import Condition

_NANOSECONDS: Final = 1_000_000_000

Samples = Iterable[Sample]


class Metric(NamedTuple):
    """One family: its name without what its kind adds, its unit, and where its samples are."""

    name: str
    kind: Kind
    unit: str
    help: str
    read: Callable[[Figures], Samples]


def render_metrics(figures: Figures) -> bytes:
    """Return all metrics in the text format of OpenMetrics."""
    families = (
        Family(metric.name, metric.kind, metric.help, metric.unit, tuple(metric.read(figures)))
        for metric in METRICS
    )
    return render(family for family in families if family.samples)


def _gauge(
    name: str, help_: str, read: Callable[[Figures], float | None], *, unit: str = ""
) -> Metric:
    """Describe a number that goes up and down; where it is None there is no sample."""

    def samples(figures: Figures) -> Iterator[Sample]:
        value = read(figures)
        if value is not None:
            yield Sample(value)

    return Metric(name, Kind.GAUGE, unit, help_, samples)


def _counter(name: str, help_: str, read: Callable[[Figures], float], *, unit: str = "") -> Metric:
    """Describe a number that only grows while the server runs."""
    return Metric(
        name, Kind.COUNTER, unit, help_, lambda found: [Sample(read(found), suffix=_TOTAL)]
    )


def _histogram(
    name: str, help_: str, read: Callable[[Figures], Histogram], *, unit: str = ""
) -> Metric:
    """Describe how values are distributed."""

    def samples(figures: Figures) -> Iterator[Sample]:
        histogram = read(figures)
        cumulated = list(accumulate(histogram.counts))
        bounds = [*map(format_number, histogram.bounds), "+Inf"]
        for bound, count in zip(bounds, cumulated, strict=True):
            yield Sample(count, {"le": bound}, "_bucket")
        yield Sample(cumulated[-1], suffix="_count")
        yield Sample(histogram.sum, suffix="_sum")

    return Metric(name, Kind.HISTOGRAM, unit, help_, samples)


def _states(name: str, help_: str, states: Iterable[str], read: Callable[[Figures], str]) -> Metric:
    """Describe in which of several states something is."""

    def samples(figures: Figures) -> Iterator[Sample]:
        current = read(figures)
        for state in states:
            yield Sample(int(state == current), {name: state})

    return Metric(name, Kind.STATESET, "", help_, samples)


def _of_mirror(
    name: str, kind: Kind, help_: str, read: Callable[[MirrorFigures], float | None]
) -> Metric:
    """Describe a number about the journal of a node; without a journal there is no sample."""

    def samples(figures: Figures) -> Iterator[Sample]:
        value = None if figures.mirror is None else read(figures.mirror)
        if value is not None:
            yield Sample(value, suffix=_TOTAL if kind is Kind.COUNTER else "")

    return Metric(name, kind, "", help_, samples)


def _of_following(
    name: str, kind: Kind, help_: str, read: Callable[[FollowingFigures], float], *, unit: str = ""
) -> Metric:
    """Describe a number about the server that is followed; without one there is no sample."""

    def samples(figures: Figures) -> Iterator[Sample]:
        if figures.following is not None:
            suffix = _TOTAL if kind is Kind.COUNTER else ""
            yield Sample(read(figures.following), suffix=suffix)

    return Metric(name, kind, unit, help_, samples)


_TOTAL: Final = "_total"


def _following_states(figures: Figures) -> Iterator[Sample]:
    if figures.following is not None:
        for state in FollowingState:
            labels = {"everlog_follower_state": state.value}
            yield Sample(int(state is figures.following.state), labels)


def _release(figures: Figures) -> Iterator[Sample]:
    release = figures.release
    labels = {"version": release.version, "compatible_version": release.compatible_version}
    yield Sample(1, labels, "_info")


def _answers(figures: Figures) -> Iterator[Sample]:
    for endpoint, counts in figures.answers.items():
        for digit, count in enumerate(counts):
            if count > 0:
                labels = {
                    "method": endpoint.method,
                    "path": endpoint.path,
                    "status": f"{digit}xx",
                }
                yield Sample(count, labels, _TOTAL)


def _early_answers(figures: Figures) -> Iterator[Sample]:
    for status, count in sorted(figures.http.early_answers.items()):
        yield Sample(count, {"status": str(status)}, _TOTAL)


def _refusals(figures: Figures) -> Iterator[Sample]:
    for code, count in sorted(figures.refusals.items()):
        yield Sample(count, {"code": code}, _TOTAL)


def _witness_states(figures: Figures) -> Iterator[Sample]:
    for witness in figures.proving.witnesses:
        for state in WitnessState:
            labels = {"witness": witness.name, "everlog_witness_state": state.value}
            yield Sample(int(state is witness.state), labels)


def _witness_sizes(figures: Figures) -> Iterator[Sample]:
    for witness in figures.proving.witnesses:
        yield Sample(witness.size, {"witness": witness.name})


def _health(figures: Figures) -> str:
    return overall(finding for _, finding in judge(figures)).name.lower()


def _last_commit(figures: Figures) -> float | None:
    return figures.head.time / _NANOSECONDS if figures.head.event_count > 0 else None


def _sum_of_batches(figures: Figures) -> int:
    return sum(figures.commits.seconds.counts)


METRICS: Final = (
    Metric("everlog_release", Kind.INFO, "", "Which server this is.", _release),
    _states(
        "everlog_health",
        "What the health check says.",
        [status.name.lower() for status in Status],
        _health,
    ),
    _states(
        "everlog_store_condition",
        "Whether anything can be written, and if not, why.",
        [condition.value for condition in Condition],
        lambda found: found.condition.value,
    ),
    # The log.
    _gauge("everlog_log_events", "Events in the log.", lambda found: found.head.event_count),
    _gauge(
        "everlog_log_size_bytes",
        "Size of the log, without the index.",
        lambda found: found.head.log_size,
        unit="bytes",
    ),
    _gauge(
        "everlog_log_subjects",
        "Subjects that have events, or one below them has.",
        lambda found: found.head.subject_count,
    ),
    _gauge(
        "everlog_log_event_types",
        "Event types that have events or a schema.",
        lambda found: found.head.event_type_count,
    ),
    _gauge(
        "everlog_log_last_commit_timestamp_seconds",
        "Time of the latest event, since 1970.",
        _last_commit,
        unit="seconds",
    ),
    # Writing.
    _counter("everlog_written_events", "Events made durable.", lambda found: found.commits.events),
    _counter(
        "everlog_written_bytes",
        "Bytes of the log made durable.",
        lambda found: found.commits.bytes,
        unit="bytes",
    ),
    _counter(
        "everlog_registered_schemas",
        "Event schemas made durable.",
        lambda found: found.commits.schemas,
    ),
    _counter("everlog_commits", "Batches made durable, each with one sync.", _sum_of_batches),
    _counter(
        "everlog_commit_failures",
        "Batches that could not be made durable.",
        lambda found: found.commits.failures,
    ),
    _histogram(
        "everlog_commit_events",
        "Events in a batch.",
        lambda found: found.commits.batch_events,
    ),
    _histogram(
        "everlog_sync_duration_seconds",
        "How long it took to write a batch to the disk and to sync it.",
        lambda found: found.commits.seconds,
        unit="seconds",
    ),
    _gauge(
        "everlog_commit_pending_seconds",
        "For how long the present batch has been on its way to the disk.",
        lambda found: found.pending_seconds,
        unit="seconds",
    ),
    # The index.
    _gauge(
        "everlog_index_unsaved_events",
        "Events that an opening after a crash would have to read again.",
        lambda found: found.unsaved_event_count,
    ),
    _counter(
        "everlog_checkpoints", "Snapshots of the index saved.", lambda found: found.snapshot_count
    ),
    _counter(
        "everlog_checkpoint_failures",
        "Snapshots of the index that could not be saved.",
        lambda found: found.snapshot_failure_count,
    ),
    # The journal that nodes share; absent without one.
    _of_mirror(
        "everlog_journal_up",
        Kind.GAUGE,
        "Is 1 if the journal can be reached, and 0 if it cannot.",
        lambda found: int(found.unreachable_since is None and not found.failure),
    ),
    _of_mirror(
        "everlog_journal_appends",
        Kind.COUNTER,
        "Batches of this node that stand in the journal.",
        lambda found: found.appends,
    ),
    _of_mirror(
        "everlog_journal_lost_appends",
        Kind.COUNTER,
        "Batches of this node that lost their place to another node's, and were judged again.",
        lambda found: found.lost_appends,
    ),
    _of_mirror(
        "everlog_journal_unknown_appends",
        Kind.COUNTER,
        "Answers of the journal that were lost, so that it was asked what stands there.",
        lambda found: found.unknown_appends,
    ),
    _of_mirror(
        "everlog_journal_barriers",
        Kind.COUNTER,
        "Questions to the journal for reads that wait to be current.",
        lambda found: found.barriers,
    ),
    _of_mirror(
        "everlog_journal_barrier_reads",
        Kind.COUNTER,
        "Reads that waited for such a question; several share one.",
        lambda found: found.barrier_callers,
    ),
    _of_mirror(
        "everlog_mirror_applied_entries",
        Kind.COUNTER,
        "Batches of other nodes that were applied here.",
        lambda found: found.applied_entries,
    ),
    _of_mirror(
        "everlog_mirror_applied_events",
        Kind.COUNTER,
        "Events of other nodes that were applied here.",
        lambda found: found.applied_events,
    ),
    _of_mirror(
        "everlog_mirror_behind_events",
        Kind.GAUGE,
        "Events that were read from the journal, and are not here yet.",
        lambda found: found.behind_events,
    ),
    _of_mirror(
        "everlog_mirror_caught_up",
        Kind.GAUGE,
        "Is 1 once the node had all that the journal has, since it was started.",
        lambda found: int(found.is_caught_up),
    ),
    _of_mirror(
        "everlog_cluster_nodes",
        Kind.GAUGE,
        "Nodes that spoke up within the last minute, this one included.",
        lambda found: found.nodes,
    ),
    # The server that is followed; absent where there is none.
    Metric(
        "everlog_follower_state",
        Kind.STATESET,
        "",
        "How the follower stands to its source.",
        _following_states,
    ),
    _of_following(
        "everlog_follower_lag_events",
        Kind.GAUGE,
        "Events that the source is known to have, and that are not here yet.",
        lambda found: found.lag_events,
    ),
    _of_following(
        "everlog_follower_lag_seconds",
        Kind.GAUGE,
        "For how long the source has been known to have more, or not been heard of.",
        lambda found: found.lag_seconds,
        unit="seconds",
    ),
    _of_following(
        "everlog_follower_received_events",
        Kind.COUNTER,
        "Events that came from the source, and were verified.",
        lambda found: found.event_count,
    ),
    _of_following(
        "everlog_follower_received_bytes",
        Kind.COUNTER,
        "Bytes of the log that came from the source.",
        lambda found: found.size,
        unit="bytes",
    ),
    _of_following(
        "everlog_follower_connections",
        Kind.COUNTER,
        "Connections over which the source was followed.",
        lambda found: found.connection_count,
    ),
    _of_following(
        "everlog_follower_failures",
        Kind.COUNTER,
        "Attempts to follow the source that ended with an error.",
        lambda found: found.failure_count,
    ),
    # The tree.
    _gauge(
        "everlog_tree_events",
        "Events in the Merkle tree; absent where nobody has asked for it.",
        lambda found: found.proving.tree_size,
    ),
    _gauge(
        "everlog_tree_checkpoint_events",
        "Events in the tree of the latest checkpoint; absent without a checkpoint key.",
        lambda found: found.proving.checkpoint_size,
    ),
    _gauge(
        "everlog_tree_checkpoint_timestamp_seconds",
        "When the latest checkpoint was made, since 1970; absent before the first since the start.",
        lambda found: found.proving.checkpoint_time,
        unit="seconds",
    ),
    _gauge(
        "everlog_tree_contradicted",
        "Is 1 if the log is not the one that was signed before; absent without a checkpoint key.",
        lambda found: int(bool(found.proving.contradiction)) if found.proving.has_key else None,
    ),
    Metric(
        "everlog_witness_state",
        Kind.STATESET,
        "",
        "What each witness does with checkpoints.",
        _witness_states,
    ),
    Metric(
        "everlog_witness_events",
        Kind.GAUGE,
        "",
        "Events in the latest tree that each witness cosigned.",
        _witness_sizes,
    ),
    # Requests.
    Metric(
        "everlog_requests",
        Kind.COUNTER,
        "",
        "Requests answered by an endpoint; version 2 refuses with status 200.",
        _answers,
    ),
    Metric(
        "everlog_early_answers",
        Kind.COUNTER,
        "",
        "Requests answered without an endpoint, most of them refused; 401 is a wrong token.",
        _early_answers,
    ),
    Metric(
        "everlog_refusals",
        Kind.COUNTER,
        "",
        "Requests that an endpoint refused, by error code, in both versions.",
        _refusals,
    ),
    _counter(
        "everlog_unexpected_errors",
        "Errors that nobody expected; each is in the log.",
        lambda found: found.bug_count,
    ),
    _counter(
        "everlog_read_failures",
        "Requests that could not be answered because the disk does not give what is stored.",
        lambda found: found.read_failure_count,
    ),
    _histogram(
        "everlog_event_loop_delay_seconds",
        "How late the event loop was, ten times a second: all clients wait for so long.",
        lambda found: found.loop_delays,
        unit="seconds",
    ),
    # Clients.
    _gauge("everlog_connections", "Open connections.", lambda found: found.http.connections),
    _gauge(
        "everlog_connections_limit",
        "How many connections there may be.",
        lambda found: found.connections_max,
    ),
    _counter(
        "everlog_accepted_connections",
        "Connections accepted.",
        lambda found: found.http.connections_accepted,
    ),
    _counter(
        "everlog_closed_connections",
        "Connections closed so that another client could have the place.",
        lambda found: found.http.connections_closed,
    ),
    _counter(
        "everlog_refused_connections",
        "Connections refused because there was no place.",
        lambda found: found.http.connections_refused,
    ),
    _counter(
        "everlog_cut_connections",
        "Connections cut because too much waited for clients that did not take it.",
        lambda found: found.http.connections_cut,
    ),
    _gauge("everlog_streams", "Answers being streamed.", lambda found: found.http.streams),
    _counter(
        "everlog_cut_streams",
        "Streams that ended early for another reason than that the client left.",
        lambda found: found.http.streams_cut,
    ),
    _gauge("everlog_observers", "Clients that observe.", lambda found: found.observer_count),
    _gauge(
        "everlog_observers_limit",
        "How many observers there may be.",
        lambda _: OBSERVERS_MAX,
    ),
    _gauge(
        "everlog_queries",
        "EventQL queries that run or wait for their turn, those of preconditions included.",
        lambda found: found.query_count,
    ),
    _gauge("everlog_queries_limit", "How many queries there may be.", lambda _: QUERIES_MAX),
    _gauge(
        "everlog_certificate_end_timestamp_seconds",
        "When the certificate expires, since 1970; absent without HTTPS.",
        lambda found: found.certificate_ends_at,
        unit="seconds",
    ),
    # The machine.
    _gauge(
        "everlog_disk_free_bytes",
        "Room on the disk of the data directory.",
        lambda found: None if found.disk is None else found.disk.free_bytes,
        unit="bytes",
    ),
    _gauge(
        "everlog_disk_size_bytes",
        "Size of the disk of the data directory.",
        lambda found: None if found.disk is None else found.disk.size_bytes,
        unit="bytes",
    ),
    _gauge(
        "process_resident_memory_bytes",
        "Resident memory of the server.",
        lambda found: found.process.resident_bytes,
        unit="bytes",
    ),
    _counter(
        "process_cpu_seconds",
        "Processor time that the server has used.",
        lambda found: found.process.cpu_seconds,
        unit="seconds",
    ),
    _gauge(
        "process_open_fds",
        "Open files of the server, connections included.",
        lambda found: found.process.open_file_count,
    ),
    _gauge(
        "process_max_fds",
        "How many files the server may have open.",
        lambda found: found.process.open_file_count_max,
    ),
    _gauge(
        "process_start_time_seconds",
        "When the server was started, since 1970.",
        lambda found: found.started_at,
        unit="seconds",
    ),
)
