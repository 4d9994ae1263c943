"""The signing key: read from its file, and made anew."""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from everlog.credentials.given_files import read_given_file
from everlog.credentials.new_files import Pair
from everlog.domain.errors import SettingsError
from everlog.domain.signature import SigningKey

_FLAG: Final = "--signing-key-file"

# No key is as large as that.
_FILE_SIZE_MAX: Final = 1024 * 1024


def load_signing_key(path: Path | None) -> SigningKey | None:
    """Return the key in a PKCS#8 PEM file, None without a file.

    Raises:
        SettingsError: It cannot be read or is no Ed25519 key.
    """
    if path is None:
        return None
    pem = read_given_file(_FLAG, path, size_max=_FILE_SIZE_MAX)
    try:
        return SigningKey.from_pem(pem)
    except SettingsError as error:
        message = f"{_FLAG} {path}: {error}"
        raise SettingsError(message) from error


def new_signing_key() -> Pair:
    """Return an Ed25519 signing key and its verification key."""
    key = Ed25519PrivateKey.generate()
    return Pair(
        SigningKey(key).to_pem(),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
