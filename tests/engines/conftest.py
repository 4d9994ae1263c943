"""The engines that must keep the contract."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from everlog.storage.engine import Engine
from tests.support.engines import open_log
from tests.support.memory_engine import MemoryEngine

MAKERS: dict[str, Callable[[Path], Engine]] = {
    "memory": lambda _: MemoryEngine(),
    "log": lambda directory: open_log(directory / "data"),
}


@pytest.fixture(params=sorted(MAKERS))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = MAKERS[request.param](tmp_path)
    yield made
    made.close()
