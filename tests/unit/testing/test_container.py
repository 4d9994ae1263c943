"""What a container is told: its flags are run here, and Docker is on other machines."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from testcontainers.core import container as testcontainers
from testcontainers.core.config import ConnectionMode, testcontainers_config

from everlog.testing import EverlogContainer, EverlogServer


class FakeClient:
    """A client of a Docker engine: what it was told, and one container that says it listens."""

    def __init__(self, **_: Any) -> None:
        self.created: dict[str, Any] = {}
        self.client = SimpleNamespace(close=lambda: None)
        self.removed = 0

    def create(self, image: str, **options: Any) -> Any:
        self.created = {"image": image, **options}

        def remove(**_: Any) -> None:
            self.removed += 1

        return SimpleNamespace(
            id="a1",
            short_id="a1",
            status="running",
            reload=lambda: None,
            remove=remove,
            attrs={"State": {"Status": "running"}},
            logs=lambda **_: b'{"message":"listening","url":"http://0.0.0.0:3000"}\n',
        )

    def start(self, _: Any) -> None:
        """Nothing starts."""

    def get_connection_mode(self) -> ConnectionMode:
        return ConnectionMode.docker_host

    def host(self) -> str:
        return "docker.example"

    def port(self, _: str, port: int) -> str:
        return str(port + 40_000)


def test_a_container_is_told_what_a_server_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testcontainers, "DockerClient", FakeClient)
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    with EverlogContainer() as container:
        client: Any = container.get_docker_client()
        told = client.created
        assert told["image"].startswith("everlog:")
        assert told["environment"] == {"EVERLOG_API_TOKEN": container.token}
        assert [*told["ports"]] == ["3000"]
        # The token is on no command line, which everybody may read.
        assert container.token not in " ".join(told["command"])
        assert container.url == "http://docker.example:43000"
    assert client.removed == 1


@pytest.mark.slow
def test_the_flags_of_a_container_start_a_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(testcontainers, "DockerClient", FakeClient)
    container = EverlogContainer(token="of-the-test")
    assert isinstance(container._command, list)
    process = subprocess.Popen(
        [sys.executable, "-m", "everlog", *container._command, "--http-port=0", "--host=127.0.0.1"],
        env={**container.env, "TMPDIR": str(tmp_path), "PATH": ""},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    with process.stdout as output:
        assert any('"message":"listening"' in line for line in output)
        process.terminate()
    assert process.wait(60) == 0


def test_both_kinds_of_servers_have_the_same_names() -> None:
    names = ("start", "stop", "url", "__enter__")
    for kind in (EverlogContainer, EverlogServer):
        assert [name for name in names if not hasattr(kind, name)] == []
