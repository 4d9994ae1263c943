"""Nodes with a bug are noticed by the rack that finds nothing wrong with those without."""

from functools import partial
from pathlib import Path

import pytest

from tests.support.cluster_harms import Harm
from tests.support.cluster_rounds import Report, on_postgresql, run_round
from tests.support.planted_bugs import Bug

# A bug must be noticed after so many rounds at the latest.
ROUNDS_MAX = 4
SECONDS = 4.0
NODES = 2

CALM = ()
LOSING_ANSWERS = (Harm.PAUSE_JOURNAL, Harm.CUT_WAY_BACK)

# Each row: the bug, what harm brings it to light, and what is said about it.
NOTICED: tuple[tuple[Bug, tuple[Harm, ...], str], ...] = (
    (Bug.PUBLISHES_EARLY, CALM, "is lost"),
    (Bug.RENAMES_THE_UNKNOWN, LOSING_ANSWERS, "events, of which the log holds"),
    (Bug.PUTS_OFF_THE_UNKNOWN, LOSING_ANSWERS, "was told that nothing was stored, and is stored"),
    (Bug.READS_WITHOUT_BARRIER, CALM, "though the log went from"),
    (Bug.REFUSES_WITHOUT_ASKING, CALM, "was refused, but from"),
    (Bug.APPLIES_OUT_OF_ORDER, LOSING_ANSWERS, "other events than the journal"),
    (Bug.MISCOUNTS_PLACES, LOSING_ANSWERS, "other events than the journal"),
    (Bug.TRUSTS_WHAT_HELD, CALM, "where this did not hold"),
    (Bug.HIDES_THE_OTHERS, CALM, "observe"),
)


@pytest.mark.slow
@pytest.mark.parametrize("bug, harms, sentence", NOTICED)
def test_nodes_with_a_bug_are_noticed(
    tmp_path: Path, bug: Bug, harms: tuple[Harm, ...], sentence: str
) -> None:
    findings: list[str] = []
    for seed in range(ROUNDS_MAX):
        findings = run_round(
            tmp_path / str(seed),
            seed,
            partial(on_postgresql, node_count=NODES),
            Report(),
            seconds=SECONDS,
            bug=bug,
            only=harms,
        )
        if findings:
            break

    assert any(sentence in finding for finding in findings), findings[:5]
