"""`everlog diagnostics`: what this Everlog is and runs on, or what a server says of itself."""

import json
from http.client import HTTPException
from pathlib import Path
from typing import Final

import click

from everlog.cli.connecting import (
    TOKEN_VARIABLE,
    certificate_option,
    connect,
    find_token,
    token_file_option,
)
from everlog.texts import to_printable, to_printable_json

_PATH: Final = "/api/v1/diagnostics"
_TIMEOUT_SECONDS: Final = 10.0
# Far more than any answer is long.
_ANSWER_SIZE_MAX: Final = 1024 * 1024

# Click does not fill a paragraph that begins with this character.
_HELP: Final = f"""Print version, system and licence as JSON.

Nothing of it is secret. Without --url it is about this machine. With it, a server is asked, which
tells its options too, and needs the token: in the environment variable {TOKEN_VARIABLE}, or in a
file.
"""


@click.command(help=_HELP)
@click.option("--url", help="The address of a server, such as https://localhost:4000.")
@token_file_option
@certificate_option
def diagnostics(
    url: str | None, api_token_file: Path | None, https_certificate_file: Path | None
) -> None:
    """Print what this machine or a server says of itself."""
    if url is None:
        found = _describe_this_machine()
    else:
        try:
            found = _ask(url, find_token(api_token_file), https_certificate_file)
        except (OSError, HTTPException, ValueError) as error:
            message = to_printable(f"{url} cannot be asked: {error}")
            raise click.ClickException(message) from error
    click.echo(to_printable_json(json.dumps(found, indent=2).encode()))


def _describe_this_machine() -> object:
    import msgspec

    from everlog.monitoring.diagnostics import RELEASE, describe_server

    return msgspec.to_builtins(describe_server(RELEASE, options=None))


def _ask(url: str, token: str, certificate_file: Path | None) -> object:
    connection = connect(url, certificate_file, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", _PATH, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = response.read(_ANSWER_SIZE_MAX)
    finally:
        connection.close()
    if response.status != 200:
        reason = to_printable(body.decode(errors="replace").strip())
        raise click.ClickException(f"{url} answers with status {response.status}: {reason}")
    return json.loads(body)
