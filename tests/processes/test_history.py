"""What clients of several processes were told can have happened one after the other.

EVERLOG_HISTORY_WRITES says how many writes there are, EVERLOG_HISTORY_SEED which ones.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.planted_bugs import Bug
from tests.support.rack import Rack
from tests.support.rack_server import Plan

WRITES = int(os.environ.get("EVERLOG_HISTORY_WRITES", "400")) // 2
SEED = int(os.environ.get("EVERLOG_HISTORY_SEED", "0"))

FLAG = "--processes=3"


def findings_of(directory: Path, *, bug: Bug | None = None, writes: int) -> Sequence[str]:
    """Return what is found in the life of a server, and what is left of the next one."""
    rack = Rack(directory, SEED, FLAG)
    findings = rack.live_until_stopped(Plan(bug=bug), writes=writes)
    history = rack.work.history
    assert findings or history.accepted_count > 50
    assert findings or len(history.reads) > 20
    return findings


@pytest.mark.slow
def test_the_history_of_clients_of_all_fronts_is_one_after_the_other(tmp_path: Path) -> None:
    findings = findings_of(tmp_path / "data", writes=WRITES)

    assert list(findings[:20]) == [], f"EVERLOG_HISTORY_SEED={SEED}"


@pytest.mark.slow
def test_an_owner_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    rack = Rack(tmp_path / "data", SEED, FLAG)

    findings = [
        *rack.live_until_killed(Plan(), writes=60),
        *rack.live_until_stopped(Plan(), writes=20),
    ]

    assert findings[:20] == [], f"EVERLOG_HISTORY_SEED={SEED}"


# Each row: the bug, and what is said about it.
NOTICED: tuple[tuple[Bug, str], ...] = (
    (Bug.POSTS_LATE, "though the log went from"),
    (Bug.SHOWS_WHAT_WAS, "though the log went from"),
    (Bug.WAKES_WITH_A_GAP, "observe"),
    (Bug.SWAPS_ANSWERS, "is not stored as it was acknowledged"),
)


@pytest.mark.slow
@pytest.mark.parametrize("bug, sentence", NOTICED)
def test_a_bug_of_several_processes_is_noticed_in_the_history(
    tmp_path: Path, bug: Bug, sentence: str
) -> None:
    findings = findings_of(tmp_path / "data", bug=bug, writes=150)

    assert any(sentence in finding for finding in findings), findings[:5]
