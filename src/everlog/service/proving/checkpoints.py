"""Checkpoints of the tree: made while the log grows, kept, and cosigned by witnesses.

Once a second at most, the tree is let grow to the head, and its root is signed. Without a key, that
the tree grows is all, once somebody has asked for it.
Guarantees that no two roots are signed for one size, and no smaller tree after a larger one: the
latest checkpoint is on the disk before anybody gets it, and a log that does not continue it is
never signed again.
What is left to others: the tree (`tree`), what is signed (`domain.checkpoint`), and how a witness
is asked (`witnesses`).
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from everlog.domain.checkpoint import (
    Checkpoint,
    CheckpointKey,
    find_signed,
    parse_checkpoint,
    sign_checkpoint,
)
from everlog.domain.errors import DiskFullError
from everlog.domain.merkle import prove_consistency, root
from everlog.domain.note import WitnessAddress, split_note
from everlog.service.proving.tree import Tree
from everlog.service.proving.witnesses import Post, Witness, WitnessState
from everlog.service.reader import Reader
from everlog.storage.engine import LogReader

_Result = TypeVar("_Result")

_FILE: Final = "checkpoint"

# From one checkpoint to the next.
_PERIOD_SECONDS: Final = 1.0

# A checkpoint is shown with the cosignatures that it got within this time; others are added.
_COSIGNING_SECONDS: Final = 2.0

# After a failure, doubled each time.
_RETRY_SECONDS_MAX: Final = 60.0

# Of so many, the tree is brought to the end of a log that is being closed: a third of a second.
_LAST_EVENTS_MAX: Final = 200_000

_NANOSECONDS: Final = 1_000_000_000


def _ignore(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvingEvents:
    """Whom proving tells what happens; each is called on the event loop's thread."""

    # A checkpoint of so many events was made.
    made: Callable[[int], None] = _ignore
    # The tree could not grow, or no checkpoint be made: from then on this is not told again until
    # one can.
    failed: Callable[[Exception], None] = _ignore
    recovered: Callable[[int], None] = _ignore
    # What was signed before is of another key or origin, and not of another log.
    replaced: Callable[[], None] = _ignore
    # What was signed before is not of this log: nothing is signed any more.
    contradicted: Callable[[str], None] = _ignore
    # The state of a witness has changed.
    witness_changed: Callable[[Witness], None] = _ignore
    bug: Callable[[Exception], None] = _ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointOptions:
    """With what checkpoints are signed, under which name, and whom they are offered to."""

    key: CheckpointKey
    origin: str
    witnesses: Sequence[WitnessAddress] = ()
    # How a witness is asked; needed where there is one.
    post: Post | None = None


@dataclass(slots=True)
class SignedCheckpoint:
    """A checkpoint with what was signed of it."""

    checkpoint: Checkpoint
    # With the log's own signatures.
    signed: str
    # By the name of each witness, its line.
    cosignatures: dict[str, str] = field(default_factory=dict)
    # When it was signed, in seconds since 1970; None where that was before the server started.
    time: float | None = None

    @property
    def note(self) -> str:
        """The signed note as everybody gets it."""
        return self.signed + "".join(self.cosignatures.values())


class WitnessFigures(NamedTuple):
    """What is known of one witness."""

    name: str
    state: WitnessState
    reason: str
    size: int


class ProvingFigures(NamedTuple):
    """What can be said of the tree and its checkpoints at one moment."""

    # How many events are in the tree, None where nobody has asked for it.
    tree_size: int | None
    # Why it does not grow, or is not signed.
    error: str
    has_key: bool
    checkpoint_size: int | None
    checkpoint_time: float | None
    contradiction: str
    witnesses: tuple[WitnessFigures, ...]


class Checkpoints:
    """Lets the tree grow and signs it; on the event loop's thread only."""

    def __init__(
        self,
        engine: LogReader,
        reader: Reader,
        tree: Tree,
        options: CheckpointOptions | None,
        *,
        clock: Callable[[], int],
        events: ProvingEvents,
    ) -> None:
        """Begin at once; without options nothing is signed. The clock is in nanoseconds."""
        self._engine: Final = engine
        self._reader: Final = reader
        self._tree: Final = tree
        self._options: Final = options
        self._clock: Final = clock
        self._events: Final = events
        # The one that everybody gets.
        self.latest: SignedCheckpoint | None = None
        # Why nothing is signed any more.
        self.contradiction = ""
        self._error: Exception | None = None
        self._witnesses: Final[list[Witness]] = []
        if options is not None:
            for address in options.witnesses:
                assert options.post is not None
                witness = Witness(address, options.post, on_change=events.witness_changed)
                self._witnesses.append(witness)
        # Whoever has to be asked, and is being asked.
        self._asking: Final[dict[str, asyncio.Task[None]]] = {}
        self._is_compared = False
        # The one that was stored last, and who is storing; what a thread is doing meanwhile, which
        # nobody interrupts.
        self._newest: SignedCheckpoint | None = None
        self._storing: Final = asyncio.Lock()
        self._busy: asyncio.Future[Any] | None = None
        self._shown: Final = asyncio.Event()
        self._running: Final = asyncio.get_running_loop().create_task(self._run())

    @property
    def has_key(self) -> bool:
        """Whether there are checkpoints."""
        return self._options is not None

    def figures(self) -> ProvingFigures:
        """Return what can be said now."""
        latest, error = self.latest, self._error
        return ProvingFigures(
            tree_size=self._tree.size if self._tree.is_wanted else None,
            error="" if error is None else describe(error),
            has_key=self.has_key,
            checkpoint_size=None if latest is None else latest.checkpoint.size,
            checkpoint_time=None if latest is None else latest.time,
            contradiction=self.contradiction,
            witnesses=tuple(
                WitnessFigures(each.name, each.state, each.reason, each.size)
                for each in self._witnesses
            ),
        )

    async def wait_for_first(self) -> None:
        """Return when there is a checkpoint, or never will be one."""
        await self._shown.wait()

    async def stop(self) -> None:
        """Make a last checkpoint, and let the next opening find all that there is."""
        self._running.cancel()
        for task in self._asking.values():
            task.cancel()
        await asyncio.wait({self._running, *self._asking.values()})
        if self._busy is not None:
            await asyncio.wait({self._busy})
        await self._tree.wait()
        missing = self._engine.head.event_count - self._tree.size
        # What fails now has failed before, or is found at the next start.
        with suppress(OSError, DiskFullError, MemoryError):
            if missing <= _LAST_EVENTS_MAX:
                await self._grow_and_sign()
            await self._tree.save()

    @property
    def _is_signing(self) -> bool:
        return self._options is not None and not self.contradiction

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _PERIOD_SECONDS
        while True:
            began = loop.time()
            try:
                await self._do_round()
            except (OSError, DiskFullError, MemoryError) as error:
                self._note_failure(error)
                pause = min(2 * pause, _RETRY_SECONDS_MAX)
            except Exception as error:  # noqa: BLE001 - the next round is another one.
                self._events.bug(error)
                self._note_failure(error)
                pause = _RETRY_SECONDS_MAX
            else:
                pause = _PERIOD_SECONDS
                self._note_success()
            await asyncio.sleep(max(pause - (loop.time() - began), pause / 2))

    def _note_failure(self, error: Exception) -> None:
        is_first = self._error is None
        self._error = error
        # Who waits for the first one is told why there is none.
        self._shown.set()
        if is_first:
            self._events.failed(error)

    def _note_success(self) -> None:
        if self._error is not None:
            self._error = None
            self._events.recovered(self._tree.size)

    async def _do_round(self) -> None:
        made = await self._grow_and_sign()
        if made is not None:
            await self._ask_witnesses(made)
            self._show(made)
        elif self.latest is not None and self._is_signing:
            self._ask_rest(self.latest)

    async def _grow_and_sign(self) -> SignedCheckpoint | None:
        """Let the tree grow to the head, and return what was signed of it, if that is new."""
        if self._is_signing and not self._is_compared:
            await self._compare_with_stored()
            self._is_compared = True
        if self._is_signing or self._tree.is_wanted:
            await self._tree.reach(self._engine.head.event_count)
        return await self._sign_if_new() if self._is_signing else None

    async def _compare_with_stored(self) -> None:
        """Take up what was signed last, or find that the log does not continue it."""
        assert self._options is not None
        await self._tree.reach(0)
        try:
            content = await self._call(lambda: self._tree.nodes.read(_FILE))
            text, lines = split_note(content.decode())
            checkpoint = parse_checkpoint(text)
        except FileNotFoundError:
            return
        except ValueError:
            self._events.replaced()
            return
        own = self._options.key.verifier_keys(self._options.origin)[0]
        if checkpoint.origin != own.name:
            self._events.replaced()
            return
        # Whatever key signed it: a log keeps its promises when it gets another one.
        contradiction = await self._find_contradiction(checkpoint)
        if contradiction:
            self.contradiction = contradiction
            self._shown.set()
            self._events.contradicted(contradiction)
            return
        if find_signed(own, checkpoint, lines) is None:
            self._events.replaced()
            return
        self._take_up(checkpoint, text, lines)

    async def _find_contradiction(self, checkpoint: Checkpoint) -> str:
        count = self._engine.head.event_count
        if checkpoint.size > count:
            return f"{checkpoint.size} events were signed, and the log has {count}"
        await self._tree.reach(checkpoint.size)
        hash_of = self._tree.nodes.hash_of
        found = await self._call(partial(root, checkpoint.size, hash_of))
        if found != checkpoint.root:
            return f"the first {checkpoint.size} events are not those that were signed"
        return ""

    def _take_up(self, checkpoint: Checkpoint, text: str, lines: Sequence[str]) -> None:
        """Show what was signed last, with what witnesses of today said of it."""
        own = [line for line in lines if line.split(" ", 2)[1] == checkpoint.origin]
        stored = SignedCheckpoint(checkpoint, f"{text}\n{''.join(own)}")
        for witness in self._witnesses:
            line = find_signed(witness.key, checkpoint, lines)
            if line is not None:
                stored.cosignatures[witness.name] = line
                witness.size = checkpoint.size
        self._newest = stored
        self._show(stored)

    async def _sign_if_new(self) -> SignedCheckpoint | None:
        """Sign the tree as it is, unless it was signed."""
        size = self._tree.size
        if self._newest is not None and self._newest.checkpoint.size >= size:
            return None
        async with self._storing:
            self._newest = await self._call(partial(self._sign, size))
        return self._newest

    def _sign(self, size: int) -> SignedCheckpoint:
        """Sign and store a checkpoint, on a thread."""
        assert self._options is not None
        options, nodes = self._options, self._tree.nodes
        checkpoint = Checkpoint(options.origin, size, root(size, nodes.hash_of))
        seconds = self._clock() / _NANOSECONDS
        made = SignedCheckpoint(
            checkpoint, sign_checkpoint(options.key, checkpoint, time=int(seconds)), time=seconds
        )
        # Before anybody gets it: what was signed is known for ever.
        nodes.replace(_FILE, made.note.encode())
        return made

    def _show(self, made: SignedCheckpoint) -> None:
        self.latest = made
        self._shown.set()
        self._events.made(made.checkpoint.size)

    async def _call(self, function: Callable[[], _Result]) -> _Result:
        """Call what works with files, on a thread; it comes to its end whoever waits for it."""
        call = self._reader.start(function)
        # Whoever was told to stop meanwhile does not ask how it ended.
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._busy = call
        return await asyncio.shield(call)

    # Witnesses.

    async def _ask_witnesses(self, made: SignedCheckpoint) -> None:
        """Offer a checkpoint to all, and give those who answered in time so far some seconds."""
        self._ask_rest(made)
        prompt = {
            self._asking[witness.name]
            for witness in self._witnesses
            if witness.name in self._asking and witness.state is not WitnessState.FAILING
        }
        if prompt:
            await asyncio.wait(prompt, timeout=_COSIGNING_SECONDS)

    def _ask_rest(self, made: SignedCheckpoint) -> None:
        """Ask whoever has not cosigned a checkpoint, may be asked, and is not being asked."""
        if made.checkpoint.size == 0:
            # That there is nothing is no history.
            return
        for witness in self._witnesses:
            if (
                witness.name not in made.cosignatures
                and witness.name not in self._asking
                and witness.is_due
            ):
                task = asyncio.get_running_loop().create_task(self._ask(witness, made))
                self._asking[witness.name] = task

    async def _ask(self, witness: Witness, made: SignedCheckpoint) -> None:
        try:
            line = await witness.ask(made.checkpoint, made.signed, self._prove)
            if line is not None:
                made.cosignatures[witness.name] = line
                await self._keep(made)
        except (OSError, MemoryError):
            # A cosignature that is not kept is asked for again.
            pass
        except Exception as error:  # noqa: BLE001 - one witness fewer.
            self._events.bug(error)
        finally:
            del self._asking[witness.name]

    async def _prove(self, earlier: int, later: int) -> list[bytes]:
        return await self._reader.call(
            partial(prove_consistency, earlier, later, self._tree.nodes.hash_of)
        )

    async def _keep(self, made: SignedCheckpoint) -> None:
        """Store a checkpoint with its cosignatures, unless there is a newer one."""
        async with self._storing:
            if self._newest is made:
                replace = partial(self._tree.nodes.replace, _FILE, made.note.encode())
                await self._call(replace)


def describe(error: Exception) -> str:
    """Return what was wrong, as far as it may be told."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, DiskFullError) else type(error).__name__
