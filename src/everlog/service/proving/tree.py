"""The Merkle tree of a store: grown from its log, piece by piece, on reading threads.

Nothing of it is done by a write, but that its hashes are noted. Whoever needs the tree at some size
asks for it, and waits until it has grown so far; who signs checkpoints asks once a second. The
first one that asks has what was saved before looked through, and what is missing, or is not that
of the log, made anew.

Guarantees that a root is never one of another log: each leaf is a hash that was published, or one
that a line says of itself and that the next line, or the head, names too; and what was saved is
believed only if it ends with the log's own event.
What is left to others: how nodes are kept (`Nodes`), and what is proven by them (`proofs`).
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Final, Protocol

from everlog.domain.errors import ReadFailedError
from everlog.domain.merkle import LEAF_PREFIX
from everlog.service.breaks import Rests
from everlog.service.reader import Reader
from everlog.storage.engine import Batch, LogReader, Scan
from everlog.storage.line import hashes_of

# A tenth of a second of a thread's work: then others have a turn, and a store that closes waits no
# longer.
_EVENTS_PER_ROUND: Final = 64 * 1024

# Some hundred microseconds' worth of hashes.
_EVENTS_PER_STEP: Final = 256

# Hashing so many again takes less than a second.
_UNSAVED_EVENTS_MAX: Final = 500_000


class Nodes(Protocol):
    """Where nodes are kept; reading may happen on any thread, the rest on one at a time."""

    # How many leaves there are, and how many of them the next opening will find.
    size: int
    saved_size: int
    # That of the last leaf's event.
    last_hash: str

    def restore(self, find_hash: Callable[[int], str | None]) -> None:
        """Go on from what was saved, if it is of the log whose event hashes are found so."""

    def append(self, leaves: Sequence[bytes], last_hash: str) -> None:
        """Add leaves; the hash is that of the last one's event."""

    def save(self) -> None:
        """Let the next opening find all that is there."""

    def hash_of(self, level: int, index: int) -> bytes:
        """Return the root of a full subtree that the tree has."""

    def read_nodes(self, level: int, first: int, count: int) -> bytes:
        """Return neighbours of a level that is a multiple of 8, joined."""

    def read(self, name: str) -> bytes:
        """Return a small file that is kept beside; raises FileNotFoundError if there is none."""

    def replace(self, name: str, content: bytes) -> None:
        """Put a small file in the place of the one before, durably."""


class Tree:
    """The tree over the log of an engine; all but reading nodes belongs to the event loop."""

    def __init__(self, engine: LogReader, reader: Reader, open_nodes: Callable[[], Nodes]) -> None:
        """Begin with nothing; `open_nodes` is called on a thread, when somebody asks."""
        self._engine: Final = engine
        self._reader: Final = reader
        self._open_nodes: Final = open_nodes
        self._nodes: Nodes | None = None
        self._is_restored = False
        self._growing: asyncio.Task[None] | None = None
        # How many events are in it; only grows.
        self.size = 0
        # Whether anybody has asked for it.
        self.is_wanted = False
        # The hashes of events that were published of late, so that they need not be read again, and
        # the position of the first one.
        self._published: list[str] = []
        self._published_start = 0

    @property
    def nodes(self) -> Nodes:
        """The nodes, once the tree has been asked for."""
        assert self._nodes is not None
        return self._nodes

    async def reach(self, size: int) -> None:
        """Return when the tree has so many events at least, which the head has.

        Raises:
            ReadFailedError: The log cannot be read, or is not what it was, or the tree's files
                cannot be read or written.
            DiskFullError: There is no room for the tree.
        """
        assert size <= self._engine.head.event_count
        self.is_wanted = True
        while not self._is_restored or self.size < size:
            if self._growing is None:
                self._growing = asyncio.get_running_loop().create_task(self._grow())
                # Whoever has left meanwhile does not ask how it ended.
                self._growing.add_done_callback(lambda done: done.cancelled() or done.exception())
            # Others may wait for the same.
            await asyncio.shield(self._growing)

    def note(self, batch: Batch) -> None:
        """Take note of a batch that was published."""
        published = self._published
        if not self.is_wanted or len(published) >= _EVENTS_PER_ROUND:
            # What is not noted is read from the log.
            return
        if self._published_start + len(published) != batch.first_position:
            self._published_start = batch.first_position
            published.clear()
        published.extend([event.hash for event in batch.events])

    async def save(self) -> None:
        """Let the next opening find all that is there; raises OSError where it cannot be."""
        if self._is_restored:
            await self._reader.call(self.nodes.save)

    async def wait(self) -> None:
        """Return when nothing is being done."""
        if self._growing is not None:
            await asyncio.wait({self._growing})

    async def _grow(self) -> None:
        try:
            if self._is_restored:
                await self._reader.call(partial(self._add, self._take_published()))
            else:
                await self._reader.call(self._restore)
                self._is_restored = True
            self.size = self.nodes.size
        except OSError as error:
            if isinstance(error, ReadFailedError):
                raise
            raise ReadFailedError(error.strerror or type(error).__name__) from error
        finally:
            self._growing = None

    def _restore(self) -> None:
        """Open what was saved, on a thread."""
        if self._nodes is None:
            self._nodes = self._open_nodes()
        self._nodes.restore(self._find_hash)

    def _find_hash(self, position: int) -> str | None:
        head = self._engine.head
        if not 0 <= position < head.event_count:
            return None
        return find_hash(self._engine, position)

    def _take_published(self) -> list[str]:
        """Return the hashes of events that follow the tree, as far as they are known."""
        start = self.nodes.size - self._published_start
        if start < 0:
            # The log has what is before them.
            return []
        published, self._published = self._published[start:], []
        return published

    def _add(self, published: list[str]) -> None:
        """Add what the log has more, a round's worth of it, on a thread."""
        rests = Rests()
        if published:
            _append(self.nodes, [hash_.encode() for hash_ in published], rests)
        else:
            self._add_from_log(rests)
        if self.nodes.size - self.nodes.saved_size >= _UNSAVED_EVENTS_MAX:
            self.nodes.save()

    def _add_from_log(self, rests: Rests) -> None:
        nodes, head = self.nodes, self._engine.head
        stop = min(nodes.size + _EVENTS_PER_ROUND, head.event_count)
        before = nodes.last_hash.encode()
        # What the line of an event says of its own hash counts once the next one names it, or the
        # head does.
        unnamed: list[bytes] = []
        for lines in self._engine.scan(Scan(start=nodes.size, stop=stop), head):
            try:
                hashes = hashes_of(lines, predecessor_hash=before)
            except ValueError as error:
                raise _broken(nodes.size + len(unnamed) + error.args[0]) from error
            before = hashes[-1]
            hashes = unnamed + hashes
            unnamed = [hashes.pop()]
            _append(nodes, hashes, rests)
        if stop == head.event_count:
            if before.decode() != head.hash:
                raise _broken(head.event_count)
            _append(nodes, unnamed, rests)


def _append(nodes: Nodes, hashes: list[bytes], rests: Rests) -> None:
    rests.take_if_due()
    for first in range(0, len(hashes), _EVENTS_PER_STEP):
        step = hashes[first : first + _EVENTS_PER_STEP]
        leaves = [sha256(LEAF_PREFIX + hash_).digest() for hash_ in step]
        nodes.append(leaves, step[-1].decode())
        rests.take_if_due()


def _broken(position: int) -> ReadFailedError:
    reason = f"the event with id {position} does not follow the one before it"
    return ReadFailedError(reason)


def find_hash(log: LogReader, position: int) -> str:
    """Return the hash of an event that the head has; to be called on a thread.

    Raises:
        ReadFailedError: The disk does not give it.
    """
    line = b"".join(log.scan(Scan(start=position, stop=position + 1), log.head))
    parts = line.rsplit(b'"', 4)
    if len(parts) < 5:
        raise ReadFailedError(f"the event with id {position} is damaged")
    return parts[1].decode()
