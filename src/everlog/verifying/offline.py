"""What is shown by a checkpoint, by an event with its proof, and by two checkpoints.

Nothing is shown but by a signature of a key that the caller trusts: each function either returns
what was shown, or raises the reason why it was not.
What is left to others: where files and keys come from, and saying it to a person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from everlog.verifying.checkpoints import Checkpoint
from everlog.verifying.errors import VerificationError
from everlog.verifying.events import Event
from everlog.verifying.merkle import check_consistency, check_inclusion, leaf_hash
from everlog.verifying.notes import KeyType, SignedNote, VerifierKey
from everlog.verifying.proofs import ConsistencyProof, InclusionProof


class Trust(NamedTuple):
    """Whom to believe: a key of the log, and so many of the witnesses."""

    # Any one of them will do; the log is called as they are.
    keys: Sequence[VerifierKey]
    witnesses: Sequence[VerifierKey] = ()
    witnesses_required: int = 0

    def check(self) -> None:
        """Check that the keys can be what they are given for.

        Raises:
            VerificationError: A key is of another type, or witnesses are not different ones.
        """
        for key in self.keys:
            if key.type is KeyType.COSIGNATURE:
                raise VerificationError(f"{key} is the key of a witness, not of a log")
        for key in self.witnesses:
            if not key.type.has_time:
                raise VerificationError(f"{key} is the key of a log, not of a witness")
            if key.name in {own.name for own in self.keys}:
                raise VerificationError(f"{key} has the name of the log, which is no witness")
        publics = [key.public for key in self.witnesses]
        if len({*publics}) < len(publics):
            raise VerificationError("two witnesses have the same key, and are one")
        if self.witnesses_required > len(self.witnesses):
            message = f"{self.witnesses_required} witnesses are required, but keys given of "
            raise VerificationError(f"{message}{len(self.witnesses)}")


class Signature(NamedTuple):
    """A signature that was verified."""

    key: VerifierKey
    # In seconds since 1970; None where the signature does not say it.
    time: int | None


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint, and whose signatures of it were verified."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]
    cosignatures: tuple[Signature, ...] = ()


def check_checkpoint(content: bytes, trust: Trust) -> SignedCheckpoint:
    """Verify the signatures of a checkpoint.

    A key of the log has to have signed, and as many witnesses as are required; no signature of a
    key that is known may be wrong.

    Raises:
        VerificationError: It is no checkpoint, of another log, or not signed as it has to be.
    """
    note = SignedNote.parse(content)
    checkpoint = Checkpoint.parse(note.text)
    keys = [key for key in trust.keys if key.name == checkpoint.origin]
    if not keys:
        names = " or ".join(sorted({repr(key.name) for key in trust.keys}))
        message = f"it is of the log {checkpoint.origin!r}, and not of {names}"
        raise VerificationError(message)
    signatures = _signatures(note, keys)
    if not signatures:
        raise VerificationError(f"it is not signed by {_names(keys)}, but by {_signers(note)}")
    cosignatures = _signatures(note, trust.witnesses)
    if len(cosignatures) < trust.witnesses_required:
        message = f"{len(cosignatures)} of the witnesses cosigned it, and not "
        raise VerificationError(f"{message}{trust.witnesses_required}: {_signers(note)}")
    return SignedCheckpoint(checkpoint, signatures, cosignatures)


def read_unsigned(content: bytes) -> Checkpoint:
    """Return a checkpoint that nobody knows the signer of.

    Raises:
        VerificationError: It is no checkpoint.
    """
    return Checkpoint.parse(SignedNote.parse(content).text)


def check_event(event: Event, proof: InclusionProof, checkpoint: Checkpoint) -> None:
    """Check that an event is in its place of the log that a checkpoint is of.

    Raises:
        VerificationError: The proof does not show it.
    """
    if (proof.event_id, proof.hash) != (event.id, event.hash):
        message = f"it is about the event {proof.event_id!r} with the hash {proof.hash!r}, "
        raise VerificationError(f"{message}and not about {event.id!r} with {event.hash!r}")
    _check_head(proof.size, proof.root, checkpoint, "the checkpoint")
    leaf = leaf_hash(event.hash.encode())
    check_inclusion(event.position, checkpoint.size, leaf, proof.hashes, checkpoint.root)


def check_order(earlier: Checkpoint, later: Checkpoint) -> None:
    """Check what two checkpoints show without a proof.

    Raises:
        VerificationError: They are not of one log, or the log has become shorter or another one.
    """
    if earlier.origin != later.origin:
        message = f"the checkpoints are of two logs, {earlier.origin!r} and {later.origin!r}"
        raise VerificationError(message)
    if earlier.size > later.size:
        message = f"the log has become shorter, from {earlier.size} events to {later.size}"
        raise VerificationError(f"{message}, unless the checkpoints were exchanged")
    if earlier.size == later.size and earlier.root != later.root:
        message = f"the log has shown two histories of {later.size} events, and signed both"
        raise VerificationError(f"{message}: keep both checkpoints, they prove it")


def check_growth(earlier: Checkpoint, later: Checkpoint, proof: ConsistencyProof | None) -> None:
    """Check that the log of one checkpoint is the beginning of that of another.

    Nothing needs to be proven of two checkpoints of the same size, whose roots are the same or not,
    nor of an empty log, which any log continues.

    Raises:
        VerificationError: It is not shown.
    """
    check_order(earlier, later)
    if proof is None and 0 < earlier.size < later.size:
        raise VerificationError("it takes a proof to show that the log only grew")
    if proof is not None:
        _check_head(proof.from_size, proof.from_root, earlier, "the earlier checkpoint")
        _check_head(proof.to_size, proof.to_root, later, "the later checkpoint")
    hashes = () if proof is None else proof.hashes
    if earlier.size == 0 and not hashes:
        return
    check_consistency(earlier.size, later.size, earlier.root, later.root, hashes)


def _check_head(size: int, root: bytes, checkpoint: Checkpoint, name: str) -> None:
    if size != checkpoint.size:
        message = f"it is for {size} events, and {name} has {checkpoint.size}"
        raise VerificationError(message)
    if root != checkpoint.root:
        raise VerificationError(f"it has another root of {size} events than {name}")


def _signatures(note: SignedNote, keys: Sequence[VerifierKey]) -> tuple[Signature, ...]:
    """Return one signature of each key that signed, after verifying all of them."""
    found = [(key, [*note.by(key)]) for key in dict.fromkeys(keys)]
    # Zero is what cosigners say that do not say when.
    return tuple(Signature(key, times[0] or None) for key, times in found if times)


def _names(keys: Sequence[VerifierKey]) -> str:
    return " or ".join(map(str, keys))


def _signers(note: SignedNote) -> str:
    """Return who is said to have signed, a few of them."""
    shown = [*dict.fromkeys(map(str, note.signatures))]
    return ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")
