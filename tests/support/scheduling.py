"""Which test runs when, and on how many workers, so that all are done early.

A worker takes a file as a whole. Files that take long begin first: begun last, one of them would
be left over when all other workers are done. Nothing depends on that but the time.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.sources import REPOSITORY

# The longest first. What is not here follows by how many slow tests it has.
LONGEST_FILES: Final = (
    "tests/test_benchmarks.py",
    "tests/torture/test_cluster_bugs.py",
    "tests/torture/test_kill.py",
    "tests/deployment/test_release.py",
    "tests/api/test_restore.py",
    "tests/torture/test_memory.py",
    "tests/faults/test_every_call.py",
    "tests/torture/test_history.py",
    "tests/torture/test_cluster_absences.py",
    "tests/security/test_bad_input.py",
    "tests/journals/test_contract.py",
    "tests/api/test_hostile_queries.py",
    "tests/api/test_large_writes.py",
    "tests/api/test_backup_command.py",
    "tests/docs/test_application_pages.py",
    "tests/api/test_following.py",
    "tests/api/test_verify_store.py",
    "tests/torture/test_copies.py",
    "tests/journals/test_postgresql_failing.py",
    "tests/deployment/test_service.py",
    "tests/api/test_query_command.py",
    "tests/docs/test_api.py",
    "tests/api/test_cluster.py",
    "tests/api/test_moving_into_a_journal.py",
    "tests/unit/service/querying/test_plans.py",
    "tests/conformance/test_witnesses.py",
    "tests/api/test_signals.py",
    "tests/torture/test_soak.py",
    "tests/torture/test_following.py",
    "tests/torture/test_cluster_postgresql.py",
    "tests/torture/test_cluster_nats.py",
    "tests/torture/test_two_processes.py",
    "tests/journals/test_nats_failing.py",
    "tests/journals/test_patroni.py",
    "tests/faults/test_planted_bugs.py",
    "tests/faults/test_power_states.py",
    "tests/test_setup.py",
    "tests/test_tidy.py",
)


class Placed(NamedTuple):
    """A test as far as its place depends on it."""

    path: Path
    is_slow: bool


def worker_count() -> int:
    """Return how many workers there are: while one waits for a server or a disk, others work."""
    core_count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return 2 * core_count


def rank_of(tests: Iterable[Placed]) -> Callable[[Path], tuple[int, int]]:
    """Return what tells a file's rank: those that come first have the least."""
    slow_counts = Counter(test.path for test in tests if test.is_slow)
    places = {REPOSITORY / name: place for place, name in enumerate(LONGEST_FILES)}
    return lambda path: (places.get(path, len(places)), -slow_counts[path])
