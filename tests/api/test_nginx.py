"""Debian's nginx in front: every method passes, and streams are not held back."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventsourcingdb import Client, Event, ObserveEventsOptions, ReadEventsOptions

from tests.support.api import Connection, an_event
from tests.support.sdk import API_VERSIONS, Place, Sdk, collect, take
from tests.support.server import RunningServer, running_server
from tests.support.sources import REPOSITORY

CONFIGURATION = REPOSITORY / "tests" / "fixtures" / "nginx.conf"

# Servers are installed where only root's PATH looks, see tools/system_packages.py.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])


@pytest.fixture(scope="module")
def behind() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(behind: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of an nginx that passes everything on to the server."""
    directory = tmp_path_factory.mktemp("nginx")
    program = shutil.which("nginx", path=SEARCH_PATH)
    assert program is not None, "run tools/system_packages.py"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        configuration = directory / "nginx.conf"
        configuration.write_text(fill_in(directory, listen=port, behind=behind.port))
        with subprocess.Popen(
            [program, "-e", str(directory / "error.log"), "-c", str(configuration)],
            stderr=subprocess.DEVNULL,
            # nginx takes over a socket as it does when it replaces itself, so that the system
            # chooses the port.
            pass_fds=[listening.fileno()],
            env={"NGINX": f"{listening.fileno()};"},
        ) as process:
            listening.close()
            yield f"http://127.0.0.1:{port}"
            process.terminate()


def fill_in(directory: Path, *, listen: int, behind: int) -> str:
    text = CONFIGURATION.read_text()
    for name, value in (("directory", directory), ("listen", listen), ("behind", behind)):
        text = text.replace("{" + name + "}", str(value))
    return text


@pytest.mark.parametrize("api_version", API_VERSIONS)
def test_the_sdk_works_through_nginx(proxy: str, api_version: str) -> None:
    place = Place()

    async def work(client: Client) -> tuple[list[Event], list[Event]]:
        await client.verify_api_token()
        written = await client.write_events([place.event(), place.event()])
        options = ReadEventsOptions(recursive=True)
        read = await collect(client.read_events(place.subject, options))
        assert read == written
        observing = client.observe_events(place.subject, ObserveEventsOptions(recursive=True))
        observed = [await anext(observing), await anext(observing)]
        written += await client.write_events([place.event()])
        return written, observed + await take(observing, 1)

    written, observed = Sdk(proxy, api_version).run(work)

    assert observed == written
    for event in observed:
        event.verify_hash()


@pytest.mark.slow
@pytest.mark.parametrize("version", API_VERSIONS)
def test_an_event_and_heartbeats_come_through_nginx_in_time(proxy: str, version: str) -> None:
    with Connection(proxy) as connection, Connection(proxy) as writing:
        started = time.monotonic()
        items = connection.observe(version, f"/nginx-{version}")
        assert time.monotonic() - started < 0.8
        writing.write(an_event(f"/nginx-{version}"))
        assert next(items)["type"] == "event"
        assert time.monotonic() - started < 0.8

        assert [next(items)["type"] for _ in range(2)] == ["heartbeat"] * 2
        assert 1.9 < time.monotonic() - started < 3.5


def test_answers_are_those_of_the_server(proxy: str) -> None:
    with Connection(proxy) as connection:
        refused = connection.ask("QUERY", "/api/v2/data/read-events", headers={})
        assert (refused.status, refused.text) == (401, "unauthorized\n")
        for answer in (refused, connection.v2("read-events", {"subject": "x"})):
            assert answer.headers["Server"].startswith("EventSourcingDB/")
            assert len(answer.headers.get_all("Server")) == 1


def test_a_large_write_and_a_large_read_pass_whole(proxy: str) -> None:
    with Connection(proxy) as connection:
        events = [an_event("/large", data={"text": "x" * 60_000})] * 100
        written = connection.write(*events)

        read = connection.v2("read-events", {"subject": "/large"})

        assert read.events == written
        assert json.loads(read.body.splitlines()[-1]) == {"type": "end", "data": {}}
