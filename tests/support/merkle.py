"""Merkle trees by their definition (RFC 9162, section 2.1), and what others publish about them.

The most obvious way, over all leaves anew for each question: the reference for the tree that the
product keeps, and for the verifier. It shares no code with either.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

_VECTORS: Final = Path(__file__).resolve().parents[1] / "fixtures" / "merkle-vectors.ndjson"


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Return MTH(leaves)."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = _split(len(leaves))
    return node_hash(tree_root(leaves[:split]), tree_root(leaves[split:]))


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return PATH(index, leaves), from the leaf up."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(index, leaves[:split]), tree_root(leaves[split:])]
    return [*inclusion_proof(index - split, leaves[split:]), tree_root(leaves[:split])]


def consistency_proof(size: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return PROOF(size, leaves), where 0 < size <= the number of leaves."""
    return _subproof(size, leaves, is_whole=True)


def _subproof(size: int, leaves: Sequence[bytes], *, is_whole: bool) -> list[bytes]:
    if size == len(leaves):
        return [] if is_whole else [tree_root(leaves)]
    split = _split(len(leaves))
    if size <= split:
        return [*_subproof(size, leaves[:split], is_whole=is_whole), tree_root(leaves[split:])]
    rest = _subproof(size - split, leaves[split:], is_whole=False)
    return [*rest, tree_root(leaves[:split])]


def _split(size: int) -> int:
    """Return the largest power of two below a size."""
    return 1 << ((size - 1).bit_length() - 1)


def published_vectors() -> list[dict[str, Any]]:
    """Return the cases of transparency-dev/merkle; hashes in them are in base64.

    Each has a name, a kind (inclusion: index, size, leafHash, root, proof; consistency: size1,
    size2, root1, root2, proof), and whether a verifier must say no (wantErr). The file's first
    line says where they are from.
    """
    lines = _VECTORS.read_text(encoding="ascii").splitlines()
    return [json.loads(line) for line in lines[1:]]
