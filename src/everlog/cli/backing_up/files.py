"""Reading backups: from a file or standard input, compressed or not, and with their SHA-256."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Final

from everlog.cli.backing_up.compression import (
    MAGIC,
    CompressionError,
    TornFrameError,
    decompress,
)
from everlog.domain.errors import Code, RefusedError
from everlog.transfer.backup_lines import EventItem, parse_backup_lines
from everlog.transfer.contents import Place

STANDARD_STREAM: Final = "-"

_BLOCK_SIZE: Final = 256 * 1024

# The last event of a backup is looked for in so many bytes at its end.
_TAIL_SIZE: Final = 16 * 1024 * 1024


class BackupFile:
    """A backup that is read once, from beginning to end."""

    def __init__(self, name: str, on_read: Callable[[int], None] = lambda _: None) -> None:
        """Read from a path, or - for standard input; `on_read` is told how many bytes were read."""
        self.name: Final = name
        self._on_read: Final = on_read
        self._digest: Final = sha256()

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of the bytes of the file, as far as it was read."""
        return self._digest.hexdigest()

    @property
    def size(self) -> int | None:
        """How many bytes there are to be read, None if nobody knows."""
        path = Path(self.name)
        return path.stat().st_size if self.name != STANDARD_STREAM and path.is_file() else None

    def read(self) -> Iterator[bytes]:
        """Yield the lines of the backup in pieces.

        Raises:
            RefusedError: What is compressed is not whole.
            OSError: The file cannot be read.
        """
        with ExitStack() as resources:
            blocks = self._read_blocks(self._open(resources))
            first = b""
            while len(first) < len(MAGIC) and (block := next(blocks, b"")):
                first += block
            # By what it is, whatever it is called.
            if not first.startswith(MAGIC):
                yield first
                yield from blocks
                return
            try:
                yield from decompress(_chain(first, blocks))
            except TornFrameError as error:
                message = f"the backup is incomplete: {error}"
                raise RefusedError(Code.BACKUP_INCOMPLETE, message) from error
            except CompressionError as error:
                message = f"the backup cannot be read: {error}"
                raise RefusedError(Code.BACKUP_UNREADABLE, message) from error

    def _open(self, resources: ExitStack) -> BufferedIOBase:
        if self.name != STANDARD_STREAM:
            return resources.enter_context(Path(self.name).open("rb"))
        if sys.stdin is None:
            # It was closed, as if nothing had been written to it.
            return BytesIO()
        assert isinstance(sys.stdin.buffer, BufferedIOBase)
        return sys.stdin.buffer

    def _read_blocks(self, file: BufferedIOBase) -> Iterator[bytes]:
        # What is there: who waits for more in one call is not interrupted in the meantime.
        while block := file.read1(_BLOCK_SIZE):
            self._digest.update(block)
            self._on_read(len(block))
            yield block


def find_last_event(name: str) -> Place:
    """Return the last event of a backup.

    Raises:
        RefusedError: It has none, or is not whole.
        OSError: It cannot be read.
    """
    pieces, size = deque[bytes](), 0
    for piece in BackupFile(name).read():
        pieces.append(piece)
        size += len(piece)
        while size - len(pieces[0]) >= _TAIL_SIZE:
            size -= len(pieces.popleft())
    lines, _, rest = b"".join(pieces).rpartition(b"\n")
    if rest:
        raise RefusedError(
            Code.BACKUP_INCOMPLETE, "the backup is incomplete: it ends in the middle of a line"
        )
    for line in reversed(lines.split(b"\n")):
        for found in parse_backup_lines(line + b"\n", 1):
            if isinstance(found.item, EventItem):
                return Place(found.item.event.id, found.item.hash)
    raise RefusedError(
        Code.FULL_BACKUP_MISSING, "it holds no event: name the backup before it instead"
    )


def _chain(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from blocks
