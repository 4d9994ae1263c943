"""The settings of one server, read once from flags and environment, checked together, frozen."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from everlog.domain.chain import HashVersion
from everlog.domain.errors import SettingsError
from everlog.domain.signature import SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `everlog run` was asked to do; see its `--help` for the meaning of each."""

    api_token: str
    data_directory: Path | None
    data_directory_temporary: bool
    host: str
    http_enabled: bool
    http_port: int
    https_enabled: bool
    https_port: int
    https_certificate_file: Path | None
    https_private_key_file: Path | None
    signing_key_file: Path | None
    hash_version: HashVersion

    def redacted(self) -> dict[str, object]:
        """Return the settings for a log, without secrets."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name in self.__slots__
            if name != "api_token"
            for value in (getattr(self, name),)
        }


_SECRET_SIZE_MAX: Final = 1024 * 1024


def check_settings(settings: Settings) -> None:
    """Check what no single flag can tell.

    Raises:
        SettingsError: Something is missing or contradicts something else.
    """
    if not settings.api_token:
        message = "an API token is needed: add --api-token or set EVERLOG_API_TOKEN"
        raise SettingsError(message)
    if not settings.api_token.isascii() or not settings.api_token.isprintable():
        message = "the API token must consist of printable ASCII characters: it is sent in a header"
        raise SettingsError(message)
    if settings.api_token != settings.api_token.strip():
        message = "the API token must not begin or end with a space: headers lose those"
        raise SettingsError(message)
    if (settings.data_directory is None) == (not settings.data_directory_temporary):
        message = (
            "a data directory is needed, and only one: add --data-directory <directory>, or "
            "--data-directory-temporary for one that is deleted at the end"
        )
        raise SettingsError(message)
    if not settings.http_enabled and not settings.https_enabled:
        message = "nothing to listen on: leave HTTPS enabled, or add --http-enabled"
        raise SettingsError(message)
    if settings.https_enabled and None in {
        settings.https_certificate_file,
        settings.https_private_key_file,
    }:
        message = (
            "HTTPS is on by default and needs --https-certificate-file and "
            "--https-private-key-file; to go without, add --https-enabled=false --http-enabled"
        )
        raise SettingsError(message)


def load_signing_key(path: Path | None) -> SigningKey | None:
    """Return the key in a PKCS#8 PEM file, None without a file.

    Raises:
        SettingsError: It cannot be read or is no Ed25519 key.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            pem = file.read(_SECRET_SIZE_MAX)
    except OSError as error:
        message = f"--signing-key-file {path} cannot be read: {error.strerror}"
        raise SettingsError(message) from error
    try:
        return SigningKey.from_pem(pem)
    except SettingsError as error:
        message = f"--signing-key-file {path}: {error}"
        raise SettingsError(message) from error


def load_certificate(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of the certificate and key, None without HTTPS.

    Raises:
        SettingsError: They cannot be read or do not belong together.
    """
    if not settings.https_enabled:
        return None
    certificate, key = settings.https_certificate_file, settings.https_private_key_file
    assert certificate is not None
    assert key is not None
    for flag, path in (
        ("--https-certificate-file", certificate),
        ("--https-private-key-file", key),
    ):
        if not path.is_file():
            message = f"{flag} {path} does not exist or is not a file"
            raise SettingsError(message)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except (ssl.SSLError, OSError) as error:
        message = (
            f"the certificate {certificate} and the private key {key} cannot be used together: "
            f"{error.strerror or error}"
        )
        raise SettingsError(message) from error
    return context


def _refuse_password() -> str:
    message = "--https-private-key-file is encrypted: give the key without a passphrase"
    raise SettingsError(message)
