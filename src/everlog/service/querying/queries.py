"""Queries: who may run one, where it runs, and for how long.

A query sees one head of the log. One that is light, and whose few events are at hand, is evaluated
here and now; a short one is tried on a reading thread (`plans` tells which), where it has some
milliseconds and little memory, and is evaluated as a whole before its first row is sent. Any other
runs in a process of its own, and so does one that was not as short as it looked: what was computed
of it is forgotten. So writers and observers do not notice what clients ask for. Rows come as they
are found, no faster than they are taken, and whoever stops asking stops the query.
"""

import asyncio
import os
import pickle
import random
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterator,
)
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from everlog.domain.errors import (
    Code,
    EverlogError,
    ReadFailedError,
    RefusedError,
    TooManyQueriesError,
)
from everlog.domain.limits import QUERIES_MAX
from everlog.domain.signature import SigningKey, sign
from everlog.eventql.diagnostic import QueryLimitError
from everlog.eventql.limits import QueryLimits
from everlog.eventql.planning.plan import EventScan, Plan
from everlog.eventql.query import (
    EvaluationContext,
    IncrementalAggregation,
    execute,
    is_compiled,
)
from everlog.service.permits import Permits
from everlog.service.querying.faults import ToldFaultError, faults_told
from everlog.service.querying.log import HeadLog, Needs, aggregate, to_storage_scan
from everlog.service.querying.messages import (
    Fault,
    FoundScan,
    FrameKind,
    Job,
    RowForm,
    encode_frame,
)
from everlog.service.querying.plans import (
    KeptPlans,
    PreparedQuery,
    find_at_hand,
    is_large,
    is_short,
    large_query,
    prepare_query,
)
from everlog.service.querying.processes import (
    QueryProcessDiedError,
    QueryProcesses,
    QueryProcessGarbledError,
    QueryProcessLostError,
)
from everlog.service.querying.threads import Trial
from everlog.service.reader import Reader
from everlog.storage.engine import Engine, Head

# Threads share the interpreter's lock: more would not be done any sooner, and the loop would wait
# for each of them.
_TRIALS_MAX: Final = 2

HEARTBEAT_INTERVAL_SECONDS: Final = 1.0

_NAMES_PER_FRAME: Final = 4_096

_encode: Final = msgspec.msgpack.Encoder().encode

_Found = TypeVar("_Found")


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
        on_process_lost: Callable[[QueryProcessLostError], None],
        process_count_max: int | None = None,
    ) -> None:
        """Start without processes; the clock returns nanoseconds since 1970.

        `on_process_lost` is told why a process did not do what it was asked to. There are as many
        as the machine has processors, unless it is said how many there may be.
        """
        self.engine: Final = engine
        self.reader: Final = reader
        self._clock: Final = clock
        self._signing_key: Final = signing_key
        self.seconds_max: Final = seconds_max
        # The machine's other processors go on serving when all of them are busy.
        files = engine.files(engine.head)
        self._processes: Final = QueryProcesses(
            count_max=process_count_max or max(2, os.cpu_count() or 1),
            on_lost=on_process_lost,
            inherited=() if files is None else files.inherited,
        )
        self._trials: Final = asyncio.Semaphore(_TRIALS_MAX)
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
        """Return what is known of a query without the log.

        Raises:
            QueryFault: The text is no query.
            RefusedError: The server is going down.
        """
        watch = _Stopwatch(self.seconds_max)
        step = asyncio.ensure_future(self._prepared(text, watch))
        return await self._finish(step, watch)

    # At once: on the event loop's thread.

    def rows_at_once(self, prepared: PreparedQuery, head: Head) -> Iterator[list[bytes]] | None:
        """Return the rows in chunks if they can be found here and now, which is bounded.

        Iterating raises: as `rows`.
        """
        at_hand = self._find_at_hand(prepared, head, as_json=True)
        return None if at_hand is None else execute(*at_hand, self.evaluation_context())

    def aggregate_at_once(
        self, prepared: PreparedQuery, head: Head
    ) -> IncrementalAggregation | None:
        """Return what `aggregate` does if that can be found here and now, which is bounded.

        Raises: as `rows`.
        """
        at_hand = self._find_at_hand(prepared, head, as_json=False)
        return None if at_hand is None else aggregate(*at_hand, self.evaluation_context())

    def _find_at_hand(
        self, prepared: PreparedQuery, head: Head, *, as_json: bool
    ) -> tuple[Plan, HeadLog] | None:
        plan, is_signed = prepared.plan, self._signing_key is not None
        # Compiling is left to a thread; whoever goes down refuses elsewhere.
        if plan is None or not is_compiled(plan, is_signed=is_signed, as_json=as_json):
            return None
        log = None if self.is_ending else find_at_hand(prepared, self.engine, head)
        return None if log is None else (plan, log)

    # However long it takes.

    async def run(self, text: str, *, form: RowForm) -> AsyncGenerator[bytes | None, None]:
        """Yield blocks of a text's rows, and a None for each second without one.

        Raises: as `prepare`, and as `rows`.
        """
        prepared = self.known(text)
        if prepared is not None:
            rows = self.rows(prepared, self.engine.head, form=form)
        else:
            watch = _Stopwatch(self.seconds_max)
            rows = self._with_heartbeats(self._prepare_and_run(text, form, watch), watch)
        async with aclosing(rows) as blocks:
            async for block in blocks:
                yield block

    async def rows(
        self, prepared: PreparedQuery, head: Head, *, form: RowForm
    ) -> AsyncGenerator[bytes | None, None]:
        """Yield blocks of rows, and a None for each second without one.

        Raises:
            QueryFault: A row could not be computed, or the query needs more than it may have; the
                rows before have been yielded.
            RefusedError: The log cannot be read, or the server is going down.
        """
        chunks = self.rows_at_once(prepared, head)
        if chunks is not None:
            for rows in chunks:
                if rows:
                    yield form.render(rows)
            return
        watch = _Stopwatch(self.seconds_max)
        blocks = self._rows_somewhere(prepared, head, form, watch)
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
        step = asyncio.ensure_future(self._aggregate_somewhere(prepared, head, watch))
        return await self._finish(step, watch)

    async def is_quick(self, prepared: PreparedQuery, head: Head) -> bool:
        """Tell whether a query takes a few milliseconds, so that the server evaluates it itself."""
        if not self._has_processes or self._find_at_hand(prepared, head, as_json=True) is not None:
            return True
        return await self.reader.call(lambda: is_short(prepared, HeadLog(self.engine, head)))

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

    @property
    def _has_processes(self) -> bool:
        return self.engine.files(self.engine.head) is not None

    async def _prepare_and_run(
        self, text: str, form: RowForm, watch: "_Stopwatch"
    ) -> AsyncGenerator[bytes, None]:
        prepared = await self._prepared(text, watch)
        blocks = self._rows_somewhere(prepared, self.engine.head, form, watch)
        async with aclosing(blocks):
            async for block in blocks:
                yield block

    async def _prepared(self, text: str, watch: "_Stopwatch") -> PreparedQuery:
        prepared = self._plans.find(text)
        if prepared is None:
            if self._has_processes and is_large(text):
                prepared = large_query(text, await self._needs_there(text, watch))
            else:
                prepared = await self.reader.call(lambda: self._prepare(text))
            self._plans.keep(prepared)
        return prepared

    async def _rows_somewhere(
        self, prepared: PreparedQuery, head: Head, form: RowForm, watch: "_Stopwatch"
    ) -> AsyncGenerator[bytes, None]:
        found = await self._try(prepared, watch, lambda trial: trial.rows(prepared, head))
        if found is None:
            async with aclosing(self._rows_there(prepared, head, form, watch)) as blocks:
                async for block in blocks:
                    yield block
            return
        yield form.render(found.rows)
        if found.fault is not None:
            raise found.fault

    async def _aggregate_somewhere(
        self, prepared: PreparedQuery, head: Head, watch: "_Stopwatch"
    ) -> IncrementalAggregation:
        found = await self._try(prepared, watch, lambda trial: trial.aggregation(prepared, head))
        return await self._aggregate_there(prepared, head, watch) if found is None else found

    # On a thread.

    def _prepare(self, text: str) -> PreparedQuery:
        is_signed, has_processes = self._signing_key is not None, self._has_processes
        with faults_told():
            return prepare_query(text, is_signed=is_signed, has_processes=has_processes)

    async def _try(
        self,
        prepared: PreparedQuery,
        watch: "_Stopwatch",
        work: Callable[[Trial], _Found | None],
    ) -> _Found | None:
        """Return what a query finds on a thread; None if it has to have a process."""
        if prepared.plan is None:
            return None
        trial = Trial(self.engine, self.evaluation_context)
        async with self._trials:
            watch.start()
            try:
                found = await self.reader.call(lambda: work(trial))
            finally:
                # Whoever waited may have gone.
                trial.is_wanted = False
        watch.stop()
        if trial.was_too_long:
            self._plans.note_long(prepared)
        return found

    # In a process.

    async def _needs_there(self, text: str, watch: "_Stopwatch") -> Needs:
        frames = _each(encode_frame(FrameKind.PREPARE, text.encode()))
        async with aclosing(self._answers(frames, watch)) as answers:
            async for kind, content in answers:
                if kind is FrameKind.NEEDS:
                    return msgspec.msgpack.decode(content, type=Needs)
        raise QueryProcessGarbledError

    async def _rows_there(
        self, prepared: PreparedQuery, head: Head, form: RowForm, watch: "_Stopwatch"
    ) -> AsyncGenerator[bytes, None]:
        frames = self._job_frames(prepared, head, form, is_incremental=False)
        async with aclosing(self._answers(frames, watch)) as answers:
            async for kind, content in answers:
                if kind is FrameKind.ROWS:
                    yield content

    async def _aggregate_there(
        self, prepared: PreparedQuery, head: Head, watch: "_Stopwatch"
    ) -> IncrementalAggregation:
        frames = self._job_frames(prepared, head, RowForm(b"", b""), is_incremental=True)
        async with aclosing(self._answers(frames, watch)) as answers:
            async for kind, content in answers:
                if kind is FrameKind.AGGREGATION:
                    return await self.reader.call(partial(self._aggregation_of, content))
        raise QueryProcessGarbledError

    def _aggregation_of(self, content: bytes) -> IncrementalAggregation:
        # From a process that we started, and that runs our code.
        found: IncrementalAggregation = pickle.loads(content)  # noqa: S301 - see above
        return found.resume(self.evaluation_context())

    async def _answers(
        self, frames: AsyncGenerator[bytes, None], watch: "_Stopwatch"
    ) -> AsyncGenerator[tuple[FrameKind, bytes], None]:
        """Yield what a process says to the frames of a job."""
        # Waiting for others does not count.
        watch.stop()
        try:
            async with (
                aclosing(frames),
                self._processes.borrow() as process,
                aclosing(process.run(frames)) as answers,
            ):
                watch.start()
                async for kind, content in answers:
                    if kind is FrameKind.FAULT:
                        raise ToldFaultError(msgspec.msgpack.decode(content, type=Fault))
                    if kind is FrameKind.UNREADABLE:
                        raise ReadFailedError(content.decode())
                    if kind is FrameKind.BUG:
                        raise RuntimeError(f"a query met a bug: {content.decode()}")
                    yield kind, content
        except QueryProcessDiedError as error:
            raise QueryLimitError(
                "the query was ended: its process died, perhaps for lack of memory"
            ) from error
        except QueryProcessLostError as error:
            raise QueryLimitError(
                "the query cannot be run now: the server has no process for it"
            ) from error

    async def _job_frames(
        self, prepared: PreparedQuery, head: Head, form: RowForm, *, is_incremental: bool
    ) -> AsyncGenerator[bytes, None]:
        """Yield the frames of a job, each found on a thread when it is its turn."""
        files = self.engine.files(head)
        assert files is not None
        job = Job(
            text=prepared.text,
            now=self._clock(),
            is_incremental=is_incremental,
            files=files,
            form=form,
            signing_key=None if self._signing_key is None else self._signing_key.to_pem(),
        )
        yield encode_frame(FrameKind.JOB, _encode(job))
        for scan, by_event_type in prepared.needs.scans.items():
            yield await self.reader.call(partial(self._scan_frame, scan, head, by_event_type))
        log = HeadLog(self.engine, head)
        if prepared.needs.has_subjects:
            async for names in self.reader.fetch_chunks(log.subjects()):
                yield encode_frame(FrameKind.NAMES, _encode(names))
            yield encode_frame(FrameKind.NAMES, b"")
        if prepared.needs.has_event_types:
            types = await self.reader.call(log.event_types)
            for first in range(0, len(types), _NAMES_PER_FRAME):
                names = types[first : first + _NAMES_PER_FRAME]
                yield encode_frame(FrameKind.NAMES, _encode(names))
            yield encode_frame(FrameKind.NAMES, b"")

    def _scan_frame(
        self,
        scan: EventScan,
        head: Head,
        by_event_type: bool,  # noqa: FBT001 - it is called as it is stored.
    ) -> bytes:
        storage_scan = to_storage_scan(scan, self.engine, head)
        counts = self.engine.count_by_event_type(storage_scan, head) if by_event_type else None
        found = FoundScan(self.engine.locate(storage_scan, head), counts)
        return encode_frame(FrameKind.SCAN, _encode(found))

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

    async def _finish(self, step: asyncio.Future[_Found], watch: "_Stopwatch") -> _Found:
        """Return what comes of a step, within the time that a query has."""
        async with aclosing(self._heartbeats(step, watch)) as heartbeats:
            async for _ in heartbeats:
                pass
        return step.result()

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


async def _each(*frames: bytes) -> AsyncGenerator[bytes, None]:
    for frame in frames:
        yield frame


def is_going_down() -> RefusedError:
    """Return the refusal of a query while the server is going down."""
    return RefusedError(Code.SERVER_SHUTTING_DOWN, "the server is shutting down")


def _too_many(count_max: int) -> TooManyQueriesError:
    return TooManyQueriesError(f"there are {count_max} queries running already")
