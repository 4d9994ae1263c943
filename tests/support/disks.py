"""Disks that fail: each single call can be made to fail, once or from then on.

They change real files through the real disk, so that whatever a fault leaves behind is what a
later opening finds.
"""

import errno
import os
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from everlog.storage.log.disk import PosixDisk


class Kind(StrEnum):
    """The calls that a disk knows."""

    WRITE = "write"
    SYNC_DATA = "sync_data"
    ALLOCATE = "allocate"
    TRUNCATE = "truncate"
    RENAME = "rename"
    SYNC_DIRECTORY = "sync_directory"


class Fault(NamedTuple):
    """Which call fails, counted from zero since the fault was armed, and how."""

    kind: Kind
    number: int
    error: int = errno.EIO
    # Whether later calls of the kind fail as well.
    is_lasting: bool = False


class FailingDisk:
    """The real disk, until a fault is armed and its call comes."""

    def __init__(self) -> None:
        self._disk = PosixDisk()
        self._fault: Fault | None = None
        # How many bytes a write takes at most.
        self.write_size_max: int | None = None
        # What was asked for since the last arming, failed calls included.
        self.calls: Counter[Kind] = Counter()
        self.has_failed = False

    def arm(self, fault: Fault | None) -> None:
        """Count from zero again, and fail as the fault says; None heals the disk."""
        self._fault = fault
        self.calls.clear()
        self.has_failed = False

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        self._note(Kind.WRITE)
        if self.write_size_max is not None:
            data = data[: self.write_size_max]
        return self._disk.write(file, data, offset)

    def sync_data(self, file: int) -> None:
        self._note(Kind.SYNC_DATA)
        self._disk.sync_data(file)

    def allocate(self, file: int, offset: int, size: int) -> None:
        self._note(Kind.ALLOCATE)
        self._disk.allocate(file, offset, size)

    def truncate(self, file: int, size: int) -> None:
        self._note(Kind.TRUNCATE)
        self._disk.truncate(file, size)

    def rename(self, source: Path, target: Path) -> None:
        self._note(Kind.RENAME)
        self._disk.rename(source, target)

    def sync_directory(self, directory: Path) -> None:
        self._note(Kind.SYNC_DIRECTORY)
        self._disk.sync_directory(directory)

    def _note(self, kind: Kind) -> None:
        number = self.calls[kind]
        self.calls[kind] += 1
        fault = self._fault
        if fault is None or fault.kind is not kind:
            return
        if number == fault.number or (fault.is_lasting and number > fault.number):
            self.has_failed = True
            raise OSError(fault.error, os.strerror(fault.error))
