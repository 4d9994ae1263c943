"""The signing key's file."""

from pathlib import Path
from typing import Final

from everlog.domain.errors import SettingsError
from everlog.domain.signature import SigningKey

# No key is as large as that.
_FILE_SIZE_MAX: Final = 1024 * 1024


def load_signing_key(path: Path | None) -> SigningKey | None:
    """Return the key in a PKCS#8 PEM file, None without a file.

    Raises:
        SettingsError: It cannot be read or is no Ed25519 key.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            pem = file.read(_FILE_SIZE_MAX)
    except OSError as error:
        message = f"--signing-key-file {path} cannot be read: {error.strerror}"
        raise SettingsError(message) from error
    try:
        return SigningKey.from_pem(pem)
    except SettingsError as error:
        message = f"--signing-key-file {path}: {error}"
        raise SettingsError(message) from error
