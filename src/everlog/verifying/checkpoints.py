"""Checkpoints (c2sp.org/tlog-checkpoint): what the text of a note says about a log.

    <origin>
    <size>
    <root hash in base64>
    <extension lines, which nobody has to understand>

What is left to others: the signatures below the text.
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

from everlog.verifying.errors import VerificationError
from everlog.verifying.merkle import EMPTY_ROOT, HASH_SIZE

# Below 2^64, and without leading zeros.
_match_size = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII).fullmatch


@dataclass(frozen=True)
class Checkpoint:
    """A log at one size."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read the text of a note, with its last line feed.

        Raises:
            VerificationError: It is no checkpoint.
        """
        lines = text.split("\n")
        if lines.pop() or len(lines) < 3:
            raise VerificationError("it is no checkpoint: the text has fewer than three lines")
        for number, line in enumerate(lines, 1):
            if not line:
                raise VerificationError(f"line {number} of the checkpoint is empty")
        origin, size, root, *extensions = lines
        if _match_size(size) is None:
            message = "line 2 of the checkpoint is no size: decimal, without leading zeros"
            raise VerificationError(message)
        found = cls(origin, int(size), read_hash(root, "line 3 of the checkpoint"), (*extensions,))
        if found.size == 0 and found.root != EMPTY_ROOT:
            raise VerificationError("the checkpoint is of an empty log and has another root")
        return found


def read_hash(text: str, place: str) -> bytes:
    """Return the hash that is written in base64.

    Raises:
        VerificationError: It is none; the message names the place.
    """
    content = read_encoded(text)
    if content is None or len(content) != HASH_SIZE:
        raise VerificationError(f"{place} is not the base64 of {HASH_SIZE} bytes")
    return content


def encoded(content: bytes) -> str:
    """Return bytes in base64."""
    return b64encode(content).decode()


def read_encoded(text: str) -> bytes | None:
    """Return what is written in base64, None if that is not the one way to write something."""
    try:
        content = b64decode(text, validate=True)
    except ValueError:
        return None
    return content if encoded(content) == text else None
