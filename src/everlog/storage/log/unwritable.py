"""A data directory that cannot be written to, and is served all the same.

It lies on a read-only mount, or belongs to somebody else.
`ReadOnlyEngine` is an `Engine` in which nothing can be staged. Opening it writes nothing: what is
torn at the end of the log stays there and is not shown, what the index lacks is put into memory,
and no snapshot is saved.
Guarantees that no server writes to the directory meanwhile, as far as the file system has locks.
What is left to others: what can be read (`reader`), and to stage nothing (`writer`, whose condition
is read-only from the beginning).
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn, Self

from everlog.domain.errors import StoreFailedError
from everlog.domain.event import AcceptedEvent
from everlog.domain.precondition import SubjectState
from everlog.storage.engine import Head, LogFiles, StoreFiles
from everlog.storage.log.directory import (
    DURABLE_FILE,
    FORMAT_FILE,
    INDEX_FOLDER,
    LOCK_FILE,
    LOG_FOLDER,
    SCHEMAS_FILE,
    hold_for_reading,
    read_bound,
)
from everlog.storage.log.disk import Disk, Folder, open_folder
from everlog.storage.log.engine import OpeningReport
from everlog.storage.log.reader import ReadOnlyLog
from everlog.storage.log.tree_files import TREE_FOLDER

_FILES: Final = (FORMAT_FILE, LOCK_FILE, DURABLE_FILE, SCHEMAS_FILE)
_FOLDERS: Final = (LOG_FOLDER, INDEX_FOLDER, TREE_FOLDER)


def may_write(directory: Path) -> bool:
    """Tell whether the system lets us change a data directory; one that is not there may be made.

    All that is Everlog's own is looked at, and nothing is opened.
    """
    folders = [directory / name for name in _FOLDERS]
    try:
        within = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    except OSError:
        # It cannot even be read, and whoever opens it says so.
        return True
    paths = (directory, *(directory / name for name in _FILES), *folders, *within)
    return all(os.access(path, os.W_OK) for path in paths if path.exists())


class ReadOnlyEngine(ReadOnlyLog):
    """A data directory as an engine that shows one head for as long as it is open."""

    # Of the folder of the segments, None where there is none.
    log_folder: Folder | None = None

    @classmethod
    def _open(cls, path: Path, disk: Disk, resources: ExitStack) -> Self:
        """Open it and keep servers out.

        Raises:
            DirectoryLockedError: A server has it open.
            DataDirectoryError, OSError: As `ReadOnlyLog.open`.
        """
        # Before it is read, so that nothing comes that would be missed.
        directory = hold_for_reading(path, disk, resources)
        opened = super()._open(path, disk, resources)
        try:
            opened.log_folder = open_folder(disk, directory, LOG_FOLDER, resources)
        except FileNotFoundError:
            opened.log_folder = None
        return opened

    @property
    def directory(self) -> Folder:
        """The data directory, for what else is kept in it."""
        return self._directory

    @property
    def report(self) -> OpeningReport:
        """What opening found; it did nothing, so that nothing was removed."""
        return OpeningReport(
            event_count=self.head.event_count,
            replayed_event_count=self.unsaved_event_count,
            torn_size=0,
            rebuild_reason=self.rebuild_reason,
            is_writable=False,
            is_copy=self.is_copy,
            noted_event_count=read_bound(self._directory, self._disk).event_count,
        )

    @property
    def tip(self) -> Head:
        """The head, on which nothing is ever staged."""
        return self.head

    @property
    def state(self) -> SubjectState:
        """The subjects as of the head."""
        return self._index

    def files(self, head: Head) -> LogFiles | None:
        """Return where another process can read the log."""
        offsets = self._index.offsets.file
        if offsets is None or self.log_folder is None:
            return None
        return LogFiles(
            folder=self.log_folder.descriptor,
            segments=self._log.places,
            offsets=offsets,
            event_count=head.event_count,
            log_size=head.log_size,
        )

    def store_files(self, head: Head) -> StoreFiles:
        """Return where another process can look at everything."""
        directory = self._directory.descriptor
        return self._store_files(directory, head, schemas_size=self._schemas_size)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise StoreFailedError("the data directory was opened for reading only")

    # Writing, for which nobody asks.
    stage = stage_entry = stage_schema = apply = _refuse
    commit = begin_commit = end_commit = publish = _refuse

    def seal(self) -> None:
        """Return None: nothing is staged."""

    def roll_back(self) -> None:
        """Forget nothing: nothing is staged."""

    def unpublished_events(self) -> Iterator[AcceptedEvent]:
        """Yield nothing."""
        return iter(())

    # Housekeeping.

    def check_place(self) -> None:
        """Look for nothing: what is open is read, wherever its name leads by now."""

    @property
    def is_snapshot_due(self) -> bool:
        """Never: it could not be saved."""
        return False

    @property
    def unsaved_event_count(self) -> int:
        """How many events opening had to read."""
        return self.head.event_count - self.saved_event_count

    def save_snapshot(self) -> None:
        """Save nothing."""
