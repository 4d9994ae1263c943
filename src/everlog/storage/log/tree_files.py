"""The files of the Merkle tree: full subtrees of every fourth level, which only grow.

A file has the nodes of one level behind each other, 32 bytes each; the three levels between it and
the next one are computed from at most eight neighbours, which are read at once. So 16 leaves cost
one node more, 10 million leaves 341 MB, and any tile is one piece of one file.

All of it is derived from the log, and nothing is believed that the *state* does not vouch for: a
small file with the size of the tree, the hash of its last event, and the CRC-32 of what the files
hold up to there. It is replaced after the files were synced; between two states nothing is. What
stands behind the state is written again from the log, and where the state does not agree with the
files, or with the log, the tree is made anew.

A tree that has no folder is kept in files without a name, for as long as the server runs.
What is left to others: what nodes and proofs are (`domain.merkle`), and when the tree grows
(`service.proving`).
"""

import errno
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Final, Self

import msgspec

from everlog.domain.chain import GENESIS_HASH
from everlog.domain.errors import DiskFullError, ReadFailedError
from everlog.domain.merkle import HASH_SIZE, hash_pairs
from everlog.storage.log.disk import (
    Disk,
    Folder,
    create_folder,
    describe_shortage,
    is_full,
    open_file,
    open_folder,
    read_file,
    replace_file,
    write_all,
)

TREE_FOLDER: Final = "tree"
_STATE_FILE: Final = "state.json"

# From one level that is kept to the next.
_STRIDE: Final = 4
_GROUP: Final = 1 << _STRIDE

# More leaves than there are ids.
_LEVELS: Final = range(0, 64, _STRIDE)

# Nodes that are looked through at once: 256 KiB.
_PIECE_COUNT: Final = 8 * 1024


class _State(msgspec.Struct, frozen=True, rename="camel"):
    """How much of the files to believe, and the event that it ends with."""

    size: int
    hash: str
    # Of all nodes of each level that is kept, from the leaves up.
    checksums: list[int]


class TreeFiles:
    """The nodes of one tree. Reading may happen on any thread, the rest on one at a time."""

    def __init__(
        self,
        folder: Folder | None,
        disk: Disk,
        resources: ExitStack,
        *,
        directory: Folder | None = None,
    ) -> None:
        """Begin with an empty tree; see `open` and `restore`.

        Without a folder, small files are looked for in that of a directory, where there is one.
        """
        self._folder: Final = folder
        self._directory: Final = directory
        self._disk: Final = disk
        self._resources: Final = resources
        # By level // _STRIDE; opened when they get their first node.
        self._files: Final[list[int]] = []
        self._checksums: list[int] = []
        # Of each level the last nodes that are not below a node of the next one.
        self._tails: list[bytes] = []
        self.size = 0
        self.last_hash = GENESIS_HASH
        self.saved_size = 0

    @classmethod
    def open(
        cls,
        directory: Folder | None,
        disk: Disk,
        resources: ExitStack,
        *,
        is_writable: bool = True,
    ) -> Self:
        """Open the folder of the tree in a data directory, creating it if need be.

        Of a directory that cannot be written to, nothing is changed, nor of none.

        Raises:
            OSError: The system refuses to.
        """
        if directory is None or not is_writable:
            return cls(None, disk, resources, directory=directory)
        return cls(create_folder(disk, directory, TREE_FOLDER, resources), disk, resources)

    def restore(self, find_hash: Callable[[int], str | None]) -> None:
        """Go on from what was saved, if the files agree with it, and the log does.

        `find_hash` returns the hash of the event at a position, None where there is none. The tree
        stays empty where anything is missing or different.

        Raises:
            OSError: The system refuses to read something.
        """
        state = None if self._folder is None else self._read_state()
        if state is None or state.size == 0 or find_hash(state.size - 1) != state.hash:
            return
        counts = [state.size >> level for level in _LEVELS if state.size >> level > 0]
        checksums = [self._checksum(number, count) for number, count in enumerate(counts)]
        if checksums != list(state.checksums):
            return
        self._checksums = state.checksums
        self._tails = [
            self._pread(number, count - count % _GROUP, count % _GROUP)
            for number, count in enumerate(counts)
        ]
        self.last_hash = state.hash
        self.size = self.saved_size = state.size

    def _read_state(self) -> _State | None:
        try:
            body, _, checksum = self.read(_STATE_FILE).partition(b"\n")
            state = msgspec.json.decode(body, type=_State)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return state if checksum == b"%d\n" % zlib.crc32(body) else None

    def _checksum(self, number: int, count: int) -> int | None:
        """Return the checksum of the first nodes of a file, None where it does not give them."""
        checksum = 0
        for first in range(0, count, _PIECE_COUNT):
            try:
                piece = self._pread(number, first, min(_PIECE_COUNT, count - first))
            except ReadFailedError:
                return None
            checksum = zlib.crc32(piece, checksum)
        return checksum

    # Growing.

    def append(self, leaves: Sequence[bytes], last_hash: str) -> None:
        """Add leaves, and the nodes above them; the hash is that of the last one's event.

        Raises:
            DiskFullError: There is no room; the tree is as before.
            OSError: As the system does; the tree is as before.
        """
        with _telling_shortage():
            self._append(leaves, last_hash)

    def _append(self, leaves: Sequence[bytes], last_hash: str) -> None:
        # Nothing is taken over before all of it is written.
        checksums, tails = self._checksums.copy(), self._tails.copy()
        nodes, number = b"".join(leaves), 0
        while nodes:
            if number == len(tails):
                checksums.append(0)
                tails.append(b"")
            offset = (self.size >> (number * _STRIDE)) * HASH_SIZE
            write_all(self._disk, self._file(number), nodes, offset)
            checksums[number] = zlib.crc32(nodes, checksums[number])
            pending = tails[number] + nodes
            stop = len(pending) - len(pending) % (_GROUP * HASH_SIZE)
            tails[number], nodes = pending[stop:], pending[:stop]
            for _ in range(_STRIDE):
                nodes = hash_pairs(nodes)
            number += 1
        self._checksums, self._tails = checksums, tails
        self.last_hash = last_hash
        self.size += len(leaves)

    def save(self) -> None:
        """Let the next opening believe all that is there.

        Raises:
            DiskFullError: There is no room; what was saved before still is.
            OSError: As the system does; what was saved before still is.
        """
        if self._folder is None or self.size == self.saved_size:
            return
        with _telling_shortage():
            self._save()

    def _save(self) -> None:
        for file in self._files:
            self._disk.sync_data(file)
        body = msgspec.json.encode(_State(self.size, self.last_hash, self._checksums))
        self.replace(_STATE_FILE, b"%b\n%d\n" % (body, zlib.crc32(body)))
        self.saved_size = self.size

    # Reading.

    def hash_of(self, level: int, index: int) -> bytes:
        """Return the root of a full subtree that the tree has.

        Raises:
            ReadFailedError: The disk does not give it.
        """
        number, height = divmod(level, _STRIDE)
        nodes = self._pread(number, index << height, 1 << height)
        for _ in range(height):
            nodes = hash_pairs(nodes)
        return nodes

    def read_nodes(self, level: int, first: int, count: int) -> bytes:
        """Return neighbours of a level that is kept, joined; all of them are in the tree."""
        number, height = divmod(level, _STRIDE)
        assert height == 0
        return self._pread(number, first, count)

    def _pread(self, number: int, first: int, count: int) -> bytes:
        if count == 0:
            return b""
        size = count * HASH_SIZE
        try:
            found = os.pread(self._file(number), size, first * HASH_SIZE)
        except OSError as error:
            raise ReadFailedError(error.strerror or type(error).__name__) from error
        if len(found) < size:
            raise ReadFailedError("a file of the tree is shorter than it was")
        return found

    def _file(self, number: int) -> int:
        while number >= len(self._files):
            level = len(self._files) * _STRIDE
            if self._folder is None:
                file = self._resources.enter_context(_without_name()).fileno()
            else:
                file = open_file(self._disk, self._folder, f"level-{level:02d}", self._resources)
            self._files.append(file)
        return self._files[number]

    # Small files beside it.

    def read(self, name: str) -> bytes:
        """Return a small file of the folder; raises FileNotFoundError where there is none."""
        if self._folder is not None:
            return read_file(self._disk, self._folder, name)
        if self._directory is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        with ExitStack() as resources:
            folder = open_folder(self._disk, self._directory, TREE_FOLDER, resources)
            return read_file(self._disk, folder, name)

    def replace(self, name: str, content: bytes) -> None:
        """Put a small file in the place of the one before, durably; without a folder, nowhere.

        Raises:
            DiskFullError: There is no room; what was there before still is.
            OSError: As the system does.
        """
        if self._folder is not None:
            with _telling_shortage():
                replace_file(self._disk, self._folder, name, content)


@contextmanager
def _telling_shortage() -> Iterator[None]:
    """Turn what the system says where there is no room into an error that says so."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise DiskFullError(f"{describe_shortage(error)}: the tree stays as it is") from error


def _without_name() -> IO[bytes]:
    """Open a file that goes when it is closed."""
    return tempfile.TemporaryFile(prefix="everlog-tree-", buffering=0)
