"""`everlog diagnostics`: what this Everlog is and runs on, or what a server says of itself.

The token is taken from the environment or a file only: on a command line everybody could see it.
"""

import json
import os
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
import msgspec

from everlog.bootstrap import RELEASE
from everlog.credentials.token_file import FILE_SIZE_MAX
from everlog.monitoring.diagnostics import describe_server

_PATH: Final = "/api/v1/diagnostics"
_TIMEOUT_SECONDS: Final = 10.0
# Far more than any answer is long.
_ANSWER_SIZE_MAX: Final = 1024 * 1024

_TOKEN_VARIABLE: Final = "EVERLOG_API_TOKEN"  # noqa: S105 - the name of a variable.

_FILE: Final = click.Path(path_type=Path)

# Click does not fill a paragraph that begins with this character.
_HELP: Final = f"""Print version, system and licence as JSON, and of a server also its options.

Nothing of it is secret. Without --url it is about this machine. With it, a server is asked, which
needs the token: in the environment variable {_TOKEN_VARIABLE}, or in a file.
"""


@click.command(help=_HELP)
@click.option("--url", help="The address of a server, such as https://localhost:4000.")
@click.option(
    "--api-token-file",
    type=_FILE,
    envvar="EVERLOG_API_TOKEN_FILE",
    show_envvar=True,
    help="A file whose first line is the token.",
)
@click.option(
    "--https-certificate-file",
    type=_FILE,
    envvar="EVERLOG_HTTPS_CERTIFICATE_FILE",
    show_envvar=True,
    help="A certificate to trust besides those that the system trusts.",
)
def diagnostics(
    url: str | None, api_token_file: Path | None, https_certificate_file: Path | None
) -> None:
    """Print what this machine or a server says of itself."""
    if url is None:
        found = msgspec.to_builtins(describe_server(RELEASE, options=None))
    else:
        try:
            found = _ask(url, _find_token(api_token_file), https_certificate_file)
        except (OSError, HTTPException, ValueError) as error:
            raise click.ClickException(f"{url} cannot be asked: {error}") from error
    click.echo(json.dumps(found, indent=2))


def _find_token(file: Path | None) -> str:
    if file is None:
        token = os.environ.get(_TOKEN_VARIABLE, "")
    else:
        with file.open("rb") as lines:
            token = lines.readline(FILE_SIZE_MAX).decode("ascii", errors="replace").strip()
    if not token:
        raise click.UsageError(f"a token is needed: set {_TOKEN_VARIABLE}, or --api-token-file")
    return token


def _ask(url: str, token: str, certificate_file: Path | None) -> object:
    connection = _connect(url, certificate_file)
    try:
        connection.request("GET", _PATH, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = response.read(_ANSWER_SIZE_MAX)
    finally:
        connection.close()
    if response.status != 200:
        reason = body.decode(errors="replace").strip()
        raise click.ClickException(f"{url} answers with status {response.status}: {reason}")
    return json.loads(body)


def _connect(url: str, certificate_file: Path | None) -> HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.hostname is None:
        raise click.UsageError("--url must begin with http:// or https:// and name a host")
    if parts.scheme == "http":
        return HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
    context = ssl.create_default_context()
    if certificate_file is not None:
        context.load_verify_locations(certificate_file)
    return HTTPSConnection(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS, context=context)
