"""What opens the server that is followed: its token, and whom to trust about who it is."""

import ssl
from pathlib import Path
from typing import Final, NamedTuple

from everlog.credentials.given_files import read_given_file
from everlog.credentials.token import FILE_SIZE_MAX, parse_token
from everlog.domain.errors import SettingsError

_TOKEN_FLAG: Final = "--follow-token-file"  # noqa: S105 - the name of a flag.
_CA_FLAG: Final = "--follow-ca-file"

_CA_SIZE_MAX: Final = 1024 * 1024


class SourceAccess(NamedTuple):
    """The text of a token, which is a secret, and what TLS is begun with."""

    token: str
    context: ssl.SSLContext


def load_source_access(token_file: Path, ca_file: Path | None) -> SourceAccess:
    """Return what the files hold; without one of certificates, those count that the system trusts.

    Raises:
        SettingsError: One of them cannot be used.
    """
    return SourceAccess(_load_token(token_file), _load_context(ca_file))


def _load_token(path: Path) -> str:
    content = read_given_file(_TOKEN_FLAG, path, size_max=FILE_SIZE_MAX).strip()
    if not content:
        raise SettingsError(f"{_TOKEN_FLAG} {path}: there is no token in it")
    # While one is exchanged for another, the first one counts.
    token = content.splitlines()[0].strip()
    try:
        parse_token(token)
    except SettingsError as error:
        raise SettingsError(f"{_TOKEN_FLAG} {path}: {error}") from error
    return token.decode("ascii")


def _load_context(path: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if path is not None:
        content = read_given_file(_CA_FLAG, path, size_max=_CA_SIZE_MAX, may_be_pipe=False)
        try:
            context.load_verify_locations(cadata=content.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError(f"{_CA_FLAG} {path}: it holds no certificate in PEM") from error
    return context
