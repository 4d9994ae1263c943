"""A server that is killed at any moment has kept every promise that it made to any client.

It is killed at a random moment, and at each moment that has a name, while clients write, read and
observe; then the next one lives on the same directory. Everything that the clients were ever told
is held against the log, in each life.

EVERLOG_KILL_SEEDS says how many seeds there are, EVERLOG_KILL_SEED repeats one of them.
"""

import os
import random
from pathlib import Path

import pytest

from tests.support.planted_bugs import Bug
from tests.support.rack import Rack
from tests.support.rack_server import NODE_MOMENTS, SPOTS, Kill, Moment, Plan, Side, Spot

SEED_COUNT = int(os.environ.get("EVERLOG_KILL_SEEDS", "4"))
REPEATED = os.environ.get("EVERLOG_KILL_SEED")

SEEDS = range(SEED_COUNT) if REPEATED is None else [int(REPEATED)]
# Every fourth seed kills at each moment that has a name, about forty of them.
SEEDS_OF_MOMENTS = range(0, SEED_COUNT, 4) if REPEATED is None else [int(REPEATED)]

KILLS = 3
WRITES_MAX = 150

# A bug must be noticed after so many kills at the latest.
ROUNDS_MAX = 20


MOMENTS = [moment for moment in Moment if moment not in NODE_MOMENTS]

# What only the process that syncs brings about, and what it keeps from coming about.
OF_THE_PROCESS = (Moment.HAND_OVER, Moment.SYNCED)
OF_THE_THREAD = (Moment.SYNC,)


def a_plan(rng: random.Random, *, kill: Kill | None = None, bug: Bug | None = None) -> Plan:
    """Return a plan for a fast disk with a process that syncs, or for a slow one without."""
    seconds = [0.0, 0.001, 0.005]
    if kill is not None and kill.moment in OF_THE_PROCESS:
        seconds = [0.0]
    elif bug is not None or (kill is not None and kill.moment in OF_THE_THREAD):
        seconds = [0.001, 0.005]
    return Plan(sync_seconds=rng.choice(seconds), kill=kill, bug=bug)


def check_nothing_found(findings: list[str], seed: int) -> None:
    if findings:
        again = f"EVERLOG_KILL_SEED={seed} repeats the choices of this run"
        pytest.fail("\n".join([again, *findings[:20]]), pytrace=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_server_killed_at_any_moment_has_kept_every_promise(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rack = Rack(tmp_path / "data", seed)
    for _ in range(KILLS):
        writes = rng.choice([0, 1, rng.randrange(WRITES_MAX)])
        check_nothing_found(rack.live_until_killed(a_plan(rng), writes=writes), seed)

    check_nothing_found(rack.live_until_stopped(a_plan(rng), writes=20), seed)
    check_nothing_found(rack.live_until_stopped(a_plan(rng)), seed)
    assert rack.work.history.accepted_count >= 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS_OF_MOMENTS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_server_killed_at_a_named_moment_has_kept_every_promise(
    tmp_path: Path, moment: Moment, seed: int
) -> None:
    rng = random.Random(f"{moment} {seed}")
    rack = Rack(tmp_path / "data", seed)
    spot = SPOTS[moment]
    for side in spot.sides:
        plan = a_plan(rng, kill=Kill(moment, side, a_hit(spot, rng)))
        check_nothing_found(rack.live_until_killed(plan), seed)

    check_nothing_found(rack.live_until_stopped(a_plan(rng), writes=5), seed)


def a_hit(spot: Spot, rng: random.Random) -> int:
    """Return one of the calls of a function, the early ones as often as all others."""
    return rng.randint(1, rng.choice([spot.hits_max, max(1, spot.hits_max // 10)]))


# Each row: the bug, a moment that brings it to light, and what is said about it.
NOTICED: tuple[tuple[Bug, Kill | None, str], ...] = (
    (Bug.ANSWERS_EARLY, None, "is lost"),
    (Bug.TEARS_WRITES, Kill(Moment.WRITE, Side.HALFWAY, 40), "of which the log holds"),
    (Bug.STORES_HALF, None, "is not stored as it was acknowledged"),
    (Bug.REUSES_IDS, None, "ended with 4"),
    (Bug.SKIPS_AT_HAND_OVER, None, "observed"),
)


@pytest.mark.slow
@pytest.mark.parametrize("bug, kill, sentence", NOTICED)
def test_a_server_with_a_bug_is_noticed_when_it_is_killed(
    tmp_path: Path, bug: Bug, kill: Kill | None, sentence: str
) -> None:
    rng = random.Random(bug)
    rack = Rack(tmp_path / "data", 0)
    findings: list[str] = []
    for _ in range(ROUNDS_MAX):
        plan = a_plan(rng, kill=kill, bug=bug)
        findings = rack.live_until_killed(plan, writes=60)
        if findings:
            break

    assert any(sentence in finding for finding in findings), findings
