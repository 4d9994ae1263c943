"""`everlog mcp` as clients have it: the SDK's client starts it, or asks it over HTTP."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.support.server import DEADLINE_SECONDS, EVERLOG, clean_environment

MCP_TOKEN: Final = "the-token-of-the-clients"

_LISTENING: Final = re.compile(r"^listening at (\S+)$", re.MULTILINE)


class RunningMcp:
    """A process that listens for HTTP: its URL, and what it has said, once it has ended."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, said: str) -> None:
        self.process: Final = process
        self.url: Final = url
        self.said = said

    def stop(self) -> int:
        """Tell it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        _, rest = self.process.communicate(timeout=DEADLINE_SECONDS)
        self.said += rest
        return self.process.returncode


@contextmanager
def running_mcp(*flags: str, environment: Mapping[str, str]) -> Iterator[RunningMcp]:
    """Run it over HTTP, on a port that the system chooses, until the end of the block."""
    with subprocess.Popen(
        [*EVERLOG, "mcp", "--http", "--port=0", *flags],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**clean_environment(), **environment},
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            while not (found := _LISTENING.search(said)):
                line = process.stderr.readline()
                assert line, said
                said += line
            yield RunningMcp(process, found[1], said)
        finally:
            process.kill()


@asynccontextmanager
async def http_client(
    url: str, *, token: str = MCP_TOKEN, mode: Any = "auto", **headers: str
) -> AsyncIterator[Client]:
    """Yield the SDK's client, connected over HTTP."""
    given = {"Authorization": f"Bearer {token}", **headers}
    async with (
        httpx2.AsyncClient(headers=given, timeout=DEADLINE_SECONDS, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def stdio_client(
    *flags: str, environment: Mapping[str, str], mode: Any = "auto"
) -> AsyncIterator[Client]:
    """Yield the SDK's client, which has started the command."""
    parameters = StdioServerParameters(
        command=sys.executable,
        args=[*EVERLOG[1:], "mcp", *flags],
        env={**environment, "PATH": os.environ["PATH"]},
    )
    async with Client(parameters, mode=mode, read_timeout_seconds=DEADLINE_SECONDS) as client:
        yield client
