"""A disk that knows every state in which losing the power may leave it.

Each file is a row of sectors. What was written to a sector since it was last synced may be on the
disk or not, each version of it, whatever became of other sectors: so writes may be lost, kept,
torn and reordered. The same holds for a file's size, and for names of files and folders since
their folder was last synced; a rename is there as a whole or not at all.

A sync that fails forgets, as Linux does: what was not on the disk may never come there, although
everybody who reads the file sees it, and later syncs succeed.

Real files are changed meanwhile, so that the engine sees what it would see.
"""

import errno
import itertools
import os
import random
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path

from everlog.storage.log.disk import Folder, PosixDisk
from tests.support.copies import settle

SECTOR_SIZE = 512
# Smaller than any disk's, so that an index of a few events can be torn.
INDEX_SECTOR_SIZE = 32


class ProcessDiedError(BaseException):
    """The process ends here, as by SIGKILL; nobody may catch it."""


class StoredFile:
    """A file as everybody sees it, and what the disk may hold of it."""

    def __init__(self, unit_size: int) -> None:
        self.unit_size = unit_size
        self.content = b""
        # Of each unit that is uncertain: everything that it may be, the newest last.
        self._versions: dict[int, list[bytes]] = {}
        self._sizes = [0]
        # Units that the next successful sync brings to the disk.
        self._dirty: set[int] = set()

    def become(self, content: bytes) -> None:
        """Change to a new content, unit by unit."""
        for unit in range(-(-max(len(content), len(self.content)) // self.unit_size)):
            old, new = self._unit(self.content, unit), self._unit(content, unit)
            if old != new:
                self._versions.setdefault(unit, [old]).append(new)
                self._dirty.add(unit)
        if len(content) != self._sizes[-1]:
            self._sizes.append(len(content))
        self.content = content

    def touch(self, offset: int, size: int) -> None:
        """Let the next sync bring these bytes to the disk, although they may look the same."""
        units = range(offset // self.unit_size, -(-(offset + size) // self.unit_size))
        self._dirty.update(self._versions.keys() & set(units))

    def sync(self) -> None:
        for unit in self._dirty:
            del self._versions[unit]
        self._dirty.clear()
        del self._sizes[:-1]

    def forget(self) -> None:
        """Take no part in later syncs with what is not on the disk yet."""
        self._dirty.clear()

    def options(self) -> list[Sequence[object]]:
        """Return what there is to choose from: the size, then each unit that is uncertain."""
        return [list(dict.fromkeys(self._sizes)), *map(_distinct, self._versions.values())]

    def chosen(self, choice: Sequence[object]) -> bytes:
        """Return the content for one choice among the options."""
        size, *units = choice
        assert isinstance(size, int)
        content = bytearray(self.content[:size].ljust(size, b"\0"))
        for unit, version in zip(self._versions, units, strict=True):
            assert isinstance(version, bytes)
            start = unit * self.unit_size
            content[start : start + self.unit_size] = version[: max(0, size - start)]
        return bytes(content)

    def _unit(self, content: bytes, unit: int) -> bytes:
        start = unit * self.unit_size
        return content[start : start + self.unit_size].ljust(self.unit_size, b"\0")


class StoredFolder:
    """The names in a folder, and what became of them since it was last synced."""

    def __init__(self) -> None:
        self.names: dict[str, Node] = {}
        self._synced: dict[str, Node] = {}
        # What a name that was taken away is None for.
        self._changes: list[dict[str, Node | None]] = []

    def change(self, change: dict[str, "Node | None"]) -> None:
        self._changes.append(change)
        _apply(self.names, change)

    def sync(self) -> None:
        self._synced = dict(self.names)
        self._changes.clear()

    def options(self) -> list[Sequence[object]]:
        """Return what there is to choose from: each change is there or not."""
        return [(False, True)] * len(self._changes)

    def all_names(self) -> Iterator[tuple[str, "Node"]]:
        """Yield every name that may be there, the newest first; one may occur again."""
        yield from self.names.items()
        yield from self._synced.items()
        for change in self._changes:
            yield from ((name, node) for name, node in change.items() if node is not None)

    def chosen(self, choice: Sequence[object]) -> dict[str, "Node"]:
        names = dict(self._synced)
        for change, is_there in zip(self._changes, choice, strict=True):
            if is_there:
                _apply(names, change)
        return names


Node = StoredFile | StoredFolder

# What the disk holds: the content of files, None for folders, by their paths.
Tree = dict[str, bytes | None]


class PowerDisk(PosixDisk):
    """A disk below a root folder, which was synced with everything in it before."""

    def __init__(self, root: Path, *, on_sync: Callable[[], None]) -> None:
        """Call `on_sync` before each sync: until it succeeds, the most may be lost."""
        self.root = root
        self._on_sync = on_sync
        self._folder = StoredFolder()
        self._files: dict[int, StoredFile] = {}
        # What the tests set: the kind of the next sync that fails, and after how many calls that
        # change something the process dies.
        self.is_next_sync_failing = False
        self.calls_until_death: int | None = None
        self._take_over(root, self._folder)

    def _take_over(self, path: Path, folder: StoredFolder) -> None:
        for child in sorted(path.iterdir()):
            if child.is_dir():
                folder.names[child.name] = inner = StoredFolder()
                self._take_over(child, inner)
            else:
                folder.names[child.name] = stored = self._stored_file(child)
                stored.become(child.read_bytes())
                stored.sync()
        folder.sync()

    # The calls of the engine.

    def open(self, folder: Folder | None, name: str, flags: int) -> int:
        path = _path_of(folder, name)
        is_new = not path.exists() and flags & os.O_CREAT
        if is_new:
            self._live()
        file = super().open(folder, name, flags)
        if path.name == "lock":
            # It means nothing, whatever is in it.
            return file
        if is_new:
            self._folder_of(path).change({path.name: self._stored_file(path)})
        elif flags & os.O_TRUNC:
            self._files[os.fstat(file).st_ino].become(b"")
        return file

    def make_directory(self, folder: Folder | None, name: str) -> None:
        self._live()
        super().make_directory(folder, name)
        path = _path_of(folder, name)
        self._folder_of(path).change({path.name: StoredFolder()})

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        if self.calls_until_death == 1:
            # It dies in the middle of the write, which ends between two sectors then.
            size = (offset + len(data) // 2) // SECTOR_SIZE * SECTOR_SIZE - offset
            self._write(file, data[: max(0, size)], offset)
        self._live()
        return self._write(file, data, offset)

    def _write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        count = super().write(file, data, offset)
        stored = self._file(file)
        content = bytearray(stored.content.ljust(offset + count, b"\0"))
        content[offset : offset + count] = data[:count]
        stored.become(bytes(content))
        stored.touch(offset, count)
        return count

    def allocate(self, file: int, offset: int, size: int) -> None:
        self._live()
        super().allocate(file, offset, size)
        stored = self._file(file)
        stored.become(stored.content.ljust(offset + size, b"\0"))

    def truncate(self, file: int, size: int) -> None:
        self._live()
        super().truncate(file, size)
        stored = self._file(file)
        stored.become(stored.content[:size].ljust(size, b"\0"))

    def rename(self, folder: Folder, source: str, target: str) -> None:
        self._live()
        super().rename(folder, source, target)
        stored = self._folder_at(folder.path)
        stored.change({source: None, target: stored.names[source]})

    def remove_file(self, folder: Folder, name: str) -> None:
        self._live()
        super().remove_file(folder, name)
        self._folder_at(folder.path).change({name: None})

    def sync_data(self, file: int) -> None:
        self._before_sync()
        stored = self._file(file)
        if self._fails_now():
            stored.forget()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        stored.sync()

    def sync_directory(self, folder: Folder) -> None:
        self._before_sync()
        if self._fails_now():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if folder.path.is_relative_to(self.root):
            self._folder_at(folder.path).sync()

    # What may be on the disk now.

    def count_states(self, *, is_varied: Callable[[str], bool]) -> int:
        """Return how many choices there are for the files and folders that are to vary."""
        return prod(
            len(option)
            for path, node in self._nodes()
            if is_varied(path)
            for option in node.options()
        )

    def states(
        self, rng: random.Random, *, limit: int, is_varied: Callable[[str], bool]
    ) -> Iterator[Tree]:
        """Yield every state of what is to vary, or as many as the limit says, drawn at random.

        What is not to vary is as it was synced, as it is seen, or mixed, in turn.
        """
        nodes = list(self._nodes())
        varied = [(path, node) for path, node in nodes if is_varied(path)]
        others = [(path, node) for path, node in nodes if not is_varied(path)]
        options = [option for _, node in varied for option in node.options()]
        is_exhaustive = prod(map(len, options)) <= limit
        choices = (
            itertools.product(*options)
            if is_exhaustive
            else (tuple(map(rng.choice, options)) for _ in range(limit))
        )
        picks: tuple[Callable[[Sequence[object]], object], ...] = (
            lambda option: option[0],
            lambda option: option[-1],
            rng.choice,
        )
        for number, choice in enumerate(choices):
            pick = picks[number % len(picks)]
            rest = [pick(option) for _, node in others for option in node.options()]
            chosen = dict(_deal(varied, choice)) | dict(_deal(others, rest))
            tree: Tree = {}
            self._lay_out("", self._folder, chosen, tree)
            yield tree

    def _nodes(self) -> Iterator[tuple[str, Node]]:
        """Yield everything that is or was there since the last syncs, by its newest path."""
        seen: set[int] = set()

        def walk(path: str, folder: StoredFolder) -> Iterator[tuple[str, Node]]:
            yield path, folder
            for name, node in folder.all_names():
                if id(node) in seen:
                    continue
                seen.add(id(node))
                if isinstance(node, StoredFolder):
                    yield from walk(f"{path}/{name}", node)
                else:
                    yield f"{path}/{name}", node

        return walk("", self._folder)

    def _lay_out(
        self, path: str, folder: StoredFolder, chosen: dict[int, Sequence[object]], tree: Tree
    ) -> None:
        for name, node in folder.chosen(chosen[id(folder)]).items():
            child = f"{path}/{name}"
            if isinstance(node, StoredFolder):
                tree[child] = None
                self._lay_out(child, node, chosen, tree)
            else:
                tree[child] = node.chosen(chosen[id(node)])

    # Bookkeeping.

    def _before_sync(self) -> None:
        self._live()
        self._on_sync()

    def _live(self) -> None:
        if self.calls_until_death is not None:
            self.calls_until_death -= 1
            if self.calls_until_death <= 0:
                raise ProcessDiedError

    def _fails_now(self) -> bool:
        is_failing, self.is_next_sync_failing = self.is_next_sync_failing, False
        return is_failing

    def _file(self, file: int) -> StoredFile:
        return self._files[os.fstat(file).st_ino]

    def _stored_file(self, path: Path) -> StoredFile:
        is_small = path.parent.name == "index" and not path.suffix
        stored = StoredFile(INDEX_SECTOR_SIZE if is_small else SECTOR_SIZE)
        self._files[path.stat().st_ino] = stored
        return stored

    def _folder_of(self, path: Path) -> StoredFolder:
        return self._folder_at(path.parent)

    def _folder_at(self, path: Path) -> StoredFolder:
        folder = self._folder
        for name in path.relative_to(self.root).parts:
            node = folder.names[name]
            assert isinstance(node, StoredFolder)
            folder = node
        return folder


def _path_of(folder: Folder | None, name: str) -> Path:
    return Path(name) if folder is None else folder.path / name


def write_tree(tree: Tree, target: Path) -> None:
    """Make a state of the disk real."""
    target.mkdir()
    for path, content in tree.items():
        if content is None:
            (target / path.lstrip("/")).mkdir()
        else:
            (target / path.lstrip("/")).write_bytes(content)
    settle(target)


def _deal(
    nodes: Sequence[tuple[str, Node]], choice: Sequence[object]
) -> Iterator[tuple[int, Sequence[object]]]:
    """Give each node its part of a choice."""
    rest = iter(choice)
    for _, node in nodes:
        yield id(node), tuple(itertools.islice(rest, len(node.options())))


def _apply(names: dict[str, Node], change: dict[str, Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _distinct(versions: Sequence[bytes]) -> list[bytes]:
    return list(dict.fromkeys(versions))
