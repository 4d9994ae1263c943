"""The server with bugs in it, each met where a request asks for it, and quoting that request.

Run as `python -m tests.support.buggy_server run <flags>`. A request asks with `?bug=<name>`; the
bugs of the writer, which sees no requests, are met by events on a subject that ends as they do.
"""

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial, wraps
from typing import Any, NoReturn

from everlog import bootstrap
from everlog.api.application import ApiApplication
from everlog.api.endpoints import answer_write
from everlog.api.routes import V1, Handle, Route
from everlog.api.services import Services
from everlog.cli import main
from everlog.domain.event import AcceptedEvent
from everlog.http import Endpoint, Exchange, Head, Request, Response, Stream
from everlog.service.writing.changes import Settled
from everlog.storage.engine import Batch
from everlog.storage.log import LogEngine


class Bug(StrEnum):
    """Where the bug is, and whether it costs the client its answer."""

    HANDLER = "handler"
    CHAINED = "chained"
    GROUP = "group"
    TASK = "task"
    READER = "reader"
    ANSWER = "answer"
    ROUTE = "route"
    STREAM = "stream"
    DISCONNECT = "disconnect"
    CALLBACK = "callback"
    ORPHAN = "orphan"
    LOOP = "loop"
    THREAD = "thread"
    UNRAISABLE = "unraisable"
    WARNING = "warning"
    LOGGING = "logging"
    # Of the writer.
    STAGE = "stage"
    COMMIT = "commit"


# Where the request gets an answer with status 500.
ANSWERED = (Bug.HANDLER, Bug.CHAINED, Bug.GROUP, Bug.TASK, Bug.READER, Bug.ANSWER, Bug.ROUTE)
# Where it gets one with status 200, because the bug is elsewhere.
UNTOUCHED = (
    Bug.CALLBACK,
    Bug.ORPHAN,
    Bug.LOOP,
    Bug.THREAD,
    Bug.UNRAISABLE,
    Bug.WARNING,
    Bug.LOGGING,
)


class QuotingError(Exception):
    """An error that says all it knows."""


def fail(text: str) -> NoReturn:
    error = QuotingError(text)
    error.add_note(text)
    raise error


async def fail_soon(text: str) -> None:
    fail(text)


class _Unshowable:
    """An event that is written, and cannot be shown."""

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def json(self) -> bytes:
        fail(self._text)


class _Unraisable:
    def __init__(self, text: str) -> None:
        self.text = text

    def __del__(self) -> None:
        fail(self.text)


def _chained(text: str) -> None:
    try:
        fail(text)
    except QuotingError as error:
        raise KeyError(text) from error


def _group(text: str) -> None:
    raise ExceptionGroup(text, [QuotingError(text), QuotingError(text)])


def _orphan(text: str) -> None:
    task = asyncio.get_running_loop().create_task(fail_soon(text))

    def collect() -> None:
        nonlocal task
        del task
        gc.collect()

    asyncio.get_running_loop().call_later(0.01, collect)


def _elsewhere(bug: Bug, text: str) -> None:
    """Meet a bug that is none of the request's."""
    loop = asyncio.get_running_loop()
    actions: dict[Bug, Callable[[], object]] = {
        Bug.CALLBACK: lambda: loop.call_soon(fail, text),
        Bug.ORPHAN: lambda: _orphan(text),
        Bug.LOOP: lambda: loop.call_exception_handler({"message": text}),
        Bug.THREAD: lambda: threading.Thread(target=fail, args=(text,)).start(),
        Bug.UNRAISABLE: lambda: _Unraisable(text),
        Bug.WARNING: lambda: warnings.warn(text, RuntimeWarning, stacklevel=1),
        Bug.LOGGING: lambda: logging.getLogger("library").error("%s", text),
    }
    actions[bug]()


def _meet(bug: Bug, services: Services, request: Request, exchange: Exchange) -> None:
    text = f"{request.head!r} {request.body!r}"

    async def produce(stream: Stream) -> None:
        await stream.send(b"something\n")
        fail(text)

    match bug:
        case Bug.HANDLER:
            fail(text)
        case Bug.CHAINED:
            _chained(text)
        case Bug.GROUP:
            _group(text)
        case Bug.TASK:
            services.tasks.start(exchange, fail_soon(text))
        case Bug.READER:
            services.tasks.start_for(exchange, services.store.reader.call(lambda: fail(text)))
        case Bug.ANSWER:
            answer = partial(answer_write, V1, services, exchange)
            written: Any = [_Unshowable(text)]
            services.store.writer._take(Settled(answer, written))
        case Bug.STREAM:
            exchange.stream(200, b"text/plain", produce)
        case Bug.DISCONNECT:
            exchange.on_disconnect(lambda: fail(text))
        case _:
            _elsewhere(bug, text)
            exchange.respond(Response(200, b"", b""))


def _wanted(query: str) -> Bug | None:
    name, _, value = query.partition("=")
    return Bug(value) if name == "bug" else None


def _with_bugs(handle: Handle) -> Handle:
    @wraps(handle)
    def handle_with_bugs(services: Services, request: Request, exchange: Exchange) -> None:
        bug = _wanted(request.head.query)
        if bug is None:
            handle(services, request, exchange)
        else:
            _meet(bug, services, request, exchange)

    return handle_with_bugs


def _with_bug_in_route(route: Callable[..., Any]) -> Callable[..., Any]:
    def route_with_bug(self: ApiApplication, head: Head) -> Endpoint | Response:
        if _wanted(head.query) is Bug.ROUTE:
            fail(repr(head))
        answer: Endpoint | Response = route(self, head)
        return answer

    return route_with_bug


def _with_bug_in_stage(stage: Callable[..., None]) -> Callable[..., None]:
    def stage_with_bug(self: LogEngine, events: Sequence[AcceptedEvent], *, time: int) -> None:
        if events[0].subject.endswith(Bug.STAGE):
            fail(repr(events))
        stage(self, events, time=time)

    return stage_with_bug


def _with_bug_in_commit(commit: Callable[..., None]) -> Callable[..., None]:
    def commit_with_bug(self: LogEngine, batch: Batch) -> None:
        if any(event.subject.endswith(Bug.COMMIT) for event in batch.events):
            fail(repr(batch))
        commit(self, batch)

    return commit_with_bug


def put_bugs_in() -> None:
    """Alter the server of this process for good."""
    routes: tuple[Route, ...] = vars(bootstrap)["ROUTES"]
    vars(bootstrap)["ROUTES"] = tuple(
        route._replace(handle=_with_bugs(route.handle)) for route in routes
    )
    for owner, name, alter in (
        (ApiApplication, "route", _with_bug_in_route),
        (LogEngine, "stage", _with_bug_in_stage),
        (LogEngine, "commit", _with_bug_in_commit),
    ):
        setattr(owner, name, alter(getattr(owner, name)))


if __name__ == "__main__":
    put_bugs_in()
    main()
