"""For trees of any size: a proof is believed if it is the one of its definition, and else not."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.verifying.errors import VerificationError
from everlog.verifying.merkle import GrowingRoot, check_consistency, check_inclusion, leaf_hash
from tests.support.merkle import consistency_proof, inclusion_proof, tree_root

trees = st.lists(st.binary(max_size=3), min_size=1, max_size=70)
hashes = st.binary(min_size=32, max_size=32)


def altered(draw: st.DrawFn, proof: Sequence[bytes]) -> list[bytes]:
    """Return another proof: a hash less, a hash more, another one, or others in their order."""
    found = [*proof]
    place = draw(st.integers(0, len(proof)))
    match draw(st.sampled_from(["insert", "remove", "exchange", "flip", "move"])):
        case "insert":
            found.insert(place, draw(hashes | st.sampled_from(found or [bytes(32)])))
        case "remove":
            del found[place:]
        case "exchange" if place < len(found):
            found[place] = draw(hashes)
        case "flip" if place < len(found):
            found[place] = (
                bytes([found[place][0] ^ 1 << draw(st.integers(0, 7))]) + found[place][1:]
            )
        case _:
            found.reverse()
    return found


@given(st.data())
def test_an_inclusion_proof_is_believed_for_its_leaf_place_and_size_only(
    data: st.DataObject,
) -> None:
    leaves = data.draw(trees)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, root = inclusion_proof(index, leaves), tree_root(leaves)
    leaf = leaf_hash(leaves[index])

    check_inclusion(index, len(leaves), leaf, proof, root)

    other_proof = altered(data.draw, proof)
    other_index = data.draw(st.integers(0, 2 * len(leaves)))
    other_size = data.draw(st.integers(1, 4 * len(leaves)))
    other_leaf = leaf_hash(data.draw(st.binary(max_size=3)))
    cases = [
        (index, len(leaves), leaf, other_proof),
        (other_index, len(leaves), leaf, proof),
        (index, other_size, leaf, proof),
        (index, len(leaves), other_leaf, proof),
    ]
    for case in cases:
        if is_true(case, leaves, index, proof):
            continue
        with pytest.raises(VerificationError):
            check_inclusion(*case, root)


def is_true(
    case: tuple[int, int, bytes, Sequence[bytes]],
    leaves: Sequence[bytes],
    index: int,
    proof: Sequence[bytes],
) -> bool:
    """Tell whether an altered case says nothing wrong, or what the proof cannot tell apart."""
    other_index, size, leaf, hashes_ = case
    if (other_index, leaf, [*hashes_]) != (index, leaf_hash(leaves[index]), [*proof]):
        is_within = other_index < len(leaves) and leaf == leaf_hash(leaves[other_index])
        return is_within and [*hashes_] == inclusion_proof(other_index, leaves)
    # Trees of other sizes have this path too: the size is signed together with the root.
    return has_same_path(index, size, len(leaves))


def has_same_path(index: int, size: int, other_size: int) -> bool:
    return index < size and turns(index, size) == turns(index, other_size)


def turns(index: int, size: int) -> list[bool]:
    """Return on which sides the siblings of a leaf stand, from the leaf up."""
    if size == 1:
        return []
    split = 1 << ((size - 1).bit_length() - 1)
    if index < split:
        return [*turns(index, split), False]
    return [*turns(index - split, size - split), True]


@given(st.data())
def test_a_consistency_proof_is_believed_for_its_trees_only(data: st.DataObject) -> None:
    leaves = data.draw(trees)
    size = data.draw(st.integers(1, len(leaves)))
    root, larger_root = tree_root(leaves[:size]), tree_root(leaves)
    proof = consistency_proof(size, leaves)

    check_consistency(size, len(leaves), root, larger_root, proof)

    other_proof = altered(data.draw, proof)
    other_root = data.draw(hashes)
    cases = [
        (root, larger_root, other_proof),
        (other_root, larger_root, proof),
        (root, other_root, proof),
    ]
    for case in cases:
        if case != (root, larger_root, proof):
            with pytest.raises(VerificationError):
                check_consistency(size, len(leaves), *case)


@given(trees, trees, st.data())
def test_no_proof_leads_from_one_history_to_another(
    leaves: list[bytes], others: list[bytes], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(leaves)))
    if leaves[:size] == others[:size]:
        return
    # Whatever of both trees the forger takes.
    forged = data.draw(
        st.sampled_from([consistency_proof(size, leaves), inclusion_proof(size - 1, leaves), []])
    )

    with pytest.raises(VerificationError):
        check_consistency(size, len(leaves), tree_root(others[:size]), tree_root(leaves), forged)


@given(trees)
def test_a_root_grows_as_it_is_defined(leaves: list[bytes]) -> None:
    growing = GrowingRoot()
    for leaf in leaves:
        growing.add(leaf)

    assert growing.root() == tree_root(leaves)
