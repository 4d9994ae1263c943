"""`everlog run`: the server.

Every flag takes its value as `--flag value` or `--flag=value`, a boolean one also stands alone for
true, and each has an environment variable, which a flag on the command line overrides.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from everlog.bootstrap import run_server
from everlog.domain.chain import HashVersion
from everlog.domain.errors import SettingsError
from everlog.settings import Settings, check_settings
from everlog.telemetry import Log

_Command = TypeVar("_Command", bound=Callable[..., Any])

_EVERY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - as the original does.
_PORT: Final = click.IntRange(0, 65_535)
_FILE: Final = click.Path(path_type=Path)


# Click does not fill a paragraph that begins with this character.
_HELP: Final = """Run the server.

It needs a token, a data directory, and, since HTTPS is on by default, a certificate with its
private key. It logs JSON lines to standard output and stops cleanly on SIGTERM or SIGINT; a
second signal stops it at once.

\b
Exit codes:
  0  stopped as asked
  1  anything else than the following
  2  a setting is wrong or missing
  3  the data directory cannot be used
  4  the log is damaged
  5  an address cannot be listened on
"""


def _option(name: str, **attributes: Any) -> Callable[[_Command], _Command]:
    variable = "EVERLOG_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, envvar=variable, show_envvar=True, **attributes)


def _switch(name: str, *, default: bool, **attributes: Any) -> Callable[[_Command], _Command]:
    return _option(
        name,
        is_flag=False,
        flag_value="true",
        type=click.BOOL,
        default=default,
        metavar="[true|false]",
        **attributes,
    )


@click.command(help=_HELP, context_settings={"show_default": True})
@_option(
    "--api-token",
    default="",
    show_default=False,
    help="The token that opens the API. On the command line it can be seen in process lists; "
    "the environment variable is the better place.",
)
@_option(
    "--data-directory",
    type=_FILE,
    help="Where the log is kept; created if it does not exist.",
)
@_switch(
    "--data-directory-temporary",
    default=False,
    help="Keep the log in a directory that is deleted at the end.",
)
@_option("--host", default=_EVERY_ADDRESS, help="The address to listen on.")
@_switch("--http-enabled", default=False, help="Listen for plain HTTP too.")
@_option("--http-port", type=_PORT, default=3000, help="0 lets the system choose.")
@_switch("--https-enabled", default=True, help="Listen for HTTPS.")
@_option("--https-port", type=_PORT, default=4000, help="0 lets the system choose.")
@_option("--https-certificate-file", type=_FILE, help="The certificate (chain), PEM.")
@_option("--https-private-key-file", type=_FILE, help="Its private key, PEM.")
@_option(
    "--signing-key-file",
    type=_FILE,
    help="An Ed25519 key, PKCS#8 PEM: events are signed when they leave the server.",
)
@_option(
    "--hash-version",
    type=click.Choice(["1", "2"]),
    default="2",
    help="How new events are hashed; 1 is for clients that know no other.",
)
def run(hash_version: str, **flags: Any) -> None:
    """Run the server; the decorators say with what."""
    settings = Settings(hash_version=HashVersion(int(hash_version)), **flags)
    try:
        check_settings(settings)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(run_server(settings, Log()))
