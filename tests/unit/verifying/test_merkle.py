"""Proofs are verified as the RFC says: the published vectors, and what no vector has."""

from base64 import b64decode
from typing import Any

import pytest

from everlog.verifying.errors import VerificationError
from everlog.verifying.merkle import (
    EMPTY_ROOT,
    GrowingRoot,
    check_consistency,
    check_inclusion,
    leaf_hash,
)
from tests.support.merkle import inclusion_proof, published_vectors, tree_root
from tests.support.merkle import leaf_hash as expected_leaf_hash

VECTORS = published_vectors()


def is_shown(vector: dict[str, Any]) -> bool:
    proof = [*map(b64decode, vector["proof"])]
    try:
        if vector["kind"] == "inclusion":
            leaf, root = b64decode(vector["leafHash"]), b64decode(vector["root"])
            check_inclusion(vector["index"], vector["size"], leaf, proof, root)
        else:
            roots = b64decode(vector["root1"]), b64decode(vector["root2"])
            check_consistency(vector["size1"], vector["size2"], *roots, proof)
    except VerificationError:
        return False
    return True


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_published_vectors_are_judged_as_they_are_meant(vector: dict[str, Any]) -> None:
    assert is_shown(vector) == (not vector["wantErr"])


def test_the_vectors_are_all_there() -> None:
    kinds = [(vector["kind"], vector["wantErr"]) for vector in VECTORS]

    assert [kinds.count(kind) for kind in sorted({*kinds})] == [7, 90, 6, 92]


def test_a_leaf_is_hashed_apart_from_nodes() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")

    assert left == expected_leaf_hash(b"a")
    # Who could show a node as a leaf would have a second log with the same root.
    assert leaf_hash(left + right) != tree_root([b"a", b"b"])


@pytest.mark.parametrize(
    "index, size, reason",
    [
        (-1, 3, "place -1 is not within a tree of 3 leaves"),
        (3, 3, "place 3 is not within"),
        (0, 0, "place 0 is not within"),
        # The proof of place 2 of 3 has one hash.
        (2, 5, "fewer hashes"),
        (0, 2**62, "fewer hashes"),
        (0, 1, "more hashes"),
        (1, 3, "fewer hashes"),
    ],
)
def test_the_length_of_a_proof_is_that_of_the_sizes(index: int, size: int, reason: str) -> None:
    leaves = [b"a", b"b", b"c"]
    proof, root = inclusion_proof(2, leaves), tree_root(leaves)
    check_inclusion(2, 3, leaf_hash(b"c"), proof, root)

    with pytest.raises(VerificationError, match=reason):
        check_inclusion(index, size, leaf_hash(b"c"), proof, root)


def test_a_proof_that_no_tree_has_is_refused_without_computing() -> None:
    with pytest.raises(VerificationError, match="more hashes"):
        check_inclusion(0, 2**63, bytes(32), [b""] * 1_000_000, b"")
    with pytest.raises(VerificationError, match="hash 1 of the proof has 31 bytes instead of 32"):
        check_consistency(1, 2, b"", b"", [bytes(32), bytes(31)])


def test_two_roots_of_one_size_are_told_as_such() -> None:
    with pytest.raises(VerificationError, match="two roots of the same 2 leaves"):
        check_consistency(2, 2, bytes(32), bytes(31) + b"1", [])


@pytest.mark.parametrize("count", [*range(18), 63, 64, 65, 100])
def test_a_root_grows_as_it_is_defined(count: int) -> None:
    leaves = [str(number).encode() for number in range(count)]
    growing = GrowingRoot()

    assert growing.root() == EMPTY_ROOT
    for number, leaf in enumerate(leaves, 1):
        growing.add(leaf)
        assert growing.root() == tree_root(leaves[:number])
    assert growing.size == count
