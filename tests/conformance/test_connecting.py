"""The SDK finds the server, over HTTP and HTTPS, and is told when its token is wrong."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from eventsourcingdb import (
    Client,
    DbApiError,
    ObserveEventsOptions,
    ReadEventsOptions,
    ReadSubjectsOptions,
)

from tests.support.balanced_cluster import Front
from tests.support.keys import write_certificate
from tests.support.sdk import Place, Sdk, collect, take
from tests.support.server import running_server, wait_until

Act = Callable[[Client], Awaitable[object]]


def test_answers_a_ping_even_with_a_wrong_token(api: Sdk) -> None:
    Sdk(api.url, api.api_version, token="wrong").run(lambda client: client.ping())


def test_verifies_the_token(api: Sdk) -> None:
    api.run(lambda client: client.verify_api_token())


ACTS: dict[str, Act] = {
    "verify_api_token": lambda client: client.verify_api_token(),
    "write_events": lambda client: client.write_events([Place().event()]),
    # The token is checked before anything else.
    "write_nothing": lambda client: client.write_events([]),
    "read_events": lambda client: collect(
        client.read_events("/", ReadEventsOptions(recursive=True))
    ),
    "observe_events": lambda client: take(
        client.observe_events("/", ObserveEventsOptions(recursive=True)), 1
    ),
    "read_subjects": lambda client: collect(
        client.read_subjects("/", ReadSubjectsOptions(recursive=True))
    ),
    "read_event_types": lambda client: collect(client.read_event_types()),
    "read_event_type": lambda client: client.read_event_type("malformed"),
    "register_event_schema": lambda client: client.register_event_schema("malformed", {}),
}


@pytest.mark.parametrize("name", ACTS)
def test_refuses_everything_else_with_a_wrong_token(api: Sdk, name: str) -> None:
    with pytest.raises(DbApiError) as raised:
        Sdk(api.url, api.api_version, token="wrong").run(ACTS[name])

    assert (raised.value.status, raised.value.description) == (401, "unauthorized")


def test_the_sdk_prefers_version_2(server: Front) -> None:
    assert Sdk(server.url).run(lambda client: client._get_api_version()) == "v2"


def test_serves_the_sdk_over_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_certificate(tmp_path)
    # The SDK trusts what the system trusts.
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", files.client_context())
    with running_server("--http-enabled=false", *files.flags) as server:
        assert server.url.startswith("https://127.0.0.1:")
        place = Place()

        async def work(client: Client) -> int:
            await client.write_events([place.event()])
            await take(client.observe_events("/", ObserveEventsOptions(recursive=True)), 1)
            return len(await collect(client.read_events("/", ReadEventsOptions(recursive=True))))

        assert Sdk(server.url).run(work) == 1
        assert server.stop() == 0


def test_http_and_https_serve_the_same_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_certificate(tmp_path)
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", files.client_context())
    with running_server(*files.flags) as server:
        wait_until(lambda: len(server.urls) == 2)
        secure, plain = server.urls
        Sdk(secure).run(lambda client: client.write_events([Place().event()]))

        async def read(client: Client) -> int:
            return len(await collect(client.read_events("/", ReadEventsOptions(recursive=True))))

        assert (secure.partition(":")[0], plain.partition(":")[0]) == ("https", "http")
        assert Sdk(plain).run(read) == 1
