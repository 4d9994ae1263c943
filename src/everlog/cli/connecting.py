"""How commands reach a server: its address, the token, and whom to trust.

The token is taken from the environment or a file only: on a command line everybody could see it.
It is never printed, and what cannot be a token is refused before anything could quote it.
"""

import os
import ssl
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from everlog.credentials.token import FILE_SIZE_MAX

TOKEN_VARIABLE: Final = "EVERLOG_API_TOKEN"  # noqa: S105 - the name of a variable.

# Whoever opens it says what is wrong with it, and knows the exit code.
_FILE: Final = click.Path(path_type=Path, readable=False)

token_file_option = click.option(
    "--api-token-file",
    type=_FILE,
    envvar="EVERLOG_API_TOKEN_FILE",
    show_envvar=True,
    help="A file whose first line is the token.",
)

certificate_option = click.option(
    "--https-certificate-file",
    type=_FILE,
    envvar="EVERLOG_HTTPS_CERTIFICATE_FILE",
    show_envvar=True,
    help="A certificate to trust besides those that the system trusts.",
)


def find_token(file: Path | None) -> str:
    """Return the token from a file, or without one from the environment.

    Raises:
        OSError: The file cannot be read.
        ValueError: What was found cannot be a token.
    """
    if file is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
    else:
        with file.open("rb") as lines:
            token = lines.readline(FILE_SIZE_MAX).decode("ascii", errors="replace").strip()
    if not token:
        raise click.UsageError(f"a token is needed: set {TOKEN_VARIABLE}, or --api-token-file")
    if not (token.isascii() and token.isprintable()):
        raise ValueError("the token has characters other than printable ASCII")
    return token


def connect(url: str, certificate_file: Path | None, *, timeout_seconds: float) -> HTTPConnection:
    """Return a connection to a server, which is opened by the first request.

    Raises:
        OSError: The certificate cannot be used.
        ValueError: The address has no valid port.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.hostname is None:
        raise click.UsageError("--url must begin with http:// or https:// and name a host")
    if parts.scheme == "http":
        return HTTPConnection(parts.hostname, parts.port, timeout=timeout_seconds)
    context = ssl.create_default_context()
    if certificate_file is not None:
        context.load_verify_locations(certificate_file)
    return HTTPSConnection(parts.hostname, parts.port, timeout=timeout_seconds, context=context)
