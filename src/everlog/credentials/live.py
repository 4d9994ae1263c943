"""The credentials of a running server: loaded when it starts, read again when it is told to.

Guarantees that whatever cannot be used changes nothing: the old token or certificate stays.
What is left to others: when to read again (`bootstrap`, on SIGHUP).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from everlog.credentials.certificate import (
    Certificate,
    CertificateFiles,
    CertificateSwitch,
    load_certificate,
)
from everlog.credentials.token import ApiToken, TokenCheck, load_token_file
from everlog.domain.errors import SettingsError
from everlog.telemetry import Log

# A certificate that ends sooner is warned about: enough to renew it without haste.
EXPIRY_WARNING_DAYS: Final = 30

_NANOSECONDS: Final = 1_000_000_000


class LiveCredentials:
    """Whom the server lets in, and how it shows who it is."""

    def __init__(
        self,
        log: Log,
        *,
        clock: Callable[[], int],
        token: ApiToken | None,
        token_file: Path | None,
        certificate_files: CertificateFiles | None,
    ) -> None:
        """Load what there is: a token or a file of tokens, and without HTTPS no certificate.

        The clock returns nanoseconds since 1970.

        Raises:
            SettingsError: Something cannot be used.
        """
        self._token_file: Final = token_file
        self._certificate_files: Final = certificate_files
        self._log: Final = log
        self._clock: Final = clock
        # Those that count.
        self.tokens = self._warn_of_tokens(_find_tokens(token, token_file))
        self.token_check: Final = TokenCheck(self.tokens)
        # None without HTTPS.
        self.certificate_switch: Final = (
            None
            if self._certificate_files is None
            else CertificateSwitch(self._load_certificate(self._certificate_files))
        )

    def read_tokens(self) -> Callable[[], Callable[[], None]]:
        """Read the token file again.

        On any thread; what is returned puts the tokens into force, and is for the event loop's. It
        returns what is to be called when they count everywhere.
        """
        if self._token_file is None:
            self._log.info("there is no token file to read again: the token stays as it is")
            return _nothing
        try:
            tokens = self._warn_of_tokens(load_token_file(self._token_file))
        except SettingsError as error:
            message = "the token file cannot be used: the tokens stay as they are"
            self._log.error(message, reason=str(error))
            return _nothing

        def put_into_force() -> Callable[[], None]:
            self.tokens = tokens
            self.token_check.replace(tokens)
            return partial(self._log.info, "the token file was read again", tokenCount=len(tokens))

        return put_into_force

    def read_certificate(self) -> Callable[[], Callable[[], None]]:
        """Read the certificate and its key again, like the tokens."""
        switch = self.certificate_switch
        if self._certificate_files is None or switch is None:
            return _nothing
        try:
            certificate = self._load_certificate(self._certificate_files)
        except SettingsError as error:
            message = "the certificate cannot be used: the old one stays"
            self._log.error(message, reason=str(error))
            return _nothing

        def put_into_force() -> Callable[[], None]:
            switch.replace(certificate)
            message = "the certificate was read again"
            return partial(self._log.info, message, expires=_format(certificate))

        return put_into_force

    def _warn_of_tokens(self, tokens: tuple[ApiToken, ...]) -> tuple[ApiToken, ...]:
        for number, token in enumerate(tokens, 1):
            if token.weaknesses:
                self._log.warning(
                    "the API token is weak: it should have 32 characters at least, "
                    "and upper case letters, lower case letters and digits",
                    token=number,
                    lacking=token.weaknesses,
                    advice="everlog generate api-token",
                )
        return tokens

    def _load_certificate(self, files: CertificateFiles) -> Certificate:
        now = datetime.fromtimestamp(self._clock() / _NANOSECONDS, UTC)
        certificate = load_certificate(files, now=now)
        if (days := certificate.remaining_days(now)) < EXPIRY_WARNING_DAYS:
            message = "the certificate expires soon"
            self._log.warning(message, expires=_format(certificate), days=days)
        return certificate


def _nothing() -> Callable[[], None]:
    """Put nothing into force."""
    return _nobody_to_tell


def _nobody_to_tell() -> None:
    """Tell nothing."""


def _find_tokens(token: ApiToken | None, file: Path | None) -> tuple[ApiToken, ...]:
    if file is not None:
        return load_token_file(file)
    assert token is not None
    return (token,)


def _format(certificate: Certificate) -> str:
    return certificate.expires_at.isoformat()
