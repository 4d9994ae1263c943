"""The power goes at any moment, and the disk shows any state that it may show then.

Short runs are judged in every state; long ones, with everything that may happen to a server, in
states drawn at random. EVERLOG_POWER_STATES sets how many, EVERLOG_POWER_SEED which.
"""

from pathlib import Path

import pytest

from tests.support.events import a_candidate
from tests.support.power import ProcessDiedError
from tests.support.power_runs import (
    SEED,
    STATES,
    STATES_PER_LIFE,
    Judge,
    Life,
    Machine,
    ShowEverything,
    is_not_of_the_index,
    is_of_the_index,
    run_everything,
    run_with_a_failing_sync,
)

# The short runs have a few more; fewer would mean that nobody looks any more.
LOG_STATES_MIN = 450
INDEX_STATES_MIN = 40

# Each of the long runs begins with an empty directory.
LIVES = max(1, STATES // STATES_PER_LIFE)


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
    machine.save_snapshot()
    show.is_on = True

    machine.write([a_candidate("/a/b")])
    machine.write([a_candidate("/c", "io.everlog.other")], schema="io.everlog.one")
    machine.save_snapshot()
    machine.write([a_candidate("/a")])
    machine.stop()

    assert show.moment_count >= 20
    assert judge.state_count >= INDEX_STATES_MIN


@pytest.mark.slow
def test_what_a_start_shows_after_a_failed_sync_is_not_lost(tmp_path: Path) -> None:
    judge = Judge(tmp_path / "states")

    run_with_a_failing_sync(
        Machine(tmp_path / "machine", ShowEverything(judge, is_not_of_the_index))
    )

    assert judge.state_count >= 50


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
    assert deaths >= 20


@pytest.mark.slow
@pytest.mark.parametrize("life", range(LIVES))
def test_nothing_is_lost_in_a_long_life(tmp_path: Path, life: int) -> None:
    seed = f"{SEED}-{life}"
    try:
        Life(tmp_path, seed, state_count=STATES_PER_LIFE).live()
    except BaseException as error:
        error.add_note(f"seed {seed}: EVERLOG_POWER_SEED={SEED} EVERLOG_POWER_STATES={STATES}")
        raise
