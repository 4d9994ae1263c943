"""Queries: who may run one, where it runs, and for how long.

A query sees one head of the log. One that is light, and whose few events are at hand, is evaluated
here and now (`plans`); one that reads few events runs on a reading thread; a longer one runs in a
process of its own, so that writers and observers do not notice it. Rows come as they are found, no
faster than they are taken, and whoever stops asking stops the query.
"""

import asyncio
import os
import pickle
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any, Final, NamedTuple

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
    QueryMalformedError,
    QueryUnevaluableError,
    Span,
    TokenPlace,
    describe,
)
from everlog.eventql.language.parser import tokens_around
from everlog.eventql.limits import QueryLimits
from everlog.eventql.planning.plan import EventScan, Plan
from everlog.eventql.query import (
    EvaluationContext,
    IncrementalAggregation,
    execute,
    explain,
    is_compiled,
    scans_of,
)
from everlog.service.permits import Permits
from everlog.service.querying.log import (
    HeadLog,
    aggregate,
    count_rows,
    log_sources,
    scans_by_event_type,
    to_storage_scan,
)
from everlog.service.querying.messages import Fault, FoundScan, FrameKind, Job, RowForm
from everlog.service.querying.plans import KeptPlans, PreparedQuery, find_at_hand, prepare_query
from everlog.service.querying.processes import QueryProcessDiedError, QueryProcesses
from everlog.service.reader import Reader
from everlog.storage.engine import Engine, Head

# As many as a thread goes through in a few milliseconds.
_THREAD_ROWS_MAX: Final = 1_000
# A longer text may hide more work per row than that.
_THREAD_TEXT_LENGTH_MAX: Final = 4 * 1024

# Bytes of rows that a thread finds before it hands them over: a short query needs one hand-over.
_FETCH_SIZE: Final = 256 * 1024

HEARTBEAT_INTERVAL_SECONDS: Final = 1.0

# Of what is wrong with a text; more would not be read.
_DIAGNOSTICS_MAX: Final = 10


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
        self.engine: Final = engine
        self.reader: Final = reader
        self._clock: Final = clock
        self._signing_key: Final = signing_key
        self.seconds_max: Final = seconds_max
        # The machine's other processors go on serving when all of them are busy.
        files = engine.files(engine.head)
        self._processes: Final = QueryProcesses(
            count_max=max(2, os.cpu_count() or 1),
            inherited=() if files is None else files.inherited,
        )
        self._plans: Final = KeptPlans()
        self.permits: Final = Permits(QUERIES_MAX, _too_many)
        # Whose it is may evaluate a quick query anew, while others wait with theirs.
        self._turn: Final = asyncio.Lock()
        self._overtaken_count = 0
        # Whose it is lets the queries of a write catch up, for which the writer may have to pause.
        self.catching_up: Final = asyncio.Lock()
        self._closing: Final = asyncio.Event()
        # What goes on with a write whose query went stale: nobody else waits for it.
        self._retries: Final[set[asyncio.Task[None]]] = set()

    def known(self, text: str) -> PreparedQuery | None:
        """Return a query that has been prepared before, if it was kept."""
        return self._plans.find(text)

    async def prepare(self, text: str) -> PreparedQuery:
        """Return a query's plan with what is known of it.

        Raises:
            QueryMalformedError: The text is no query.
        """
        prepared = self._plans.find(text)
        if prepared is None:
            is_signed = self._signing_key is not None
            prepared = await self.reader.call(lambda: prepare_query(text, is_signed=is_signed))
            self._plans.keep(prepared)
        return prepared

    # At once: on the event loop's thread.

    def rows_at_once(self, prepared: PreparedQuery, head: Head) -> Iterator[list[bytes]] | None:
        """Return the rows in chunks if they can be found here and now, which is bounded.

        Iterating raises: as `rows`.
        """
        log = self._find_at_hand(prepared, head, as_json=True)
        return None if log is None else execute(prepared.plan, log, self.evaluation_context())

    def aggregate_at_once(
        self, prepared: PreparedQuery, head: Head
    ) -> IncrementalAggregation | None:
        """Return what `aggregate` does if that can be found here and now, which is bounded.

        Raises: as `rows`.
        """
        log = self._find_at_hand(prepared, head, as_json=False)
        return None if log is None else aggregate(prepared.plan, log, self.evaluation_context())

    def _find_at_hand(
        self, prepared: PreparedQuery, head: Head, *, as_json: bool
    ) -> HeadLog | None:
        is_signed = self._signing_key is not None
        # Compiling is left to a thread; whoever goes down refuses elsewhere.
        if not is_compiled(prepared.plan, is_signed=is_signed, as_json=as_json):
            return None
        return None if self.is_ending else find_at_hand(prepared, self.engine, head)

    # However long it takes.

    async def rows(
        self, prepared: PreparedQuery, head: Head, *, form: RowForm
    ) -> AsyncGenerator[bytes | None, None]:
        """Yield blocks of rows, and a None for each second without one.

        Raises:
            QueryUnevaluableError: A row could not be computed; those before it have been yielded.
            QueryLimitError: The query needs more than it may have.
            RefusedError: The server is going down.
        """
        plan = prepared.plan
        if plan.is_explain:
            text = await self.reader.call(lambda: self._explain(plan, head))
            yield form.render([text])
            return
        chunks = self.rows_at_once(prepared, head)
        if chunks is not None:
            for rows in chunks:
                if rows:
                    yield form.render(rows)
            return
        watch = _Stopwatch(self.seconds_max)
        blocks = self._rows_somewhere(plan, head, form, watch)
        async with aclosing(self._with_heartbeats(blocks, watch)) as with_heartbeats:
            async for block in with_heartbeats:
                yield block

    async def aggregate(self, prepared: PreparedQuery, head: Head) -> IncrementalAggregation:
        """Return the aggregates of an incremental plan over a head.

        Raises: as `rows`.
        """
        aggregation = self.aggregate_at_once(prepared, head)
        if aggregation is not None:
            return aggregation
        watch = _Stopwatch(self.seconds_max)
        watch.start()
        step = asyncio.ensure_future(self._aggregate_somewhere(prepared.plan, head, watch))
        async with aclosing(self._heartbeats(step, watch)) as heartbeats:
            async for _ in heartbeats:
                pass
        return step.result()

    async def is_quick(self, prepared: PreparedQuery, head: Head) -> bool:
        """Tell whether a query takes a few milliseconds, so that a thread may run it."""
        if self._find_at_hand(prepared, head, as_json=True) is not None:
            return True
        return await self.reader.call(lambda: self._is_quick(prepared.plan, head))

    def evaluation_context(self) -> EvaluationContext:
        """Return what a query that begins now sees besides the log."""
        key = self._signing_key
        return EvaluationContext(
            now=self._clock(),
            random=random.random,
            sign=None if key is None else lambda hash_: sign(key, hash_),
            limits=QueryLimits(),
        )

    @property
    def is_ending(self) -> bool:
        """Whether the server is going down, so that every query is refused."""
        return self._closing.is_set()

    def end(self) -> None:
        """Refuse and end all queries."""
        self._closing.set()

    # Those whose quick query went stale, since others were faster.

    @property
    def has_overtaken(self) -> bool:
        """Whether somebody evaluates a quick query anew, or is about to, and goes first."""
        return self._overtaken_count > 0 or len(self._retries) > 0

    @asynccontextmanager
    async def turn_again(self) -> AsyncGenerator[None, None]:
        """Wait for the turn to evaluate a quick query anew, and have it until the block ends."""
        self._overtaken_count += 1
        try:
            async with self._turn:
                yield
        finally:
            self._overtaken_count -= 1

    async def let_overtaken_go_first(self) -> None:
        """Wait until those who asked before for the turn to evaluate anew have had it."""
        async with self._turn:
            pass

    def own(self, retry: asyncio.Task[None]) -> None:
        """See to it that a write is decided whose query went stale when nobody waited for it."""
        self._retries.add(retry)
        retry.add_done_callback(self._retries.discard)

    async def close(self) -> None:
        """Return when nothing of theirs is left, all queries having ended."""
        while self._retries:
            await asyncio.wait(self._retries)
        await self._processes.close()

    # On a thread.

    def _explain(self, plan: Plan, head: Head) -> bytes:
        return msgspec.json.encode(explain(plan, HeadLog(self.engine, head)))

    def _is_quick(self, plan: Plan, head: Head) -> bool:
        if self.engine.files(head) is None:
            return True
        if len(plan.query.text) > _THREAD_TEXT_LENGTH_MAX:
            return False
        return count_rows(plan, HeadLog(self.engine, head)) <= _THREAD_ROWS_MAX

    def _chunks_if_quick(self, plan: Plan, head: Head) -> Iterator[list[bytes]] | None:
        if not self._is_quick(plan, head):
            return None
        return execute(plan, HeadLog(self.engine, head), self.evaluation_context())

    def _aggregate_if_quick(self, plan: Plan, head: Head) -> IncrementalAggregation | None:
        if not self._is_quick(plan, head):
            return None
        return aggregate(plan, HeadLog(self.engine, head), self.evaluation_context())

    # On a thread, or in a process: which of them is found out in the first hand-over.

    async def _rows_somewhere(
        self, plan: Plan, head: Head, form: RowForm, watch: "_Stopwatch"
    ) -> AsyncGenerator[bytes, None]:
        def begin() -> tuple[Iterator[list[bytes]], _Taken] | None:
            chunks = self._chunks_if_quick(plan, head)
            return None if chunks is None else (chunks, _take(chunks))

        watch.start()
        begun = await self.reader.call(begin)
        if begun is None:
            async with aclosing(self._rows_there(plan, head, form, watch)) as blocks:
                async for block in blocks:
                    yield block
            return
        chunks, taken = begun
        while True:
            yield form.render(taken.rows)
            if taken.error is not None:
                raise taken.error
            if taken.is_end:
                return
            taken = await self.reader.call(lambda: _take(chunks))

    async def _aggregate_somewhere(
        self, plan: Plan, head: Head, watch: "_Stopwatch"
    ) -> IncrementalAggregation:
        found = await self.reader.call(lambda: self._aggregate_if_quick(plan, head))
        return await self._aggregate_there(plan, head, watch) if found is None else found

    # In a process.

    async def _rows_there(
        self, plan: Plan, head: Head, form: RowForm, watch: "_Stopwatch"
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._run(plan, head, form, watch, is_incremental=False)) as frames:
            async for kind, content in frames:
                if kind is FrameKind.ROWS:
                    yield content

    async def _aggregate_there(
        self, plan: Plan, head: Head, watch: "_Stopwatch"
    ) -> IncrementalAggregation:
        form = RowForm(b"", b"")
        async with aclosing(self._run(plan, head, form, watch, is_incremental=True)) as frames:
            async for kind, content in frames:
                if kind is FrameKind.AGGREGATION:
                    # From a process that we started, and that runs our code.
                    found: IncrementalAggregation = pickle.loads(content)  # noqa: S301 - see above
                    return found.resume(self.evaluation_context())
        raise QueryProcessDiedError

    async def _run(
        self, plan: Plan, head: Head, form: RowForm, watch: "_Stopwatch", *, is_incremental: bool
    ) -> AsyncGenerator[tuple[FrameKind, bytes], None]:
        job = await self.reader.call(
            lambda: self._job(plan, head, form, is_incremental=is_incremental)
        )
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

    def _job(self, plan: Plan, head: Head, form: RowForm, *, is_incremental: bool) -> Job:
        files = self.engine.files(head)
        assert files is not None
        log = HeadLog(self.engine, head)
        sources = log_sources(plan)
        by_event_type = scans_by_event_type(plan)
        return Job(
            text=plan.query.text,
            now=self._clock(),
            is_incremental=is_incremental,
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
        storage_scan = to_storage_scan(scan, self.engine, head)
        counts = self.engine.count_by_event_type(storage_scan, head) if by_event_type else None
        return FoundScan(self.engine.locate(storage_scan, head), counts)

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
        if self.is_ending:
            raise is_going_down()


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


class _Taken(NamedTuple):
    """Rows that a thread has found, and how it came that there are no more."""

    rows: list[bytes]
    error: EverlogError | None
    is_end: bool


def _take(chunks: Iterator[list[bytes]]) -> _Taken:
    """Take rows until they are enough for one hand-over; an error comes after those before it."""
    rows: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            rows += chunk
            size += sum(map(len, chunk))
            if size >= _FETCH_SIZE:
                return _Taken(rows, None, is_end=False)
    except EverlogError as error:
        return _Taken(rows, error, is_end=True)
    return _Taken(rows, None, is_end=True)


def _fault_error(plan: Plan, content: bytes) -> EverlogError:
    fault = msgspec.msgpack.decode(content, type=Fault)
    if fault.span is None:
        return QueryLimitError(fault.message)
    diagnostic = Diagnostic(fault.message, Span(*fault.span), fault.hint)
    return QueryUnevaluableError(plan.query.text, diagnostic, event_id=fault.event_id)


def is_going_down() -> RefusedError:
    """Return the refusal of a query while the server is going down."""
    return RefusedError(Code.SERVER_SHUTTING_DOWN, "the server is shutting down")


def _too_many(count_max: int) -> TooManyQueriesError:
    return TooManyQueriesError(f"there are {count_max} queries running already")


QueryFault = QueryMalformedError | QueryUnevaluableError | QueryLimitError


def refusal_of(fault: QueryFault, **details: object) -> RefusedError:
    """Return the refusal that a fault of a query means, with further details."""
    match fault:
        case QueryMalformedError():
            first = fault.diagnostics[0]
            places = _token_places(fault.text, first)
            errors = [
                describe(fault.text, diagnostic)
                for diagnostic in fault.diagnostics[:_DIAGNOSTICS_MAX]
            ]
            return RefusedError(
                Code.QUERY_MALFORMED, str(fault), **places, errors=errors, **details
            )
        case QueryUnevaluableError():
            places = _token_places(fault.text, fault.diagnostic)
            located = {} if fault.event_id is None else {"eventId": fault.event_id}
            return RefusedError(Code.QUERY_UNEVALUABLE, str(fault), **places, **located, **details)
        case QueryLimitError():
            return RefusedError(Code.QUERY_UNEVALUABLE, str(fault), **details)


def _token_places(text: str, diagnostic: Diagnostic) -> dict[str, object]:
    start, end = tokens_around(text, diagnostic.span)
    return {"startToken": _place(start), "endToken": _place(end)}


def _place(token: TokenPlace) -> dict[str, object]:
    return token._asdict()
