"""The operations whose calls are counted: what a client does, over a connection that is warm.

Bodies of one operation are of one size, and heads are the same, as those of a program that does the
same again and again.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from http import HTTPStatus
from http.client import HTTPResponse
from typing import Any, NamedTuple

from benchmarks.client import connect, render_request
from benchmarks.events import EVENTS_PER_SUBJECT, SOURCE, TYPE, data_of

_V1 = "/api/v1"
_V2 = "/api/v2/data"

# Subjects below these have ten events each.
_FEW, _MANY = "/few", "/many"
_SUBJECT_COUNTS = {_FEW: 3, _MANY: 200}

# Does something for the so manieth time.
Operate = Callable[[int], None]


class Operation(NamedTuple):
    """Something that a client asks for, again and again."""

    name: str
    # Connects to a port.
    open: Callable[[int], AbstractContextManager[Operate]]


class Client:
    """A connection that sends each request in one piece, and receives whole answers."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self._socket = connect(port)

    def ask(self, method: str, path: str, body: object = None) -> None:
        """Send a request, and receive its answer."""
        with self.send(method, path, body) as answer:
            text = answer.read()
        if b'"type":"error"' in text:
            raise RuntimeError(f"{method} {path}: {text!r}")

    def send(self, method: str, path: str, body: object) -> HTTPResponse:
        """Send a request, and return its answer once its head is there."""
        content = b"" if body is None else json.dumps(body).encode()
        self._socket.sendall(render_request(method, path, content))
        answer = HTTPResponse(self._socket, method=method)
        answer.begin()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.read()!r}")
        return answer

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()


def fill(port: int) -> None:
    """Write the events that are read."""
    with closing(Client(port)) as client:
        for root, count in _SUBJECT_COUNTS.items():
            for _ in range(EVENTS_PER_SUBJECT):
                events = [_event(number, f"{root}/{number}") for number in range(count)]
                client.ask("POST", f"{_V1}/write-events", {"events": events})


def _event(number: int, subject: str) -> dict[str, Any]:
    data = json.loads(data_of(10_000_000 + number))
    return {"source": SOURCE, "subject": subject, "type": TYPE, "data": data}


def _asking(method: str, path: str, body: object = None) -> Callable[[int], Any]:
    """Return what sends always the same."""

    @contextmanager
    def opened(port: int) -> Iterator[Operate]:
        with closing(Client(port)) as client:
            yield lambda _: client.ask(method, path, body)

    return opened


def _writing(
    *, path: str = _V1, subject: str = "/written", preconditions: Sequence[object] = ()
) -> Callable[[int], Any]:
    """Return what writes an event; the subject and its conditions may name `{number}`."""
    conditions = {"preconditions": list(preconditions)} if preconditions else {}

    @contextmanager
    def opened(port: int) -> Iterator[Operate]:
        with closing(Client(port)) as client:

            def operate(number: int) -> None:
                place = subject.replace("{number}", f"{number:08}")
                body = {"events": [_event(number, place)], **conditions}
                text = json.dumps(body).replace("{number}", f"{number:08}")
                client.ask("POST", f"{path}/write-events", json.loads(text))

            yield operate

    return opened


def _condition(kind: str, **payload: str) -> list[object]:
    return [{"type": kind, "payload": payload}]


@contextmanager
def _observing(port: int) -> Iterator[Operate]:
    """Write an event, and wait until an observer has it."""
    request = {"subject": "/observed", "options": {"recursive": False}}
    with closing(Client(port)) as writer, closing(Client(port)) as observer:
        answer = observer.send("POST", f"{_V1}/observe-events", request)

        def operate(number: int) -> None:
            body = {"events": [_event(number, "/observed")]}
            writer.ask("POST", f"{_V1}/write-events", body)
            while not answer.readline().startswith(b'{"type":"event"'):
                pass

        yield operate


def _selection(subject: str, *, is_recursive: bool) -> dict[str, object]:
    return {"subject": subject, "options": {"recursive": is_recursive}}


_OF_SUBJECT = f"FROM e IN events WHERE e.subject == '{_FEW}/2'"
_FROM_INDEX = f"{_OF_SUBJECT} AND e.type == 'com.example.library.never' PROJECT INTO COUNT() == 0"
_OF_FEW = f"{_OF_SUBJECT} AND e.data.price > 5000 PROJECT INTO COUNT() == 0"

_FEW_EVENTS = _selection(f"{_FEW}/2", is_recursive=False)
_SUBTREE = _selection(_FEW, is_recursive=True)
_LARGE_SUBTREE = _selection(_MANY, is_recursive=True)

OPERATIONS = (
    Operation("ping", _asking("GET", f"{_V1}/ping")),
    Operation("write of one event", _writing()),
    Operation("write of one event, version 2", _writing(path=_V2)),
    Operation("write of a subject's first event", _writing(subject="/first/{number}")),
    Operation(
        "write, `isSubjectPristine`",
        _writing(
            subject="/pristine/{number}",
            preconditions=_condition("isSubjectPristine", subject="/pristine/{number}"),
        ),
    ),
    Operation(
        "write, a query that the index answers",
        _writing(preconditions=_condition("isEventQlQueryTrue", query=_FROM_INDEX)),
    ),
    Operation(
        "write, a query of ten events",
        _writing(preconditions=_condition("isEventQlQueryTrue", query=_OF_FEW)),
    ),
    Operation("write, and one observer has it", _observing),
    Operation("read of ten events", _asking("POST", f"{_V1}/read-events", _FEW_EVENTS)),
    Operation("read of ten events, version 2", _asking("QUERY", f"{_V2}/read-events", _FEW_EVENTS)),
    Operation("recursive read of 30 events", _asking("POST", f"{_V1}/read-events", _SUBTREE)),
    Operation(
        "recursive read of 2,000 events", _asking("POST", f"{_V1}/read-events", _LARGE_SUBTREE)
    ),
    Operation(
        "query of ten events",
        _asking(
            "POST", f"{_V1}/run-eventql-query", {"query": f"{_OF_SUBJECT} PROJECT INTO e.data"}
        ),
    ),
)
