"""Merkle trees as RFC 9162 has them, from the side of those who do not have the leaves.

A proof is a sequence of hashes of 32 bytes. Nothing is believed of it: its length has to be the one
that the sizes ask for, and roots have to come out of it.
What is left to others: where leaves, roots and proofs come from.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from everlog.verifying.errors import VerificationError

HASH_SIZE: Final = 32
# The root of a tree without leaves.
EMPTY_ROOT: Final = sha256().digest()

# That of a tree of 2^64 leaves.
_PROOF_LENGTH_MAX: Final = 64


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf (RFC 9162, section 2.1.1)."""
    return sha256(b"\x00" + leaf).digest()


def check_inclusion(
    index: int, size: int, hash_: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf is in its place of a tree (RFC 9162, section 2.1.3.2).

    `index` counts from 0, `size` is that of the tree, `hash_` is the leaf's.

    Raises:
        VerificationError: The proof does not show it.
    """
    if not 0 <= index < size:
        raise VerificationError(f"place {index} is not within a tree of {size} leaves")
    if len(hash_) != HASH_SIZE:
        raise VerificationError(f"the leaf's hash has {len(hash_)} bytes instead of {HASH_SIZE}")
    _check_hashes(proof)
    first, last = index, size - 1
    found = hash_
    for sibling in proof:
        if last == 0:
            raise VerificationError(_TOO_LONG)
        if first & 1 or first == last:
            found = _node_hash(sibling, found)
            while first & 1 == 0 and first != 0:
                first, last = first >> 1, last >> 1
        else:
            found = _node_hash(found, sibling)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise VerificationError(_TOO_SHORT)
    if found != root:
        raise VerificationError("the proof leads to another root")


def check_consistency(
    size: int, larger_size: int, root: bytes, larger_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that a tree only grew into a larger one (RFC 9162, section 2.1.4.2).

    Of two trees of the same size the roots have to be the same, and the proof empty.

    Raises:
        VerificationError: The proof does not show it; nothing shows it of an empty tree.
    """
    if size > larger_size:
        raise VerificationError(f"a tree of {size} leaves did not grow to {larger_size}")
    if size == larger_size:
        if proof:
            raise VerificationError(_TOO_LONG)
        if root != larger_root:
            raise VerificationError(f"there are two roots of the same {size} leaves")
        return
    if size == 0:
        raise VerificationError("an empty tree proves nothing about what followed")
    _check_hashes(proof)
    if not proof:
        raise VerificationError(_TOO_SHORT)
    # Of a tree that is perfect, the proof leaves out the root, since the verifier has it.
    is_perfect = size & (size - 1) == 0
    path = [root, *proof] if is_perfect else proof
    found, larger_found = _fold(size, larger_size, path)
    if found != root:
        raise VerificationError(f"the proof leads to another root of the first {size} leaves")
    if larger_found != larger_root:
        raise VerificationError(f"the proof leads to another root of {larger_size} leaves")


def _fold(size: int, larger_size: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the roots that a path of a consistency proof leads to."""
    first, last = size - 1, larger_size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    found = larger_found = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise VerificationError(_TOO_LONG)
        if first & 1 or first == last:
            found = _node_hash(sibling, found)
            larger_found = _node_hash(sibling, larger_found)
            while first & 1 == 0 and first != 0:
                first, last = first >> 1, last >> 1
        else:
            larger_found = _node_hash(larger_found, sibling)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise VerificationError(_TOO_SHORT)
    return found, larger_found


_TOO_LONG: Final = "the proof has more hashes than trees of these sizes ask for"
_TOO_SHORT: Final = "the proof has fewer hashes than trees of these sizes ask for"


def _check_hashes(proof: Sequence[bytes]) -> None:
    if len(proof) > _PROOF_LENGTH_MAX:
        raise VerificationError(_TOO_LONG)
    for number, hash_ in enumerate(proof):
        if len(hash_) != HASH_SIZE:
            message = f"hash {number} of the proof has {len(hash_)} bytes instead of {HASH_SIZE}"
            raise VerificationError(message)


def _node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class GrowingRoot:
    """The root of leaves that come one after the other, in the memory of one path."""

    def __init__(self) -> None:
        """Begin without a leaf."""
        self.size = 0
        # The roots of the perfect trees that the leaves so far make, the largest first.
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Take the next leaf."""
        peak = leaf_hash(leaf)
        # As many trees are completed as the number of leaves so far ends with ones.
        completed = self.size
        while completed & 1:
            peak = _node_hash(self._peaks.pop(), peak)
            completed >>= 1
        self._peaks.append(peak)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = _node_hash(peak, root)
        return root
