"""The suite begins with what takes longest, and has more workers than cores."""

import os
from pathlib import Path

import pytest

from tests.support.scheduling import LONGEST_FILES, Placed, rank_of, worker_count
from tests.support.sources import REPOSITORY


@pytest.mark.parametrize("name", LONGEST_FILES)
def test_the_longest_files_are_there(name: str) -> None:
    assert (REPOSITORY / name).is_file()


def test_files_come_in_the_order_of_the_list_then_by_their_slow_tests() -> None:
    assert len({*LONGEST_FILES}) == len(LONGEST_FILES)
    first, second = (REPOSITORY / name for name in LONGEST_FILES[:2])
    slow, slower, quick = Path("/slow.py"), Path("/slower.py"), Path("/quick.py")
    tests = [
        Placed(quick, is_slow=False),
        Placed(slow, is_slow=True),
        Placed(second, is_slow=False),
        Placed(slower, is_slow=True),
        Placed(slower, is_slow=True),
        Placed(quick, is_slow=False),
        Placed(first, is_slow=True),
    ]

    ordered = sorted({test.path for test in tests}, key=rank_of(tests))

    assert ordered == [first, second, slower, slow, quick]


@pytest.mark.parametrize("cores, workers", [(1, 2), (2, 4), (4, 8)])
def test_there_are_more_workers_than_cores(
    cores: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(cores)}, raising=False)

    assert worker_count() == workers
