"""Signed notes and verifier keys for tests, made from their specifications alone.

Shares no code with the product, so that its verifier and its signer can be held against this.
"""

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

PLAIN, COSIGNATURE, ML_DSA_44 = 0x01, 0x04, 0x06


def encoded(content: bytes) -> str:
    return b64encode(content).decode()


def note_text(origin: str, size: int, root: bytes, *extensions: str) -> str:
    """Return what a checkpoint says."""
    return "".join(f"{line}\n" for line in [origin, str(size), encoded(root), *extensions])


@dataclass(frozen=True)
class NoteKey:
    """A key that signs notes, and what it is called."""

    name: str
    type: int = PLAIN
    private: Ed25519PrivateKey | MLDSA44PrivateKey = field(
        default_factory=Ed25519PrivateKey.generate
    )

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def id(self) -> bytes:
        content = self.name.encode() + b"\n" + bytes([self.type]) + self.public
        return sha256(content).digest()[:4]

    @property
    def verifier_key(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encoded(bytes([self.type]) + self.public)}"

    def sign(self, text: str, *, time: int = 0, signed: bytes | None = None) -> str:
        """Return the line of a signature over a text, or over other bytes instead."""
        signature = self.private.sign(self.message(text, time) if signed is None else signed)
        stamp = b"" if self.type == PLAIN else time.to_bytes(8, "big")
        return f"\u2014 {self.name} {encoded(self.id + stamp + signature)}\n"

    def message(self, text: str, time: int) -> bytes:
        if self.type == PLAIN:
            return text.encode()
        if self.type == COSIGNATURE:
            return f"cosignature/v1\ntime {time}\n{text}".encode()
        origin, size, root, *_ = text.split("\n")
        name, log = self.name.encode(), origin.encode()
        return (
            b"subtree/v1\n\0"
            + bytes([len(name)])
            + name
            + time.to_bytes(8, "big")
            + bytes([len(log)])
            + log
            + (0).to_bytes(8, "big")
            + int(size).to_bytes(8, "big")
            + b64decode(root)
        )


def ml_dsa_44_key(name: str) -> NoteKey:
    return NoteKey(name, ML_DSA_44, MLDSA44PrivateKey.generate())


def signed_note(text: str, *lines: str) -> bytes:
    return (text + "\n" + "".join(lines)).encode()
