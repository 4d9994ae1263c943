"""Nodes with a bug are noticed by the rack that finds nothing wrong with those without."""

import re
from functools import partial
from pathlib import Path

import pytest

from tests.support.cluster_harms import Harm
from tests.support.cluster_rounds import Report, on_postgresql, run_round
from tests.support.planted_bugs import Bug

# A bug must be noticed after so many rounds at the latest.
ROUNDS_MAX = 5
NODES = 2

# For how long there is which harm.
CALM = (2.0, ())
LONG_CALM = (6.0, ())
# Some of it longer than a node waits for an answer.
CUT_OFF = (5.0, (Harm.CUT_NODE,))

OTHER_EVENTS = "other events than the journal"

# Each row: the bug, what brings it to light, and what is said about it.
NOTICED: tuple[tuple[Bug, tuple[float, tuple[Harm, ...]], str], ...] = (
    (Bug.PUBLISHES_EARLY, CALM, "is lost"),
    (Bug.RENAMES_THE_UNKNOWN, CALM, "which the log holds|was refused and is stored"),
    (Bug.PUTS_OFF_THE_UNKNOWN, CALM, "was told that nothing was stored, and is stored"),
    (Bug.READS_WITHOUT_BARRIER, CALM, "though the log went from"),
    (Bug.REFUSES_WITHOUT_ASKING, LONG_CALM, "was refused, but from"),
    (Bug.APPLIES_OUT_OF_ORDER, CUT_OFF, OTHER_EVENTS),
    (Bug.MISCOUNTS_PLACES, CUT_OFF, OTHER_EVENTS),
    (Bug.TRUSTS_WHAT_HELD, CALM, "where this did not hold"),
    (Bug.HIDES_THE_OTHERS, CALM, "observe"),
)


@pytest.mark.slow
@pytest.mark.parametrize("bug, harm, sentence", NOTICED)
def test_nodes_with_a_bug_are_noticed(
    tmp_path: Path, bug: Bug, harm: tuple[float, tuple[Harm, ...]], sentence: str
) -> None:
    seconds, only = harm
    findings, is_noticed = list[str](), False
    for seed in range(ROUNDS_MAX):
        findings = run_round(
            tmp_path / str(seed),
            seed,
            partial(on_postgresql, node_count=NODES),
            Report(),
            seconds=seconds,
            bug=bug,
            only=only,
        )
        # Something else may be noticed first.
        if is_noticed := any(re.search(sentence, finding) for finding in findings):
            break

    assert is_noticed, findings[:5]
