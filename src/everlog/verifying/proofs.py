"""Proofs as a server hands them out, in JSON.

    {"event":"<ID>","hash":"<hash>","size":<size>,"root":"<base64>","proof":["<base64>",...]}
    {"from":<size>,"to":<size>,"fromRoot":"<base64>","toRoot":"<base64>","proof":[...]}

What is left to others: whether a proof shows anything.
"""

import json
from dataclasses import dataclass
from typing import Final

from everlog.verifying.checkpoints import read_hash
from everlog.verifying.errors import VerificationError

# A proof has 64 hashes at most.
PROOF_SIZE_MAX: Final = 64 * 1024


@dataclass(frozen=True)
class InclusionProof:
    """That an event is in its place of the log at one size."""

    event_id: str
    hash: str
    size: int
    root: bytes
    hashes: tuple[bytes, ...]

    @classmethod
    def parse(cls, content: bytes) -> "InclusionProof":
        """Read the answer of inclusion-proof.

        Raises:
            VerificationError: It is none; the message names the member.
        """
        answer = _Answer(content, "inclusion proof")
        return cls(
            event_id=answer.text("event"),
            hash=answer.text("hash"),
            size=answer.size("size"),
            root=answer.hash("root"),
            hashes=answer.hashes("proof"),
        )


@dataclass(frozen=True)
class ConsistencyProof:
    """That the log at one size is the beginning of the log at a larger one."""

    from_size: int
    to_size: int
    from_root: bytes
    to_root: bytes
    hashes: tuple[bytes, ...]

    @classmethod
    def parse(cls, content: bytes) -> "ConsistencyProof":
        """Read the answer of consistency-proof.

        Raises:
            VerificationError: It is none; the message names the member.
        """
        answer = _Answer(content, "consistency proof")
        return cls(
            from_size=answer.size("from"),
            to_size=answer.size("to"),
            from_root=answer.hash("fromRoot"),
            to_root=answer.hash("toRoot"),
            hashes=answer.hashes("proof"),
        )


class _Answer:
    """The members of an answer, each read as what it has to be."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._kind = kind
        if len(content) > PROOF_SIZE_MAX:
            raise self._refusal(f"it is larger than {PROOF_SIZE_MAX} bytes")
        try:
            members = json.loads(content, object_pairs_hook=_without_repetition)
        except (ValueError, RecursionError) as error:
            raise self._refusal(str(error)) from error
        if not isinstance(members, dict):
            raise self._refusal("it is no JSON object")
        self._members: dict[str, object] = members
        if members.get("type") == "error":
            # What a server says instead of a proof, with a status of success.
            data = members.get("data")
            reason = data.get("description") if isinstance(data, dict) else None
            raise self._refusal(f"the server answered with an error: {reason or 'it says no more'}")

    def text(self, name: str) -> str:
        value = self._member(name)
        if not isinstance(value, str):
            raise self._refusal(f"the member {name!r} is no string")
        return value

    def size(self, name: str) -> int:
        value = self._member(name)
        # In Python, true is a number.
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise self._refusal(f"the member {name!r} is no size")
        return value

    def hash(self, name: str) -> bytes:
        return read_hash(self.text(name), f"the member {name!r}")

    def hashes(self, name: str) -> tuple[bytes, ...]:
        value = self._member(name)
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self._refusal(f"the member {name!r} is no array of strings")
        return tuple(
            read_hash(text, f"hash {number} of the proof") for number, text in enumerate(value)
        )

    def _member(self, name: str) -> object:
        if name not in self._members:
            raise self._refusal(f"it has no member {name!r}")
        return self._members[name]

    def _refusal(self, reason: str) -> VerificationError:
        return VerificationError(f"it is no {self._kind}: {reason}")


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        message = "a member is there twice"
        raise ValueError(message)
    return members
