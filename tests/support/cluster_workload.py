"""Clients of several nodes: each request goes to any of them, and what they do is recorded.

They take another node when one is gone, and go on when it is told that another time may be better;
they think for a moment between two requests, so that the machine is not what limits them.
"""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from math import inf
from threading import Event
from typing import Final, NamedTuple, Protocol

from tests.support.api import Answer, Connection, an_event
from tests.support.history import (
    ROOT,
    Accepted,
    History,
    Log,
    Outcome,
    Reads,
    Selection,
    Unavailable,
    Write,
)
from tests.support.history_checker import find_broken_observations
from tests.support.network import Host
from tests.support.server import DEADLINE_SECONDS
from tests.support.threads import Background
from tests.support.workload import GONE, Board, ObservingClient, ReadingClient, WritingClient

WRITERS: Final = 8
READERS: Final = 4

# How long clients wait for an answer before they take the outcome for unknown: some give up before
# a node knows, others do not.
_TIMEOUTS_SECONDS: Final = (2.0, 8.0)
# An observer hears of a node more often than that.
_OBSERVER_TIMEOUT_SECONDS: Final = 4.0

# Within which a node that is ready has answered.
_PROBE_SECONDS: Final = 8.0

_THINK_SECONDS_MAX: Final = 0.02
_GONE_SECONDS: Final = 0.05


class Door(NamedTuple):
    """Where a node is found at present."""

    node: str
    url: str
    host: Host
    mode: Reads


class Reachable(Protocol):
    """A node, whose address changes with each of its lives."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def door(self) -> Door | None:
        """Where it is, None while it is nowhere."""


def connect(door: Door, *, timeout: float = DEADLINE_SECONDS) -> Connection:
    """Return a connection to a node that knows which one it is."""
    connection = Connection(door.url, host=door.host, timeout=timeout)
    connection.node, connection.mode = door.node, door.mode
    return connection


def is_put_off(answer: Answer) -> bool:
    """Tell whether a client is told to ask again later, as HTTP has it."""
    return answer.status == 503 and answer.headers["Retry-After"] is not None


def is_shutting_down(answer: Answer) -> bool:
    """Tell whether a client is told to go elsewhere, by either version."""
    return b"server is shutting down" in answer.body


class NodeWritingClient(WritingClient):
    """Knows that a node may have no journal at the moment."""

    def outcome(self, key: str, answer: Answer) -> Outcome | None:
        if is_put_off(answer) or is_shutting_down(answer):
            return Unavailable()
        # By a server that stops while nobody knows; in another one it would be an error of its log.
        if b"whether anything was stored is unknown" in answer.body:
            return None
        return super().outcome(key, answer)


class NodeReadingClient(ReadingClient):
    """The same."""

    def note_refusal(self, answer: Answer) -> None:
        if is_put_off(answer) or is_shutting_down(answer):
            self._history.put_off_count += 1
        else:
            super().note_refusal(answer)


class NodeObservingClient(ObservingClient):
    """Stays with one node, or takes any; it waits while a node is not ready."""

    def observe(self, connection: Connection) -> None:
        # `Connection.observe` takes any other answer for a failure of the test.
        with suppress(AssertionError):
            super().observe(connection)


class ClusterWorkload:
    """All clients of a cluster, and everything they record."""

    def __init__(self, seed: int, nodes: Sequence[Reachable]) -> None:
        """Make the clients; they do nothing before `start`."""
        rng = random.Random(seed)
        board = Board()
        self.history: Final = History()
        self._nodes: Final = nodes
        self._stopping: Final = Event()
        self._ending: Final = Event()

        def new_rng() -> random.Random:
            return random.Random(rng.random())

        self._probing: Final = NodeWritingClient("p", new_rng(), board, self.history)
        self._probes: Final = count()
        self._working: Final[list[Callable[[Connection], None]]] = [
            *(
                NodeWritingClient(f"w{n}", new_rng(), board, self.history).act
                for n in range(WRITERS)
            ),
            *(
                NodeReadingClient(f"r{n}", new_rng(), board, self.history).act
                for n in range(READERS)
            ),
        ]
        self._rngs: Final = [new_rng() for _ in self._working]
        pinned = [(node.name, Selection(), (node,)) for node in nodes]
        account = Selection("/account", recursive=True)
        roaming = [("", Selection(ROOT), nodes), ("", account, nodes)]
        self._observing: Final = [
            (
                NodeObservingClient(
                    f"o{n}", ("v1", "v2")[n % 2], selection, self.history, node=name
                ),
                some,
                new_rng(),
            )
            for n, (name, selection, some) in enumerate([*pinned, *roaming])
        ]
        self._running: list[Background[None]] = []
        self._observers: list[Background[None]] = []

    def start(self) -> None:
        """Let all clients work."""
        self._running = [
            Background(partial(self._work, act, rng))
            for act, rng in zip(self._working, self._rngs, strict=True)
        ]
        self._observers = [
            Background(partial(self._observe, client, nodes, rng))
            for client, nodes, rng in self._observing
        ]

    def probe(self, door: Door) -> bool:
        """Tell whether a node takes a write and answers a read."""
        key = f"p-{next(self._probes)}"
        event = an_event("/probe", data={"write": key, "index": 0})
        invoked, outcome = time.monotonic(), None
        try:
            with connect(door, timeout=_PROBE_SECONDS) as connection:
                answer = connection.v2("write-events", {"events": [event]})
                outcome = self._probing.outcome(key, answer)
                is_readable = connection.v1("read-event-types").status == 200
        except GONE:
            is_readable = False
        write = Write(
            key=key,
            node=door.node,
            subjects=["/probe"],
            invoked=invoked,
            answered=inf if outcome is None else time.monotonic(),
            outcome=outcome,
        )
        self.history.writes.append(write)
        return is_readable and isinstance(outcome, Accepted)

    def stop_working(self) -> None:
        """Let writers and readers finish what they have begun; observers go on."""
        self._stopping.set()
        for running in self._running:
            running.result()

    def begin_to_end(self) -> None:
        """Let observers look for no other node when theirs is gone."""
        self._stopping.set()
        self._ending.set()

    def wait_for_end(self) -> None:
        """Wait for all clients, once all nodes have ended."""
        self.begin_to_end()
        for running in (*self._running, *self._observers):
            running.result()

    def has_ended_observing(self, log: Log) -> bool:
        """Tell whether every observer has seen as many events as it should, or one sees others."""
        observations = self.history.observations
        return all(
            len(seen.sightings) >= len(log.select(seen.selection)) for seen in observations
        ) or any(find_broken_observations(observations, log))

    def _work(self, act: Callable[[Connection], None], rng: random.Random) -> None:
        with ExitStack() as stack:
            open_ones: dict[str, Connection] = {}
            while not self._stopping.wait(rng.uniform(0, _THINK_SECONDS_MAX)):
                door = rng.choice(self._nodes).door
                if door is None:
                    time.sleep(_GONE_SECONDS)
                    continue
                if door.url not in open_ones:
                    timeout = rng.choice(_TIMEOUTS_SECONDS)
                    open_ones[door.url] = stack.enter_context(connect(door, timeout=timeout))
                try:
                    act(open_ones[door.url])
                except GONE:
                    open_ones.pop(door.url).http.close()
                    time.sleep(_GONE_SECONDS)

    def _observe(
        self, client: ObservingClient, nodes: Sequence[Reachable], rng: random.Random
    ) -> None:
        while not self._ending.is_set():
            door = rng.choice(nodes).door
            if door is not None:
                with (
                    suppress(*GONE),
                    connect(door, timeout=_OBSERVER_TIMEOUT_SECONDS) as connection,
                ):
                    client.observe(connection)
            self._ending.wait(_GONE_SECONDS)
