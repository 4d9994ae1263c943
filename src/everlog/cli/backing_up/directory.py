"""A backup from a data directory, whether a server has it open or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from everlog.domain.errors import CorruptLogError, DataDirectoryError
from everlog.storage.engine import Head, Scan
from everlog.storage.line import parse_line
from everlog.storage.log import ReadOnlyLog
from everlog.transfer.backup_lines import schema_line, to_backup_lines
from everlog.transfer.contents import Place


class DirectorySource:
    """The newest durable head of a data directory; a `with` block closes it."""

    def __init__(self, directory: Path) -> None:
        """Open it.

        Raises:
            DataDirectoryError: It cannot be read, or is damaged.
        """
        try:
            self._reader: Final = ReadOnlyLog.open(directory)
        except OSError as error:
            raise DataDirectoryError(f"{directory} cannot be read: {error.strerror}") from error
        self._head: Final[Head] = self._reader.head
        self._directory: Final = directory

    def count(self) -> int:
        """Return how many events there are."""
        return self._head.event_count

    def lines(self, after: Place | None) -> Iterator[bytes]:
        """Yield blocks of whole backup lines: all schemas, and the events behind a place.

        Raises:
            DataDirectoryError: That event is not there, or what is there cannot be read.
        """
        start = 0 if after is None else self._position_behind(after)
        try:
            for chunk in self._reader.event_types(self._head):
                # One at a time, since they may be large.
                for event_type in chunk:
                    if event_type.schema is not None:
                        yield schema_line(event_type.name, event_type.schema, 1)
            scan = Scan(start=start, stop=self._head.event_count)
            for block in self._reader.scan(scan, self._head):
                yield to_backup_lines(block, 1)
        except ValueError as error:
            raise CorruptLogError(
                "an event is not as it was written; 'everlog audit' tells all that is wrong",
                position=None,
            ) from error
        except OSError as error:
            raise DataDirectoryError(
                f"{self._directory} cannot be read: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Close it."""
        self._reader.close()

    def _position_behind(self, after: Place) -> int:
        position = int(after.id)
        if position >= self._head.event_count:
            raise DataDirectoryError(
                f"{self._directory} has no event {after.id}, which the backup ends with: it holds "
                "another store, or an older copy of this one"
            )
        scan = Scan(start=position, stop=position + 1)
        line = b"".join(self._reader.scan(scan, self._head))
        if parse_line(line)[0].hash != after.hash:
            raise DataDirectoryError(
                f"event {after.id} in {self._directory} has another hash than the backup: it holds "
                "another store"
            )
        return position + 1
