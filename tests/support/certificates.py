"""Certificates of every kind that a server may be given, good and bad; none guards anything.

What is left to `keys`: the one certificate that most tests need.
"""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.support.keys import CertificateFiles

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

PASSPHRASE: Final = b"the passphrase of the tests"

# Longer than the server warns about.
_LONG: Final = timedelta(days=60)


class Issued(NamedTuple):
    """A certificate and the key that it belongs to."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def serial(self) -> int:
        return self.certificate.serial_number


def new_ecdsa_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa_key(size: int = 2048) -> PrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=size)


def issue(
    *,
    key: PrivateKey | None = None,
    issuer: Issued | None = None,
    starts: timedelta = timedelta(days=-1),
    ends: timedelta = _LONG,
    is_authority: bool = False,
) -> Issued:
    """Issue a certificate for 127.0.0.1, by itself unless an issuer is named."""
    key = key or new_ecdsa_key()
    serial = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"everlog.test {serial:x}")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(
            x509.BasicConstraints(ca=is_authority or issuer is None, path_length=None),
            critical=True,
        )
    )
    return Issued(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)


def write_files(
    directory: Path,
    issued: Issued,
    *,
    key: PrivateKey | None = None,
    form: PrivateFormat = PrivateFormat.PKCS8,
    passphrase: bytes | None = None,
    chain: tuple[Issued, ...] = (),
) -> CertificateFiles:
    """Write a certificate with the rest of its chain, and its key or another one."""
    files = CertificateFiles(directory / "tls.crt", directory / "tls.key")
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    files.certificate.write_bytes(b"".join(part.pem for part in (issued, *chain)))
    files.private_key.write_bytes((key or issued.key).private_bytes(Encoding.PEM, form, encryption))
    return files
