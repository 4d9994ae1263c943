"""A data directory of which somebody else may be the writer.

`ReadOnlyLog` changes nothing and keeps nobody out, so it has to know what to believe of files that
a server writes to meanwhile:

- Of the log what is durable, which never changes. While a server has the directory open, that ends
  with the durable bound: behind it stands a batch of which nobody knows yet whether it will stay.
  While nobody has it open, it is all that the next opening would keep, found by the same recovery:
  after a loss of power the bound is older than what was acknowledged, and a whole batch behind it
  may have been.
- Of the index what its snapshot speaks of, which never changes either, with one exception: where a
  server makes the index anew, types get other numbers, in place. It is read into memory and checked
  there. What belongs behind the snapshot is read from the log.

What is read first decides: the snapshot before the bound, since all that a snapshot speaks of was
durable before it was saved; the bound before the names of the segments, since a batch is in a
segment before it is durable.
"""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Self

from msgspec.structs import replace

from everlog.domain.errors import CorruptLogError, DirectoryLockedError
from everlog.storage.engine import (
    Head,
    LogFiles,
    StagedSchema,
)
from everlog.storage.log.directory import (
    INDEX_FOLDER,
    LOG_FOLDER,
    SCHEMAS_FILE,
    DurableBound,
    is_served,
    open_directory,
    read_bound,
)
from everlog.storage.log.disk import Disk, Folder, PosixDisk, open_folder
from everlog.storage.log.index import Index
from everlog.storage.log.indexed_log import IndexedLog
from everlog.storage.log.reading import SegmentFiles
from everlog.storage.log.recovery import Origin, find_origin, find_witnesses, replay
from everlog.storage.log.restored import check_is_in_place
from everlog.storage.log.schemas import parse_schemas, read_schemas
from everlog.storage.log.snapshot import load_index


class ReadOnlyLog(IndexedLog):
    """A data directory opened for reading, beside a server or without one; a `LogReader`.

    Made by `open`; a `with` block closes it. Reading may happen on any thread, `refresh` on one at
    a time.
    """

    def __init__(
        self,
        directory: Folder,
        disk: Disk,
        *,
        proven: DurableBound,
        resources: ExitStack,
        log: SegmentFiles,
        index: Index,
        head: Head,
        rebuild_reason: str | None,
        is_copy: bool,
    ) -> None:
        """Take over what `open` has opened; the head is that of the snapshot of the index."""
        super().__init__(log, index, head)
        self.saved_event_count: Final = head.event_count
        # Why the index was made anew from the log; None where its snapshot could be used.
        self.rebuild_reason: Final = rebuild_reason
        # Whether it was a copy of another directory that no server had opened.
        self.is_copy: Final = is_copy
        self._directory: Final = directory
        # The bytes of the event schemas that the head shows.
        self._schemas_size = 0
        self._disk: Final = disk
        self._proven: Final = proven
        self._resources: Final = resources

    @classmethod
    def open(cls, directory: Path, *, disk: Disk | None = None) -> Self:
        """Open a data directory at its newest durable head.

        Raises:
            DataDirectoryError: It is of an unknown format, or damaged; see its subclasses.
            OSError: The system refuses to read it.
        """
        disk, resources = disk or PosixDisk(), ExitStack()
        try:
            opened = cls._open(directory, disk, resources)
            opened.refresh()
        except BaseException:
            resources.close()
            raise
        return opened

    @classmethod
    def _open(cls, path: Path, disk: Disk, resources: ExitStack) -> Self:
        directory = open_directory(path, disk, resources)
        check_is_in_place(directory)
        folder, log = None, SegmentFiles()
        with suppress(FileNotFoundError):
            folder = open_folder(disk, directory, INDEX_FOLDER, resources)

        def open_log() -> SegmentFiles:
            log.open_new(directory, disk, resources)
            return log

        known = find_witnesses(directory, disk)
        is_copy = known.origin is not Origin.HERE
        index, snapshot, reason = load_index(
            folder, disk, open_log, copied_schemas_size=known.copied_schemas_size
        )
        return cls(
            directory,
            disk,
            proven=DurableBound() if is_copy else known.bound,
            resources=resources,
            log=log,
            index=index,
            head=snapshot.head,
            rebuild_reason=reason,
            is_copy=is_copy,
        )

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files; nothing can be read any more."""
        self._resources.close()

    def refresh(self) -> Head:
        """Move to the newest durable head, and return it.

        Raises:
            CorruptLogError: The durable part of the log is damaged; the head is as before.
            OSError: The system refuses to read it.
        """
        while True:
            bound = read_bound(self._directory, self._disk).at_least(self._proven)
            was_served = is_served(self._directory, self._disk)
            origin = find_origin(self._directory, self._disk, bound)
            try:
                self._log.open_new(self._directory, self._disk, self._resources)
                head, found = self._read_on(
                    bound,
                    stop=bound.log_size if was_served else None,
                    origin=Origin.HERE if was_served else origin,
                )
            except CorruptLogError as error:
                self._index.truncate(self.head)
                if self._has_become_served(was_served=was_served):
                    continue
                if was_served and origin is not Origin.HERE:
                    # Its bound may speak of more than it has, until that server has opened it.
                    raise self._being_opened() from error
                raise
            except BaseException:
                self._index.truncate(self.head)
                raise
            else:
                if not self._has_become_served(was_served=was_served):
                    self._publish(head, found)
                    return self.head
                self._index.truncate(self.head)

    def _has_become_served(self, *, was_served: bool) -> bool:
        """Tell whether a server may have been writing what was taken for the log's end."""
        return not was_served and is_served(self._directory, self._disk)

    def is_served(self) -> bool:
        """Tell whether a server has the directory open now, and may go on writing to it."""
        return is_served(self._directory, self._disk)

    def files(self, head: Head) -> LogFiles | None:  # noqa: ARG002 - the port's
        """Return None: what is behind the snapshot is in the memory of this process only."""
        return None

    def path_of(self, position: int) -> Path:
        """Return the file in which an event stands that the head shows."""
        return self._directory.path / LOG_FOLDER / self._log.name_of(position)

    def _being_opened(self) -> DirectoryLockedError:
        message = (
            f"the data directory {self._directory.path} is a copy that a server is just opening: "
            "try again when it has"
        )
        return DirectoryLockedError(message)

    def _read_on(
        self, bound: DurableBound, *, stop: int | None, origin: Origin
    ) -> tuple[Head, tuple[Sequence[StagedSchema], int]]:
        """Put what has come since the head into the index; return its head, and all schemas."""
        before = self.head
        if stop is not None:
            # After a loss of power, a server that is just opening has not moved the bound yet.
            stop = max(stop, before.log_size)
        head = replay(self._log, self._index, before, bound, stop=stop, origin=origin).head
        assert head.event_count >= before.event_count
        content = read_schemas(self._directory, self._disk)
        if stop is not None:
            content = content[: bound.schemas_size]
        path = self._directory.path / SCHEMAS_FILE
        may_lack = origin is Origin.COPY
        found = parse_schemas(content, path, durable_size=bound.schemas_size, may_lack=may_lack)
        return head, found

    def _publish(self, head: Head, found: tuple[Sequence[StagedSchema], int]) -> None:
        """Show what was read. Only now is it certain that the schemas stay, as the events do."""
        schemas, self._schemas_size = found
        event_types = self._index.event_types
        for schema in schemas:
            event_types.register(schema)
        self.head = replace(head, event_type_count=len(event_types.names))
