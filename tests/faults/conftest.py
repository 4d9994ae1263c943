"""What holds for every test of faults: small files, since many directories are opened."""

import pytest

from everlog.storage.log import columns


@pytest.fixture(autouse=True)
def small_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 16)
