"""A server that asks itself: `python -m benchmarks.loop_time.server NUMBER`.

It is `everlog run`; as soon as it listens, requests are handed to its connections as if they had
been received, each from a connection of its own, so many at a time and so many times. The figures
are printed as a line of JSON for each work, and the server stops.
Needs nothing of Everlog but its command, so that it can run sources of any age.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from typing import Any, NamedTuple

import uvloop

from benchmarks.client import render_request
from benchmarks.events import SOURCE, TYPE, data_of
from benchmarks.servers import TOKEN

_WARM_UP = 5
_READ_SUBJECT = "/few/1"
_EVENTS_READ = 10

_READ = f"FROM e IN events WHERE e.subject == '{_READ_SUBJECT}'"
_FROM_INDEX = f"{_READ} AND e.type == 'com.example.library.never' PROJECT INTO COUNT() == 0"
_OF_FEW = f"{_READ} AND e.data.price > 5000 PROJECT INTO COUNT() == 0"

_numbers = count()


class Work(NamedTuple):
    """What so many connections ask for at the same time."""

    name: str
    connections: int
    request: Callable[[], bytes]


def _write(
    *, events: int = 1, subject: str | None = None, preconditions: Sequence[object] = ()
) -> Callable[[], bytes]:
    more = {"preconditions": list(preconditions)} if preconditions else {}

    def render() -> bytes:
        body = {"events": [_event(subject) for _ in range(events)], **more}
        return render_request("POST", "/api/v1/write-events", json.dumps(body).encode())

    return render


def _event(subject: str | None) -> dict[str, Any]:
    number = next(_numbers)
    # Of one length, so that heads are the same; and each subject has been written before, soon.
    place = subject or f"/libraries/{number % 10}/books/{number % 1_000:03}"
    data = json.loads(data_of(10_000_000 + number))
    return {"source": SOURCE, "subject": place, "type": TYPE, "data": data}


def _read() -> bytes:
    body = {"subject": _READ_SUBJECT, "options": {"recursive": False}}
    return render_request("POST", "/api/v1/read-events", json.dumps(body).encode())


def _query(text: str) -> list[object]:
    return [{"type": "isEventQlQueryTrue", "payload": {"query": text}}]


_PRISTINE = [{"type": "isSubjectPristine", "payload": {"subject": "/nobody"}}]

WORKS = (
    *(Work("write", connections, _write()) for connections in (1, 16, 64, 256)),
    Work("write, pristine", 64, _write(preconditions=_PRISTINE)),
    Work("write of 100 events", 4, _write(events=100)),
    Work("write, query of index", 1, _write(preconditions=_query(_FROM_INDEX))),
    Work("write, query of ten", 1, _write(preconditions=_query(_OF_FEW))),
    Work("read of ten events", 16, _read),
)


class _Arrivals:
    """How many answers are awaited, and who waits."""

    def __init__(self) -> None:
        self._missing = 0
        self._future: asyncio.Future[None] | None = None

    def expect(self, answers: int) -> "asyncio.Future[None]":
        self._missing = answers
        self._future = asyncio.get_running_loop().create_future()
        return self._future

    def note(self) -> None:
        self._missing -= 1
        if self._missing == 0 and self._future is not None:
            self._future.set_result(None)


class _Transport(asyncio.Transport):
    """The other end of a connection that is none."""

    def __init__(self, protocol: asyncio.Protocol, arrivals: _Arrivals) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self._protocol = protocol
        self._arrivals = arrivals
        self._is_closing = False
        self.answer = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.answer = bytes(data)
        self._arrivals.note()

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


class _Client:
    """Connections that ask at the same time."""

    def __init__(self, factory: Callable[[], asyncio.Protocol], connections: int) -> None:
        self._arrivals = _Arrivals()
        self._ends = []
        for _ in range(connections):
            protocol = factory()
            transport = _Transport(protocol, self._arrivals)
            protocol.connection_made(transport)
            self._ends.append((protocol, transport))

    def close(self) -> None:
        for _, transport in self._ends:
            transport.close()

    async def ask(self, render: Callable[[], bytes]) -> tuple[float, float]:
        """Return how many seconds the thread, and all threads, worked for each request."""
        requests = [render() for _ in self._ends]
        answered = self._arrivals.expect(len(requests))
        begin, begin_all = time.thread_time(), time.process_time()
        for (protocol, _), request in zip(self._ends, requests, strict=True):
            protocol.data_received(request)
        await answered
        seconds, seconds_all = time.thread_time() - begin, time.process_time() - begin_all
        for _, transport in self._ends:
            if not transport.answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"refused: {transport.answer!r}")
        return seconds / len(requests), seconds_all / len(requests)


async def _measure(factory: Callable[[], asyncio.Protocol], times: int) -> None:
    with closing(_Client(factory, 1)) as writer:
        for _ in range(_EVENTS_READ):
            await writer.ask(_write(subject=_READ_SUBJECT))
    for work in WORKS:
        with closing(_Client(factory, work.connections)) as client:
            seconds = [await client.ask(work.request) for _ in range(_WARM_UP + times)]
        entry = {"message": "measured", "name": work.name, "connections": work.connections}
        print(json.dumps({**entry, "seconds": seconds[_WARM_UP:]}), flush=True)


class _Loop(uvloop.Loop):
    """A loop that begins to measure when somebody listens."""

    times = 0

    async def create_server(  # type: ignore[override]  # it is handed on as it came
        self, factory: Any, *arguments: Any, **options: Any
    ) -> Any:
        listener = await super().create_server(factory, *arguments, **options)
        self._measuring = self.create_task(self._measure(factory))
        return listener

    async def _measure(self, factory: Callable[[], asyncio.Protocol]) -> None:
        try:
            await _measure(factory, self.times)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the server until all is measured."""
    _Loop.times = int(sys.argv[1])
    uvloop.new_event_loop = _Loop
    os.environ["EVERLOG_API_TOKEN"] = TOKEN
    sys.argv[1:] = [
        *("run", "--data-directory-temporary", "--host=127.0.0.1", "--http-enabled"),
        *("--http-port=0", "--https-enabled=false", *sys.argv[2:]),
    ]
    from everlog.cli import main as run_command  # noqa: PLC0415 - after the loop was exchanged.

    run_command()


if __name__ == "__main__":
    main()
