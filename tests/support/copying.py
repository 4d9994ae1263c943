"""Copies of a data directory as programs make them, of every moment in a life that is recorded.

A program lists a folder, opens each file that it found there, and reads it piece by piece, while
the engine goes on writing. Which moment each of that is, a random generator says.
"""

import os
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from everlog.storage.log.disk import Folder
from tests.support.disks import QuickDisk

# Far smaller than a page of any system, so that the line of an event has several.
PIECE_SIZE = 64


class Moment(NamedTuple):
    """A data directory between two calls of the system."""

    # The content of each file and which one it is, since another one may get its name; None for
    # folders.
    files: dict[str, tuple[int, bytes] | None]
    # How many bytes of log and event schemas clients have been told of.
    told: tuple[int, int]


class RecordingDisk(QuickDisk):
    """A disk that shows every state that a program that reads meanwhile can see."""

    def __init__(self, root: Path, resources: ExitStack) -> None:
        self._resources = resources
        self.moments: list[Moment] = []
        self.told = (0, 0)
        self._root = root

    def open(self, folder: Folder | None, name: str, flags: int) -> int:
        file = super().open(folder, name, flags)
        if flags & (os.O_CREAT | os.O_TRUNC):
            # As long as it is open, no other file gets its number.
            self._resources.callback(os.close, super().open(folder, name, os.O_RDONLY))
            self.record()
        return file

    def make_directory(self, folder: Folder | None, name: str) -> None:
        super().make_directory(folder, name)
        self.record()

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        # Who reads may come in the middle.
        half = len(data) // 2
        written = super().write(file, data[:half], offset)
        self.record()
        written += super().write(file, data[half:], offset + half)
        self.record()
        return written

    def allocate(self, file: int, offset: int, size: int) -> None:
        super().allocate(file, offset, size)
        self.record()

    def truncate(self, file: int, size: int) -> None:
        super().truncate(file, size)
        self.record()

    def rename(self, folder: Folder, source: str, target: str) -> None:
        super().rename(folder, source, target)
        self.record()

    def record(self) -> None:
        files: dict[str, tuple[int, bytes] | None] = {}
        for path in sorted(self._root.rglob("*")):
            name = path.relative_to(self._root).as_posix()
            is_file = path.is_file()
            files[name] = (path.stat().st_ino, path.read_bytes()) if is_file else None
        self.moments.append(Moment(files, self.told))


class Program(StrEnum):
    """How much of a file is read, and what becomes of a file that has become shorter."""

    # Up to its end, as `cp` does.
    TO_THE_END = "to the end"
    # As much as it had when it was listed, with zeros for what is gone, as `tar` does.
    AS_LISTED = "as listed"
    # As much as it had when it was opened, as `rsync` does.
    AS_OPENED = "as opened"
    # Piece by piece, in any order: nobody does, but many programs may read side by side.
    SIDE_BY_SIDE = "side by side"


def copy_at_random(
    moments: Sequence[Moment], target: Path, rng: random.Random
) -> tuple[Moment, Moment]:
    """Make a copy, and return the moments at which it was begun and finished."""
    first = rng.randrange(len(moments))
    last = min(len(moments) - 1, first + rng.choice((0, 5, 30, 100)))
    copying = _Copying(moments, target, rng, first, last)
    copying.copy_folder("")
    # Some are started again and copy what is not there yet.
    while rng.random() < 0.3:
        copying.copy_folder("")
    return moments[first], moments[last]


class _Copying:
    def __init__(
        self, moments: Sequence[Moment], target: Path, rng: random.Random, first: int, last: int
    ) -> None:
        self._moments = moments
        self._target = target
        self._rng = rng
        self._first = first
        self._last = last
        self._program = rng.choice(list(Program))
        # Whether folders and files are copied one after the other, or each at any moment.
        self._is_in_order = rng.random() < 0.5
        # How seldom anything is written between two pieces.
        self._calm = rng.choice((0.5, 0.9, 0.97))
        self._now = first

    def copy_folder(self, name: str) -> None:
        (self._target / name).mkdir(exist_ok=True)
        listed = self._pick(self._now)
        self._now = listed if self._is_in_order else self._first
        names = [path for path in self._moments[listed].files if _folder_of(path) == name]
        self._rng.shuffle(names)
        for path in names:
            if self._moments[listed].files[path] is None:
                self.copy_folder(path)
            elif not (self._target / path).exists():
                self._copy_file(path, listed)

    def _copy_file(self, path: str, listed: int) -> None:
        opened = self._pick(max(listed, self._now))
        found = self._moments[opened].files.get(path)
        if found is None:
            # It was there when the folder was listed, and has another name now.
            return
        inode, content = found
        entry = self._moments[listed].files[path]
        assert entry is not None
        limits = {Program.AS_LISTED: len(entry[1]), Program.AS_OPENED: len(content)}
        pieces, now = bytearray(), opened
        content_at = self._content_of(inode)
        while True:
            size = limits.get(self._program)
            if size is not None and len(pieces) >= size:
                break
            picked = self._pick(opened if self._program is Program.SIDE_BY_SIDE else now)
            now = max(now, picked)
            piece = content_at(picked)[len(pieces) : len(pieces) + PIECE_SIZE]
            if size is not None:
                piece = piece[: size - len(pieces)]
            pieces += piece
            if not piece:
                if size is not None:
                    pieces += bytes(size - len(pieces))
                break
        if self._is_in_order:
            self._now = now
        (self._target / path).write_bytes(pieces)

    def _content_of(self, inode: int) -> Callable[[int], bytes]:
        """Return what gives the content of a file at a moment, whatever its name is by then."""
        known: dict[int, bytes] = {}

        def content_at(moment: int) -> bytes:
            if moment not in known:
                found = [
                    entry[1]
                    for entry in self._moments[moment].files.values()
                    if entry is not None and entry[0] == inode
                ]
                # A file that has no name any more is as it was.
                known[moment] = found[0] if found else content_at(moment - 1)
            return known[moment]

        return content_at

    def _pick(self, first: int) -> int:
        """Return a moment from one on, mostly the same."""
        if self._rng.random() < self._calm:
            return first
        return min(self._last, first + int(self._rng.paretovariate(0.5)))


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]
