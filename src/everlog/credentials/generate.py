"""New tokens, keys and certificates, from the system's source of randomness.

Guarantees that files are for their owner only from the moment they exist, and that nothing that is
there already is replaced.
"""

import ipaddress
import os
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from everlog.api.auth import parse_token
from everlog.domain.errors import SettingsError

# Letters and digits pass through shells, files and headers unharmed; these are 285 bits.
_ALPHABET: Final = string.ascii_letters + string.digits
TOKEN_LENGTH: Final = 48

_FILE_MODE: Final = 0o600

# RFC 1123 section 2.1, and one asterisk in front for all names of a domain.
_HOST_NAME: Final = re.compile(r"(\*\.)?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")

# The clock of a client may be behind ours.
_CLOCK_TOLERANCE: Final = timedelta(hours=1)


class Pair(NamedTuple):
    """A secret and what belongs to it in public, both as PEM."""

    private: bytes
    public: bytes


def new_api_token() -> str:
    """Return a token that is not weak."""
    while True:
        token = "".join(secrets.choice(_ALPHABET) for _ in range(TOKEN_LENGTH))
        if not parse_token(token.encode()).weaknesses:
            return token


def new_signing_key() -> Pair:
    """Return an Ed25519 signing key and its verification key."""
    key = Ed25519PrivateKey.generate()
    return Pair(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def new_certificate(hosts: Sequence[str], *, days: int, now: datetime) -> Pair:
    """Return an ECDSA key and a certificate, signed by itself, for these names and addresses."""
    assert hosts
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Everlog, self-signed")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Whoever trusts two of these, the old one and the new one, tells them apart by it.
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_TOLERANCE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(list(map(_name, hosts))), critical=False)
        # It vouches for itself and for no other.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(issuer, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate.public_bytes(Encoding.PEM),
    )


def write_new_files(contents: Mapping[Path, bytes]) -> None:
    """Write files that must not be there yet: all of them, or none.

    Raises:
        SettingsError: One is there, or cannot be written.
    """
    written: list[Path] = []
    try:
        for path, content in contents.items():
            # O_EXCL does not follow a symbolic link either.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
            written.append(path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
    except OSError as error:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise _refused(Path(error.filename or written[-1]), error) from error


def _refused(path: Path, error: OSError) -> SettingsError:
    if isinstance(error, FileExistsError):
        return SettingsError(f"{path} exists already, and nothing is replaced: name another file")
    return SettingsError(f"{path} cannot be written: {error.strerror}")


def _name(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    if _HOST_NAME.fullmatch(host) is None:
        raise SettingsError(f"'{host}' is neither a name nor an address of a host")
    return x509.DNSName(host)
