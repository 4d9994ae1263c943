"""The checks: what passes, warns and fails, at, below and above each limit."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from everlog.domain.limits import OBSERVERS_MAX
from everlog.http import Statistics
from everlog.monitoring import checks
from everlog.monitoring.checks import CHECKS, Finding, Status, judge, overall
from everlog.monitoring.figures import Figures, Release
from everlog.monitoring.machine import DiskSpace, ProcessFigures
from everlog.service.mirroring.following import FollowingFigures, FollowingState
from everlog.service.mirroring.options import MirrorFigures
from everlog.service.proving.checkpoints import ProvingFigures, WitnessFigures
from everlog.service.proving.witnesses import WitnessState
from everlog.service.writing.figures import CommitFigures, Histogram
from everlog.service.writing.states import Condition
from everlog.storage.engine import Head

LARGE = 1 << 40
SMALL = 1 << 30
NOW = 1_800_000_000.0
DAY = 86_400.0


def commits(average_seconds: float) -> CommitFigures:
    figures = CommitFigures()
    figures.end(0.0, average_seconds, events=1, size=1, schemas=0)
    return figures


WITNESS = WitnessFigures("w.example/1", WitnessState.COSIGNING, "", 7)
PROVING = ProvingFigures(
    tree_size=7,
    error="",
    has_key=True,
    checkpoint_size=7,
    checkpoint_time=NOW,
    contradiction="",
    witnesses=(WITNESS, WITNESS._replace(name="w.example/2")),
)

FOLLOWING = FollowingFigures(
    source="https://source.example",
    state=FollowingState.FOLLOWING,
    reason="",
    version="v2",
    is_marked=True,
    lag_events=0,
    lag_seconds=0.0,
    storing_failure="",
    event_count=7,
    size=7_000,
    connection_count=1,
    failure_count=0,
)

WELL = Figures(
    release=Release(version="1", compatible_version="1"),
    now=NOW,
    started_at=NOW,
    condition=Condition.WRITABLE,
    condition_reason="",
    head=Head(event_count=1, time=1),
    commits=commits(0.001),
    seconds_since_commit=1.0,
    pending_seconds=0.0,
    unsaved_event_count=0,
    snapshot_count=0,
    snapshot_failure_count=0,
    has_snapshot_failed=False,
    proving=PROVING,
    mirror=MirrorFigures(is_caught_up=True, nodes=3),
    following=FOLLOWING,
    observer_count=0,
    query_count=0,
    http=Statistics(),
    connections_max=100,
    answers={},
    refusals={},
    bug_count=0,
    read_failure_count=0,
    seconds_since_read_failure=None,
    loop_delays=Histogram((1.0,)),
    longest_loop_delay=0.0,
    disk=DiskSpace(free_bytes=LARGE // 2, size_bytes=LARGE),
    process=ProcessFigures(1, 1.0, 10, 100),
    certificate_ends_at=NOW + 365 * DAY,
)


def disk(free_bytes: float, size_bytes: int = LARGE) -> dict[str, Any]:
    return {"disk": DiskSpace(int(free_bytes), size_bytes)}


def read_failure(age: float) -> dict[str, Any]:
    return {"read_failure_count": 3, "seconds_since_read_failure": age}


def open_files(count: int | None) -> dict[str, Any]:
    return {"process": WELL.process._replace(open_file_count=count)}


def proving(**changes: Any) -> dict[str, Any]:
    return {"proving": PROVING._replace(**changes)}


def mirror(**changes: Any) -> dict[str, Any]:
    assert WELL.mirror is not None
    return {"mirror": replace(WELL.mirror, **changes)}


def following(**changes: Any) -> dict[str, Any]:
    return {"following": structs.replace(FOLLOWING, **changes)}


def witnesses(*states: WitnessState) -> dict[str, Any]:
    found = [
        WitnessFigures("w.example/1", state, "" if state is WitnessState.COSIGNING else "why", 7)
        for state in states
    ]
    return proving(witnesses=tuple(found))


COSIGNING, FAILING, CONTRADICTING = (
    WitnessState.COSIGNING,
    WitnessState.FAILING,
    WitnessState.CONTRADICTING,
)

WARN_BYTES, FAIL_BYTES = checks.DISK_FREE_WARN_BYTES, checks.DISK_FREE_FAIL_BYTES

# Each row: a check, what is different from a server that is well, and what is found.
CASES: tuple[tuple[str, dict[str, Any], Status], ...] = (
    ("store:writability", {"condition": Condition.WRITABLE}, Status.PASS),
    ("store:writability", {"condition": Condition.READ_ONLY}, Status.WARN),
    ("store:writability", {"condition": Condition.DISK_FULL}, Status.FAIL),
    ("store:writability", {"condition": Condition.FAILED}, Status.FAIL),
    ("store:readFailures", read_failure(checks.READ_FAILURE_RECENT_SECONDS), Status.FAIL),
    ("store:readFailures", read_failure(checks.READ_FAILURE_RECENT_SECONDS + 1), Status.PASS),
    ("disk:free", disk(WARN_BYTES), Status.PASS),
    ("disk:free", disk(WARN_BYTES - 1), Status.WARN),
    ("disk:free", disk(FAIL_BYTES), Status.WARN),
    ("disk:free", disk(FAIL_BYTES - 1), Status.FAIL),
    ("disk:free", disk(0.11 * SMALL, SMALL), Status.PASS),
    ("disk:free", disk(0.09 * SMALL, SMALL), Status.WARN),
    ("disk:free", disk(0.021 * SMALL, SMALL), Status.WARN),
    ("disk:free", disk(0.019 * SMALL, SMALL), Status.FAIL),
    ("disk:free", {"disk": None}, Status.WARN),
    ("log:events", {"head": Head()}, Status.PASS),
    ("log:syncLatency", {"commits": commits(checks.SYNC_WARN_SECONDS)}, Status.PASS),
    ("log:syncLatency", {"commits": commits(checks.SYNC_WARN_SECONDS + 0.01)}, Status.WARN),
    (
        "log:syncLatency",
        {
            "commits": commits(checks.SYNC_WARN_SECONDS + 0.01),
            "seconds_since_commit": checks.SYNC_RECENT_SECONDS + 1,
        },
        Status.PASS,
    ),
    ("log:pendingCommit", {"pending_seconds": checks.PENDING_WARN_SECONDS}, Status.PASS),
    ("log:pendingCommit", {"pending_seconds": checks.PENDING_WARN_SECONDS + 0.1}, Status.WARN),
    ("log:pendingCommit", {"pending_seconds": checks.PENDING_FAIL_SECONDS}, Status.WARN),
    ("log:pendingCommit", {"pending_seconds": checks.PENDING_FAIL_SECONDS + 0.1}, Status.FAIL),
    ("index:unsavedEvents", {"unsaved_event_count": 10_000_000}, Status.PASS),
    ("index:unsavedEvents", {"has_snapshot_failed": True}, Status.WARN),
    ("tree:events", proving(), Status.PASS),
    ("tree:events", proving(error="the disk is full"), Status.WARN),
    ("tree:checkpoint", proving(checkpoint_size=None), Status.PASS),
    ("tree:checkpoint", proving(contradiction="it is another one"), Status.FAIL),
    ("tree:witnesses", witnesses(COSIGNING, COSIGNING), Status.PASS),
    ("tree:witnesses", witnesses(COSIGNING, FAILING), Status.WARN),
    ("tree:witnesses", witnesses(FAILING, CONTRADICTING), Status.FAIL),
    ("store:writability", {"condition": Condition.CATCHING_UP}, Status.FAIL),
    ("store:writability", {"condition": Condition.JOURNAL_UNREACHABLE}, Status.FAIL),
    ("store:writability", {"condition": Condition.FOLLOWING}, Status.PASS),
    ("cluster:journal", mirror(), Status.PASS),
    ("cluster:journal", mirror(unreachable_since=NOW, unreachable_reason="gone"), Status.FAIL),
    ("cluster:journal", mirror(failure="it has other events"), Status.FAIL),
    ("cluster:behind", mirror(behind_events=9), Status.PASS),
    ("cluster:behind", mirror(is_caught_up=False), Status.FAIL),
    ("cluster:nodes", mirror(nodes=1), Status.PASS),
    ("cluster:nodes", mirror(mismatches=("another key",)), Status.WARN),
    ("follower:source", following(state=FollowingState.CONNECTING), Status.WARN),
    ("follower:source", following(state=FollowingState.CATCHING_UP), Status.WARN),
    ("follower:source", following(state=FollowingState.FOLLOWING), Status.PASS),
    ("follower:source", following(state=FollowingState.UNREACHABLE, reason="gone"), Status.WARN),
    ("follower:source", following(state=FollowingState.BEHIND, reason="it has 3"), Status.WARN),
    ("follower:source", following(state=FollowingState.REFUSED, reason="event 3"), Status.FAIL),
    ("follower:source", following(storing_failure="no room"), Status.FAIL),
    ("follower:lagEvents", following(lag_events=1_000_000), Status.PASS),
    ("follower:lagSeconds", following(lag_seconds=checks.LAG_WARN_SECONDS), Status.PASS),
    ("follower:lagSeconds", following(lag_seconds=checks.LAG_WARN_SECONDS + 0.1), Status.WARN),
    ("tls:certificateEnd", {"certificate_ends_at": NOW + 30 * DAY}, Status.PASS),
    ("tls:certificateEnd", {"certificate_ends_at": NOW + 30 * DAY - 1}, Status.WARN),
    ("tls:certificateEnd", {"certificate_ends_at": NOW + 1}, Status.WARN),
    ("tls:certificateEnd", {"certificate_ends_at": NOW}, Status.FAIL),
    ("http:connections", {"http": Statistics(connections=90)}, Status.PASS),
    ("http:connections", {"http": Statistics(connections=91)}, Status.WARN),
    ("http:observers", {"observer_count": OBSERVERS_MAX * 9 // 10}, Status.PASS),
    ("http:observers", {"observer_count": OBSERVERS_MAX * 9 // 10 + 1}, Status.WARN),
    ("process:eventLoopDelay", {"longest_loop_delay": 1.0}, Status.PASS),
    ("process:eventLoopDelay", {"longest_loop_delay": 1.001}, Status.WARN),
    ("process:openFiles", open_files(90), Status.PASS),
    ("process:openFiles", open_files(91), Status.WARN),
)


def found(name: str, **changes: Any) -> Finding | None:
    findings = {check.name: finding for check, finding in judge(replace(WELL, **changes))}
    return findings.get(name)


@pytest.mark.parametrize("name, changes, status", CASES)
def test_a_check_finds_what_it_is_for(name: str, changes: dict[str, Any], status: Status) -> None:
    finding = found(name, **changes)

    assert finding is not None
    assert finding.status is status
    # What is wrong is said in words, and nothing is where nothing is wrong.
    assert bool(finding.output) == (status is not Status.PASS)


@pytest.mark.parametrize(
    "name, changes",
    [
        ("log:lastEventId", {"head": Head()}),
        ("log:lastCommitTime", {"head": Head()}),
        ("log:syncLatency", {"commits": CommitFigures(), "seconds_since_commit": None}),
        ("tree:events", proving(tree_size=None)),
        ("tree:checkpoint", proving(has_key=False)),
        ("tree:witnesses", proving(witnesses=())),
        ("cluster:journal", {"mirror": None}),
        ("cluster:behind", {"mirror": None}),
        ("cluster:nodes", {"mirror": None}),
        ("follower:source", {"following": None}),
        ("follower:lagEvents", {"following": None}),
        ("follower:lagSeconds", {"following": None}),
        ("tls:certificateEnd", {"certificate_ends_at": None}),
        ("process:openFiles", open_files(None)),
    ],
)
def test_a_check_without_anything_to_look_at_is_left_out(
    name: str, changes: dict[str, Any]
) -> None:
    assert found(name) is not None
    assert found(name, **changes) is None


def test_a_server_that_is_well_passes_every_check() -> None:
    findings = [finding for _, finding in judge(WELL)]

    assert len(findings) == len(CHECKS)
    assert overall(findings) is Status.PASS


def test_the_worst_finding_decides() -> None:
    levels = {Status.PASS, Status.WARN, Status.FAIL}
    for first in levels:
        for second in levels:
            assert overall([Finding(1, first), Finding(1, second)]) is max(first, second)
    assert overall([]) is Status.PASS


def test_the_certificates_remaining_days_are_said() -> None:
    finding = found("tls:certificateEnd", certificate_ends_at=NOW + 3.5 * DAY)

    assert finding is not None
    assert "expires in 3 days" in finding.output
    assert finding.value == "2027-01-18T20:00:00.000Z"
