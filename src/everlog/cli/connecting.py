"""How commands reach a server: its address, the token, whom to trust, and how it answers.

The token is taken from the environment or a file only: on a command line everybody could see it.
It is never printed, and what cannot be a token is refused before anything could quote it.
"""

import os
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from everlog.credentials.token import FILE_SIZE_MAX
from everlog.domain.errors import EverlogError
from everlog.texts import to_printable

# The server cannot be asked, refuses the token, or did not answer to the end.
EXIT_SERVER: Final = 8

# A server says something each second.
TIMEOUT_SECONDS: Final = 30.0

_BLOCK_SIZE: Final = 256 * 1024
_REASON_SIZE_MAX: Final = 200

TOKEN_VARIABLE: Final = "EVERLOG_API_TOKEN"  # noqa: S105 - the name of a variable.

# Whoever opens it says what is wrong with it, and knows the exit code.
_FILE: Final = click.Path(path_type=Path, readable=False)


class ServerError(EverlogError):
    """A server that cannot be asked, does not answer, or not to the end."""


url_option = click.option(
    "--url",
    envvar="EVERLOG_URL",
    show_envvar=True,
    help="The address of a server, such as https://localhost:4000.",
)

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


def source_of(
    context: click.Context, url: str | None, data_directory: Path | None
) -> tuple[str | None, Path | None]:
    """Return the address of a server or a directory; flags count more than the environment."""
    given = {
        name
        for name in ("url", "data_directory")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if len(given) == 2:
        raise click.UsageError("--url and --data-directory exclude each other")
    if data_directory is not None and (url is None or "data_directory" in given):
        return None, data_directory
    if url is None:
        raise click.UsageError("say whom to ask: --url for a server, or --data-directory")
    return url, None


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


def ask(
    connection: HTTPConnection, token: str, method: str, path: str, body: bytes
) -> HTTPResponse:
    """Return the answer to a request whose body is JSON, if there is one to be read.

    Raises:
        ServerError: The server refuses to answer.
        OSError, HTTPException: It cannot be asked.
    """
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    if response.status != 200:
        reason = to_printable(response.read(_REASON_SIZE_MAX).decode(errors="replace").strip())
        raise ServerError(f"it answers with status {response.status}: {reason}")
    return response


def read_lines(response: HTTPResponse, *, size_max: int) -> Iterator[bytes]:
    """Yield blocks of whole lines as they come, without the last line feed of each.

    Raises:
        ServerError: A line is larger than it may be.
    """
    parts: list[bytes] = []
    size = 0
    while block := response.read1(_BLOCK_SIZE):
        lines, line_feed, rest = block.rpartition(b"\n")
        if line_feed:
            yield b"".join((*parts, lines))
            parts, size = [], 0
        parts.append(rest)
        size += len(rest)
        if size > size_max:
            raise ServerError(f"its answer has an item of more than {size_max} bytes")
