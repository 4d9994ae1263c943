"""What holds for every test: how generated cases are chosen, and where the older SDK lives."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.sources import REPOSITORY

# The same cases in every run: a red test is then the fault of the change. `make test-all` looks
# for new ones. A deadline would measure the machine and its other work, not the code.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=1_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def sdk_v1_directory() -> Path:
    """Return the folder of the client SDK 1.9.x, for the PYTHONPATH of a subprocess.

    It cannot be imported here, where the newest SDK has the same name.
    """
    directory = REPOSITORY / ".venv" / "sdk-v1"
    assert (directory / "eventsourcingdb").is_dir(), "run `make setup`"
    return directory
