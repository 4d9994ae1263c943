"""Nodes in one process, on a journal that loses answers and is away: histories are as of one store.

The same checker judges them as judges real nodes on real journals (`tests/torture/test_cluster_*`);
here there are more of them in less time, and everything that the journal does is said by a seed.
"""

import asyncio
import json
import random
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from time import monotonic

import pytest
import uvloop

from everlog.domain.errors import BusyError, StateConflictError
from everlog.domain.precondition import (
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
    Precondition,
)
from everlog.service.mirroring.mirror import Mirror
from everlog.service.writing.writer import Outcome
from tests.support.chain import check_chain
from tests.support.history import (
    Accepted,
    Condition,
    Event,
    History,
    Kind,
    Log,
    Read,
    Reads,
    Refused,
    Selection,
    Unavailable,
    Write,
)
from tests.support.history_checker import find_differences, find_violations
from tests.support.nodes import Node, open_node
from tests.support.shared_journal import Faults, SharedLog

SEEDS = range(6)

NODES = 3
CLIENTS = 9
STEPS = 15
SUBJECTS = ("/a", "/a/b", "/c")


class Client:
    """Writes and reads by any node, and notes what it is told."""

    def __init__(self, nodes: list[Node], history: History, rng: random.Random) -> None:
        self._nodes = nodes
        self._history = history
        self._rng = rng

    async def work(self, keys: "count[int]") -> None:
        for _ in range(STEPS):
            number = self._rng.randrange(len(self._nodes))
            if self._rng.random() < 0.6:
                await self._write(number, f"w{next(keys)}")
            else:
                await self._read(number, self._rng.choice([*Reads]))

    async def _write(self, number: int, key: str) -> None:
        subjects = [self._rng.choice(SUBJECTS) for _ in range(self._rng.choice([1, 1, 3]))]
        conditions = [a_condition(self._rng, self._history)] if self._rng.random() < 0.5 else []
        invoked = monotonic()
        outcome = await self._nodes[number].write(
            *subjects, preconditions=tuple(map(as_precondition, conditions)), key=key
        )
        self._history.writes.append(
            Write(
                key=key,
                node=str(number),
                subjects=subjects,
                conditions=conditions,
                invoked=invoked,
                answered=monotonic(),
                outcome=as_outcome(outcome),
            )
        )

    async def _read(self, number: int, mode: Reads) -> None:
        invoked = monotonic()
        node = self._nodes[number]
        if mode is Reads.CURRENT:
            try:
                await node.mirror.wait_current()
            except BusyError:
                self._history.put_off_count += 1
                return
        events = [as_event(line) for line in node.lines()]
        read = Read(
            client="reader",
            node=str(number),
            mode=mode,
            selection=Selection(),
            invoked=invoked,
            answered=monotonic(),
            events=events,
        )
        self._history.reads.append(read)


def as_event(line: bytes) -> Event:
    event: Event = json.loads(line)["payload"]
    return event


def as_outcome(outcome: Outcome) -> Accepted | Refused | Unavailable:
    if isinstance(outcome, StateConflictError):
        return Refused(None)
    if isinstance(outcome, BusyError):
        return Unavailable()
    assert not isinstance(outcome, Exception), outcome
    return Accepted([json.loads(event.json) for event in outcome])


def a_condition(rng: random.Random, history: History) -> Condition:
    """Return a condition that may hold, whatever became of those who wrote before."""
    known = sum(len(write.subjects) for write in history.writes)
    kind, subject = rng.choice([*Kind]), rng.choice([*SUBJECTS, "/"])
    return Condition(kind, subject, rng.random() < 0.5, rng.randrange(max(1, known)))


def as_precondition(condition: Condition) -> Precondition:
    kind, subject, recursive, event_id = condition
    match kind:
        case Kind.PRISTINE:
            return IsSubjectPristine(subject=subject, recursive=recursive)
        case Kind.POPULATED:
            return IsSubjectPopulated(subject=subject, recursive=recursive)
        case Kind.ON_EVENT_ID:
            return IsSubjectOnEventId(subject=subject, event_id=event_id, recursive=recursive)


async def the_journal_is_away_now_and_then(faults: list[Faults], rng: random.Random) -> None:
    while True:
        await asyncio.sleep(rng.uniform(0, 0.1))
        one = rng.choice(faults)
        one.is_away = True
        await asyncio.sleep(rng.uniform(0, 0.05))
        one.is_away = False


async def findings_of(directory: Path, seed: int) -> tuple[History, list[str]]:
    """Return what clients did and were told, and what is wrong with it."""
    rng, history, shared = random.Random(seed), History(), SharedLog(step=1 + seed % 3)
    faults = [
        Faults(
            unknown_and_stored=0.1,
            unknown_and_not_stored=0.1,
            unknown_and_stored_later=0.1,
            unreachable=0.02,
            seconds=0.004,
        )
        for _ in range(NODES)
    ]
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                open_node(directory / str(number), shared, faults=fault, seed=seed + number)
            )
            for number, fault in enumerate(faults)
        ]
        for node in nodes:
            await node.until_ready()
        keys = count()
        clients = [Client(nodes, history, random.Random(rng.random())) for _ in range(CLIENTS)]
        harm = asyncio.ensure_future(the_journal_is_away_now_and_then(faults, rng))
        await asyncio.gather(*[client.work(keys) for client in clients])
        harm.cancel()
        for fault in faults:
            fault.is_away, fault.unreachable = False, 0.0
        copies = {f"node {number}": await all_lines(node) for number, node in enumerate(nodes)}
    log = Log(check_chain(copies["node 0"]))
    stripped = {name: [line.rstrip() for line in lines] for name, lines in copies.items()}
    return history, [*find_violations(history, log), *find_differences(stripped)]


async def all_lines(node: Node) -> list[bytes]:
    """Return all that was acknowledged, as soon as the journal can be asked."""
    while True:
        try:
            await node.mirror.wait_current()
        except BusyError:
            await asyncio.sleep(0.01)
        else:
            return node.lines()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_what_clients_of_nodes_are_told_is_as_of_one_store(tmp_path: Path, seed: int) -> None:
    history, findings = uvloop.run(findings_of(tmp_path, seed))

    assert findings == []
    assert history.accepted_count > 10
    assert history.count(Refused) > 0
    assert history.count(Unavailable) > 0


async def show_what_is_here(_: Mirror) -> None:
    """Show it without a barrier."""


@pytest.mark.slow
def test_nodes_that_read_without_a_barrier_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mirror, "wait_current", show_what_is_here)

    findings = uvloop.run(findings_of(tmp_path, 0))[1]

    assert any("though the log went from" in finding for finding in findings), findings[:5]
