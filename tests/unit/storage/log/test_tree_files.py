"""The files of the tree: what is kept, what is believed of it, and what is made anew."""

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from everlog.domain.errors import DiskFullError, ReadFailedError
from everlog.domain.merkle import prove_consistency, prove_inclusion, root
from everlog.storage.log.disk import Folder, PosixDisk
from everlog.storage.log.tree_files import TreeFiles
from tests.support import merkle as reference

# Enough for nodes of three levels that are kept, none of them full.
HASHES = [f"{number:064x}" for number in range(1_000)]
LEAVES = [hash_.encode() for hash_ in HASHES]
LEAF_HASHES = [*map(reference.leaf_hash, LEAVES)]

FILES = ("level-00", "level-04", "level-08")


class FullDisk(PosixDisk):
    """A disk that takes so many writes, and then is full."""

    writes_left = 1 << 30

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        return super().write(file, data, offset)


Open = Callable[[], TreeFiles]


@pytest.fixture(name="disk")
def make_disk() -> FullDisk:
    return FullDisk()


@pytest.fixture(name="open_tree")
def make_open(tmp_path: Path, disk: FullDisk) -> Iterator[Open]:
    """Return a function that opens the tree of one data directory, as it is then."""
    with ExitStack() as resources:
        descriptor = disk.open(None, str(tmp_path), 0)
        folder = Folder(descriptor, tmp_path)

        def open_tree() -> TreeFiles:
            tree = TreeFiles.open(folder, disk, resources)
            tree.restore(find_hash)
            return tree

        yield open_tree


def find_hash(position: int) -> str | None:
    return HASHES[position] if position < len(HASHES) else None


def grow(tree: TreeFiles, size: int, *, step: int = 100) -> None:
    while tree.size < size:
        stop = min(tree.size + step, size)
        tree.append(LEAF_HASHES[tree.size : stop], HASHES[stop - 1])


def check(tree: TreeFiles, size: int) -> None:
    assert tree.size == size
    assert root(size, tree.hash_of) == reference.tree_root(LEAVES[:size])


@pytest.mark.parametrize("step", [1, 7, 16, 255, 1_000])
def test_a_tree_that_grew_in_steps_of_any_size_is_that_of_the_definition(
    open_tree: Open, step: int
) -> None:
    tree = open_tree()
    grow(tree, len(LEAVES), step=step)

    check(tree, len(LEAVES))
    for size in (1, 2, 255, 256, 257, 999):
        assert root(size, tree.hash_of) == reference.tree_root(LEAVES[:size])
    for position in (0, 1, 255, 256, 500, 998):
        expected = reference.inclusion_proof(position, LEAVES[:999])
        assert prove_inclusion(position, 999, tree.hash_of) == expected
    expected = reference.consistency_proof(300, LEAVES[:999])
    assert prove_consistency(300, 999, tree.hash_of) == expected


def test_tiles_are_neighbours_of_a_level(open_tree: Open) -> None:
    tree = open_tree()
    grow(tree, len(LEAVES))

    assert tree.read_nodes(0, 512, 256) == b"".join(LEAF_HASHES[512:768])
    above = [reference.tree_root(LEAVES[start : start + 256]) for start in (0, 256, 512)]
    assert tree.read_nodes(8, 0, 3) == b"".join(above)


def test_a_tree_takes_a_fifteenth_more_than_its_leaves(open_tree: Open, tmp_path: Path) -> None:
    grow(open_tree(), len(LEAVES))

    sizes = [(tmp_path / "tree" / name).stat().st_size for name in FILES]
    assert sizes == [32 * 1_000, 32 * (1_000 >> 4), 32 * (1_000 >> 8)]


def test_what_was_saved_is_found_again_and_grows(open_tree: Open) -> None:
    tree = open_tree()
    grow(tree, 700)
    tree.save()
    # What comes behind is not believed, and written again.
    grow(tree, 800)

    again = open_tree()
    check(again, 700)
    assert (again.saved_size, again.last_hash) == (700, HASHES[699])
    grow(again, len(LEAVES), step=13)
    check(again, len(LEAVES))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["flipped", "cut", "gone"])
def test_files_that_are_not_as_they_were_saved_are_made_anew(
    open_tree: Open, tmp_path: Path, name: str, change: str
) -> None:
    tree = open_tree()
    grow(tree, 1_000)
    tree.save()
    file = tmp_path / "tree" / name
    content = bytearray(file.read_bytes())
    if change == "flipped":
        content[-1] ^= 1
        file.write_bytes(content)
    elif change == "cut":
        file.write_bytes(content[:-1])
    else:
        file.unlink()

    again = open_tree()
    check(again, 0)
    grow(again, 1_000)
    check(again, 1_000)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}\n1\n", b"[\n", b"\xff\n", b'{"size":1,"hash":"","checksums":[]}\n0\n'],
)
def test_a_state_that_says_nothing_is_none(open_tree: Open, tmp_path: Path, content: bytes) -> None:
    tree = open_tree()
    grow(tree, 10)
    tree.save()
    (tmp_path / "tree" / "state.json").write_bytes(content)

    check(open_tree(), 0)


def test_a_tree_of_another_log_is_made_anew(open_tree: Open) -> None:
    tree = open_tree()
    others = [f"{number:064x}" for number in range(5_000, 5_100)]
    tree.append([*map(reference.leaf_hash, (each.encode() for each in others))], others[-1])
    tree.save()

    again = open_tree()
    grow(again, 100)
    check(again, 100)


def test_a_tree_of_a_longer_log_is_made_anew(open_tree: Open) -> None:
    tree = open_tree()
    grow(tree, 1_000)
    tree.append([reference.leaf_hash(b"more")], "more")
    tree.save()

    check(open_tree(), 0)


@pytest.mark.parametrize("writes", range(3))
def test_where_there_is_no_room_the_tree_is_as_it_was(
    open_tree: Open, disk: FullDisk, writes: int
) -> None:
    tree = open_tree()
    grow(tree, 500)
    disk.writes_left = writes
    with pytest.raises(DiskFullError):
        grow(tree, 1_000, step=500)
    check(tree, 500)

    disk.writes_left = 1_000
    grow(tree, 1_000)
    check(tree, 1_000)


def test_a_state_for_which_there_is_no_room_is_saved_later(open_tree: Open, disk: FullDisk) -> None:
    tree = open_tree()
    grow(tree, 500)
    tree.save()
    grow(tree, 1_000)
    disk.writes_left = 0
    with pytest.raises(DiskFullError):
        tree.save()
    check(open_tree(), 500)

    disk.writes_left = 1_000
    tree.save()
    check(open_tree(), 1_000)


def test_a_file_that_somebody_cut_is_told(open_tree: Open, tmp_path: Path) -> None:
    tree = open_tree()
    grow(tree, 1_000)
    (tmp_path / "tree" / "level-00").write_bytes(b"")

    with pytest.raises(ReadFailedError, match="shorter than it was"):
        tree.hash_of(0, 5)


def test_without_a_directory_nothing_stays(disk: FullDisk, tmp_path: Path) -> None:
    with ExitStack() as resources:
        tree = TreeFiles.open(None, disk, resources)
        tree.restore(find_hash)
        grow(tree, 1_000)
        tree.save()
        tree.replace("note", b"content")

        check(tree, 1_000)
        with pytest.raises(FileNotFoundError):
            tree.read("note")
    assert [*tmp_path.iterdir()] == []


def test_of_a_directory_that_cannot_be_written_to_only_small_files_are_read(
    open_tree: Open, disk: FullDisk, tmp_path: Path
) -> None:
    tree = open_tree()
    grow(tree, 100)
    tree.save()
    tree.replace("note", b"content")
    before = {path: path.read_bytes() for path in (tmp_path / "tree").iterdir()}

    with ExitStack() as resources:
        folder = Folder(disk.open(None, str(tmp_path), 0), tmp_path)
        other = TreeFiles.open(folder, disk, resources, is_writable=False)
        other.restore(find_hash)
        check(other, 0)
        grow(other, 1_000)
        other.save()
        other.replace("note", b"other")
        check(other, 1_000)
        assert other.read("note") == b"content"
    assert {path: path.read_bytes() for path in (tmp_path / "tree").iterdir()} == before


def test_small_files_are_kept_beside_it(open_tree: Open) -> None:
    tree = open_tree()
    with pytest.raises(FileNotFoundError):
        tree.read("note")
    tree.replace("note", b"content")

    assert open_tree().read("note") == b"content"
