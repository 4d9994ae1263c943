"""A clock that jumps, forth by years and back to 1970, disturbs nothing but the times.

Times never go back, which the chain's check in each life of the server sees to, and ids have no
gaps; whatever else the clients were told is held against the log as ever.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.planted_bugs import Bug
from tests.support.rack import Rack
from tests.support.rack_server import Plan
from tests.support.server import wait_until

NOON_2027 = 1_800_000_000_000_000_000
DAY = 86_400_000_000_000

LIVES = 3
JUMPS = 12
WRITES_PER_JUMP = 4


def a_reading(rng: random.Random) -> int:
    """Return what a clock shows that is set by hand, by a satellite, or by an empty battery."""
    return rng.choice(
        [
            0,
            NOON_2027,
            NOON_2027 + rng.randrange(-DAY, DAY),
            NOON_2027 + 3_650 * DAY,
            NOON_2027 + rng.randrange(1_000),
        ]
    )


def findings_of(directory: Path, *, bug: Bug | None = None) -> Sequence[str]:
    """Return what is found in several lives with a clock that jumps all the time."""
    rng = random.Random(27)
    clock = directory / "clock"
    rack = Rack(directory / "data", 27)
    history = rack.work.history

    def set_clock() -> None:
        draft = clock.with_suffix(".new")
        draft.write_text(str(a_reading(rng)))
        # In one step: the server may be reading.
        draft.replace(clock)

    def jump() -> None:
        for _ in range(JUMPS):
            set_clock()
            wanted = history.accepted_count + WRITES_PER_JUMP
            wait_until(lambda wanted=wanted: history.accepted_count >= wanted)

    for _ in range(LIVES):
        set_clock()
        plan = Plan(clock_file=str(clock), bug=bug)
        findings = rack.live_until_stopped(plan, meanwhile=jump)
        if findings:
            return findings
    return []


@pytest.mark.slow
def test_a_clock_that_jumps_disturbs_nobody(tmp_path: Path) -> None:
    assert findings_of(tmp_path) == []


@pytest.mark.slow
def test_a_server_that_trusts_its_clock_is_noticed(tmp_path: Path) -> None:
    findings = findings_of(tmp_path, bug=Bug.TRUSTS_THE_CLOCK)

    assert any("not a chain" in finding for finding in findings), findings
