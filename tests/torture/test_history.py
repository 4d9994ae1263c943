"""What many clients were told at the same time can have happened one after the other.

The disk is slow, so that requests gather and are judged in groups; and the server is restarted, so
that observers go from what is stored to what comes.

EVERLOG_HISTORY_WRITES says how many writes there are, EVERLOG_HISTORY_SEED which ones.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.history import RIVAL, Refused
from tests.support.planted_bugs import Bug
from tests.support.rack import Rack
from tests.support.rack_server import Plan

WRITES = int(os.environ.get("EVERLOG_HISTORY_WRITES", "250"))
SEED = int(os.environ.get("EVERLOG_HISTORY_SEED", "0"))

SYNCS = (0.0, 0.004)


# With rivals, about one commit of so many is lost to them.
LOST_EVERY = 3


def findings_of(
    directory: Path, *, bug: Bug | None = None, writes: int, lost_every: int | None = None
) -> Sequence[str]:
    """Return what is found in two lives of a server."""
    rack = Rack(directory, SEED)
    for seconds in SYNCS:
        plan = Plan(sync_seconds=seconds, bug=bug, lost_every=lost_every)
        findings = rack.live_until_stopped(plan, writes=writes)
        if findings:
            return findings
    check_is_varied(rack)
    rivals = [write for write in rack.work.history.writes if write.key.startswith(RIVAL)]
    assert len(rivals) >= (0 if lost_every is None else 20)
    return []


def check_is_varied(rack: Rack) -> None:
    """Check that there was something to be found."""
    history = rack.work.history
    conditional = [write for write in history.writes if write.conditions]
    refused = [write for write in conditional if isinstance(write.outcome, Refused)]
    assert history.accepted_count > 50
    assert len(refused) > 20
    assert len(conditional) - len(refused) > 20
    assert {len(write.conditions) for write in conditional} == {1, 2}
    assert len(history.reads) > 50
    assert all(seen.sightings for seen in history.observations)
    assert any(history.schemas.values())


@pytest.mark.slow
def test_the_history_of_many_clients_is_one_after_the_other(tmp_path: Path) -> None:
    findings = findings_of(tmp_path / "data", writes=WRITES)

    assert list(findings[:20]) == [], f"EVERLOG_HISTORY_SEED={SEED}"


@pytest.mark.slow
def test_the_history_of_clients_with_rivals_is_one_after_the_other(tmp_path: Path) -> None:
    findings = findings_of(tmp_path / "data", writes=WRITES, lost_every=LOST_EVERY)

    assert list(findings[:20]) == [], f"EVERLOG_HISTORY_SEED={SEED}"


@pytest.mark.slow
def test_a_server_with_rivals_may_be_killed_and_loses_nothing(tmp_path: Path) -> None:
    rack = Rack(tmp_path / "data", SEED)
    plan = Plan(lost_every=LOST_EVERY)

    findings = [
        *rack.live_until_killed(plan, writes=100),
        *rack.live_until_killed(plan, writes=100),
        *rack.live_until_stopped(plan, writes=20),
    ]

    assert findings[:20] == [], f"EVERLOG_HISTORY_SEED={SEED}"


# Each row: the bug, and what is said about it.
NOTICED: tuple[tuple[Bug, str], ...] = (
    (Bug.JUDGES_TOO_EARLY, "where this did not hold"),
    (Bug.READS_THE_PAST, "though the log went from"),
    (Bug.ANSWERS_EARLY, "though the log went from"),
    (Bug.SKIPS_AT_HAND_OVER, "observe"),
)


@pytest.mark.slow
@pytest.mark.parametrize("bug, sentence", NOTICED)
def test_a_server_with_a_bug_is_noticed_in_its_history(
    tmp_path: Path, bug: Bug, sentence: str
) -> None:
    findings = findings_of(tmp_path / "data", bug=bug, writes=200)

    assert any(sentence in finding for finding in findings), findings[:5]


# What the others alone can notice, the state machine does (tests/properties/test_writer.py).
NOTICED_WHEN_LOST: tuple[tuple[Bug, str], ...] = (
    (Bug.TRUSTS_WHAT_HELD, "where this did not hold"),
    (Bug.ANSWERS_WHEN_LOST, "is not stored as it was acknowledged"),
    (Bug.KEEPS_LOST_SCHEMAS, "was answered 409"),
    (Bug.HIDES_THE_OTHERS, "observe"),
)


@pytest.mark.slow
@pytest.mark.parametrize("bug, sentence", NOTICED_WHEN_LOST)
def test_a_server_with_a_bug_and_rivals_is_noticed_in_its_history(
    tmp_path: Path, bug: Bug, sentence: str
) -> None:
    findings = findings_of(tmp_path / "data", bug=bug, writes=200, lost_every=LOST_EVERY)

    assert any(sentence in finding for finding in findings), findings[:5]
