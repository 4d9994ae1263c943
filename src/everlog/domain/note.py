"""Signed notes (C2SP signed-note): their text, their lines of signatures, and who made those.

A note is a text, an empty line, and lines that each name a key and hold its signature. A key is
known by its verifier key, which says its name and of what type its signatures are.
What is left to others: whether a signature is right, which is a question of cryptography
(`domain.checkpoint`).
"""

import re
from base64 import b64decode, b64encode
from enum import IntEnum
from hashlib import sha256
from typing import Final, NamedTuple

from everlog.domain.errors import SettingsError

# In what is signed with ML-DSA-44, its length has one byte.
ORIGIN_SIZE_MAX: Final = 255

_SIGNATURE_START: Final = "\u2014 "

_match_verifier_key = re.compile(
    r"(?P<name>[^+\s]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/]+={0,2})"
).fullmatch


class SignatureType(IntEnum):
    """What a key signs, and how: the first byte of a verifier key (C2SP signed-note)."""

    ED25519 = 0x01
    ED25519_COSIGNATURE = 0x04
    ML_DSA_44_COSIGNATURE = 0x06


def parse_origin(text: str) -> str:
    """Return the name of a log.

    Raises:
        SettingsError: It cannot be the name of a key (C2SP signed-note), or is too long.
    """
    is_name = text.isprintable() and not any(each.isspace() or each == "+" for each in text)
    if not text or not is_name or len(text.encode()) > ORIGIN_SIZE_MAX:
        message = (
            "the origin names the log for ever, as a URL without https:// does, such as "
            f"log.example.com/orders: 1 to {ORIGIN_SIZE_MAX} bytes without spaces and plus signs"
        )
        raise SettingsError(message)
    return text


class VerifierKey(NamedTuple):
    """The public half of a key that signs notes, with the name that it signs under."""

    name: str
    type: SignatureType
    public: bytes

    @property
    def id(self) -> bytes:
        """What stands before each of its signatures."""
        hashed = b"%b\n%c%b" % (self.name.encode(), self.type, self.public)
        return sha256(hashed).digest()[:4]

    def __str__(self) -> str:
        """Return its text form."""
        key = b64encode(bytes([self.type]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Return the key of a text as `__str__` returns it.

        Raises:
            ValueError: It is none, or of a type that is not known.
        """
        match = _match_verifier_key(text)
        if match is None:
            message = "it has not the form NAME+HASH+KEY"
            raise ValueError(message)
        try:
            content = b64decode(match["key"], validate=True)
        except ValueError as error:
            message = "its last part is no base64"
            raise ValueError(message) from error
        if content[:1] not in _TYPES:
            message = f"its type {content[:1].hex()} is not known here"
            raise ValueError(message)
        found = cls(match["name"], SignatureType(content[0]), content[1:])
        if found.id.hex() != match["id"]:
            message = "its hash is not that of its name and key: it was not copied as a whole"
            raise ValueError(message)
        if len(found.public) != _PUBLIC_SIZES[found.type]:
            message = "its key has the wrong length"
            raise ValueError(message)
        return found


_TYPES: Final = frozenset(bytes([type_]) for type_ in SignatureType)
_PUBLIC_SIZES: Final = {
    SignatureType.ED25519: 32,
    SignatureType.ED25519_COSIGNATURE: 32,
    SignatureType.ML_DSA_44_COSIGNATURE: 1312,
}


class WitnessAddress(NamedTuple):
    """Where a witness is asked, and the key that its cosignatures are verified with."""

    url: str
    key: VerifierKey

    def __str__(self) -> str:
        """Return it as it is given to the server."""
        return f"{self.url}={self.key}"


def signature_line(key: VerifierKey, signature: bytes) -> str:
    """Return a line of a note's signatures."""
    return f"{_SIGNATURE_START}{key.name} {b64encode(key.id + signature).decode()}\n"


def split_note(note: str) -> tuple[str, list[str]]:
    """Return the text of a signed note and its lines of signatures.

    Raises:
        ValueError: It is no note.
    """
    text, separator, rest = note.rpartition("\n\n")
    lines = rest.splitlines(keepends=True)
    if not separator or not lines or not all(map(_is_signature, lines)):
        message = "it is no signed note"
        raise ValueError(message)
    return f"{text}\n", lines


def _is_signature(line: str) -> bool:
    return line.startswith(_SIGNATURE_START) and line.endswith("\n") and line.count(" ") == 2
