"""A certificate for development, signed by itself: clients trust it only if they are told to."""

import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from everlog.credentials.new_files import Pair
from everlog.domain.errors import SettingsError

# RFC 1123 section 2.1, and one asterisk in front for all names of a domain.
_HOST_NAME: Final = re.compile(r"(\*\.)?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")

# The clock of a client may be behind ours.
_CLOCK_TOLERANCE: Final = timedelta(hours=1)


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


def _name(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    if _HOST_NAME.fullmatch(host) is None:
        raise SettingsError(f"'{host}' is neither a name nor an address of a host")
    return x509.DNSName(host)
