"""Data directories to read."""

from pathlib import Path

import pytest

from everlog.storage.log import columns
from tests.support.audits import fill_directory, kill_while_writing


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data directory with everything that there is, after a clean stop."""
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 16)
    fill_directory(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def killed(directory: Path) -> Path:
    """Return the directory after the death of the process, with the bound of one batch ago."""
    kill_while_writing(directory)
    return directory
