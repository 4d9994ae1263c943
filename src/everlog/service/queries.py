"""Queries: who may run one, where it runs, and for how long.

A query sees one head of the log. One that reads few events runs on a reading thread; a longer one
runs in a process of its own, so that writers and observers do not notice it. Either way rows come
as they are found, no faster than they are taken, and whoever stops asking stops the query.
"""

import asyncio
import os
import pickle
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

import msgspec

from everlog.domain.errors import (
    Code,
    EverlogError,
    RefusedError,
    TooManyQueriesError,
)
from everlog.domain.limits import QUERIES_MAX
from everlog.domain.signature import SigningKey, sign
from everlog.eventql.analyzed import LogSource
from everlog.eventql.diagnostic import (
    Diagnostic,
    QueryLimitError,
    QueryUnevaluableError,
    Span,
)
from everlog.eventql.limits import QueryLimits
from everlog.eventql.plan import EventScan, Plan
from everlog.eventql.query import (
    Surroundings,
    Tally,
    execute,
    explain,
    prepare,
    scans_of,
)
from everlog.service.places import Places
from everlog.service.query_log import HeadLog, tally_of, to_storage_scan
from everlog.service.query_messages import Fault, FoundScan, FrameKind, Job, RowForm
from everlog.service.query_processes import QueryProcessDiedError, QueryProcesses
from everlog.service.reader import Reader
from everlog.storage.engine import Engine, Head

# As many events as a thread goes through in a few milliseconds.
_THREAD_EVENTS_MAX: Final = 1_000
# A longer text may hide more work per event than that.
_THREAD_TEXT_LENGTH_MAX: Final = 4 * 1024

HEARTBEAT_INTERVAL_SECONDS: Final = 1.0

_Result = TypeVar("_Result")


class Queries:
    """Everything that running queries needs, but for the log that they look at."""

    def __init__(
        self,
        engine: Engine,
        reader: Reader,
        *,
        clock: Callable[[], int],
        signing_key: SigningKey | None,
        seconds_max: float,
    ) -> None:
        """Start without processes; the clock returns nanoseconds since 1970."""
        self._engine: Final = engine
        self._reader: Final = reader
        self._clock: Final = clock
        self._signing_key: Final = signing_key
        self._seconds_max: Final = seconds_max
        # The machine's other processors go on serving when all of them are busy.
        self._processes: Final = QueryProcesses(count_max=max(2, os.cpu_count() or 1))
        self.places: Final = Places(QUERIES_MAX, _too_many)
        self._closing: Final = asyncio.Event()

    async def prepare(self, text: str) -> Plan:
        """Return the plan of a query.

        Raises:
            QueryMalformedError: The text is no query.
        """
        return await self._reader.call(lambda: prepare(text))

    async def rows(
        self, plan: Plan, head: Head, *, form: RowForm
    ) -> AsyncGenerator[bytes | None, None]:
        """Yield blocks of rows, and a None for each second without one.

        Raises:
            QueryUnevaluableError: A row could not be computed; those before it have been yielded.
            QueryLimitError: The query needs more than it may have.
            RefusedError: The server is going down.
        """
        if plan.is_explain:
            text = await self._reader.call(lambda: self._explain(plan, head))
            yield form.render([text])
            return
        is_small = await self._reader.call(lambda: self._is_small(plan, head))
        blocks = (
            self._rows_here(plan, head, form) if is_small else self._rows_there(plan, head, form)
        )
        async for block in self._with_heartbeats(blocks):
            yield block

    async def tally(self, plan: Plan, head: Head) -> Tally:
        """Return the tally of an incremental plan over a head.

        Raises: as `rows`.
        """
        is_small = await self._reader.call(lambda: self._is_small(plan, head))
        if is_small:
            return await self._within_time(self._reader.call(lambda: self._tally_here(plan, head)))
        return await self._within_time(self._tally_there(plan, head))

    def surroundings(self) -> Surroundings:
        """Return what a query that begins now sees besides the log."""
        key = self._signing_key
        return Surroundings(
            now=self._clock(),
            random=random.random,
            sign=None if key is None else lambda hash_: sign(key, hash_),
            limits=QueryLimits(),
        )

    async def close(self) -> None:
        """End all queries."""
        self._closing.set()
        await self._processes.close()

    # On a thread.

    def _explain(self, plan: Plan, head: Head) -> bytes:
        return msgspec.json.encode(explain(plan, HeadLog(self._engine, head)))

    def _is_small(self, plan: Plan, head: Head) -> bool:
        if self._engine.files(head) is None:
            return True
        if len(plan.query.text) > _THREAD_TEXT_LENGTH_MAX:
            return False
        return _work(plan, HeadLog(self._engine, head)) <= _THREAD_EVENTS_MAX

    async def _rows_here(
        self, plan: Plan, head: Head, form: RowForm
    ) -> AsyncGenerator[bytes, None]:
        chunks = execute(plan, HeadLog(self._engine, head), self.surroundings())
        async for (found,) in self._reader.fetch_chunks(_with_error(chunks)):
            if isinstance(found, EverlogError):
                raise found
            yield form.render(found)

    def _tally_here(self, plan: Plan, head: Head) -> Tally:
        return tally_of(plan, HeadLog(self._engine, head), self.surroundings())

    # In a process.

    async def _rows_there(
        self, plan: Plan, head: Head, form: RowForm
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._run(plan, head, form, is_tally=False)) as frames:
            async for kind, content in frames:
                if kind is FrameKind.ROWS:
                    yield content

    async def _tally_there(self, plan: Plan, head: Head) -> Tally:
        form = RowForm(b"", b"")
        async with aclosing(self._run(plan, head, form, is_tally=True)) as frames:
            async for kind, content in frames:
                if kind is FrameKind.TALLY:
                    # From a process that we started, and that runs our code.
                    tally: Tally = pickle.loads(content)  # noqa: S301
                    return tally.resume(self.surroundings())
        raise QueryProcessDiedError

    async def _run(
        self, plan: Plan, head: Head, form: RowForm, *, is_tally: bool
    ) -> AsyncGenerator[tuple[FrameKind, bytes], None]:
        job = await self._reader.call(lambda: self._job(plan, head, form, is_tally=is_tally))
        async with self._processes.borrow() as process, aclosing(process.run(job)) as frames:
            try:
                async for kind, content in frames:
                    if kind is FrameKind.FAULT:
                        raise _fault_error(plan, content)
                    if kind is FrameKind.BUG:
                        raise RuntimeError(f"a query met a bug: {content.decode()}")
                    yield kind, content
            except QueryProcessDiedError as error:
                raise QueryLimitError(
                    "the process of the query ended: it may have needed more memory than there is"
                ) from error

    def _job(self, plan: Plan, head: Head, form: RowForm, *, is_tally: bool) -> Job:
        files = self._engine.files(head)
        assert files is not None
        log = HeadLog(self._engine, head)
        sources = log_sources(plan)
        return Job(
            text=plan.query.text,
            now=self._clock(),
            is_tally=is_tally,
            files=files,
            scans=[self._find(scan, head) for scan in scans_of(plan)],
            subjects=[name for chunk in log.subjects() for name in chunk]
            if LogSource.SUBJECTS in sources
            else None,
            event_types=list(log.event_types()) if LogSource.EVENT_TYPES in sources else None,
            form=form,
            signing_key=None if self._signing_key is None else self._signing_key.to_pem(),
        )

    def _find(self, scan: EventScan, head: Head) -> FoundScan:
        storage_scan = to_storage_scan(scan, self._engine, head)
        return FoundScan(
            self._engine.locate(storage_scan, head),
            self._engine.count_by_event_type(storage_scan, head),
        )

    # Time.

    async def _with_heartbeats(
        self, blocks: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes | None, None]:
        seconds_left = self._seconds_max
        loop = asyncio.get_running_loop()
        async with aclosing(blocks):
            while True:
                # Only while the query works: a client may take its time.
                started = loop.time()
                step = loop.create_task(_next(blocks))
                try:
                    while not step.done():
                        await self._wait(step)
                        if not step.done():
                            yield None
                        if loop.time() - started > seconds_left:
                            raise _out_of_time(self._seconds_max)
                    block = step.result()
                finally:
                    await _cancel(step)
                seconds_left -= loop.time() - started
                if block is None:
                    return
                if block:
                    yield block

    async def _wait(self, step: asyncio.Task[Any]) -> None:
        """Wait for a step, for a second at most, or until the server goes down."""
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait(
                {step, closing},
                timeout=HEARTBEAT_INTERVAL_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            closing.cancel()
        if self._closing.is_set():
            raise RefusedError(Code.SERVER_SHUTTING_DOWN, "the server is shutting down")

    async def _within_time(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        task = asyncio.ensure_future(work)
        try:
            deadline = asyncio.get_running_loop().time() + self._seconds_max
            while not task.done():
                await self._wait(task)
                if not task.done() and asyncio.get_running_loop().time() > deadline:
                    raise _out_of_time(self._seconds_max)
            return task.result()
        finally:
            await _cancel(task)


async def _next(blocks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(blocks, None)


async def _cancel(task: asyncio.Task[Any]) -> None:
    """End a task and wait for it, since what it works with is about to be closed."""
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError, EverlogError):
            await task


def _with_error(chunks: Iterator[list[bytes]]) -> Iterator[tuple[list[bytes] | EverlogError]]:
    """Make what ends an iterator its last item, so that it does not overtake what came before."""
    try:
        for chunk in chunks:
            yield (chunk,)
    except EverlogError as error:
        yield (error,)


def _work(plan: Plan, log: HeadLog) -> int:
    """Return how many rows have to be looked at, at most."""
    own, inner = 1, 0
    for entry in plan.sources:
        match entry.source:
            case EventScan() as scan:
                own *= log.count(scan)
            case Plan() as subquery:
                rows = _work(subquery, log)
                own *= rows
                inner += rows
            case LogSource():
                # Rarely asked for, and not worth counting.
                own *= sum(map(len, log.subjects())) + len(log.event_types())
    return own + inner


def log_sources(plan: Plan) -> set[LogSource]:
    """Return what a plan reads besides events, its subqueries included."""
    found: set[LogSource] = set()
    for entry in plan.sources:
        if isinstance(entry.source, Plan):
            found |= log_sources(entry.source)
        elif isinstance(entry.source, LogSource):
            found.add(entry.source)
    return found


def _fault_error(plan: Plan, content: bytes) -> EverlogError:
    fault = msgspec.msgpack.decode(content, type=Fault)
    if fault.span is None:
        return QueryLimitError(fault.message)
    diagnostic = Diagnostic(fault.message, Span(*fault.span), fault.hint)
    return QueryUnevaluableError(plan.query.text, diagnostic, event_id=fault.event_id)


def _too_many(count_max: int) -> TooManyQueriesError:
    return TooManyQueriesError(f"there are {count_max} queries running already")


def _out_of_time(seconds_max: float) -> QueryLimitError:
    return QueryLimitError(
        f"the query took longer than {seconds_max:g} seconds: restrict what it reads by type, "
        "subject, id or time"
    )
