"""The Merkle tree over the log: hashes, roots, proofs, and the tiles that mirrors fetch.

The tree is that of RFC 9162 section 2.1 (RFC 6962 section 2.1 has the same one) with SHA-256. Leaf
*n* is the `hash` of event *n*, as the API shows it, in UTF-8; it commits to the event.
Everything here asks for nodes through a `HashOf`, which knows full subtrees only: a node of level
*l* and index *i* is the root over the leaves from `i << l` up to before `(i + 1) << l`. Such a node
never changes. The right edge of a tree is computed from them.
What is left to others: where nodes are kept (`storage.log.tree_files`).
"""

import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

# Returns the hash of the full subtree of a level and an index.
HashOf = Callable[[int, int], bytes]

HASH_SIZE: Final = 32

# RFC 9162 section 2.1.1: what a leaf and a node begin with, so that neither passes for the other.
LEAF_PREFIX: Final = b"\0"
NODE_PREFIX: Final = b"\1"

EMPTY_ROOT: Final = sha256().digest()

# Of a tile (C2SP tlog-tiles): a full one has 256 hashes, and stands on those 8 levels below.
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
_TILE_LEVEL_MAX: Final = 63

_split_pairs = struct.Struct(f"{2 * HASH_SIZE}s").iter_unpack

_match_tile = re.compile(
    r"(?P<level>0|[1-9][0-9]?)"
    r"/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
).fullmatch


def hash_leaf(event_hash: str) -> bytes:
    """Return the hash of the leaf of an event with this hash."""
    return sha256(LEAF_PREFIX + event_hash.encode()).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node above two others."""
    return sha256(NODE_PREFIX + left + right).digest()


def hash_pairs(nodes: bytes) -> bytes:
    """Return the nodes above neighbours, which are joined, and an even number of them."""
    return b"".join([sha256(NODE_PREFIX + pair).digest() for (pair,) in _split_pairs(nodes)])


def root(size: int, hash_of: HashOf) -> bytes:
    """Return the root of the tree over the first leaves."""
    return _hash_range(0, size, hash_of) if size > 0 else EMPTY_ROOT


def prove_inclusion(position: int, size: int, hash_of: HashOf) -> list[bytes]:
    """Return the proof that the leaf at a position is in the tree of a size.

    Source: RFC 9162 section 2.1.3.1.
    """
    assert 0 <= position < size
    proof = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _largest_power_below(stop - start)
        if position < middle:
            proof.append(_hash_range(middle, stop, hash_of))
            stop = middle
        else:
            proof.append(_hash_range(start, middle, hash_of))
            start = middle
    proof.reverse()
    return proof


def prove_consistency(earlier: int, later: int, hash_of: HashOf) -> list[bytes]:
    """Return the proof that the tree of one size is the beginning of that of another one.

    It is empty where there is nothing to prove: from an empty tree, and between equal ones.
    Source: RFC 9162 section 2.1.4.1.
    """
    assert 0 <= earlier <= later
    if earlier in {0, later}:
        return []
    proof = []
    start, stop = 0, later
    while stop != earlier:
        middle = start + _largest_power_below(stop - start)
        if earlier <= middle:
            proof.append(_hash_range(middle, stop, hash_of))
            stop = middle
        else:
            proof.append(_hash_range(start, middle, hash_of))
            start = middle
    if start > 0:
        # The verifier does not know this subtree: it is not the whole earlier tree.
        proof.append(_hash_range(start, stop, hash_of))
    proof.reverse()
    return proof


@dataclass(frozen=True, slots=True)
class Tile:
    """Up to 256 neighbours of a level of the tree 8 times as high, from 256 times the index."""

    level: int
    index: int
    width: int

    @property
    def is_full(self) -> bool:
        """Whether it will never have more hashes."""
        return self.width == TILE_WIDTH

    @property
    def size(self) -> int:
        """How many leaves the tree needs to have it."""
        return (self.index * TILE_WIDTH + self.width) << (TILE_HEIGHT * self.level)


def parse_tile(path: str) -> Tile | None:
    """Return the tile that a path names, as in `0/x001/234` or `1/000.p/12`; None if it names none.

    Source: C2SP tlog-tiles, "Merkle Tree".
    """
    match = _match_tile(path)
    if match is None:
        return None
    groups = match["index"].split("/")
    # An index is written with as few digits as it takes.
    if len(groups) > 1 and groups[0] == "x000":
        return None
    level = int(match["level"])
    width = TILE_WIDTH if match["width"] is None else int(match["width"])
    if level > _TILE_LEVEL_MAX or (match["width"] is not None and width >= TILE_WIDTH):
        return None
    return Tile(level, int("".join(group.lstrip("x") for group in groups)), width)


def full_subtrees(size: int) -> Iterable[tuple[int, int]]:
    """Yield level and index of the full subtrees that a tree consists of, the largest first."""
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            yield level, start >> level
            start += 1 << level


def _hash_range(start: int, stop: int, hash_of: HashOf) -> bytes:
    """Return the root over leaves that begin where a subtree of their number does."""
    size = stop - start
    # From the right: the smallest subtrees are the deepest.
    subtrees = [hash_of(level, index + (start >> level)) for level, index in full_subtrees(size)]
    found = subtrees.pop()
    while subtrees:
        found = hash_node(subtrees.pop(), found)
    return found


def _largest_power_below(size: int) -> int:
    """Return the largest power of two that is smaller than a size of two at least."""
    return 1 << (size - 1).bit_length() - 1
