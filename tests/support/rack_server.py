"""The server on the rack: small files, a slow disk, an end or a shortage at a named moment, a bug.

Run as `python -m tests.support.rack_server <plan> run <flags>`, the plan being JSON.
Nothing in the product knows of it: functions are wrapped from outside.
"""

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial, wraps
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn

import msgspec

from everlog import bootstrap
from everlog.journals import JournalOptions
from everlog.service.fronts import owner
from everlog.service.mirroring.journal import OutcomeUnknownError, SharedJournal
from everlog.service.writing import committer
from everlog.service.writing.writer import Writer
from everlog.storage.log import LogEngine, engine, schemas, segments, snapshot
from everlog.storage.log.directory import DurableFile
from everlog.storage.log.disk import PosixDisk
from everlog.storage.log.index import EventTypeTable
from everlog.storage.log.segments import Segments
from everlog.storage.log.snapshot import SnapshotFiles
from everlog.storage.log.subject_tree import SubjectTree
from tests.support.altered_server import run_altered
from tests.support.clock_server import clock_of
from tests.support.planted_bugs import OF_FRONTS, PLANTED, Bug
from tests.support.rack_rivals import let_rivals_in


class Side(StrEnum):
    """Where in a moment the process ends."""

    BEFORE = "before"
    # Of a write to the disk: when half of it is done; of a question to the journal: when it is on
    # its way, or the answer is.
    HALFWAY = "halfway"
    AFTER = "after"


class Moment(StrEnum):
    """What the process is doing when it is struck."""

    # A request on its way through the writer.
    ARRIVE = "arrive"
    STAGE = "stage"
    SUBJECT = "subject"
    TYPE = "type"
    SEAL = "seal"
    WRITE = "write"
    SYNC = "sync"
    BOUND = "bound"
    # By the process that syncs.
    HAND_OVER = "hand-over"
    SYNCED = "synced"
    PUBLISH = "publish"
    ANSWER = "answer"
    SCHEMA = "schema"
    # A segment.
    ROLL = "roll"
    CUT = "cut"
    NAME = "name"
    ALLOCATE = "allocate"
    # A snapshot.
    SNAPSHOT = "snapshot"
    COLUMN = "column"
    NAMES = "names"
    REPLACE = "replace"
    # Opening.
    REPLAY = "replay"
    # Of a node: what is asked of its journal, and others' entries.
    APPEND = "append"
    READ = "read"
    APPLY = "apply"


class Spot(msgspec.Struct, frozen=True):
    """The function that a moment is, and how often it is called within a second or two."""

    owner: Any
    name: str
    hits_max: int
    # Whether it takes what `write_all` does, so that half of it can be done.
    is_write: bool = False

    @property
    def is_of_the_journal(self) -> bool:
        """Return whether it is a call of the journal, which is the same for each kind of it."""
        return self.owner is SharedJournal

    @property
    def sides(self) -> tuple[Side, ...]:
        """Return where in the moment the process may end."""
        has_half = self.is_write or self.is_of_the_journal
        return tuple(Side) if has_half else (Side.BEFORE, Side.AFTER)


SPOTS: Final = MappingProxyType(
    {
        Moment.ARRIVE: Spot(Writer, "write", 200),
        Moment.STAGE: Spot(LogEngine, "stage", 100),
        Moment.SUBJECT: Spot(SubjectTree, "add", 40),
        Moment.TYPE: Spot(EventTypeTable, "number", 200),
        Moment.SEAL: Spot(LogEngine, "seal", 60),
        Moment.WRITE: Spot(segments, "write_all", 60, is_write=True),
        Moment.SYNC: Spot(segments, "sync", 60),
        Moment.BOUND: Spot(DurableFile, "write", 60),
        Moment.HAND_OVER: Spot(LogEngine, "begin_commit", 40),
        Moment.SYNCED: Spot(LogEngine, "end_commit", 40),
        Moment.PUBLISH: Spot(LogEngine, "publish", 60),
        Moment.ANSWER: Spot(Writer, "_deliver", 60),
        Moment.SCHEMA: Spot(schemas, "write_all", 2, is_write=True),
        Moment.ROLL: Spot(Segments, "_roll", 3),
        Moment.CUT: Spot(Segments, "cut", 4),
        Moment.NAME: Spot(segments, "sync_names", 4),
        Moment.ALLOCATE: Spot(segments, "allocate", 4),
        Moment.SNAPSHOT: Spot(SnapshotFiles, "save", 3),
        Moment.COLUMN: Spot(SnapshotFiles, "_append", 14),
        Moment.NAMES: Spot(snapshot, "write_all", 14, is_write=True),
        Moment.REPLACE: Spot(snapshot, "replace_file", 3),
        Moment.REPLAY: Spot(engine, "replay", 1),
        Moment.APPEND: Spot(SharedJournal, "append", 60),
        Moment.READ: Spot(SharedJournal, "read", 60),
        Moment.APPLY: Spot(LogEngine, "apply", 30),
    }
)

# What only a node comes by, and what one comes by often.
NODE_MOMENTS: Final = (Moment.APPEND, Moment.READ, Moment.APPLY)
CLUSTER_MOMENTS: Final = (*NODE_MOMENTS, Moment.WRITE, Moment.PUBLISH, Moment.ANSWER)


# For a node that hears late.
_LATE_SECONDS: Final = 0.25

# Within which an answer of a journal may be on its way, one of them drawn by the hit.
_MILLISECONDS: Final = 5


class Kill(msgspec.Struct, frozen=True):
    """End the process the n-th time that it comes to a moment, counted from one."""

    moment: Moment
    side: Side
    hit: int


class Shortage(msgspec.Struct, frozen=True):
    """Have no memory the n-th time that the process comes to a moment, counted from one."""

    moment: Moment
    hit: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is different from an ordinary server."""

    segment_size_max: int = 64 * 1024
    snapshot_events: int = 300
    # How long each sync takes longer, so that requests gather meanwhile. If it does, the server has
    # no process that syncs, since such a disk is none of the system's.
    sync_seconds: float = 0.0
    # How many writes at once are left to the process.
    many_writes: int = 1
    # Of about how many commits one is lost to a rival, if there is one.
    lost_every: int | None = None
    kill: Kill | None = None
    shortage: Shortage | None = None
    # Holds the nanoseconds since 1970 that the clock shows, if it is not the system's.
    clock_file: str | None = None
    # How long a journal may take for an answer, if not as long as ever.
    answer_seconds_max: float | None = None
    # Of how many appends that succeed the node does not learn it.
    answers_lost_every: int | None = None
    # Whether the node hears of others' entries late, if it does not ask; nothing is promised of it.
    hears_late: bool = False
    # How many files the process may have open: what it begins with, and what it may ask for.
    file_limits: tuple[int, int] | None = None
    bug: Bug | None = None


class SlowDisk(PosixDisk):
    """The real disk, but slower."""

    def __init__(self, seconds: float) -> None:
        self._seconds: Final = seconds

    def sync_data(self, file: int) -> None:
        time.sleep(self._seconds)
        super().sync_data(file)


def entry_point(plan: Plan) -> tuple[str, ...]:
    """Return the beginning of the command that starts the server."""
    text = msgspec.json.encode(plan).decode()
    return (sys.executable, "-m", "tests.support.rack_server", text)


def die() -> NoReturn:
    """End this process at once, as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    # The signal is on its way; no line of this process may run any more.
    signal.pause()
    raise AssertionError


def _with_end(function: Callable[..., Any], kill: Kill) -> Callable[..., Any]:
    hits = count(1)

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        is_due = next(hits) == kill.hit
        if is_due and kill.side is Side.BEFORE:
            die()
        if is_due and kill.side is Side.HALFWAY:
            disk, file, data, offset = arguments
            function(disk, file, data[: len(data) // 2], offset)
            die()
        result = function(*arguments, **options)
        if is_due:
            die()
        return result

    return call


def _with_end_of_question(
    function: Callable[..., Awaitable[Any]], kill: Kill
) -> Callable[..., Awaitable[Any]]:
    """Do the same for what is asked of a journal, from that call on at which it is possible."""
    hits = count(1)

    @wraps(function)
    async def call(*arguments: Any, **options: Any) -> Any:
        is_due = next(hits) >= kill.hit
        if is_due and kill.side is Side.BEFORE:
            die()
        if is_due and kill.side is Side.HALFWAY:
            asking = asyncio.ensure_future(function(*arguments, **options))
            await asyncio.wait({asking}, timeout=kill.hit % _MILLISECONDS / 1_000)
            die()
        result = await function(*arguments, **options)
        if is_due:
            die()
        return result

    return call


def _wrap_the_journal(
    name: str, wrap: Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]
) -> None:
    """Let a call of whatever journal the node has be another one."""
    make_journal = vars(bootstrap)["make_journal"]

    def make(options: JournalOptions) -> SharedJournal:
        journal: SharedJournal = make_journal(options)
        setattr(journal, name, wrap(getattr(journal, name)))
        return journal

    vars(bootstrap)["make_journal"] = make


def _hearing_late(_: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def wait(*, after: int) -> None:
        del after
        await asyncio.sleep(_LATE_SECONDS)

    return wait


def _losing_answers(
    append: Callable[..., Awaitable[Any]], every: int
) -> Callable[..., Awaitable[Any]]:
    appends = count(1)

    async def append_and_forget(*arguments: Any, **options: Any) -> Any:
        place = await append(*arguments, **options)
        if next(appends) % every == 0:
            message = "the answer was lost"
            raise OutcomeUnknownError(message)
        return place

    return append_and_forget


def _be_hasty(seconds: float) -> None:
    """Wait less for journals, so that it is more often unknown what became of an append."""
    from everlog.journals import nats  # noqa: PLC0415 - an extra, of nodes only
    from everlog.journals.postgresql_connections import Link  # noqa: PLC0415 - the same

    vars(nats)["_CALL_SECONDS"] = seconds
    ask = Link.ask

    async def ask_hastily(self: Link, *arguments: Any, seconds: float = seconds) -> list[Any]:
        return await ask(self, *arguments, seconds=min(seconds, seconds_max))

    seconds_max = seconds
    setattr(Link, ask.__name__, ask_hastily)


def _with_shortage(function: Callable[..., Any], shortage: Shortage) -> Callable[..., Any]:
    hits = count(1)

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if next(hits) == shortage.hit:
            raise MemoryError
        return function(*arguments, **options)

    return call


def prepare(plan: Plan) -> None:
    """Alter the server of this process for good."""
    vars(LogEngine)["open"].__func__.__kwdefaults__["segment_size_max"] = plan.segment_size_max
    vars(engine)["_SNAPSHOT_EVENTS"] = plan.snapshot_events
    vars(committer)["_MANY_WRITES"] = plan.many_writes
    if plan.lost_every is not None:
        let_rivals_in(plan.lost_every)
    if plan.bug in OF_FRONTS:
        vars(owner)["_COMMAND"] = (sys.executable, "-m", "tests.support.rack_front", plan.bug.value)
    elif plan.bug is not None:
        PLANTED[plan.bug]()
    if plan.kill is not None:
        spot = SPOTS[plan.kill.moment]
        if spot.is_of_the_journal:
            _wrap_the_journal(spot.name, partial(_with_end_of_question, kill=plan.kill))
        else:
            setattr(spot.owner, spot.name, _with_end(getattr(spot.owner, spot.name), plan.kill))
    if plan.answers_lost_every is not None:
        _wrap_the_journal("append", partial(_losing_answers, every=plan.answers_lost_every))
    if plan.hears_late:
        _wrap_the_journal("wait", _hearing_late)
    if plan.answer_seconds_max is not None:
        _be_hasty(plan.answer_seconds_max)
    if plan.shortage is not None:
        spot = SPOTS[plan.shortage.moment]
        function = getattr(spot.owner, spot.name)
        setattr(spot.owner, spot.name, _with_shortage(function, plan.shortage))
    if plan.file_limits is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, plan.file_limits)


def main() -> None:
    plan = msgspec.json.decode(sys.argv.pop(1), type=Plan)
    prepare(plan)
    clock = time.time_ns if plan.clock_file is None else clock_of(Path(plan.clock_file))
    run_altered(disk=SlowDisk(plan.sync_seconds) if plan.sync_seconds else None, clock=clock)


if __name__ == "__main__":
    main()
