"""Signatures: proof by an Ed25519 key that an event with this hash came from this server.

What is signed are the UTF-8 bytes of the hash as written, its version prefix included.
A signature is computed whenever an event leaves the server and never stored, so that keys can
be changed and old events are signed too; Ed25519 gives the same signature each time.
What is left to others: reading key files (credentials).
"""

import re
from base64 import b64decode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from everlog.domain.errors import SettingsError

SIGNATURE_PREFIX: Final = "esdb:signature:v1:"

_match_signature = re.compile(rf"{SIGNATURE_PREFIX}([0-9a-f]{{128}})").fullmatch

_PKCS8_LABEL: Final = b"-----BEGIN PRIVATE KEY-----"

# A key with its public half behind it, and perhaps attributes between them: OneAsymmetricKey of
# version 2 (RFC 5958 section 2, RFC 8410 section 7). The libraries of Rust and of some other
# languages write keys so, and OpenSSL does not read them. Some wrap the public half once more.
_search_pkcs8 = re.compile(rb"-----BEGIN PRIVATE KEY-----([^-]+)-----END PRIVATE KEY-----").search
_match_with_public_key = re.compile(
    rb"\x30[\x50-\x7f]\x02\x01\x01"  # a sequence; its version
    rb"\x30\x05\x06\x03\x2b\x65\x70"  # Ed25519
    rb"\x04\x22\x04\x20(?P<private>.{32})"
    rb"(?:\xa0.*)?"
    rb"(?:\x81\x21\x00|\xa1\x23\x03\x21\x00)(?P<public>.{32})",
    re.DOTALL,
).fullmatch


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The secret half of a key pair; its text form does not show it."""

    private_key: Ed25519PrivateKey

    def fingerprint(self) -> str:
        """Return what tells the public half from others: the SHA-256 of its 32 bytes, in hex."""
        return sha256(self.private_key.public_key().public_bytes_raw()).hexdigest()

    @classmethod
    def from_pem(cls, pem: bytes) -> "SigningKey":
        """Return the key in a PKCS#8 PEM text, of either version.

        Raises:
            SettingsError: It is no such text, or not of an Ed25519 key.
        """
        if _PKCS8_LABEL not in pem:
            raise SettingsError(
                "the signing key must be an unencrypted PKCS#8 PEM file "
                "that begins with '-----BEGIN PRIVATE KEY-----'"
            )
        try:
            key = _read_key_pair(pem) or load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            # The library's reason is left out: it may quote the file, and the file is a secret.
            raise SettingsError("the signing key cannot be read: it is damaged") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SettingsError(
                "the signing key must be an Ed25519 key, but it is of another kind; "
                "'openssl genpkey -algorithm ed25519' makes one"
            )
        return cls(key)

    def to_pem(self) -> bytes:
        """Return the key as a PKCS#8 PEM text, which is a secret."""
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def to_verification_key(self) -> "VerificationKey":
        """Return the public half."""
        return VerificationKey(self.private_key.public_key())


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """The public half of a key pair."""

    public_key: Ed25519PublicKey

    @classmethod
    def from_pem(cls, pem: bytes) -> "VerificationKey":
        """Return the key in a SubjectPublicKeyInfo PEM text."""
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SettingsError("the verification key cannot be read as a PEM file") from error
        if not isinstance(key, Ed25519PublicKey):
            raise SettingsError(
                "the verification key must be an Ed25519 key, but it is of another kind"
            )
        return cls(key)


def _read_key_pair(pem: bytes) -> Ed25519PrivateKey | None:
    """Return the key of a text that holds both halves, None if it does not or they do not fit."""
    text = _search_pkcs8(pem)
    match = text and _match_with_public_key(b64decode(text[1]))
    if not match:
        return None
    key = Ed25519PrivateKey.from_private_bytes(match["private"])
    return key if key.public_key().public_bytes_raw() == match["public"] else None


def sign(key: SigningKey, event_hash: str) -> str:
    """Return the signature of an event with this hash."""
    return SIGNATURE_PREFIX + key.private_key.sign(event_hash.encode()).hex()


def verify(key: VerificationKey, event_hash: str, signature: str) -> bool:
    """Tell whether the signature was made for this hash, by the other half of the key."""
    match = _match_signature(signature)
    if match is None:
        return False
    try:
        key.public_key.verify(bytes.fromhex(match[1]), event_hash.encode())
    except InvalidSignature:
        return False
    return True
