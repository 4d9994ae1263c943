"""`everlog diagnostics`: what this Everlog is and runs on, or what a server says of itself."""

import json
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from everlog.cli.stores import TOKEN_VARIABLE, StoreChoice, choose_store, server_options
from everlog.texts import to_printable_json

# Click does not fill a paragraph that begins with this character.
_HELP: Final = f"""Print version, system and licence as JSON.

Nothing of it is secret. With --url or EVERLOG_URL a server is asked, which tells its options too,
and needs the token: in the environment variable {TOKEN_VARIABLE}, or in a file. Otherwise, and with
--local whatever the environment says, it is about this machine.

\b
Examples:
  everlog diagnostics --local
  everlog diagnostics --url https://events.example:4000 --api-token-file token

\b
Exit codes:
  0  it was told
  1  anything unexpected
  2  a flag is wrong or missing
  8  the server cannot be asked, or refuses the token
"""


@click.command(help=_HELP)
@click.option("--local", is_flag=True, help="About this machine, whatever the environment says.")
@server_options
@click.pass_context
def diagnostics(
    context: click.Context,
    local: bool,  # noqa: FBT001 - click calls this with keywords.
    url: str | None,
    api_token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Print what this machine or a server says of itself."""
    if local and context.get_parameter_source("url") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--local and --url exclude each other")
    if local or url is None:
        found = _describe_this_machine()
    else:
        found = _ask(
            choose_store(
                given=frozenset({"url"}),
                url=url,
                data_directory=None,
                token_file=api_token_file,
                ca_file=ca_file,
                context_file=None,
            )
        )
    click.echo(to_printable_json(json.dumps(found, indent=2).encode()))


def _describe_this_machine() -> object:
    import msgspec

    from everlog.monitoring.diagnostics import RELEASE, describe_server

    return msgspec.to_builtins(describe_server(RELEASE, options=None))


def _ask(server: StoreChoice) -> object:
    # With what asking a server takes.
    from everlog.cli.faults import told
    from everlog.cli.progress import Progress
    from everlog.cli.server import ask_diagnostics

    with told(Progress()):
        return ask_diagnostics(server)
