"""Clients that write, read and observe at the same time, and record what they did and were told.

A workload outlives the servers that it is run against: its clients go on where they were, with the
connections of the next server. All that they choose follows from a seed; what comes when does not.
"""

import http.client
import json
import random
import threading
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic
from typing import Any, Final

from tests.support.api import Answer, Connection, an_event
from tests.support.chain import check_chain
from tests.support.history import (
    ROOT,
    Accepted,
    Condition,
    Event,
    History,
    Kind,
    Log,
    Observation,
    Outcome,
    Read,
    Refused,
    Selection,
    Write,
)
from tests.support.server import wait_until
from tests.support.threads import Background

# What a client sees when the server dies, or stops in the middle of an answer.
GONE: Final = (OSError, http.client.HTTPException, json.JSONDecodeError)

ACCOUNTS: Final = 4

WRITERS: Final = 6
READERS: Final = 2

OBSERVED: Final = (
    Selection(),
    Selection("/account", recursive=True),
    Selection("/account/1", recursive=False),
)

# Of all reads; a query looks at all events behind the lower bound.
_QUERIES_SHARE: Final = 0.1

# What a whole answer of version 2 ends with.
_END: Final = b'{"type":"end","data":{}}\n'

_SCHEMA: Final = {"type": "object", "properties": {"write": {"type": "string"}}}


class Board:
    """What all clients know; a hint what to ask for, never what to expect."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self.latest: Final[dict[str, int]] = {}
        self.last_id = -1
        # The next order, for which several clients race.
        self.orders: Final = count()

    def note(self, events: Sequence[Event]) -> None:
        for event in events:
            self.latest[event["subject"]] = self.last_id = int(event["id"])


class WritingClient:
    """Sends writes of all sizes, half of them with preconditions, and of those half as queries."""

    def __init__(self, name: str, rng: random.Random, board: Board, history: History) -> None:
        self._name: Final = name
        self._rng: Final = rng
        self._board: Final = board
        self._history: Final = history
        self._numbers: Final = count()

    def act(self, connection: Connection) -> None:
        """Do one thing; raise what is raised when the server is gone."""
        if self._rng.random() < 0.02:
            self._register(connection)
        else:
            self._write(connection)

    def _write(self, connection: Connection) -> None:
        key = f"{self._name}-{next(self._numbers)}"
        subjects = self._subjects()
        version = self._rng.choice(["v1", "v2"])
        conditions = self._conditions(subjects, version)
        text = "x" * self._rng.choice([0, 10, 500])
        data = {"write": key, "count": len(subjects), "text": text}
        events = [
            an_event(subject, data={**data, "index": index})
            for index, subject in enumerate(subjects)
        ]
        preconditions = [
            _to_query(one, self._rng) if self._rng.random() < 0.5 else _to_json(one)
            for one in conditions
        ]
        body = {"events": events, "preconditions": preconditions}
        ask = connection.v1 if version == "v1" else connection.v2
        invoked = monotonic()
        answer: Answer | None = None
        try:
            answer = ask("write-events", body)
        finally:
            answered = monotonic()
            outcome = None if answer is None else self.outcome(key, answer)
            self._history.writes.append(
                Write(
                    key=key,
                    node=connection.node,
                    subjects=subjects,
                    conditions=conditions,
                    invoked=invoked,
                    answered=answered,
                    outcome=outcome,
                )
            )

    def _subjects(self) -> list[str]:
        rng = self._rng
        account = f"/account/{rng.randrange(ACCOUNTS)}"
        match rng.randrange(4):
            case 0:
                return [account]
            case 1:
                return [f"/order/{next(self._board.orders) // 3}"]
            case 2:
                return [account, f"{account}/entry/{rng.randrange(20)}"]
            case _:
                size = rng.choice([2, 5, 40])
                return [f"/account/{rng.randrange(ACCOUNTS)}" for _ in range(size)]

    def _conditions(self, subjects: list[str], version: str) -> list[Condition]:
        rng, subject = self._rng, subjects[0]
        # Version 1 has no recursive preconditions.
        recursive = version == "v2" and rng.random() < 0.3
        if subject.startswith("/order/"):
            return [Condition(Kind.PRISTINE, subject, recursive)]
        if rng.random() < 0.5:
            return []
        latest = self._board.latest.get(subject, 0)
        conditions = [Condition(Kind.ON_EVENT_ID, subject, recursive, latest)]
        if rng.random() < 0.3:
            other = f"/order/{rng.randrange(1_000)}"
            conditions.insert(0, Condition(Kind.POPULATED, other, recursive))
        return conditions

    def outcome(self, key: str, answer: Answer) -> Outcome | None:
        """Return what an answer says; what should not be said is a surprise."""
        is_whole = answer.body.startswith(b"[") or answer.body.endswith(_END)
        if answer.status == 200 and is_whole:
            self._board.note(answer.events)
            return Accepted(answer.events)
        if answer.status == 409 and answer.text.startswith("state conflict: precondition failed"):
            return Refused(None)
        if answer.status == 200 and answer.code == "precondition-violated":
            return Refused(answer.error["details"]["preconditionIndex"])
        self._history.surprises.append(f"{key} was answered {answer.status} {answer.body[:200]!r}")
        return None

    def _register(self, connection: Connection) -> None:
        event_type = f"io.everlog.torture.{self._name}-{next(self._numbers)}"
        self._history.schemas[event_type] = False
        body = {"eventType": event_type, "schema": _SCHEMA}
        answer = connection.v1("register-event-schema", body)
        self._history.schemas[event_type] = answer.status == 200
        if answer.status != 200:
            self.outcome(event_type, answer)


class ReadingClient:
    """Reads the end of the log, one subject, or a subject with all below it, some by a query."""

    def __init__(self, name: str, rng: random.Random, board: Board, history: History) -> None:
        self._name: Final = name
        self._rng: Final = rng
        self._board: Final = board
        self._history: Final = history

    def act(self, connection: Connection) -> None:
        """Read once; raise what is raised when the server is gone."""
        rng = self._rng
        lower = max(0, self._board.last_id - rng.choice([5, 50, 400]))
        account = f"/account/{rng.randrange(ACCOUNTS)}"
        selection = rng.choice(
            [
                Selection(lower=lower),
                Selection("/order", recursive=True, lower=lower),
                Selection(account, recursive=True, lower=lower),
                Selection(account, recursive=False, lower=lower),
            ]
        )
        ask = rng.choice([connection.v1, connection.v2])
        is_query = rng.random() < _QUERIES_SHARE
        name = "run-eventql-query" if is_query else "read-events"
        body = _query_body(selection) if is_query else read_body(selection)
        invoked = monotonic()
        answer = ask(name, body)
        answered = monotonic()
        # Version 1 has no end, and both say in the last line what kept them from going on.
        is_whole = ask == connection.v1 or answer.body.endswith(_END)
        if answer.status != 200 or not is_whole or _has_error(answer):
            self.note_refusal(answer)
            return
        read = Read(
            client=self._name,
            node=connection.node,
            mode=connection.mode,
            selection=selection,
            invoked=invoked,
            answered=answered,
            events=self._history.keep(answer.events),
        )
        self._history.reads.append(read)
        self._board.note(read.events[-1:])

    def note_refusal(self, answer: Answer) -> None:
        """Note that there was an answer, and that it has no events."""
        told = f"{answer.status} {answer.body[-200:]!r}"
        self._history.surprises.append(f"{self._name} was answered {told}")


def _has_error(answer: Answer) -> bool:
    return any(item["type"] == "error" for item in answer.items[-1:])


class ObservingClient:
    """Observes a selection, and goes on behind the last event that it saw."""

    def __init__(
        self, name: str, version: str, selection: Selection, history: History, *, node: str = ""
    ) -> None:
        self._version: Final = version
        self._keep: Final = history.keep
        self.observation: Final = Observation(client=name, node=node, selection=selection)
        history.observations.append(self.observation)

    def observe(self, connection: Connection) -> None:
        """Observe until the server ends it; raise what is raised when the server is gone."""
        seen = self.observation
        subject, recursive, _ = seen.selection
        bound = {"id": str(seen.next_position), "type": "inclusive"}
        items = connection.observe(self._version, subject, recursive=recursive, lowerBound=bound)
        member = "payload" if self._version == "v1" else "data"
        for item in items:
            if item["type"] == "event":
                seen.sightings.extend((monotonic(), event) for event in self._keep([item[member]]))


class Workload:
    """All clients, and everything they record."""

    def __init__(self, seed: int) -> None:
        """Make the clients; they do nothing before `start`."""
        rng = random.Random(seed)
        board = Board()
        self.history: Final = History()
        self._writing: Final = [
            WritingClient(f"w{n}", random.Random(rng.random()), board, self.history)
            for n in range(WRITERS)
        ]
        self._reading: Final = [
            ReadingClient(f"r{n}", random.Random(rng.random()), board, self.history)
            for n in range(READERS)
        ]
        self._observing: Final[list[ObservingClient]] = []
        self._stopping: Final = threading.Event()
        self._running: list[Background[None]] = []
        self._observers_running: list[Background[None]] = []

    def start(self, url: str) -> None:
        """Let all clients work with a server, and observers join that have seen nothing yet."""
        self._stopping.clear()
        selections = OBSERVED if not self._observing else OBSERVED[:1]
        for number, selection in enumerate(selections, start=len(self._observing)):
            version = ("v1", "v2")[number % 2]
            client = ObservingClient(f"o{number}", version, selection, self.history)
            self._observing.append(client)
        workers = [
            *(client.act for client in self._writing),
            *(client.act for client in self._reading),
        ]
        self._running = [self._connect(self._repeat(act), url) for act in workers]
        observers = [client.observe for client in self._observing]
        self._observers_running = [self._connect(observe, url) for observe in observers]

    def wait_for_writes(self, number: int, *, gone: Callable[[], bool]) -> None:
        """Wait until so many more writes are acknowledged, or the server is gone."""
        wanted = self.history.accepted_count + number
        wait_until(lambda: gone() or self.history.accepted_count >= wanted)

    def begin_to_stop(self) -> None:
        """Let writers and readers begin nothing more."""
        self._stopping.set()

    @property
    def is_quiet(self) -> bool:
        """Tell whether every writer and reader has got the answers that it waited for."""
        return all(running.is_done for running in self._running)

    def stop_writing(self) -> None:
        """Let writers and readers finish what they have begun; observers go on."""
        self.begin_to_stop()
        for running in self._running:
            running.result()

    def has_caught_up(self, log: Log) -> bool:
        """Tell whether every observer has seen as many events as it should."""
        return all(
            len(seen.sightings) >= len(log.select(seen.selection))
            for seen in self.history.observations
        )

    def wait_for_end(self) -> None:
        """Wait for all clients, once the server has ended."""
        self._stopping.set()
        for running in (*self._running, *self._observers_running):
            running.result()

    def _repeat(self, act: Callable[[Connection], None]) -> Callable[[Connection], None]:
        def run(connection: Connection) -> None:
            while not self._stopping.is_set():
                act(connection)

        return run

    @staticmethod
    def _connect(run: Callable[[Connection], None], url: str) -> Background[None]:
        def work() -> None:
            try:
                with Connection(url) as connection:
                    run(connection)
            except GONE:
                return

        return Background(work)


def read_log(url: str) -> Log:
    """Return the whole log of a server, of which every id, time and hash has been checked."""
    with Connection(url) as connection:
        body = connection.v1("read-events", read_body(Selection())).body
    return Log(check_chain(body.splitlines()))


def find_lost_schemas(connection: Connection, history: History) -> list[str]:
    """Return the event types whose schema was acknowledged and is not there."""
    items = connection.v2("read-event-types").items
    kept = {item["data"].get("type") for item in items if item["data"].get("schema") is not None}
    acknowledged = {name for name, is_known in tuple(history.schemas.items()) if is_known}
    return [f"the schema of {name} was acknowledged and is lost" for name in acknowledged - kept]


def read_body(selection: Selection) -> dict[str, Any]:
    """Return the body of the request that reads a selection."""
    bound = {"id": str(selection.lower), "type": "inclusive"}
    options = {"recursive": selection.recursive, "lowerBound": bound}
    return {"subject": selection.subject, "options": options}


def _query_body(selection: Selection) -> dict[str, Any]:
    """Return the body of the request that reads a selection by a query."""
    subject, recursive, lower = selection
    query = f"FROM e IN events WHERE e.id AS INT >= {lower}"
    if not (recursive and subject == ROOT):
        below = f" OR STARTSWITH(e.subject, '{subject}/')" if recursive else ""
        query += f" AND (e.subject == '{subject}'{below})"
    return {"query": f"{query} PROJECT INTO e"}


def _to_json(condition: Condition) -> dict[str, Any]:
    payload: dict[str, Any] = {"subject": condition.subject}
    if condition.kind is Kind.ON_EVENT_ID:
        payload["eventId"] = str(condition.event_id)
    if condition.recursive:
        payload["options"] = {"recursive": True}
    return {"type": condition.kind.value, "payload": payload}


def _to_query(condition: Condition, rng: random.Random) -> dict[str, Any]:
    """Return a condition as a query that holds whenever it does."""
    subject = condition.subject
    below = f" OR STARTSWITH(e.subject, '{subject}/')" if condition.recursive else ""
    latest = condition.event_id
    holds = {
        Kind.PRISTINE: "COUNT() == 0",
        Kind.POPULATED: "COUNT() > 0",
        Kind.ON_EVENT_ID: (
            f"COUNT(e.id == '{latest}') == 1 AND COUNT(e.id AS INT > {latest}) == 0"
        ),
    }[condition.kind]
    # Few write to the same order, so that an answer which goes stale is known in the end.
    is_calm = subject.startswith("/order/") and not condition.recursive
    has_top = is_calm and rng.random() < 0.5
    query = (
        f"FROM e IN events WHERE e.subject == '{subject}'{below} "
        f"{'TOP 1 ' if has_top else ''}PROJECT INTO {holds}"
    )
    return {"type": "isEventQlQueryTrue", "payload": {"query": query}}
