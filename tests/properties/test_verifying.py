"""Whatever the verifier is given, it shows what is so, or says why not, and does nothing else."""

import json
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from everlog.domain.chain import HashVersion
from everlog.domain.event import accept_event
from everlog.verifying.checkpoints import Checkpoint
from everlog.verifying.errors import VerificationError
from everlog.verifying.events import find_event
from everlog.verifying.notes import SignedNote, VerifierKey
from everlog.verifying.offline import Trust, check_checkpoint
from everlog.verifying.proofs import ConsistencyProof, InclusionProof
from tests.properties.test_chain import candidates
from tests.support.provable_log import ProvableLog
from tests.support.signed_notes import COSIGNATURE, NoteKey

LOG = ProvableLog.of(5)
WITNESS = NoteKey("w.example/1", COSIGNATURE)
NOTE = LOG.checkpoint(witnesses=[WITNESS], time=7)
TRUST = Trust(
    [VerifierKey.parse(LOG.key.verifier_key)], [VerifierKey.parse(WITNESS.verifier_key)], 1
)
INPUTS = [
    NOTE,
    LOG.key.verifier_key.encode(),
    json.dumps(LOG.inclusion_proof(3)).encode(),
    json.dumps(LOG.consistency_proof(3)).encode(),
    LOG.events[3].encode(),
    f'{{"type":"event","payload":{LOG.events[3]}}}\n'.encode() * 2,
]


@st.composite
def altered(draw: st.DrawFn, content: bytes) -> bytes:
    """Return a text with some bytes of it removed, doubled, moved or exchanged."""
    for _ in range(draw(st.integers(1, 3))):
        start, stop = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        piece = draw(
            st.sampled_from([b"", content[start:stop] * 2, content[:start], b"\n", b'"', b"\xff"])
            | st.binary(max_size=4)
        )
        content = content[:start] + piece + content[stop:]
    return content


READERS: tuple[Callable[[bytes], Any], ...] = (
    SignedNote.parse,
    InclusionProof.parse,
    ConsistencyProof.parse,
    lambda content: find_event(BytesIO(content), "3"),
    lambda content: VerifierKey.parse(content.decode(errors="replace")),
    lambda content: Checkpoint.parse(content.decode(errors="replace")),
    lambda content: check_checkpoint(content, TRUST),
)


@given(st.binary() | st.sampled_from(INPUTS).flatmap(altered))
@example(b"[" * 60_000)
@example(b'{"id":' + b"1" * 10_000)
@example(b'{"specversion":"1.0","data":' + b"[" * 60_000)
@example("\u2028\u2014".encode())
def test_nothing_but_a_reason_is_raised(content: bytes) -> None:
    for read in READERS:
        with suppress(VerificationError):
            read(content)


@given(altered(NOTE))
def test_no_other_text_is_signed(content: bytes) -> None:
    """Signatures of strangers may come and go; whatever is believed was signed."""
    with suppress(VerificationError):
        signed = check_checkpoint(content, TRUST)
        assert signed.checkpoint == Checkpoint(LOG.key.name, 5, LOG.root(5))
        assert [time for _, time in signed.cosignatures] == [7]


@given(altered(LOG.events[3].encode()))
def test_no_other_event_has_the_hash(content: bytes) -> None:
    with suppress(VerificationError):
        found = find_event(BytesIO(content), "3")
        if found.hash == LOG.hashes[3]:
            members = json.loads(content)
            members.pop("signature", None)
            expected = json.loads(LOG.events[3])
            expected.pop("signature")
            assert {name: value for name, value in members.items() if value is not None} == expected


@given(candidates(), st.integers(0, 2**62), st.sampled_from(HashVersion))
def test_whatever_the_writer_accepts_verifies(
    candidate: Any, position: int, version: HashVersion
) -> None:
    """The two share no code, and agree about every event."""
    event = accept_event(
        candidate,
        position=position,
        time="2026-11-30T12:00:00.1Z",
        predecessor_hash="0" * 64,
        hash_version=version,
    )

    found = find_event(BytesIO(event.json), str(position))

    assert (found.hash, found.position, found.hash_version) == (event.hash, position, version)
