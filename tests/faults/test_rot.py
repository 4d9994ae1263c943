"""Bits flip in stored files: audits tell which event it is, and nothing is cut silently.

EVERLOG_ROT_FLIPS sets how many bits, EVERLOG_ROT_SEED which.
"""

import os
import random
from pathlib import Path

import pytest

from tests.support.rot import Directory, Judge, Part

FLIPS = int(os.environ.get("EVERLOG_ROT_FLIPS", "200"))
SEED = os.environ.get("EVERLOG_ROT_SEED", "1")


@pytest.mark.slow
def test_no_flipped_bit_stays_hidden(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "data")
    judge = Judge(directory, tmp_path / "copies")
    rng = random.Random(SEED)
    parts = set()
    for number in range(FLIPS):
        flip = directory.draw(rng)
        parts.add(flip.part)
        try:
            judge.judge(flip)
        except BaseException as error:
            error.add_note(f"EVERLOG_ROT_SEED={SEED}, number {number}: {flip}")
            raise

    assert parts == set(Part)
