"""`everlog mcp` over both transports: the SDK's own client asks, a real server is behind."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from mcp import Client

import everlog
from everlog.mcp.tools import TOOLS
from tests.support.api import Connection, an_event
from tests.support.mcp_servers import (
    MCP_TOKEN,
    RunningMcp,
    http_client,
    running_mcp,
    stdio_client,
)
from tests.support.server import TOKEN, RunningServer, run_to_end, running_server

READING: Final = [
    "esdb_ping",
    "esdb_verify_api_token",
    "esdb_read_events",
    "esdb_run_eventql_query",
    "esdb_read_subjects",
    "esdb_read_event_types",
    "esdb_read_event_type",
]
WRITING: Final = ["esdb_write_events", "esdb_register_event_schema"]

# Reads as many combinations as there are triples of events: longer than a test may take.
ENDLESS: Final = (
    "FROM a IN events FROM b IN events FROM c IN events "
    "WHERE a.data.n + b.data.n + c.data.n < 0 PROJECT INTO 1"
)

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        with Connection(server.url) as connection:
            for first in range(0, 1_000, 100):
                events = [an_event(data={"n": n}) for n in range(first, first + 100)]
                connection.write(*events)
        yield server


@pytest.fixture(scope="module")
def environment(server: RunningServer) -> dict[str, str]:
    return {
        "EVERLOG_URL": server.url,
        "EVERLOG_API_TOKEN": TOKEN,
        "EVERLOG_MCP_TOKEN": MCP_TOKEN,
    }


@pytest.fixture(scope="module")
def listening(environment: dict[str, str]) -> Iterator[RunningMcp]:
    with running_mcp("--allow-writes", environment=environment) as running:
        yield running


@pytest.fixture(params=["stdio", "http"])
def connect(
    request: pytest.FixtureRequest, environment: dict[str, str], listening: RunningMcp
) -> Connect:
    @asynccontextmanager
    async def connecting(mode: str = "auto") -> AsyncIterator[Client]:
        if request.param == "http":
            async with http_client(listening.url, mode=mode) as client:
                yield client
        else:
            async with stdio_client("--allow-writes", environment=environment, mode=mode) as client:
                yield client

    return connecting


def run(work: Callable[[], Any]) -> None:
    asyncio.run(work())


async def call(client: Client, name: str, **arguments: Any) -> Any:
    """Return what a tool gives back, which is the same as text and as structure."""
    result: Any = await client.call_tool(name, arguments)
    (content,) = result.content
    assert json.loads(content.text) == result.structured_content
    assert TOKEN not in content.text
    assert MCP_TOKEN not in content.text
    return {**result.structured_content, "isError": result.is_error}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_finds_the_tools_and_works_with_the_store(connect: Connect, mode: str) -> None:
    async def work() -> None:
        async with connect(mode) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert list(tools) == [*READING, *WRITING]
            for name, tool in tools.items():
                assert tool.annotations is not None
                assert tool.annotations.read_only_hint == (name in READING)
                assert tool.description == TOOLS[name].description
                assert tool.input_schema["type"] == "object"
                assert "$ref" not in json.dumps(tool.input_schema)

            assert not (await call(client, "esdb_ping"))["isError"]
            assert not (await call(client, "esdb_verify_api_token"))["isError"]
            found = await call(client, "esdb_read_events", subject="/", recursive=True, limit=2)
            assert [event["id"] for event in found["events"]] == ["0", "1"]
            assert not found["isComplete"]
            query = "FROM e IN events WHERE e.data.n < 100 PROJECT INTO COUNT()"
            found = await call(client, "esdb_run_eventql_query", query=query)
            assert found["rows"] == [100]
            found = await call(client, "esdb_read_subjects")
            assert found["subjects"][0] == "/"
            assert (await call(client, "esdb_read_event_types"))["count"] >= 1
            refused = await call(client, "esdb_run_eventql_query", query="FROM")
            assert refused["isError"]
            assert refused["error"]["code"] == "query-malformed"

    run(work)


@pytest.mark.slow
def test_what_a_client_writes_is_in_the_store_as_it_was_sent(
    connect: Connect, server: RunningServer, request: pytest.FixtureRequest
) -> None:
    subject = f"/written/{request.node.callspec.id}"
    data = {"text": "caf\u00e9 \u2028 \U0001f600 <b>", "large": 2**53 + 1, "nested": {"a": [None]}}

    async def work() -> None:
        async with connect() as client:
            event = {**an_event(subject=subject), "data": data}
            written = await call(
                client,
                "esdb_write_events",
                events=[event],
                preconditions=[{"type": "isSubjectPristine", "payload": {"subject": subject}}],
            )
            assert not written["isError"]
            read = await call(client, "esdb_read_events", subject=subject)
            assert read["events"][0]["data"] == data
            again = await call(
                client,
                "esdb_write_events",
                events=[event],
                preconditions=[{"type": "isSubjectPristine", "payload": {"subject": subject}}],
            )
            assert again["error"]["code"] == "precondition-violated"

    run(work)
    with everlog.connect(server.url, token=TOKEN) as store:
        assert [event.data for event in store.read(subject)] == [data]


@pytest.mark.slow
def test_without_being_told_otherwise_it_only_reads(
    environment: dict[str, str], server: RunningServer
) -> None:
    async def work() -> None:
        flags = ("--items-max=3", "--seconds-max=0.5")
        async with stdio_client(*flags, environment=environment) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == READING
            for name in WRITING:
                refused = await call(client, name, events=[an_event(subject="/never")])
                assert refused["isError"]
                assert refused["error"]["code"] == "writing-not-allowed"
            # It does not hold on to what would never end, and can be asked again.
            cut = await call(client, "esdb_run_eventql_query", query=ENDLESS)
            assert "it took longer than 0.5 seconds" in cut["notice"]
            found = await call(client, "esdb_read_events", subject="/", recursive=True, limit=50)
            assert found["count"] == 3

    run(work)
    with everlog.connect(server.url, token=TOKEN) as store:
        assert [*store.read("/never")] == []


@pytest.mark.slow
def test_a_server_that_goes_away_is_an_error_and_one_that_comes_back_is_asked_again(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        with running_server(data_directory=tmp_path / "data") as server:
            variables = {"EVERLOG_URL": server.url, "EVERLOG_API_TOKEN": TOKEN}
            connected = stdio_client(environment=variables)
            client = await connected.__aenter__()
            port = server.port
            assert not (await call(client, "esdb_ping"))["isError"]
            server.stop()
        try:
            gone = await call(client, "esdb_read_subjects")
            assert gone["isError"]
            assert gone["error"]["code"] == "unreachable"
            with running_server(f"--http-port={port}", data_directory=tmp_path / "data"):
                assert (await call(client, "esdb_read_subjects"))["subjects"] == []
        finally:
            await connected.__aexit__(None, None, None)

    run(work)


@pytest.mark.slow
def test_a_data_directory_is_read_beside_its_server(server: RunningServer) -> None:
    async def work() -> None:
        flags = ("--data-directory", str(server.data_directory), "--seconds-max=0.5")
        async with stdio_client(*flags, environment={}) as client:
            found = await call(client, "esdb_read_events", subject="/", recursive=True, limit=1)
            assert found["events"][0]["id"] == "0"
            told = await call(client, "esdb_verify_api_token")
            assert "There is no token" in told["message"]
            cut = await call(client, "esdb_run_eventql_query", query=ENDLESS)
            assert "it took longer than 0.5 seconds" in cut["notice"]

    run(work)


@pytest.mark.slow
def test_a_data_directory_is_written_without_a_server(tmp_path: Path) -> None:
    async def work() -> None:
        flags = ("--data-directory", str(tmp_path), "--allow-writes", "--seconds-max=0.5")
        async with stdio_client(*flags, environment={}) as client:
            events = [{**an_event(), "data": {"n": n}} for n in range(1_000)]
            assert (await call(client, "esdb_write_events", events=events))["count"] == 1_000
            cut = await call(client, "esdb_run_eventql_query", query=ENDLESS)
            assert "it took longer than 0.5 seconds" in cut["notice"]

    run(work)
    with everlog.open(tmp_path) as store:
        assert len([*store.read("/", recursive=True)]) == 1_000


def answer_to(listening: RunningMcp, **headers: str | None) -> tuple[int, str]:
    """Return status and body of the answer to a request whose headers are right but for these."""
    address = urlsplit(listening.url)
    given: dict[str, str | None] = {
        "Authorization": f"Bearer {MCP_TOKEN}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    assert address.hostname is not None
    connection = HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})
        sent = {name: value for name, value in given.items() if value is not None}
        connection.request("POST", address.path, body, sent)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Host": "localhost:3100"}, 200),
        ({"Origin": "http://localhost:6274"}, 200),
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {MCP_TOKEN}"}, 401),
        # The token of the store is not that of clients.
        ({"Authorization": f"Bearer {TOKEN}"}, 401),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:3100"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_over_http_only_who_has_the_token_and_comes_by_a_known_name_is_answered(
    listening: RunningMcp, headers: dict[str, str | None], status: int
) -> None:
    found, body = answer_to(listening, **headers)

    assert found == status
    assert ("esdb_ping" in body) == (status == 200)


@pytest.mark.slow
def test_it_ends_when_it_is_told_to_and_says_no_secret(
    environment: dict[str, str], server: RunningServer
) -> None:
    with running_mcp("--allowed-host=store.example", environment=environment) as running:
        assert answer_to(running, Host="store.example")[0] == 200
        assert answer_to(running, Host="other.example", X_Secret="a-secret")[0] == 421

        async def work() -> None:
            async with http_client(running.url) as client:
                await client.list_tools()

        run(work)
        code = running.stop()

    assert (code, running.said) == (0, f"listening at {running.url}\n")
    assert "a-secret" not in b"".join(server.output).decode()


@pytest.mark.slow
def test_without_a_token_of_their_own_clients_use_that_of_the_store(
    environment: dict[str, str],
) -> None:
    variables = {**environment, "EVERLOG_MCP_TOKEN": ""}
    with running_mcp(environment=variables) as running:
        assert answer_to(running, Authorization=f"Bearer {TOKEN}")[0] == 200
        assert running.stop() == 0
        assert "clients use the token of the store" in running.said
        assert TOKEN not in running.said


@pytest.mark.parametrize(
    "flags, variables, code, words",
    [
        ((), {}, 2, "say which store"),
        (("--http",), {"EVERLOG_MCP_TOKEN": "caf\u00e9"}, 2, "EVERLOG_MCP_TOKEN has to hold one"),
        (("--http", "--mcp-token-file=/none"), {}, 2, "--mcp-token-file /none has to hold"),
        (("--http", "--address=everywhere"), {}, 2, "is no IP address"),
        (("--http", "--address=0.0.0.0"), {}, 2, "--allowed-host"),
        (("--seconds-max=0",), {}, 2, "--seconds-max"),
    ],
    ids=["no-store", "strange-token", "no-token-file", "no-address", "everybody", "no-time"],
)
def test_what_is_wrong_on_the_command_line_is_named(
    environment: dict[str, str],
    flags: tuple[str, ...],
    variables: dict[str, str],
    code: int,
    words: str,
) -> None:
    given = {**environment, **variables} if flags else {}
    ended = run_to_end("mcp", *flags, environment=given)

    assert ended.code == code
    assert words in ended.errors
    assert TOKEN not in ended.errors


def test_a_server_that_refuses_the_token_is_told_at_once(environment: dict[str, str]) -> None:
    ended = run_to_end("mcp", environment={**environment, "EVERLOG_API_TOKEN": "wrong-token"})

    assert ended.code == 8
    assert "does not take the token" in ended.errors
    assert "wrong-token" not in ended.errors


def test_without_the_extra_it_says_what_brings_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "mcp_types.py").write_text("raise ModuleNotFoundError(name='mcp_types')\n")
    done = subprocess.run(
        [sys.executable, "-m", "everlog", "mcp"],
        env={**environment, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    assert "pip install 'everlog[mcp]'" in done.stderr
