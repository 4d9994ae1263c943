"""Signed notes (c2sp.org/signed-note), the keys that verify them, and their signatures.

    <text, of any lines>
    <an empty line>
    \u2014 <key name> <base64 of the key's ID and the signature>

A note is read strictly: what another verifier could read in another way is refused.
Three kinds of signatures are known: those of a log with Ed25519, and cosignatures
(c2sp.org/tlog-cosignature) with Ed25519 and ML-DSA-44, which say when they were made.
What is left to others: which keys are trusted, and what it takes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

from everlog.verifying.checkpoints import Checkpoint, read_encoded
from everlog.verifying.errors import VerificationError

# A verifier has to accept 16 signatures, each of which may take 5 kB.
NOTE_SIZE_MAX: Final = 1024 * 1024
_SIGNATURES_MAX: Final = 100

_DASH: Final = "\u2014 "
_ID_SIZE: Final = 4
_TIME_SIZE: Final = 8

_find_control = re.compile(r"[\x00-\x09\x0b-\x1f]").search
_match_id = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII).fullmatch


class KeyType(IntEnum):
    """The signature types that are known, by the byte that names them."""

    ED25519 = 0x01
    COSIGNATURE = 0x04
    ML_DSA_44_COSIGNATURE = 0x06

    @property
    def label(self) -> str:
        """Return what a person calls it."""
        return "ML-DSA-44" if self is KeyType.ML_DSA_44_COSIGNATURE else "Ed25519"

    @property
    def key_size(self) -> int:
        """Return the size of a public key in bytes."""
        return 1312 if self is KeyType.ML_DSA_44_COSIGNATURE else 32

    @property
    def signature_size(self) -> int:
        """Return the size of a signature in bytes, without the time."""
        return 2420 if self is KeyType.ML_DSA_44_COSIGNATURE else 64

    @property
    def has_time(self) -> bool:
        """Whether a signature says when it was made."""
        return self is not KeyType.ED25519


@dataclass(frozen=True)
class VerifierKey:
    """A public key with the name of whom it belongs to."""

    name: str
    type: KeyType
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read a verifier key: `name+hash+base64`.

        Raises:
            VerificationError: It is none, or its parts do not belong together.
        """
        name, plus, rest = text.partition("+")
        id_, second_plus, encoded = rest.partition("+")
        if not plus or not second_plus or _match_id(id_) is None or not _is_name(name):
            message = (
                "it is no verifier key: a name, 8 hexadecimal digits and base64, with + between"
            )
            raise VerificationError(message)
        content = read_encoded(encoded)
        if not content:
            raise VerificationError("its last part is not base64")
        if content[0] not in [*KeyType]:
            known = ", ".join(f"{type_:#04x}" for type_ in KeyType)
            message = f"its signature type is {content[0]:#04x}; known are {known}"
            raise VerificationError(message)
        key = cls(name, KeyType(content[0]), content[1:])
        if len(key.public) != key.type.key_size:
            message = f"its key has {len(key.public)} bytes instead of {key.type.key_size}"
            raise VerificationError(message)
        if key.id.hex() != id_.lower():
            message = (
                f"its parts do not belong together: the ID is {id_}, that of the key {key.id.hex()}"
            )
            raise VerificationError(message)
        return key

    @property
    def id(self) -> bytes:
        """Return the four bytes that name the key in a signature."""
        content = self.name.encode() + b"\n" + bytes([self.type]) + self.public
        return sha256(content).digest()[:_ID_SIZE]

    def __str__(self) -> str:
        """Return how messages name it: `name+hash`."""
        return f"{self.name}+{self.id.hex()}"


@dataclass(frozen=True)
class NoteSignature:
    """One line below the text of a note."""

    name: str
    id: bytes
    signature: bytes

    def __str__(self) -> str:
        """Return how messages name its key: `name+hash`."""
        return f"{self.name}+{self.id.hex()}"


@dataclass(frozen=True)
class SignedNote:
    """A text, and who is said to have signed it."""

    # With its last line feed, and without the empty line.
    text: str
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, content: bytes) -> "SignedNote":
        """Read a note.

        Raises:
            VerificationError: It is none; the message names the line.
        """
        if len(content) > NOTE_SIZE_MAX:
            raise VerificationError(f"it is larger than {NOTE_SIZE_MAX} bytes")
        try:
            note = content.decode()
        except UnicodeDecodeError as error:
            raise VerificationError(f"it is not UTF-8 at byte {error.start}") from error
        control = _find_control(note)
        if control is not None:
            line = note.count("\n", 0, control.start()) + 1
            raise VerificationError(f"line {line} has a control character")
        text, gap, rest = note.rpartition("\n\n")
        if not gap:
            raise VerificationError("it is no signed note: it has no empty line before signatures")
        if not rest.endswith("\n"):
            raise VerificationError("it is no signed note: its last line has no end")
        return cls(text + "\n", _read_signatures(rest[:-1], note.count("\n") - rest.count("\n")))

    def by(self, key: VerifierKey) -> Iterator[int | None]:
        """Verify the signatures of a key, and yield the time of each, in seconds since 1970.

        The time is None where the type has none, and 0 where the signer does not say it.

        Raises:
            VerificationError: One of them is not of this key over this text.
        """
        for signature in self.signatures:
            if (signature.name, signature.id) == (key.name, key.id):
                yield _verify(signature.signature, key, self.text)


def _read_signatures(text: str, line_before: int) -> tuple[NoteSignature, ...]:
    lines = text.split("\n")
    if len(lines) > _SIGNATURES_MAX:
        raise VerificationError(f"it has more than {_SIGNATURES_MAX} signatures")
    return tuple(
        _read_signature(line, number) for number, line in enumerate(lines, line_before + 1)
    )


def _read_signature(line: str, number: int) -> NoteSignature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    content = read_encoded(encoded)
    is_whole = content is not None and len(content) > _ID_SIZE
    if not line.startswith(_DASH) or not _is_name(name) or not is_whole:
        message = f"line {number} is no signature: a dash, a key's name, and base64"
        raise VerificationError(message)
    assert content is not None
    return NoteSignature(name, content[:_ID_SIZE], content[_ID_SIZE:])


def _is_name(text: str) -> bool:
    return bool(text) and "+" not in text and not any(map(str.isspace, text))


def _verify(content: bytes, key: VerifierKey, text: str) -> int | None:
    """Return the time that a signature says, if it is one of a key over a text."""
    time: int | None = None
    signature = content
    if key.type.has_time:
        time, signature = int.from_bytes(content[:_TIME_SIZE]), content[_TIME_SIZE:]
    has_size = len(signature) == key.type.signature_size
    if not has_size or (time is not None and time >= 1 << 63):
        raise VerificationError(f"the signature of {key} is none of its type")
    if not _is_signed(signature, key, _message(key, text, time)):
        raise VerificationError(f"the signature of {key} does not verify")
    return time


def _message(key: VerifierKey, text: str, time: int | None) -> bytes:
    """Return the bytes that are signed, by the type of the signature."""
    if key.type is KeyType.ED25519:
        return text.encode()
    assert time is not None
    if key.type is KeyType.COSIGNATURE:
        return f"cosignature/v1\ntime {time}\n{text}".encode()
    checkpoint = Checkpoint.parse(text)
    return b"".join(
        [
            b"subtree/v1\n\0",
            _prefixed(key.name),
            time.to_bytes(8),
            _prefixed(checkpoint.origin),
            # From the first leaf on.
            bytes(8),
            checkpoint.size.to_bytes(8),
            checkpoint.root,
        ]
    )


def _prefixed(text: str) -> bytes:
    """Return a text behind its size, as TLS has it for at most 255 bytes."""
    content = text.encode()
    if len(content) > 255:
        raise VerificationError("a name has more than 255 bytes, which ML-DSA-44 cannot sign")
    return bytes([len(content)]) + content


def _is_signed(signature: bytes, key: VerifierKey, message: bytes) -> bool:
    # Loading it takes longer than all else that a command does without a signature.
    from cryptography import exceptions  # noqa: PLC0415 - as said above
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - as said above

    try:
        if key.type is KeyType.ML_DSA_44_COSIGNATURE:
            # Only newer versions have it.
            from cryptography.hazmat.primitives.asymmetric import mldsa  # noqa: PLC0415 - see above

            mldsa.MLDSA44PublicKey.from_public_bytes(key.public).verify(signature, message)
        else:
            ed25519.Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except exceptions.InvalidSignature:
        return False
    except (ImportError, exceptions.UnsupportedAlgorithm) as error:
        reason = f"to verify the signature of {key}, a newer version of cryptography is needed"
        raise VerificationError(reason) from error
    return True
