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

from everlog.storage.log.disk import Folder, PosixDisk
from tests.support.copies import settle


class QuickDisk(PosixDisk):
    """A disk that does not wait: in tests the power goes only where a test takes it."""

    def sync_data(self, file: int) -> None:
        os.fstat(file)

    def sync_directory(self, folder: Folder) -> None:
        os.fstat(folder.descriptor)


class Kind(StrEnum):
    """The calls that a disk knows."""

    OPEN = "open"
    MAKE_DIRECTORY = "make_directory"
    WRITE = "write"
    SYNC_DATA = "sync_data"
    ALLOCATE = "allocate"
    TRUNCATE = "truncate"
    RENAME = "rename"
    MOVE = "move"
    REMOVE_FILE = "remove_file"
    REMOVE_DIRECTORY = "remove_directory"
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
        self._disk = QuickDisk()
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

    def open(self, folder: Folder | None, name: str, flags: int) -> int:
        self._note(Kind.OPEN)
        return self._disk.open(folder, name, flags)

    def make_directory(self, folder: Folder | None, name: str) -> None:
        self._note(Kind.MAKE_DIRECTORY)
        self._disk.make_directory(folder, name)

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        self._note(Kind.WRITE)
        if self.write_size_max is not None:
            data = data[: self.write_size_max]
        return self._disk.write(file, data, offset)

    def sync_data(self, file: int) -> None:
        self._note(Kind.SYNC_DATA)
        self._disk.sync_data(file)

    def free_size(self, file: int) -> int:
        return self._disk.free_size(file)

    def allocate(self, file: int, offset: int, size: int) -> None:
        self._note(Kind.ALLOCATE)
        self._disk.allocate(file, offset, size)

    def truncate(self, file: int, size: int) -> None:
        self._note(Kind.TRUNCATE)
        self._disk.truncate(file, size)

    def rename(self, folder: Folder, source: str, target: str) -> None:
        self._note(Kind.RENAME)
        self._disk.rename(folder, source, target)

    def move(self, source: Folder, name: str, target: Folder) -> None:
        self._note(Kind.MOVE)
        self._disk.move(source, name, target)

    def remove_file(self, folder: Folder, name: str) -> None:
        self._note(Kind.REMOVE_FILE)
        self._disk.remove_file(folder, name)

    def remove_directory(self, folder: Folder, name: str) -> None:
        self._note(Kind.REMOVE_DIRECTORY)
        self._disk.remove_directory(folder, name)

    def sync_directory(self, folder: Folder) -> None:
        self._note(Kind.SYNC_DIRECTORY)
        self._disk.sync_directory(folder)

    def _note(self, kind: Kind) -> None:
        number = self.calls[kind]
        self.calls[kind] += 1
        fault = self._fault
        if fault is None or fault.kind is not kind:
            return
        if number == fault.number or (fault.is_lasting and number > fault.number):
            self.has_failed = True
            raise OSError(fault.error, os.strerror(fault.error))


class LosingDisk(PosixDisk):
    """A disk that remembers what was synced, so that the power can be taken from it.

    What was not synced is lost as a whole: bytes since a file's last sync, and files and
    directories whose names were never synced. A sync that fails forgets the bytes, as Linux does:
    files still show them, and later syncs succeed without them.
    """

    def __init__(self) -> None:
        # By number, since a file keeps what was synced when it gets another name.
        self._files: dict[int, bytes] = {}
        self._names: dict[Path, dict[str, int]] = {}
        # The numbers of folders.
        self._folders: set[int] = set()
        # What was written since the last sync; a file that is not here is written by mapping it.
        self._written: dict[int, list[slice]] = {}
        # The kind of calls that fail, until it is changed.
        self.failing: Kind | None = None

    def make_directory(self, folder: Folder | None, name: str) -> None:
        super().make_directory(folder, name)
        path = Path(name) if folder is None else folder.path / name
        self._folders.add(path.stat().st_ino)

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        count = super().write(file, data, offset)
        written = self._written.setdefault(os.fstat(file).st_ino, [])
        written.append(slice(offset, offset + count))
        return count

    def sync_data(self, file: int) -> None:
        state = os.fstat(file)
        content = os.pread(file, state.st_size, 0)
        written = self._written.get(state.st_ino)
        synced = bytearray(content)
        if written is not None:
            synced = bytearray(self._files.get(state.st_ino, b"")[: len(content)])
            synced.extend(bytes(len(content) - len(synced)))
            self._written[state.st_ino] = []
        self._fail_or_go_on(Kind.SYNC_DATA)
        for part in written or ():
            synced[part] = content[part]
        self._files[state.st_ino] = bytes(synced)

    def sync_directory(self, folder: Folder) -> None:
        self._fail_or_go_on(Kind.SYNC_DIRECTORY)
        # Above the directory of a test, others create and remove files meanwhile.
        with os.scandir(folder.descriptor) as entries:
            self._names[folder.path] = {entry.name: entry.inode() for entry in entries}

    def rename(self, folder: Folder, source: str, target: str) -> None:
        super().rename(folder, source, target)
        self._follow(folder.path / source, folder.path / target)

    def move(self, source: Folder, name: str, target: Folder) -> None:
        super().move(source, name, target)
        self._follow(source.path / name, target.path / name)

    def _follow(self, old: Path, new: Path) -> None:
        """Know what was synced in a folder by the path that it has now, and by the one it had."""
        for path in [path for path in self._names if path.is_relative_to(old)]:
            self._names[new / path.relative_to(old)] = self._names[path]

    def restore(self, source: Path, target: Path) -> None:
        """Make a directory as the power failure left another one."""
        self._restore(source, target)
        settle(target)

    def _restore(self, source: Path, target: Path) -> None:
        target.mkdir(exist_ok=True)
        for name, number in self._names.get(source, {}).items():
            if number in self._folders:
                self._restore(source / name, target / name)
            else:
                (target / name).write_bytes(self._files.get(number, b""))

    def _fail_or_go_on(self, kind: Kind) -> None:
        if kind is self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


class ProcessDiedError(BaseException):
    """The process ends here, as by SIGKILL; nobody may catch it."""


class DyingDisk(LosingDisk):
    """A disk with whose call of some number the process dies."""

    def __init__(self, number: int | None = None) -> None:
        """Let the process die before the call of this number; None lets it live."""
        super().__init__()
        self._number = number
        self.call_count = 0

    def open(self, folder: Folder | None, name: str, flags: int) -> int:
        self._live()
        return super().open(folder, name, flags)

    def make_directory(self, folder: Folder | None, name: str) -> None:
        self._live()
        super().make_directory(folder, name)

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        self._live()
        return super().write(file, data, offset)

    def sync_data(self, file: int) -> None:
        self._live()
        super().sync_data(file)

    def allocate(self, file: int, offset: int, size: int) -> None:
        self._live()
        super().allocate(file, offset, size)

    def truncate(self, file: int, size: int) -> None:
        self._live()
        super().truncate(file, size)

    def rename(self, folder: Folder, source: str, target: str) -> None:
        self._live()
        super().rename(folder, source, target)

    def move(self, source: Folder, name: str, target: Folder) -> None:
        self._live()
        super().move(source, name, target)

    def remove_file(self, folder: Folder, name: str) -> None:
        self._live()
        super().remove_file(folder, name)

    def remove_directory(self, folder: Folder, name: str) -> None:
        self._live()
        super().remove_directory(folder, name)

    def sync_directory(self, folder: Folder) -> None:
        self._live()
        super().sync_directory(folder)

    def _live(self) -> None:
        if self._number is not None and self.call_count >= self._number:
            raise ProcessDiedError
        self.call_count += 1
