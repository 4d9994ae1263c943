"""Where a backup goes: a file that gets its name when it is whole, or standard output.

Until then it is called FILE.part. It can be gone on with: what stands in it is read again, up to
the last line that is whole, or the last frame where it is compressed.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from everlog.cli.backing_up.compression import TornFrameError, compress, decompress_frames
from everlog.domain.errors import EverlogError
from everlog.domain.limits import BACKUP_LINE_SIZE_MAX

DRAFT_SUFFIX: Final = ".part"

_BLOCK_SIZE: Final = 1024 * 1024

# Nothing that was written at once, a line or a frame, is larger.
_PART_SIZE_MAX: Final = 4 * BACKUP_LINE_SIZE_MAX


class OutputError(EverlogError):
    """The backup cannot be written where it was to go."""


class Output(Protocol):
    """Takes lines, and knows the SHA-256 of what became of them."""

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of all bytes so far."""

    def read_draft(self) -> Iterator[bytes]:
        """Yield the whole lines that are there from before, in blocks."""

    def write(self, lines: bytes) -> None:
        """Take whole lines."""

    def keep(self) -> None:
        """Write all that was taken, so that it can be gone on with."""

    def finish(self) -> None:
        """Make the backup durable, and give it its name."""


class StandardOutput:
    """Writes to standard output, which nobody can go on with."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._digest: Final = sha256()

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of all bytes so far."""
        return self._digest.hexdigest()

    def read_draft(self) -> Iterator[bytes]:
        """Yield nothing."""
        return iter(())

    def write(self, lines: bytes) -> None:
        """Write lines at once."""
        self._digest.update(lines)
        sys.stdout.buffer.write(lines)

    def keep(self) -> None:
        """Write what is left."""
        sys.stdout.buffer.flush()

    def finish(self) -> None:
        """Write what is left."""
        sys.stdout.buffer.flush()


class FileOutput:
    """Writes to a draft beside the file; a `with` block closes it."""

    def __init__(self, target: Path, *, is_compressed: bool) -> None:
        """Open the draft, or create it, for its owner only.

        Raises:
            OutputError: Somebody else is writing it.
            OSError: The system refuses.
        """
        self.draft: Final = target.with_name(target.name + DRAFT_SUFFIX)
        self._target: Final = target
        self._is_compressed: Final = is_compressed
        self._digest: Final = sha256()
        self._lines: list[bytes] = []
        self._lines_size = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        # The descriptor is closed by `close`, or by the end of the process.
        self._file: Final = os.open(self.draft, flags, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                os.close(self._file)
                raise OutputError(f"{self.draft} is being written by another backup") from error

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of all bytes so far."""
        return self._digest.hexdigest()

    def read_draft(self) -> Iterator[bytes]:
        """Yield the whole lines that are there from before, in blocks, and cut what is torn."""
        size = 0
        for whole_size, lines in self._read_whole():
            size = whole_size
            if lines:
                yield lines
        os.ftruncate(self._file, size)
        os.lseek(self._file, 0, os.SEEK_SET)
        # Only now it is known what stays.
        left = size
        while left > 0:
            block = os.read(self._file, min(left, _BLOCK_SIZE))
            self._digest.update(block)
            left -= len(block)

    def _read_whole(self) -> Iterator[tuple[int, bytes]]:
        """Yield whole lines, each time with where they end in the file."""
        blocks = iter(lambda: os.read(self._file, _BLOCK_SIZE), b"")
        whole_size, lines = 0, b""
        if not self._is_compressed:
            for block in blocks:
                found, line_feed, lines = (lines + block).rpartition(b"\n")
                whole_size += len(found + line_feed)
                self._check_size(lines)
                yield whole_size, found + line_feed
            return
        try:
            for size, data in decompress_frames(blocks):
                lines += data
                self._check_size(lines)
                if size > whole_size:
                    whole_size = size
                    yield whole_size, lines
                    lines = b""
        except TornFrameError:
            return

    def _check_size(self, lines: bytes) -> None:
        if len(lines) > _PART_SIZE_MAX:
            raise OutputError(f"{self.draft} is no draft of a backup: remove it, and try again")

    def write(self, lines: bytes) -> None:
        """Take lines, and write them when there are enough."""
        self._lines.append(lines)
        self._lines_size += len(lines)
        if self._lines_size >= _BLOCK_SIZE:
            self.keep()

    def keep(self) -> None:
        """Write all that was taken."""
        data = b"".join(self._lines)
        self._lines, self._lines_size = [], 0
        if data:
            self._append(data)

    def _append(self, data: bytes) -> None:
        if self._is_compressed:
            data = compress(data)
        self._digest.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self) -> None:
        """Sync the draft, give it its name, and sync that."""
        self.keep()
        if self._is_compressed and os.fstat(self._file).st_size == 0:
            # What is compressed is never empty.
            self._append(b"")
        os.fsync(self._file)
        self.draft.replace(self._target)
        folder = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
