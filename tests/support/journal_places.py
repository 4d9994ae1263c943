"""Where the contract of a journal that nodes share is tried: a server of each kind.

A *place* has one journal, which is empty; each `connect` is another node's view of it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Final, Protocol
from uuid import uuid4

import nats

from everlog.journals.nats import NatsJournal
from everlog.journals.postgresql import PostgresqlJournal
from everlog.service.mirroring.journal import Announcement, Entry, SharedJournal
from tests.support.nats_servers import NatsServers, running_nats
from tests.support.postgresql_server import PostgresqlServer, running_postgresql
from tests.support.shared_journal import Faults, MemoryJournal, SharedLog

# By a clock far slower than the one that a call has to keep to.
CALL_SECONDS_MAX: Final = 20.0


class Place(Protocol):
    """One journal, and what may become of it."""

    def connect(self) -> SharedJournal:
        """Return a connection that was not opened yet."""

    async def store(self, content: bytes, *, after: int) -> None:
        """Let something stand in the journal that no adapter would append."""

    def interrupt(self) -> AbstractContextManager[None]:
        """Let nobody get an answer inside the block."""


class MemoryPlace:
    """A list in this process."""

    def __init__(self) -> None:
        self._log: Final = SharedLog()
        self._faults: Final = Faults()

    def connect(self) -> SharedJournal:
        return MemoryJournal(self._log, faults=self._faults)

    async def store(self, content: bytes, *, after: int) -> None:
        self._log.append(content, after)

    @contextmanager
    def interrupt(self) -> Iterator[None]:
        self._faults.is_away = True
        yield
        self._faults.is_away = False


class PostgresqlPlace:
    """A database of a server that others use, too."""

    def __init__(self, server: PostgresqlServer, database: str) -> None:
        self._server: Final = server
        self._database: Final = database
        server.execute(f"CREATE DATABASE {database}")

    def connect(self) -> SharedJournal:
        return PostgresqlJournal(self._server.url_of_database(self._database))

    async def store(self, content: bytes, *, after: int) -> None:
        self._server.execute(
            "INSERT INTO everlog.batch (number, first_id, next_id, batch_id, content)"
            f" SELECT {after + 1}, next_id, next_id, gen_random_uuid(), '\\x{content.hex()}'"
            f" FROM everlog.batch WHERE number = {after}",
            database=self._database,
        )

    @contextmanager
    def interrupt(self) -> Iterator[None]:
        self._server.pause()
        try:
            yield
        finally:
            self._server.resume()


class NatsPlace:
    """A stream on servers that others use, too."""

    def __init__(self, servers: NatsServers, stream: str) -> None:
        self._servers: Final = servers
        self._stream: Final = stream

    def connect(self) -> SharedJournal:
        return NatsJournal(self._servers.url_of(self._stream))

    async def store(self, content: bytes, *, after: int) -> None:
        headers = {"Nats-Expected-Last-Subject-Sequence": str(after), "Everlog-After": str(after)}
        client = await nats.connect(f"nats://{self._servers.servers[0].address}")
        stream = client.jetstream()
        await stream.publish(f"{self._stream}.log", content, headers=headers)
        await client.close()

    @contextmanager
    def interrupt(self) -> Iterator[None]:
        for server in self._servers.servers:
            server.pause()
        try:
            yield
        finally:
            for server in self._servers.servers:
                server.resume()


@contextmanager
def _memory_places() -> Iterator[Callable[[], Place]]:
    yield MemoryPlace


@contextmanager
def _postgresql_places() -> Iterator[Callable[[], Place]]:
    numbers = count()
    with running_postgresql() as server:
        yield lambda: PostgresqlPlace(server, f"place_{next(numbers)}")


@contextmanager
def _nats_places() -> Iterator[Callable[[], Place]]:
    numbers = count()
    with running_nats(3) as servers:
        yield lambda: NatsPlace(servers, f"place-{next(numbers)}")


# What makes places, for as long as its server runs.
KINDS: Final[dict[str, Callable[[], AbstractContextManager[Callable[[], Place]]]]] = {
    "memory": _memory_places,
    "nats": _nats_places,
    "postgresql": _postgresql_places,
}


def make_entry(
    first: int = 0, count: int = 1, *, size: int = 100, node: str = "node", text: bytes = b"x"
) -> Entry:
    """Return an entry with so many events, whose lines are no events but have a size."""
    return Entry(
        batch_id=uuid4().hex,
        node=node,
        first=first,
        end=first + count,
        predecessor_hash="0" * 64,
        hash="1" * 64,
        hash_version=1,
        # As it is decoded.
        schemas=[],
        lines=(text * size)[:size] if count else b"",
    )


def make_announcement(node: str, *, ahead: float = 0.0) -> Announcement:
    """Return what a node says whose clock is so many seconds ahead of ours."""
    return Announcement(
        node_id=node,
        node=f"node {node}",
        version="1.0",
        entry_format=1,
        hash_version=1,
        signing_key="key",
        checkpoint_key="",
        clock=time.time_ns() + int(ahead * 1e9),
    )


async def append_all(journal: SharedJournal, entries: list[Entry], *, after: int = 0) -> list[int]:
    """Append entries one behind the other, and return their places."""
    places = []
    for entry in entries:
        after = await journal.append(entry, after=after)
        places.append(after)
    return places


async def read_all(
    journal: SharedJournal, *, after: int = 0, size_max: int = 1 << 20
) -> list[Entry]:
    """Return all entries behind a place, page by page."""
    entries = []
    while True:
        page = await journal.read(after=after, size_max=size_max)
        entries += [placed.entry for placed in page.entries]
        if page.is_end:
            return entries
        after = page.entries[-1].place


async def outcome_of(call: Awaitable[object]) -> object:
    """Return what a call returns, or the error that it raises."""
    try:
        return await asyncio.wait_for(call, CALL_SECONDS_MAX)
    except Exception as error:
        if isinstance(error, TimeoutError):
            raise
        return error
