"""Answers that are no proofs are refused with the member that says so."""

import json
from typing import Any

import pytest

from everlog.verifying.errors import VerificationError
from everlog.verifying.proofs import PROOF_SIZE_MAX, ConsistencyProof, InclusionProof
from tests.support.provable_log import ProvableLog

LOG = ProvableLog.of(7)
INCLUSION = LOG.inclusion_proof(3)
CONSISTENCY = LOG.consistency_proof(3)


def test_proofs_are_read() -> None:
    inclusion = InclusionProof.parse(json.dumps(INCLUSION).encode())
    consistency = ConsistencyProof.parse(json.dumps(CONSISTENCY | {"more": 1}).encode())

    assert (inclusion.event_id, inclusion.hash, inclusion.size) == ("3", LOG.hashes[3], 7)
    assert (consistency.from_size, consistency.to_size) == (3, 7)
    assert (consistency.from_root, consistency.to_root) == (LOG.root(3), LOG.root(7))
    assert len(inclusion.hashes) == 3


@pytest.mark.parametrize(
    "change, reason",
    [
        *[({name: None}, f"the member '{name}'") for name in INCLUSION],
        *[
            ({"size": size}, "the member 'size' is no size")
            for size in (-1, True, "7", 7.0, 1 << 63)
        ],
        ({"root": INCLUSION["root"][:-4]}, "'root' is not the base64 of 32 bytes"),
        ({"proof": {}}, "the member 'proof' is no array of strings"),
        ({"proof": [7]}, "the member 'proof' is no array of strings"),
        ({"proof": [INCLUSION["root"], "AAAA"]}, "hash 1 of the proof is not the base64"),
    ],
)
def test_a_member_that_is_not_what_it_has_to_be_is_named(
    change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(VerificationError, match=reason):
        InclusionProof.parse(json.dumps(INCLUSION | change).encode())


@pytest.mark.parametrize("name", CONSISTENCY)
def test_a_member_that_is_missing_is_named(name: str) -> None:
    rest = {other: value for other, value in CONSISTENCY.items() if other != name}

    with pytest.raises(VerificationError, match=f"no consistency proof: it has no member '{name}'"):
        ConsistencyProof.parse(json.dumps(rest).encode())


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "it is no inclusion proof: Expecting value"),
        (b"[]", "it is no inclusion proof: it is no JSON object"),
        (
            b'{"type":"error","data":{"code":"","description":"no tree of 9"}}',
            "the server answered with an error: no tree of 9",
        ),
        (b'{"type":"error","data":7}', "with an error: it says no more"),
        (b'{"size":1,"size":2}', "a member is there twice"),
        (b"[" * (PROOF_SIZE_MAX - 1), "it is no inclusion proof"),
        (b'{"size":' + b"9" * 5_000 + b"}", "it is no inclusion proof"),
        (b'"\xff"', "it is no inclusion proof"),
        (b" " * (PROOF_SIZE_MAX + 1), "larger than 65536 bytes"),
    ],
    ids=range(9),
)
def test_what_is_no_answer_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        InclusionProof.parse(content)
