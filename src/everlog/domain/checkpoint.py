"""Checkpoints: what a log says of its tree, signed so that it cannot be taken back.

A checkpoint is a signed note (C2SP signed-note) whose text names the log (its origin), the size of
its tree, and the root (C2SP tlog-checkpoint). A log signs with Ed25519 (signature type 1), which
everybody verifies, and with ML-DSA-44 (type 6, C2SP tlog-cosignature), which will hold when there
are quantum computers. Witnesses add cosignatures (type 4): that a tree was consistent with all
that they had seen of it before, at some time.
What is left to others: the form of notes (`note`), reading key files (credentials), the tree
(`merkle`), and whom to ask for a cosignature (`service.proving`).
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from everlog.domain.errors import SettingsError
from everlog.domain.merkle import HASH_SIZE
from everlog.domain.note import SignatureType, VerifierKey, signature_line

_TIMESTAMP: Final = Struct(">Q")
_LABEL: Final = b"subtree/v1\n\0"

_match_size = re.compile(r"0|[1-9][0-9]{0,18}").fullmatch
_find_keys = re.compile(
    rb"-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----(?:\r?\n)?"
).findall


class Checkpoint(NamedTuple):
    """What a log says of its tree."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed, with its last line feed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class CheckpointKey:
    """The secret halves of the keys of one log; the text form does not show them."""

    ed25519: Ed25519PrivateKey
    ml_dsa_44: MLDSA44PrivateKey | None

    @classmethod
    def generate(cls) -> "CheckpointKey":
        """Make a new key of each kind that the library has."""
        try:
            ml_dsa_44 = MLDSA44PrivateKey.generate()
        except UnsupportedAlgorithm:
            # Built against an older OpenSSL.
            return cls(Ed25519PrivateKey.generate(), None)
        return cls(Ed25519PrivateKey.generate(), ml_dsa_44)

    @classmethod
    def from_pem(cls, pem: bytes) -> "CheckpointKey":
        """Return the keys of a text with one or two PKCS#8 PEM blocks.

        Raises:
            SettingsError: It is no such text, or has no Ed25519 key, or one of another kind.
        """
        blocks = _find_keys(pem)
        if not blocks:
            raise SettingsError(
                "the checkpoint key must be an unencrypted PKCS#8 PEM file "
                "that begins with '-----BEGIN PRIVATE KEY-----'"
            )
        try:
            keys = [load_pem_private_key(block, password=None) for block in blocks]
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            # The library's reason is left out: it may quote the file, and the file is a secret.
            raise SettingsError("the checkpoint key cannot be read: it is damaged") from error
        match keys:
            case [Ed25519PrivateKey() as ed25519]:
                return cls(ed25519, None)
            case [Ed25519PrivateKey() as ed25519, MLDSA44PrivateKey() as ml_dsa_44]:
                return cls(ed25519, ml_dsa_44)
        raise SettingsError(
            "the checkpoint key must be an Ed25519 key, alone or with an ML-DSA-44 key behind it; "
            "'everlog generate checkpoint-key' makes both"
        )

    def fingerprint(self) -> str:
        """Return what tells it from others: the SHA-256 of its Ed25519 public key, in hex."""
        return sha256(self.ed25519.public_key().public_bytes_raw()).hexdigest()

    def to_pem(self) -> bytes:
        """Return the keys as a text of PKCS#8 PEM blocks, which is a secret."""
        keys: list[Ed25519PrivateKey | MLDSA44PrivateKey] = [self.ed25519]
        if self.ml_dsa_44 is not None:
            keys.append(self.ml_dsa_44)
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return b"".join(key.private_bytes(*form) for key in keys)

    def verifier_keys(self, origin: str) -> list[VerifierKey]:
        """Return the public halves, as those know them who verify the log's checkpoints."""
        public = self.ed25519.public_key().public_bytes_raw()
        found = [VerifierKey(origin, SignatureType.ED25519, public)]
        if self.ml_dsa_44 is not None:
            public = self.ml_dsa_44.public_key().public_bytes_raw()
            found.append(VerifierKey(origin, SignatureType.ML_DSA_44_COSIGNATURE, public))
        return found


def sign_checkpoint(key: CheckpointKey, checkpoint: Checkpoint, *, time: int) -> str:
    """Return a checkpoint as a signed note; the time is seconds since 1970.

    With ML-DSA-44 it says, too, that this was the largest tree at that time.
    """
    first, *others = key.verifier_keys(checkpoint.origin)
    signatures = [signature_line(first, key.ed25519.sign(checkpoint.text.encode()))]
    for other in others:
        assert key.ml_dsa_44 is not None
        signed = key.ml_dsa_44.sign(_ml_dsa_44_message(other.name, checkpoint, time))
        signatures.append(signature_line(other, _TIMESTAMP.pack(time) + signed))
    return f"{checkpoint.text}\n{''.join(signatures)}"


def parse_checkpoint(text: str) -> Checkpoint:
    """Return what the text of a note says.

    Raises:
        ValueError: It is no checkpoint.
    """
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or _match_size(lines[1]) is None:
        message = "it is no checkpoint"
        raise ValueError(message)
    root = b64decode(lines[2], validate=True)
    if len(root) != HASH_SIZE:
        message = "its root has the wrong length"
        raise ValueError(message)
    return Checkpoint(lines[0], int(lines[1]), root)


def find_signed(key: VerifierKey, checkpoint: Checkpoint, lines: Sequence[str]) -> str | None:
    """Return the first line that is a key's signature of a checkpoint, None if none is.

    Lines of other keys are passed over, and so is a wrong signature: nothing is believed of it.
    """
    for line in lines:
        _, name, encoded = line.rstrip("\n").split(" ", 2)
        try:
            content = b64decode(encoded, validate=True)
        except ValueError:
            continue
        if (name, content[:4]) == (key.name, key.id) and _is_signed(key, checkpoint, content[4:]):
            return line
    return None


def _is_signed(key: VerifierKey, checkpoint: Checkpoint, signature: bytes) -> bool:
    time = 0
    if key.type is not SignatureType.ED25519:
        if len(signature) < _TIMESTAMP.size:
            return False
        time, signature = _TIMESTAMP.unpack_from(signature)[0], signature[_TIMESTAMP.size :]
    try:
        match key.type:
            case SignatureType.ED25519:
                message = checkpoint.text.encode()
                Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
            case SignatureType.ED25519_COSIGNATURE:
                message = f"cosignature/v1\ntime {time}\n{checkpoint.text}".encode()
                Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
            case SignatureType.ML_DSA_44_COSIGNATURE:
                message = _ml_dsa_44_message(key.name, checkpoint, time)
                MLDSA44PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _ml_dsa_44_message(cosigner: str, checkpoint: Checkpoint, time: int) -> bytes:
    """Return what is signed with ML-DSA-44 (C2SP tlog-cosignature)."""
    name, origin = cosigner.encode(), checkpoint.origin.encode()
    return b"".join(
        (
            _LABEL,
            bytes([len(name)]) + name,
            _TIMESTAMP.pack(time),
            bytes([len(origin)]) + origin,
            # Of the subtree that it is: from the first leaf up to before the size.
            _TIMESTAMP.pack(0),
            _TIMESTAMP.pack(checkpoint.size),
            checkpoint.root,
        )
    )
