"""The newest official SDK, speaking either version of the API, and a place for each test."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from eventsourcingdb import Client, DbApiError, EventCandidate
from eventsourcingdb.transport.v1 import V1Transport

from tests.support.server import DEADLINE_SECONDS, TOKEN

_Result = TypeVar("_Result")

API_VERSIONS = ("v1", "v2")

_numbers = itertools.count()


class _V1Only:
    """Stands in for the SDK's choice of an API, which prefers version 2."""

    def __init__(self, client: Client) -> None:
        self._transport = V1Transport(client.http_client)

    async def get(self) -> V1Transport:
        return self._transport

    async def get_asking_again_without_v2_api(self) -> V1Transport:
        return self._transport


def speak_v1(client: Client) -> None:
    """Let a client speak version 1, although the server offers version 2."""
    vars(client)["_Client__transports"] = _V1Only(client)


@dataclass(frozen=True)
class Sdk:
    """The SDK, connected to a server."""

    url: str
    api_version: str = "v2"
    token: str = TOKEN

    def run(self, work: Callable[[Client], Awaitable[_Result]]) -> _Result:
        """Run work with a client, within the deadline."""
        return asyncio.run(self._run(work))

    async def _run(self, work: Callable[[Client], Awaitable[_Result]]) -> _Result:
        async with Client(self.url, self.token) as client:
            if self.api_version == "v1":
                speak_v1(client)
            assert await client._get_api_version() == self.api_version
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await work(client)

    def check_fails(
        self,
        act: Callable[[Client], Awaitable[object]],
        *,
        status: int,
        text: str,
        code: str,
    ) -> DbApiError:
        """Check how the SDK tells about an error: status and text in version 1, code in version 2.

        The SDK also finds the code for a few texts of version 1.
        """
        with pytest.raises(DbApiError) as raised:
            self.run(act)
        error = raised.value
        url = f"https://docs.eventsourcingdb.io/errors/{code}"
        if self.api_version == "v1":
            assert error.status == status
            assert text in error.description
            assert error.code in {None, url}
        else:
            assert error.status == 200
            assert error.code == url
            assert error.description
        return error


async def collect(items: AsyncGenerator[_Result, None]) -> list[_Result]:
    return [item async for item in items]


async def take(items: AsyncGenerator[_Result, None], count: int) -> list[_Result]:
    """Return the first items of a stream that may have no end, and end it."""
    taken: list[_Result] = []
    try:
        while len(taken) < count:
            taken.append(await anext(items))
    finally:
        await items.aclose()
    return taken


@dataclass(frozen=True)
class Place:
    """A subject and event types that no other test uses."""

    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def subject(self) -> str:
        return f"/test-{self.number}"

    def below(self, *segments: str) -> str:
        return "/".join([self.subject, *segments])

    def type(self, name: str = "happened") -> str:
        return f"io.everlog.test-{self.number}.{name}"

    def event(
        self, *segments: str, type_name: str = "happened", data: dict[str, Any] | None = None
    ) -> EventCandidate:
        return EventCandidate(
            source="https://everlog.test",
            subject=self.below(*segments),
            type=self.type(type_name),
            data={"text": "hello"} if data is None else data,
        )
