"""The server of the pages: started as `make run` starts it, on a port that the system chooses."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.server import RunningServer, started_process
from tests.support.sources import REPOSITORY


@dataclass(frozen=True)
class Checkout:
    """A folder that looks like a clone in which `make run` is running."""

    directory: Path
    server: RunningServer

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    script = tmp_path / "tools" / "run_development_server.py"
    script.parent.mkdir()
    shutil.copyfile(REPOSITORY / "tools" / "run_development_server.py", script)
    # It starts the server of the environment that runs it, which has data for each port.
    command = [sys.executable, str(script), "--port=0"]
    with started_process(command, tmp_path / ".everlog" / "data-0", {}) as server:
        server.wait_for_log("listening")
        # The system has chosen the port only now.
        context = tmp_path / ".everlog" / "context.toml"
        context.write_text(context.read_text().replace(":0", f":{server.port}"))
        yield Checkout(tmp_path, server)
