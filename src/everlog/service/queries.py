"""Queries: who may run one, where it runs, and for how long.

A query sees one head of the log. One that reads few events runs on a reading thread; a longer one
runs in a process of its own, so that writers and observers do not notice it. Either way rows come
as they are found, no faster than they are taken, and whoever stops asking stops the query.
"""

import asyncio
import os
import pickle
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Final

import msgspec

from everlog.domain.errors import (
    Code,
    EverlogError,
    RefusedError,
    TooManyQueriesError,
)
from everlog.domain.limits import QUERIES_MAX
from everlog.domain.signature import SigningKey, sign
from everlog.eventql.analysis.analyzed import LogSource
from everlog.eventql.diagnostic import (
    Diagnostic,
    QueryLimitError,
    QueryUnevaluableError,
    Span,
)
from everlog.eventql.limits import QueryLimits
from everlog.eventql.planning.plan import EventScan, Plan
from everlog.eventql.query import (
    EvaluationContext,
    IncrementalAggregation,
    execute,
    explain,
    prepare,
    scans_of,
)
from everlog.service.places import Places
from everlog.service.query_log import HeadLog, tally_of, to_storage_scan
from everlog.service.query_messages import Fault, FoundScan, FrameKind, Job, RowForm
from everlog.service.query_processes import QueryProcessDiedError, QueryProcesses
from everlog.service.query_work import count_rows, log_sources, scans_by_event_type
from everlog.service.reader import Reader
from everlog.storage.engine import Engine, Head

# As many as a thread goes through in a few milliseconds.
_THREAD_ROWS_MAX: Final = 1_000
# A longer text may hide more work per row than that.
_THREAD_TEXT_LENGTH_MAX: Final = 4 * 1024

HEARTBEAT_INTERVAL_SECONDS: Final = 1.0


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
        # Whose it is may evaluate a quick query anew, while others wait with theirs.
        self.turn: Final = asyncio.Lock()
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
        watch = _Stopwatch(self._seconds_max)
        if await self.is_quick(plan, head):
            watch.start()
            blocks = self._rows_here(plan, head, form)
        else:
            blocks = self._rows_there(plan, head, form, watch)
        async with aclosing(self._with_heartbeats(blocks, watch)) as with_heartbeats:
            async for block in with_heartbeats:
                yield block

    async def tally(self, plan: Plan, head: Head) -> IncrementalAggregation:
        """Return the tally of an incremental plan over a head.

        Raises: as `rows`.
        """
        watch = _Stopwatch(self._seconds_max)
        watch.start()
        step = asyncio.ensure_future(self._tally(plan, head, watch))
        async with aclosing(self._heartbeats(step, watch)) as heartbeats:
            async for _ in heartbeats:
                pass
        return step.result()

    async def _tally(self, plan: Plan, head: Head, watch: "_Stopwatch") -> IncrementalAggregation:
        # Judged and done in one hand-over between threads: a write waits for it.
        tally = await self._reader.call(lambda: self._tally_here(plan, head))
        return await self._tally_there(plan, head, watch) if tally is None else tally

    async def is_quick(self, plan: Plan, head: Head) -> bool:
        """Tell whether a query takes a few milliseconds, so that a thread may run it."""
        return await self._reader.call(lambda: self._is_quick(plan, head))

    def surroundings(self) -> EvaluationContext:
        """Return what a query that begins now sees besides the log."""
        key = self._signing_key
        return EvaluationContext(
            now=self._clock(),
            random=random.random,
            sign=None if key is None else lambda hash_: sign(key, hash_),
            limits=QueryLimits(),
        )

    def end(self) -> None:
        """Refuse and end all queries."""
        self._closing.set()

    async def close(self) -> None:
        """Return when no process of theirs is left, all of them having ended."""
        await self._processes.close()

    # On a thread.

    def _explain(self, plan: Plan, head: Head) -> bytes:
        return msgspec.json.encode(explain(plan, HeadLog(self._engine, head)))

    def _is_quick(self, plan: Plan, head: Head) -> bool:
        if self._engine.files(head) is None:
            return True
        if len(plan.query.text) > _THREAD_TEXT_LENGTH_MAX:
            return False
        return count_rows(plan, HeadLog(self._engine, head)) <= _THREAD_ROWS_MAX

    async def _rows_here(
        self, plan: Plan, head: Head, form: RowForm
    ) -> AsyncGenerator[bytes, None]:
        chunks = execute(plan, HeadLog(self._engine, head), self.surroundings())
        async for (found,) in self._reader.fetch_chunks(_with_error(chunks)):
            if isinstance(found, EverlogError):
                raise found
            yield form.render(found)

    def _tally_here(self, plan: Plan, head: Head) -> IncrementalAggregation | None:
        """Return a tally, or None if that would take too long for a thread."""
        if not self._is_quick(plan, head):
            return None
        return tally_of(plan, HeadLog(self._engine, head), self.surroundings())

    # In a process.

    async def _rows_there(
        self, plan: Plan, head: Head, form: RowForm, watch: "_Stopwatch"
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._run(plan, head, form, watch, is_tally=False)) as frames:
            async for kind, content in frames:
                if kind is FrameKind.ROWS:
                    yield content

    async def _tally_there(
        self, plan: Plan, head: Head, watch: "_Stopwatch"
    ) -> IncrementalAggregation:
        form = RowForm(b"", b"")
        async with aclosing(self._run(plan, head, form, watch, is_tally=True)) as frames:
            async for kind, content in frames:
                if kind is FrameKind.TALLY:
                    # From a process that we started, and that runs our code.
                    tally: IncrementalAggregation = pickle.loads(content)  # noqa: S301 - see above
                    return tally.resume(self.surroundings())
        raise QueryProcessDiedError

    async def _run(
        self, plan: Plan, head: Head, form: RowForm, watch: "_Stopwatch", *, is_tally: bool
    ) -> AsyncGenerator[tuple[FrameKind, bytes], None]:
        job = await self._reader.call(lambda: self._job(plan, head, form, is_tally=is_tally))
        # Waiting for others does not count.
        watch.stop()
        async with self._processes.borrow() as process, aclosing(process.run(job)) as frames:
            watch.start()
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
        by_event_type = scans_by_event_type(plan)
        return Job(
            text=plan.query.text,
            now=self._clock(),
            is_tally=is_tally,
            files=files,
            scans=[
                self._find(scan, head, by_event_type=scan in by_event_type)
                for scan in scans_of(plan)
            ],
            subjects=[name for chunk in log.subjects() for name in chunk]
            if LogSource.SUBJECTS in sources
            else None,
            event_types=list(log.event_types()) if LogSource.EVENT_TYPES in sources else None,
            form=form,
            signing_key=None if self._signing_key is None else self._signing_key.to_pem(),
        )

    def _find(self, scan: EventScan, head: Head, *, by_event_type: bool) -> FoundScan:
        storage_scan = to_storage_scan(scan, self._engine, head)
        counts = self._engine.count_by_event_type(storage_scan, head) if by_event_type else None
        return FoundScan(self._engine.locate(storage_scan, head), counts)

    # Time.

    async def _with_heartbeats(
        self, blocks: AsyncGenerator[bytes, None], watch: "_Stopwatch"
    ) -> AsyncGenerator[bytes | None, None]:
        async with aclosing(blocks):
            while True:
                step = asyncio.ensure_future(_next(blocks))
                async with aclosing(self._heartbeats(step, watch)) as heartbeats:
                    async for heartbeat in heartbeats:
                        yield heartbeat
                block = step.result()
                if block is None:
                    return
                if block:
                    # A client may take its time.
                    with watch.stopped():
                        yield block

    async def _heartbeats(
        self, step: asyncio.Future[Any], watch: "_Stopwatch"
    ) -> AsyncGenerator[None, None]:
        """Yield once for each second until a step is done, and end it where nobody waits for it.

        Raises:
            QueryLimitError: The time is over.
            RefusedError: The server is going down.
        """
        try:
            while not step.done():
                await self._wait(step)
                if not step.done():
                    watch.check()
                    yield
        finally:
            await _cancel(step)

    async def _wait(self, step: asyncio.Future[Any]) -> None:
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


class _Stopwatch:
    """The time that a query has computed."""

    def __init__(self, seconds_max: float) -> None:
        self._seconds_max = seconds_max
        self._seconds = 0.0
        self._started_at: float | None = None

    def start(self) -> None:
        """Go on counting."""
        self._started_at = time.monotonic()

    def stop(self) -> None:
        """Count no further until it is started again."""
        self._seconds = self._elapsed()
        self._started_at = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Do not count what happens meanwhile."""
        self.stop()
        yield
        self.start()

    def check(self) -> None:
        """Raise an error if the time is over."""
        if self._elapsed() > self._seconds_max:
            raise QueryLimitError(
                f"the query took longer than {self._seconds_max:g} seconds: restrict what it reads "
                "by type, subject, id or time"
            )

    def _elapsed(self) -> float:
        running = 0.0 if self._started_at is None else time.monotonic() - self._started_at
        return self._seconds + running


async def _next(blocks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(blocks, None)


async def _cancel(task: asyncio.Future[Any]) -> None:
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


def _fault_error(plan: Plan, content: bytes) -> EverlogError:
    fault = msgspec.msgpack.decode(content, type=Fault)
    if fault.span is None:
        return QueryLimitError(fault.message)
    diagnostic = Diagnostic(fault.message, Span(*fault.span), fault.hint)
    return QueryUnevaluableError(plan.query.text, diagnostic, event_id=fault.event_id)


def _too_many(count_max: int) -> TooManyQueriesError:
    return TooManyQueriesError(f"there are {count_max} queries running already")
