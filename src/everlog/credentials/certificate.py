"""The certificate for HTTPS: loaded with its key, checked, and exchanged while clients go on.

Guarantees that a certificate which clients would refuse is refused here first, and that a
connection gets either the old certificate or the new one, each with its own key.
What is left to others: whether clients trust it, and listening.
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from everlog.credentials.given_files import read_given_file
from everlog.domain.errors import SettingsError

# TLS 1.3 has its own list, of which each entry is good. For 1.2: a fresh key for each connection,
# so that a stolen certificate key opens nothing recorded; authenticated encryption only; and no
# key of less than 112 bits of security (RSA 2048, P-224).
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"

# No certificate chain, key or passphrase is as large as that.
_FILE_SIZE_MAX: Final = 1024 * 1024

# What OpenSSL calls it, and what it means here.
_REASONS: Final = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the first certificate in the file",
    "KEY_TYPE_MISMATCH": "the key does not belong to the first certificate in the file",
    # A key of another kind than the certificate's.
    "NO_CERTIFICATE_ASSIGNED": "the key does not belong to the first certificate in the file",
    "EE_KEY_TOO_SMALL": "the key is too small: an RSA key needs 2048 bits at least",
    "CA_MD_TOO_WEAK": "the certificate is signed with a hash that is broken",
}
# Where it has no name that says more.
_ENCRYPTED_REASON: Final = "the passphrase is wrong, or the key is damaged"
_OTHER_REASON: Final = "one of them is damaged, or not PEM"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Where a certificate and its key are; the passphrase's file if the key is encrypted."""

    certificate: Path
    private_key: Path
    passphrase: Path | None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that can be used: its context for TLS, and its end."""

    context: ssl.SSLContext
    expires_at: datetime

    def remaining_days(self, now: datetime) -> int:
        """Return for how many whole days it is still valid."""
        return (self.expires_at - now).days


def load_certificate(files: CertificateFiles, *, now: datetime) -> Certificate:
    """Return the certificate in the files.

    Raises:
        SettingsError: They cannot be read, do not belong together, or clients would refuse the
            certificate at this time.
    """
    pem = _read("--https-certificate-file", files.certificate)
    validity = _parse_validity(files.certificate, pem)
    context = _new_context()
    _load_chain(context, files)
    # OpenSSL reads the file itself. It has to be the one that was judged.
    if _read("--https-certificate-file", files.certificate) != pem:
        raise SettingsError(f"--https-certificate-file {files.certificate} is being replaced")
    _check_dates(files.certificate, validity, now)
    return Certificate(context, validity.end)


class CertificateSwitch:
    """The context that listeners are given, and behind it the certificate of the moment."""

    def __init__(self, certificate: Certificate) -> None:
        self._certificate = certificate
        self.context: Final = certificate.context
        # Called for every handshake, also if the client names no server.
        self.context.sni_callback = self._use_current

    @property
    def certificate(self) -> Certificate:
        """The certificate that new connections get."""
        return self._certificate

    def replace(self, certificate: Certificate) -> None:
        """Give this certificate to connections from now on; open ones are not touched."""
        self._certificate = certificate

    def _use_current(
        self,
        connection: ssl.SSLObject,
        server_name: str | None,  # noqa: ARG002 - the callback's
        context: ssl.SSLContext,  # noqa: ARG002 - the callback's
    ) -> None:
        connection.context = self._certificate.context


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_chain(context: ssl.SSLContext, files: CertificateFiles) -> None:
    is_encrypted = False

    def passphrase() -> bytes:
        nonlocal is_encrypted
        is_encrypted = True
        if files.passphrase is None:
            raise SettingsError(
                f"--https-private-key-file {files.private_key} is encrypted: "
                "add --https-private-key-passphrase-file, or give the key without a passphrase"
            )
        text = _read("--https-private-key-passphrase-file", files.passphrase, may_be_pipe=True)
        return text.removesuffix(b"\n").removesuffix(b"\r")

    # OpenSSL would not say which of the files it is.
    _read("--https-private-key-file", files.private_key)
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(files.certificate, files.private_key, password=passphrase)
    except (ssl.SSLError, OSError, ValueError) as error:
        # A ValueError is about a passphrase that no key can have.
        name = getattr(error, "reason", None) or ""
        reason = _REASONS.get(name) or (_ENCRYPTED_REASON if is_encrypted else _OTHER_REASON)
        raise SettingsError(
            f"the certificate {files.certificate} and the private key {files.private_key} "
            f"cannot be used together: {reason}{name and f' ({name})'}"
        ) from error


class _Validity(NamedTuple):
    """From when until when a certificate is to be trusted."""

    begin: datetime
    end: datetime


def _parse_validity(path: Path, pem: bytes) -> _Validity:
    """Return that of the first certificate in a file, which is the server's own."""
    # Fifty modules, which a server without HTTPS does not need.
    from cryptography import x509  # noqa: PLC0415 - as said above.

    try:
        leaf, *_ = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise SettingsError(
            f"--https-certificate-file {path} cannot be read: it holds no certificate as PEM"
        ) from error
    return _Validity(leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def _check_dates(path: Path, validity: _Validity, now: datetime) -> None:
    """Judge the server's own certificate only.

    An expired one further up the chain may be there on purpose, for old clients.
    """
    if now < validity.begin:
        raise SettingsError(
            f"--https-certificate-file {path} is not valid before {_format(validity.begin)}"
        )
    if now > validity.end:
        raise SettingsError(
            f"--https-certificate-file {path} expired on {_format(validity.end)}: "
            "it has to be renewed"
        )


def _read(flag: str, path: Path, *, may_be_pipe: bool = False) -> bytes:
    # What OpenSSL reads by its name as well cannot be a pipe, which can be read once.
    try:
        return read_given_file(flag, path, size_max=_FILE_SIZE_MAX, may_be_pipe=may_be_pipe)
    except SettingsError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise SettingsError(f"{flag} {path} does not exist") from error
        raise


def _format(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
