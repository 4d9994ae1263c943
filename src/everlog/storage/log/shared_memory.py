"""An index in the memory of one process, as others read it.

The process that has the log keeps its index in files that lie in memory (`columns`), and posts each
head that it publishes on a *board*, which is such a file too. Others map the same files: what a
head counts is there by the time it is posted, and never changes.

A board has room for two heads. The next one is written where the last but one was, and then the
number says which of both counts; so whoever reads finds a whole one, however slow the process is
that posts. On processors that let others see stores in another order, a fence stands between what
is posted and the number, and between the number and what is read.

What is left to others: which process that is, and how it comes by the files (service).
"""

import os
import threading
from struct import Struct
from typing import Final, NamedTuple

from everlog.storage.engine import Head
from everlog.storage.log.columns import Column, MappedColumn

_RECORD: Final = Struct("<7QH128s")
_PLACES: Final = (64, 64 + 256)

# Cells: how many heads were posted, and how often staged events were forgotten.
_SEQUENCE: Final = 0
_TRUNCATIONS: Final = 1

_lock: Final = threading.Lock()


class PostedHead(NamedTuple):
    """A head, and what else there was at that moment."""

    head: Head
    segment_count: int
    # The bytes of the event schemas that the head shows.
    schemas_size: int


def fence() -> None:
    """Let no load or store of this thread pass here, as other processes see it.

    Python has no such call. Letting go of a lock keeps what was before it there, and taking one
    what comes behind; and those two are kept in order.
    """
    with _lock:
        pass
    with _lock:
        pass


class HeadBoard:
    """Where one process posts the heads of its log."""

    def __init__(self) -> None:
        """Post nothing yet.

        Raises:
            DiskFullError: Too many files are open.
            MemoryError: There is no memory.
        """
        self._column: Final = Column("head", "Q")
        self._sequence = 0

    @property
    def file(self) -> int | None:
        """The open file, None where the system has no such memory."""
        return self._column.file

    def post(self, posted: PostedHead) -> None:
        """Let others see a head; all that it counts is in the index and on the disk."""
        head = posted.head
        hash_ = head.hash.encode()
        record = _RECORD.pack(
            *(head.event_count, head.log_size, head.subject_count, head.event_type_count),
            *(head.time, posted.segment_count, posted.schemas_size, len(hash_), hash_),
        )
        sequence = self._sequence + 1
        start = _PLACES[sequence % 2]
        # Whoever still reads what is there sees by the number that it is gone.
        fence()
        self._column.memory[start : start + _RECORD.size] = record
        fence()
        self._column.cells[_SEQUENCE] = self._sequence = sequence
        # Before anybody is told of it in another way.
        fence()

    def note_truncation(self, count: int) -> None:
        """Let others know that staged events were forgotten, so many times by now."""
        fence()
        self._column.cells[_TRUNCATIONS] = count
        fence()

    def release(self) -> None:
        """Give the memory back."""
        self._column.release()


class PostedBoard:
    """The board of another process."""

    def __init__(self, file: int) -> None:
        """Look at an inherited file."""
        self._column: Final = MappedColumn("head", "Q", file)
        self._cells: Final = self._column.cells

    @property
    def sequence(self) -> int:
        """How many heads were posted."""
        sequence: int = self._cells[_SEQUENCE]
        return sequence

    @property
    def truncations(self) -> int:
        """How often staged events were forgotten."""
        fence()
        count: int = self._cells[_TRUNCATIONS]
        fence()
        return count

    def read(self) -> tuple[int, PostedHead]:
        """Return the newest head, and its number; one at least was posted."""
        while True:
            sequence = self._cells[_SEQUENCE]
            fence()
            start = _PLACES[sequence % 2]
            record = self._column.memory[start : start + _RECORD.size]
            fence()
            # Where it has moved on, what was read may be part of the next but one.
            if self._cells[_SEQUENCE] == sequence:
                break
        events, size, subjects, types, time, segments, schemas, length, hash_ = _RECORD.unpack(
            record
        )
        head = Head(events, size, subjects, types, hash_[:length].decode(), time)
        return sequence, PostedHead(head, segments, schemas)


def open_again(directory: int) -> int:
    """Open a folder once more, without what is locked with the one that is open."""
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
