"""Nodes in one process, which share a journal in memory: the quickest cluster there is."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from everlog.domain.precondition import Precondition
from everlog.service.mirroring.mirror import Mirror
from everlog.service.mirroring.options import MirrorEvents, MirrorOptions
from everlog.service.store import Store, StoreOptions, open_store
from everlog.service.write import write
from everlog.service.writing.changes import Outcome
from everlog.storage.engine import Scan
from everlog.storage.line import parse_line
from tests.support.events import a_candidate
from tests.support.shared_journal import Faults, MemoryJournal, SharedLog


class Node:
    """A store with a mirror, and what it told."""

    def __init__(self, store: Store, journal: MemoryJournal, told: list[str]) -> None:
        """Take over what is open."""
        assert store.mirror is not None
        self.store = store
        self.mirror: Mirror = store.mirror
        self.journal = journal
        self.told = told

    async def write(
        self, *subjects: str, preconditions: tuple[Precondition, ...] = (), key: str = ""
    ) -> Outcome:
        """Write an event to each subject, all at once; `key` tells it from others, as `history`."""
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        candidates = [
            a_candidate(subject, data=f'{{"index":{index},"write":"{key}"}}')
            for index, subject in enumerate(subjects)
        ]
        # A second answer would be an error.
        write(self.store, candidates, preconditions, answered.set_result)
        return await answered

    def lines(self) -> list[bytes]:
        """Return the lines of all events that a reader sees now."""
        head = self.store.engine.head
        blocks = self.store.engine.scan(Scan(start=0, stop=head.event_count), head)
        return b"".join(blocks).splitlines(keepends=True)

    def events(self) -> list[tuple[str, str]]:
        """Return subject and hash of all events that a reader sees now."""
        return [(event.subject, event.hash) for event, _ in map(parse_line, self.lines())]

    async def current_events(self) -> list[tuple[str, str]]:
        """Return the same, once all is here that was acknowledged before."""
        await self.mirror.wait_current()
        return self.events()

    async def until_ready(self) -> None:
        """Return when it has caught up."""
        await until(lambda: self.mirror.is_ready)


async def until(condition: Callable[[], object]) -> None:
    """Return when something is so that nobody tells."""
    while not condition():  # noqa: ASYNC110 - there is nothing to wait for.
        await asyncio.sleep(0.005)


@asynccontextmanager
async def open_node(
    directory: Path,
    shared: SharedLog,
    *,
    name: str = "node",
    faults: Faults | None = None,
    seed: int = 0,
    options: StoreOptions | None = None,
    **journal_options: int,
) -> AsyncGenerator[Node, None]:
    """Open a node in a directory; it may not have caught up yet."""
    journal = MemoryJournal(shared, faults=faults, seed=seed, **journal_options)
    told: list[str] = []
    events = MirrorEvents(
        opened=lambda *_: told.append("opened"),
        progressed=lambda _: told.append("progressed"),
        caught_up=lambda *_: told.append("caught up"),
        lost=lambda _: told.append("lost"),
        found=lambda _: told.append("found"),
        mismatched=lambda finding: told.append(f"mismatched: {finding}"),
        failed=lambda error: told.append(f"failed: {type(error).__name__}: {error}"),
        bug=lambda error: told.append(f"bug: {error!r}"),
    )
    mirroring = MirrorOptions(journal=journal, node=name, events=events)
    with_journal = replace(options or StoreOptions(), mirroring=mirroring)
    async with open_store(directory, with_journal) as store:
        yield Node(store, journal, told)
