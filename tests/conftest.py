"""What holds for every test: how cases are generated, in what order files run, the older SDK."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.scheduling import Placed, rank_of, worker_count
from tests.support.sources import REPOSITORY

# The same cases in every run: a red test is then the fault of the change. `make test-all` looks
# for new ones. A deadline would measure the machine and its other work, not the code.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=1_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# What tests start finds Everlog compiled: otherwise each process would compile it anew, which takes
# as long as all else that starting needs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers `-n logical` starts."""
    return worker_count()


def pytest_configure(config: pytest.Config) -> None:
    """Let workers take files in the order of collection."""
    # They would begin with those of most tests, and end with those of one test that takes long.
    config.option.loadscopereorder = False
    # Collecting makes millions of objects and lets go of none.
    gc.disable()


def pytest_collection_finish() -> None:
    """Let the collector of garbage look at what tests make, and not at the tests each time."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    rank = rank_of(Placed(item.path, item.get_closest_marker("slow") is not None) for item in items)
    items.sort(key=lambda item: rank(item.path))


@pytest.fixture(scope="session")
def sdk_v1_directory() -> Path:
    """Return the folder of the client SDK 1.9.x, for the PYTHONPATH of a subprocess.

    It cannot be imported here, where the newest SDK has the same name.
    """
    directory = REPOSITORY / ".venv" / "sdk-v1"
    assert (directory / "eventsourcingdb").is_dir(), "run `make setup`"
    return directory
