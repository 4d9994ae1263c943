"""The power goes at any moment, and the disk shows any state that it may show then.

Short runs are judged in every state; long ones, with everything that may happen to a server, in
states drawn at random. EVERLOG_POWER_STATES sets how many, EVERLOG_POWER_SEED which.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.events import a_candidate
from tests.support.power import ProcessDiedError
from tests.support.power_runs import STATES, STATES_PER_LIFE, Judge, Life, Machine

SEED = os.environ.get("EVERLOG_POWER_SEED", "1")

# More than any moment of a short run has.
EVERYTHING = 5_000

# The short runs have a few more; fewer would mean that nobody looks any more.
LOG_STATES_MIN = 700
INDEX_STATES_MIN = 100

# Each of the long runs begins with an empty directory.
LIVES = max(1, STATES // STATES_PER_LIFE)


class ShowEverything:
    """Judges every state of what is varied, at every moment."""

    def __init__(self, judge: Judge, is_varied: Callable[[str], bool]) -> None:
        self._judge = judge
        self._is_varied = is_varied
        self._seen: set[int] = set()
        self.is_on = True
        self.moment_count = 0

    def __call__(self, machine: Machine) -> None:
        if not self.is_on:
            return
        self.moment_count += 1
        count = machine.disk.count_states(is_varied=self._is_varied)
        assert count <= EVERYTHING, "the run is not short"
        rng = random.Random(SEED)
        for tree in machine.disk.states(rng, limit=EVERYTHING, is_varied=self._is_varied):
            key = hash((machine.log, *machine.attempts, *machine.types, frozenset(tree.items())))
            if key not in self._seen:
                self._seen.add(key)
                self._judge.judge(
                    tree, log=machine.log, attempts=machine.attempts, types=machine.types
                )


def is_of_the_index(path: str) -> bool:
    return path.startswith("/new/data/index")


def is_not_of_the_index(path: str) -> bool:
    return not is_of_the_index(path)


def run_everything(machine: Machine) -> None:
    """Do all that an engine does, over several segments, and start twice more."""
    machine.start()
    machine.write([a_candidate("/a")])
    machine.write([a_candidate("/a"), a_candidate("/b")], [a_candidate("/c")])
    machine.write([a_candidate("/a")], schema="io.everlog.one")
    machine.checkpoint()
    machine.write([a_candidate("/d")], schema="io.everlog.two")
    machine.write([a_candidate("/a/b/c"), a_candidate("/a")])
    machine.write([a_candidate("/a", data='{"text":"%s"}' % ("x" * 1_200))])
    machine.stop()
    machine.start()
    machine.write([a_candidate("/e")])
    machine.die()
    machine.start()
    machine.write([a_candidate("/f")])
    machine.show()
    machine.stop()


@pytest.mark.slow
def test_nothing_is_lost_in_any_state_of_log_schemas_and_names(tmp_path: Path) -> None:
    judge = Judge(tmp_path / "states")
    show = ShowEverything(judge, is_not_of_the_index)

    run_everything(Machine(tmp_path / "machine", show))

    assert show.moment_count >= 55
    assert judge.state_count >= LOG_STATES_MIN


@pytest.mark.slow
def test_nothing_is_lost_in_any_state_of_the_index(tmp_path: Path) -> None:
    judge = Judge(tmp_path / "states")
    show = ShowEverything(judge, is_of_the_index)
    machine = Machine(tmp_path / "machine", show)
    # The names of the files: in any combination, the index is rebuilt without one of them.
    show.is_on = False
    machine.start()
    machine.write([a_candidate("/a")])
    machine.checkpoint()
    show.is_on = True

    machine.write([a_candidate("/a/b")])
    machine.write([a_candidate("/c", "io.everlog.other")], schema="io.everlog.one")
    machine.checkpoint()
    machine.write([a_candidate("/a")])
    machine.stop()

    assert show.moment_count >= 20
    assert judge.state_count >= INDEX_STATES_MIN


@pytest.mark.slow
def test_a_process_that_dies_before_the_power_goes_changes_nothing(tmp_path: Path) -> None:
    """It dies at each call of its first start in turn, and is started again."""
    judge = Judge(tmp_path / "states")
    show = ShowEverything(judge, is_not_of_the_index)
    deaths = 0
    while True:
        machine = Machine(tmp_path / f"machine-{deaths}", show)
        machine.disk.calls_until_death = deaths + 1
        try:
            machine.start()
        except ProcessDiedError:
            deaths += 1
        else:
            break
        machine.disk.calls_until_death = None
        machine.start()
        machine.write([a_candidate("/a")])
        machine.show()
        machine.die()
    machine.die()
    assert deaths >= 30


@pytest.mark.slow
@pytest.mark.parametrize("life", range(LIVES))
def test_nothing_is_lost_in_a_long_life(tmp_path: Path, life: int) -> None:
    seed = f"{SEED}-{life}"
    try:
        Life(tmp_path, seed, state_count=STATES_PER_LIFE).live()
    except BaseException as error:
        error.add_note(f"seed {seed}: EVERLOG_POWER_SEED={SEED} EVERLOG_POWER_STATES={STATES}")
        raise
