"""A node's mirror: the log here, and the journal that it shares with other nodes.

The order is decided by the journal alone. What this node appends stands there first, and is then
committed here; what others append is read from there, and applied. So the log here is a beginning
of what the journal has, with the same ids, times and hashes, and any node can answer for all.

**Unknown outcomes are resolved by asking.** An append whose answer was lost is told by its batch's
id from whatever else stands in its place; where nothing stands there, the very same entry is
appended again. Nobody is answered before that is known, and nothing is stored twice.

**Reading what is current** takes a *barrier*: one question to the journal, shared by all who came
since the one before was asked, and whatever it brings is applied before they go on. A refusal needs
the same, unless it leaves with a write that was appended behind what it is based on.

**Others have their turn.** Who has just appended, and has seen others do so lately, lets them in
before its next batch, for about as long as an append takes: else the loser of a race, who has more
to do than its winner, would lose the next one, too. Where nobody else writes, that moment is short,
and belongs to the clients whose answers have just left: with them, an append carries more.

A log that does not continue what the journal has says so, and takes and shows nothing any more.
All of it happens on the event loop's thread. What is left to others: judging and applying
(`writing.writer`), and how a journal keeps its promises (`everlog.journals`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from uuid import uuid4

from everlog.domain.chain import HashVersion
from everlog.domain.errors import (
    CatchingUpError,
    DivergedError,
    EverlogError,
    JournalUnreachableError,
    StoreFailedError,
)
from everlog.service.mirroring.arrivals import Arrivals
from everlog.service.mirroring.barriers import Barriers, Callback
from everlog.service.mirroring.journal import (
    ENTRY_FORMAT,
    Announced,
    Announcement,
    Entry,
    EntryLostError,
    OutcomeUnknownError,
    PlacedEntry,
    UnfitJournalError,
)
from everlog.service.mirroring.neighbours import find_mismatches, nodes_of
from everlog.service.mirroring.options import MirrorFigures, MirrorOptions
from everlog.service.writing.order import OrderGivenUpError
from everlog.service.writing.writer import Writer
from everlog.storage.engine import (
    Batch,
    BatchLostError,
    Engine,
    JournalEntry,
    UnchainedEntryError,
)

# What is asked of the journal at once, and what may be here and not applied yet.
_PAGE_SIZE: Final = 8 * 1024 * 1024
_ARRIVED_SIZE_MAX: Final = 4 * _PAGE_SIZE
# What is applied with one sync.
_MERGED_SIZE_MAX: Final = 4 * 1024 * 1024

# Between two attempts to reach the journal.
_PAUSE_SECONDS_MIN: Final = 0.1
_PAUSE_SECONDS_MAX: Final = 1.0
# Between two looks whether a journal is back that everybody waits for.
_LOOK_AGAIN_SECONDS: Final = 0.25

_ANNOUNCE_SECONDS: Final = 5.0
_PROGRESS_SECONDS: Final = 5.0
# How long an unknown outcome is looked for when the server stops.
_GIVE_UP_SECONDS: Final = 5.0

# Others write, as long as they have done so within this time; and how long they are let in first,
# in what they take on average to append behind this node, and at most.
_CONTENTION_SECONDS: Final = 0.1
_COURTESY_TURNS: Final = 2.0
_COURTESY_SECONDS_MAX: Final = 0.05
# Where nobody else writes, those whose answers have just left may join the next batch, for a part
# of what an append takes on average, and at most.
_GATHERING_SHARE: Final = 0.5
_GATHERING_SECONDS_MAX: Final = 0.002
# What these averages begin with, and the weight of the newest value in them.
_TURN_SECONDS: Final = 0.01
_AVERAGE_WEIGHT: Final = 0.1


_UNKNOWN: Final = "whether what was written is stored is unknown"


class _Proof(NamedTuple):
    """Whoever has the entry at a place has all that was acknowledged before a moment."""

    place: int
    began: float


class Mirror:
    """The order of a node's log (`writing.order`), decided by a journal."""

    def __init__(
        self,
        engine: Engine,
        options: MirrorOptions,
        *,
        clock: Callable[[], int],
        hash_version: HashVersion,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Ask nothing yet; the clock returns nanoseconds since 1970."""
        self._engine: Final = engine
        self._journal: Final = options.journal
        self._options: Final = options
        self._events: Final = options.events
        self._clock: Final = clock
        self._hash_version: Final = hash_version
        self._loop: Final = loop
        self._node_id: Final = uuid4().hex
        self.reads_are_current: Final = options.reads_are_current
        self.figures: Final = MirrorFigures()
        self._arrivals: Final = Arrivals(engine)
        # How many events were here when it began, until it is known that the journal has them.
        self._seam = 0
        # The id of the batch that is being appended, empty while none is.
        self._batch_id = ""
        # The entry that is being committed here, and stands in the journal.
        self._appended: PlacedEntry | None = None
        # What was found out and is of use once its entries are here; and up to when all is here.
        self._proofs: Final[deque[_Proof]] = deque()
        self._proven_at = float("-inf")
        self._reading: Final = asyncio.Lock()
        # Who waits for the next barrier, and who for entries to be applied.
        self._barriers: Final = Barriers(
            self._catch_up_once, self.figures, loop=loop, on_failure=self._as_reason
        )
        self._changed = asyncio.Event()
        # Why nothing of what arrived can be applied now, until that is tried again.
        self._held_up: Exception | None = None
        self._failure: Exception | None = None
        self._lost_at: float | None = None
        self._is_stopping = False
        # What is being appended, until that is given up.
        self._appending: asyncio.Task[int] | None = None
        self._has_given_up: Final = asyncio.Event()
        # The loop's time when others' entry was seen last; whether the last one was ours, and
        # nobody was waited for since.
        self._others_at = float("-inf")
        self._owes_pause = False
        self._appended_at = float("-inf")
        self._turn_seconds = self._append_seconds = _TURN_SECONDS
        self._mismatches: Final[set[str]] = set()
        self._writer: Writer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, writer: Writer) -> None:
        """Begin to catch up; the writer is one that this is the order of."""
        self._writer = writer
        self._tasks = [self._loop.create_task(self._run())]

    async def stop(self) -> None:
        """Read nothing any more, and resolve what is unknown within seconds or not at all."""
        self._is_stopping = True
        # Counted from here: each attempt may take as long as that.
        self._loop.call_later(_GIVE_UP_SECONDS, self._give_up)
        self._barriers.release(JournalUnreachableError("the server is shutting down"))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _give_up(self) -> None:
        self._has_given_up.set()
        if self._appending is not None:
            self._appending.cancel()

    async def close(self) -> None:
        """Let go of the journal; nothing may be on its way there any more."""
        await self._barriers.stop()
        await self._journal.close()

    @property
    def batch_size_max(self) -> int:
        """How many bytes a batch may have; the journal may know it once it is open only."""
        return self._journal.entry_size_max

    @property
    def is_ready(self) -> bool:
        """Whether the node has caught up with its journal since it was started."""
        return self.figures.is_caught_up and self._failure is None

    # For readers.

    def check_ready(self) -> None:
        """Raise what keeps everybody from reading here, if something does.

        Raises:
            CatchingUpError: Not everything is here yet.
            StoreFailedError: What is here is not what the journal has.
        """
        if self._failure is not None:
            raise StoreFailedError(str(self._failure))
        if not self.figures.is_caught_up:
            raise CatchingUpError

    def when_current(self, callback: Callback) -> None:
        """Call back once all is here that was acknowledged before this call, or say why not.

        It is called with None, or with an error that `check_ready` raises, or with a
        `JournalUnreachableError`.
        """
        try:
            self.check_ready()
        except EverlogError as error:
            callback(error)
            return
        if self._lost_at is not None or self._is_stopping:
            callback(self._unreachable())
            return
        self._barriers.call_back(callback)

    async def wait_current(self) -> None:
        """Return when `when_current` would call back; raise what it would say."""
        done: asyncio.Future[None] = self._loop.create_future()

        def note(error: Exception | None) -> None:
            if not done.done():
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

        self.when_current(note)
        await done

    def _as_reason(self, failure: Exception) -> Exception:
        """Return what readers are told where something failed, and report what is a bug."""
        if isinstance(failure, JournalUnreachableError):
            self._note_lost(failure)
        elif not isinstance(failure, EverlogError):
            self._events.bug(failure)
            return StoreFailedError("the journal could not be read: an unexpected error")
        return failure

    async def _catch_up_once(self) -> None:
        """Return when all is applied that stood in the journal when this was called."""
        while True:
            is_end = await self._fetch()
            end = self._arrivals.known
            self._urge()
            while self._arrivals.place < end:
                self._raise_hindrance()
                self._changed.clear()
                await self._changed.wait()
            if is_end:
                return

    def _raise_hindrance(self) -> None:
        if self._failure is not None:
            raise StoreFailedError(str(self._failure))
        if self._held_up is not None:
            raise self._held_up

    # Reading the journal.

    async def _fetch(self, *, proves_end: bool = True) -> bool:
        """Read what stands behind what is known; return whether that is known to be all."""
        async with self._reading:
            began = self._loop.time()
            page = await self._journal.read(
                after=self._arrivals.known, size_max=_PAGE_SIZE, proves_end=proves_end
            )
            self._note_found()
            for placed in page.entries:
                is_new = self._arrivals.arrive(placed)
                if is_new and placed.entry.batch_id != self._batch_id:
                    self._note_others()
            self.figures.behind_events = self._arrivals.behind_events
            if page.is_end:
                self._proofs.append(_Proof(self._arrivals.known, began))
                self._settle_proofs()
            return page.is_end

    def _settle_proofs(self) -> None:
        while self._proofs and self._proofs[0].place <= self._arrivals.place:
            self._proven_at = max(self._proven_at, self._proofs.popleft().began)

    def _note_progress(self) -> None:
        """Note that more of the journal may be here."""
        self.figures.behind_events = self._arrivals.behind_events
        self._settle_proofs()
        self._changed.set()

    def _urge(self) -> None:
        """Let the writer apply what arrived."""
        if self._arrivals and self._writer is not None:
            self._writer.take_over()

    # For the writer.

    def take(self) -> Sequence[JournalEntry]:
        """Return what arrived, as far as it continues the head; few entries of many batches."""
        if self._held_up is not None or self._failure is not None:
            return ()
        try:
            entry = self._arrivals.take()
        except DivergedError as error:
            self._fail(error)
            return ()
        if entry is None:
            # All that there was may have been here already, where a log met its journal.
            self._note_progress()
            return ()
        return [entry]

    @property
    def has_more(self) -> bool:
        """Whether more arrived than was taken last."""
        return self._arrivals.next is not None

    def note_applied(self, count: int, failure: Exception | None) -> None:
        """Take note that so many of the entries that were taken are here, and why not more."""
        if count > 0:
            self._note_taken_is_here()
            self._owes_pause = False
            self._note_progress()
        if isinstance(failure, UnchainedEntryError):
            self._fail(DivergedError(f"the journal does not continue the log here: {failure}"))
        elif failure is not None:
            self._held_up = failure
            self._changed.set()

    def _note_taken_is_here(self) -> None:
        entries = self._arrivals.note_applied()
        if entries:
            self.figures.applied_entries += len(entries)
            self.figures.applied_events += entries[-1].end - entries[0].first

    async def append(self, batch: Batch) -> None:
        """Return when the batch stands in the journal, behind what is here and others' part of it.

        Others' part is what was taken last; it stands there already.
        """
        self._raise_hindrance()
        if not batch.others_count or self.has_more:
            self._raise_if_lost()
        if self._has_given_up.is_set():
            raise self._unreachable()
        began, entry = self._loop.time(), self._entry_of(batch)
        self._batch_id = entry.batch_id
        self._appending = self._loop.create_task(self._append(entry))
        try:
            place = await self._appending
        except BaseException as error:
            self._batch_id = ""
            if isinstance(error, asyncio.CancelledError) and self._has_given_up.is_set():
                raise OrderGivenUpError(_UNKNOWN) from None
            raise
        finally:
            self._appending = None
        self._appended_at = now = self._loop.time()
        self._append_seconds += _AVERAGE_WEIGHT * (now - began - self._append_seconds)
        self.figures.appends += 1
        self._appended = PlacedEntry(place, entry)
        self._owes_pause = True

    def _raise_if_lost(self) -> None:
        """Raise a BatchLostError if others' batches are here that are not applied."""
        taken = self.take()
        # Nothing is taken of what cannot be applied.
        self._raise_hindrance()
        if taken:
            raise BatchLostError(taken)

    def _entry_of(self, batch: Batch) -> Entry:
        others = batch.others_count
        before = batch.events[others - 1].hash if others else self._engine.head.hash
        return Entry(
            batch_id=uuid4().hex,
            node=self._options.node,
            first=batch.first_position + others,
            end=batch.first_position + len(batch.lines),
            predecessor_hash=before,
            hash=batch.head.hash,
            hash_version=int(self._hash_version),
            schemas=batch.schemas,
            lines=b"".join(batch.lines[others:]),
        )

    async def _append(self, entry: Entry) -> int:
        """Return the place of an entry, once it is known where it stands."""
        after, is_unknown, pauses = self._arrivals.taken_place, False, _Pauses()
        while True:
            try:
                place = await self._journal.append(entry, after=after)
            except EntryLostError:
                pass
            except OutcomeUnknownError as error:
                is_unknown = True
                self.figures.unknown_appends += 1
                self._note_lost(JournalUnreachableError(str(error)))
            except JournalUnreachableError as error:
                self._note_lost(error)
                if not is_unknown:
                    raise
                await asyncio.sleep(pauses.next())
                continue
            except UnfitJournalError as error:
                self._fail(error)
                if is_unknown:
                    raise OrderGivenUpError(_UNKNOWN) from error
                raise JournalUnreachableError(str(error)) from error
            else:
                self._note_found()
                return place
            # Who has lost knows that something stands there; who knows nothing has to be sure.
            standing = await self._ask_what_stands(pauses, proves_end=is_unknown)
            if standing is None:
                # The other one may have been on its way only.
                await asyncio.sleep(pauses.next())
                continue
            if standing.entry.batch_id == entry.batch_id:
                return standing.place
            self.figures.lost_appends += 1
            self._raise_if_lost()

    async def _ask_what_stands(self, pauses: "_Pauses", *, proves_end: bool) -> PlacedEntry | None:
        """Return the first entry behind what is here and was taken, None if there is none."""
        while (standing := self._arrivals.next) is None:
            try:
                if await self._fetch(proves_end=proves_end) and self._arrivals.next is None:
                    return None
                proves_end = True
            except JournalUnreachableError as error:
                self._note_lost(error)
                await asyncio.sleep(pauses.next())
        return standing

    def note_stored(self, failure: Exception | None) -> None:
        """Take note that the batch that was appended is here, or why it is not."""
        assert self._appended is not None
        appended, self._appended = self._appended, None
        self._batch_id = ""
        if failure is None:
            self._note_taken_is_here()
            self._arrivals.advance(appended.place)
            self._note_progress()
            return
        # It is applied like any other's, when that is possible.
        self._held_up = failure
        self._arrivals.put_back(appended)
        self._changed.set()

    def is_current(self, since: float) -> bool:
        """Tell whether all is here that was acknowledged before a moment of the loop's time."""
        return self._proven_at >= since

    async def confirm(self) -> None:
        """Return when nothing more stood in the journal than is here."""
        self._raise_hindrance()
        while True:
            is_end = await self._fetch_or_note()
            self._raise_if_lost()
            if is_end:
                return

    async def _fetch_or_note(self) -> bool:
        try:
            return await self._fetch()
        except JournalUnreachableError as error:
            self._note_lost(error)
            raise

    @property
    def is_contended(self) -> bool:
        """Whether others have written lately."""
        return self._loop.time() - self._others_at < _CONTENTION_SECONDS

    def pause(self) -> float:
        """Return for how many seconds the next batch is put off."""
        if not self._owes_pause:
            return 0.0
        self._owes_pause = False
        if self.is_contended:
            return min(_COURTESY_TURNS * self._turn_seconds, _COURTESY_SECONDS_MAX)
        return min(_GATHERING_SHARE * self._append_seconds, _GATHERING_SECONDS_MAX)

    def _note_others(self) -> None:
        """Note that others have appended, and how long that took them since this node did."""
        now = self._loop.time()
        seconds = now - self._appended_at
        if seconds < _CONTENTION_SECONDS and self._others_at < self._appended_at:
            self._turn_seconds += _AVERAGE_WEIGHT * (seconds - self._turn_seconds)
        self._others_at = now

    # The life of a node.

    async def _run(self) -> None:
        try:
            await self._open()
            await self._find_place()
            await self._catch_up()
            self._tasks.append(self._loop.create_task(self._announce_often()))
            while True:
                await self._follow()
        except (EverlogError, OSError) as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a node that reads nothing must not seem well
            self._events.bug(error)
            self._fail(StoreFailedError(f"an unexpected error: {type(error).__name__}"))

    async def _open(self) -> None:
        pauses = _Pauses()
        while True:
            try:
                identity = await self._journal.open()
            except JournalUnreachableError as error:
                self._note_lost(error)
                await asyncio.sleep(pauses.next())
            else:
                self._note_found()
                count = self._engine.head.event_count
                self._events.opened(identity, self._journal.remarks, count)
                return

    async def _find_place(self) -> None:
        pauses = _Pauses()
        self._seam = self._engine.head.event_count
        while True:
            try:
                self._arrivals.begin(await self._journal.find(self._seam))
            except JournalUnreachableError as error:
                self._note_lost(error)
                await asyncio.sleep(pauses.next())
            else:
                return

    async def _catch_up(self) -> None:
        began = said_at = self._loop.time()
        pauses = _Pauses()
        is_end = False
        while not is_end:
            try:
                is_end = await self._fetch()
                self._check_seam()
                self._urge()
                # What is read may be ahead of what is applied, but not by more than this.
                while self._arrivals and (is_end or self._arrivals.size > _ARRIVED_SIZE_MAX):
                    if self._failure is not None:
                        raise self._failure
                    await self._wait_for_change(1.0)
                    self._try_again()
                if self._loop.time() - said_at >= _PROGRESS_SECONDS:
                    said_at = self._loop.time()
                    self._events.progressed(self._engine.head.event_count)
            except JournalUnreachableError as error:
                self._note_lost(error)
                await asyncio.sleep(pauses.next())
        self.figures.is_caught_up = True
        self._note_ready()
        count = self._engine.head.event_count
        self._events.caught_up(count, self._loop.time() - began)

    def _check_seam(self) -> None:
        """Raise a DivergedError if the log here has events that the journal does not have."""
        if self._seam > 0 and not self._arrivals and self._arrivals.place == self._arrivals.known:
            raise self._ahead()
        self._seam = 0

    def _ahead(self) -> DivergedError:
        count = self._engine.head.event_count
        return DivergedError(
            f"the data directory has {count} events, and the journal does not have all of them: it "
            "belongs to another journal, or the journal was put back to an earlier state; load "
            "what is here into an empty journal with 'everlog journal load', or start with an "
            "empty directory to mirror this one"
        )

    async def _wait_for_change(self, seconds: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _try_again(self) -> None:
        """Let what could not be applied be tried again."""
        self._held_up = None
        self._urge()

    async def _follow(self) -> None:
        """Look once what others have appended."""
        if self._lost_at is None:
            await self._journal.wait(after=self._arrivals.known)
        else:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        try:
            self._try_again()
            await self._fetch(proves_end=False)
            self._urge()
            while self._arrivals.size > _ARRIVED_SIZE_MAX and self._failure is None:
                await self._wait_for_change(1.0)
                self._try_again()
        except JournalUnreachableError as error:
            self._note_lost(error)
        if self._failure is not None:
            raise self._failure

    async def _announce_often(self) -> None:
        while True:
            try:
                others = await self._journal.announce(self._announcement())
                self._compare(others)
            except JournalUnreachableError as error:
                self._note_lost(error)
            except Exception as error:  # noqa: BLE001 - it is said, and tried again
                self._events.bug(error)
            await asyncio.sleep(_ANNOUNCE_SECONDS)

    def _announcement(self) -> Announcement:
        return Announcement(
            node_id=self._node_id,
            node=self._options.node,
            version=self._options.version,
            entry_format=ENTRY_FORMAT,
            hash_version=int(self._hash_version),
            signing_key=self._options.signing_key,
            checkpoint_key=self._options.checkpoint_key,
            clock=self._clock(),
        )

    def _compare(self, others: Sequence[Announced]) -> None:
        ours = self._announcement()
        others = nodes_of(others, but=self._node_id)
        self.figures.nodes = 1 + len(others)
        found = self.figures.mismatches = find_mismatches(ours, others)
        for finding in found:
            if finding not in self._mismatches:
                self._events.mismatched(finding)
        self._mismatches.clear()
        self._mismatches.update(found)

    # Whether the journal answers.

    def _unreachable(self) -> JournalUnreachableError:
        return JournalUnreachableError(self.figures.unreachable_reason)

    def _note_lost(self, error: JournalUnreachableError) -> None:
        if self._lost_at is not None or self._is_stopping:
            return
        self._lost_at = self._loop.time()
        self.figures.unreachable_since = time.time()
        self.figures.unreachable_reason = error.reason
        self._events.lost(error.reason)
        if self._writer is not None and self.figures.is_caught_up:
            self._writer.note_journal(error=error)
        self._barriers.release(self._unreachable())

    def _note_found(self) -> None:
        if self._lost_at is None:
            return
        seconds = self._loop.time() - self._lost_at
        self._lost_at = None
        self.figures.unreachable_since, self.figures.unreachable_reason = None, ""
        self._events.found(seconds)
        self._note_ready()

    def _note_ready(self) -> None:
        if self._writer is not None and self.figures.is_caught_up:
            self._writer.note_journal(error=None)

    def _fail(self, error: Exception) -> Exception:
        """Take and show nothing any more; return what is wrong."""
        if self._failure is None:
            self._failure = error
            self.figures.failure = str(error)
            self._changed.set()
            if self._writer is not None:
                self._writer.fail(StoreFailedError(str(error)))
            self._barriers.release(StoreFailedError(str(error)))
            self._events.failed(error)
        return error


class _Pauses:
    """Pauses that become longer."""

    def __init__(self) -> None:
        self._pause = _PAUSE_SECONDS_MIN

    def next(self) -> float:
        pause = self._pause
        self._pause = min(2 * pause, _PAUSE_SECONDS_MAX)
        return pause
