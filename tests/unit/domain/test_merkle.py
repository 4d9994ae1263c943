"""Roots, proofs and tiles, against the definition of the tree and published vectors."""

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import pytest

from everlog.domain.merkle import (
    EMPTY_ROOT,
    Tile,
    full_subtrees,
    hash_leaf,
    hash_pairs,
    parse_tile,
    prove_consistency,
    prove_inclusion,
    root,
)
from tests.support import merkle as reference

HASHES = [f"{number:064x}" for number in range(70)]
LEAVES = [hash_.encode() for hash_ in HASHES]

VECTORS = [vector for vector in reference.published_vectors() if not vector["wantErr"]]


class KnownNodes:
    """The full subtrees over some leaves; asking for another one is a mistake."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = leaves

    def __call__(self, level: int, index: int) -> bytes:
        start, stop = index << level, (index + 1) << level
        assert stop <= len(self.leaves)
        return reference.tree_root(self.leaves[start:stop])


@pytest.mark.parametrize("size", range(len(LEAVES) + 1))
def test_a_root_is_that_of_the_definition(size: int) -> None:
    assert root(size, KnownNodes(LEAVES[:size])) == reference.tree_root(LEAVES[:size])


@pytest.mark.parametrize("size", range(1, len(LEAVES) + 1))
def test_every_inclusion_proof_is_that_of_the_definition(size: int) -> None:
    nodes = KnownNodes(LEAVES[:size])
    for position in range(size):
        expected = reference.inclusion_proof(position, LEAVES[:size])
        assert prove_inclusion(position, size, nodes) == expected


@pytest.mark.parametrize("later", range(1, len(LEAVES) + 1))
def test_every_consistency_proof_is_that_of_the_definition(later: int) -> None:
    nodes = KnownNodes(LEAVES[:later])
    assert prove_consistency(0, later, nodes) == []
    for earlier in range(1, later + 1):
        expected = reference.consistency_proof(earlier, LEAVES[:later])
        assert prove_consistency(earlier, later, nodes) == expected


# Eight leaves, of which the published proofs are: transparency-dev/merkle, testonly/constants.go.
PUBLISHED_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]


def published(kind: str) -> list[dict[str, Any]]:
    """Return the valid vectors that are of those leaves."""
    roots = {reference.tree_root(PUBLISHED_LEAVES[:size]): size for size in range(1, 9)}
    name = "root" if kind == "inclusion" else "root2"
    return [
        vector for vector in VECTORS if vector["kind"] == kind and b64decode(vector[name]) in roots
    ]


@pytest.mark.parametrize("vector", published("inclusion"), ids=lambda vector: vector["name"])
def test_published_inclusion_proofs_are_the_ones_we_make(vector: dict[str, Any]) -> None:
    nodes = KnownNodes(PUBLISHED_LEAVES[: vector["size"]])
    proof = prove_inclusion(vector["index"], vector["size"], nodes)

    assert proof == [*map(b64decode, vector["proof"])]
    assert root(vector["size"], nodes) == b64decode(vector["root"])


@pytest.mark.parametrize("vector", published("consistency"), ids=lambda vector: vector["name"])
def test_published_consistency_proofs_are_the_ones_we_make(vector: dict[str, Any]) -> None:
    nodes = KnownNodes(PUBLISHED_LEAVES[: vector["size2"]])
    proof = prove_consistency(vector["size1"], vector["size2"], nodes)

    assert proof == [*map(b64decode, vector["proof"])]
    assert root(vector["size1"], nodes) == b64decode(vector["root1"])


def test_there_are_published_proofs_of_both_kinds() -> None:
    assert len(published("inclusion")) >= 4
    assert len(published("consistency")) >= 3


def test_the_leaf_of_an_event_is_its_hash_as_the_api_shows_it() -> None:
    hash_ = "esdb:hash:v2:" + "ab" * 32

    assert hash_leaf(hash_) == reference.leaf_hash(hash_.encode())
    assert reference.tree_root([]) == EMPTY_ROOT


def test_pairs_become_the_nodes_above_them() -> None:
    nodes = [reference.leaf_hash(leaf) for leaf in LEAVES[:4]]

    expected = reference.node_hash(*nodes[:2]) + reference.node_hash(*nodes[2:])
    assert hash_pairs(b"".join(nodes)) == expected
    assert hash_pairs(b"") == b""


def test_a_tree_consists_of_full_subtrees_the_largest_first() -> None:
    assert [*full_subtrees(0)] == []
    assert [*full_subtrees(13)] == [(3, 0), (2, 2), (0, 12)]


@pytest.mark.parametrize(
    "path, tile, size",
    [
        ("0/000", Tile(0, 0, 256), 256),
        ("0/000.p/1", Tile(0, 0, 1), 1),
        ("0/x001/234.p/255", Tile(0, 1234, 255), 1234 * 256 + 255),
        ("1/000", Tile(1, 0, 256), 65_536),
        ("2/x001/x234/067", Tile(2, 1_234_067, 256), 1_234_068 << 24),
        ("63/000.p/1", Tile(63, 0, 1), 1 << 504),
    ],
)
def test_a_tile_is_named_as_c2sp_says(path: str, tile: Tile, size: int) -> None:
    assert parse_tile(path) == tile
    assert tile.size == size
    assert tile.is_full == (".p/" not in path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "0",
        "0/",
        "0/0",
        "0/1234",
        "00/000",
        "64/000",
        "-1/000",
        "0/x001",
        "0/001/234",
        "0/x000/001",
        "0/x1/234",
        "0/000.p/0",
        "0/000.p/01",
        "0/000.p/256",
        "0/000.p/",
        "0/000/",
        "0/000\n",
        "entries/000",
        "0/00\u0661",
    ],
)
def test_what_is_no_name_of_a_tile_names_none(path: str) -> None:
    assert parse_tile(path) is None
