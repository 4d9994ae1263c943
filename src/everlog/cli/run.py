"""`everlog run`: the server.

Every flag takes its value as `--flag value` or `--flag=value`, a boolean one also stands alone for
true, and each has an environment variable, which a flag on the command line overrides.
"""

import gc
import os
import socket
import sys
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from everlog.credentials.token import ApiToken, parse_token
from everlog.domain.chain import HashVersion
from everlog.domain.errors import SettingsError
from everlog.domain.limits import WRITE_COST
from everlog.domain.note import WitnessAddress
from everlog.settings import (
    PROCESSES_MAX,
    READS_CURRENT,
    READS_LOCAL,
    UI_COLOURS,
    UI_TITLE_LENGTH_MAX,
    JournalUrl,
    Origin,
    Settings,
    check_settings,
    parse_networks,
    parse_ui_colour,
    parse_ui_title,
    parse_witness,
)
from everlog.telemetry import LEVELS, LOG_FORMATS, Level, Log

_Command = TypeVar("_Command", bound=Callable[..., Any])

_EVERY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - as the original does.
_PORT: Final = click.IntRange(0, 65_535)
# Whoever opens it says what is wrong with it, and knows the exit code.
_FILE: Final = click.Path(path_type=Path, readable=False)

_TOKEN_SOURCES: Final = ("api_token", "api_token_file")

_ORIGINS: Final[dict[ParameterSource, Origin]] = {
    ParameterSource.COMMANDLINE: "command line",
    ParameterSource.ENVIRONMENT: "environment",
}


# Click does not fill a paragraph that begins with this character.
_HELP: Final = """Run the server.

It needs a token, a data directory, and, since HTTPS is on by default, a certificate with its
private key. It logs to standard output, JSON lines unless that is a terminal, and stops cleanly on
SIGTERM or SIGINT; a second signal stops it at once.

\b
Examples:
  everlog run --host 127.0.0.1 --http-enabled --https-enabled=false
    --api-token-file token --data-directory-temporary
  everlog run --data-directory /var/lib/everlog --api-token-file token
    --https-certificate-file tls.crt --https-private-key-file tls.key

\b
Exit codes:
  0  stopped as asked
  1  anything else than the following; also a stop that could not be brought to its end
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


def _parse_token(
    context: click.Context,  # noqa: ARG001 - a callback's
    parameter: click.Parameter,  # noqa: ARG001 - a callback's
    value: str | None,
) -> ApiToken | None:
    """Turn the token into what is remembered of it, so that no setting holds its text."""
    try:
        return None if value is None else parse_token(value.encode())
    except SettingsError as error:
        raise click.BadParameter(str(error)) from error


def _parse_networks(
    context: click.Context,  # noqa: ARG001 - a callback's
    parameter: click.Parameter,  # noqa: ARG001 - a callback's
    value: str,
) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return parse_networks(value)
    except SettingsError as error:
        raise click.BadParameter(str(error)) from error


def _parse_witnesses(
    context: click.Context,  # noqa: ARG001 - a callback's
    parameter: click.Parameter,  # noqa: ARG001 - a callback's
    values: tuple[str, ...],
) -> tuple[WitnessAddress, ...]:
    try:
        return tuple(map(parse_witness, values))
    except SettingsError as error:
        raise click.BadParameter(str(error)) from error


def _parse_journal(
    context: click.Context,  # noqa: ARG001 - a callback's
    parameter: click.Parameter,  # noqa: ARG001 - a callback's
    value: str | None,
) -> JournalUrl | None:
    # It may hold a password, which programs that are started from here have no use for.
    os.environ.pop("EVERLOG_JOURNAL", None)
    return None if value is None else JournalUrl(value)


def _parsing(parse: Callable[[str], str]) -> Callable[..., str | None]:
    def call(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        try:
            return None if value is None else parse(value)
        except SettingsError as error:
            raise click.BadParameter(str(error)) from error

    return call


def _choose_token_source(context: click.Context, flags: dict[str, Any]) -> None:
    """Let a flag override the environment, also where the two are different flags."""
    # Programs that are started from here have no use for it.
    os.environ.pop("EVERLOG_API_TOKEN", None)
    sources = {name: context.get_parameter_source(name) for name in _TOKEN_SOURCES}
    if ParameterSource.COMMANDLINE in sources.values():
        for name, source in sources.items():
            if source is ParameterSource.ENVIRONMENT:
                flags[name] = None


def _find_origins(context: click.Context, flags: dict[str, Any]) -> dict[str, Origin]:
    """Return from where each setting is; one that a flag has overridden is as if nobody had."""

    def find(name: str) -> Origin:
        source = context.get_parameter_source(name)
        is_overridden = name in _TOKEN_SOURCES and flags[name] is None
        return "default" if source is None or is_overridden else _ORIGINS.get(source, "default")

    return {name.replace("_", "-"): find(name) for name in context.params}


@click.command(help=_HELP, context_settings={"show_default": True})
@_option(
    "--api-token",
    callback=_parse_token,
    help="The token that opens the API. On the command line it can be seen in process lists; "
    "the environment variable or a file is the better place.",
)
@_option(
    "--api-token-file",
    type=_FILE,
    help="A file that holds the token instead, or two while one is exchanged for the other, each "
    "on a line. SIGHUP has it read again.",
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
@_option(
    "--https-certificate-file",
    type=_FILE,
    help="The certificate, or the chain with it first, PEM. SIGHUP has it and its key read again.",
)
@_option("--https-private-key-file", type=_FILE, help="Its private key, PEM.")
@_option(
    "--https-private-key-passphrase-file",
    type=_FILE,
    help="A file that holds the passphrase, if the private key is encrypted.",
)
@_option(
    "--shared-addresses",
    default="",
    callback=_parse_networks,
    metavar="ADDRESS,...",
    help="Addresses or networks that many clients share, such as those of proxies: they may have "
    "as many connections as there are. Loopback is one of them.",
)
@_option(
    "--processes",
    type=click.IntRange(1, PROCESSES_MAX),
    default=1,
    help="How many processes serve: with more than one, the first has the data directory and "
    "writes, and the others speak with clients, so that more processors are used.",
)
@_option(
    "--rate-limit",
    type=click.IntRange(0),
    default=0,
    help="How many reads a second each client address may ask for, a write counting as "
    f"{WRITE_COST}; 0 for no limit.",
)
@_option(
    "--query-time-limit",
    type=click.IntRange(1),
    default=300,
    metavar="SECONDS",
    help="How long an EventQL query may compute; the time that its client takes to read its rows "
    "does not count.",
)
@_option(
    "--signing-key-file",
    type=_FILE,
    help="An Ed25519 key, PKCS#8 PEM: events are signed when they leave the server.",
)
@_option(
    "--hash-version",
    type=click.Choice(["1", "2"]),
    default="1",
    help="How new events are hashed: 1 as every client verifies it, 2 with everything covered.",
)
@_option(
    "--checkpoint-key-file",
    type=_FILE,
    help="A key that checkpoints of the log's Merkle tree are signed with, as 'everlog generate "
    "checkpoint-key' makes one; there are no checkpoints without.",
)
@_option(
    "--checkpoint-origin",
    metavar="NAME",
    help="The name of the log in its checkpoints, as a URL without https://; it stays the same "
    "for as long as the log does.",
)
@_option(
    "--witness",
    multiple=True,
    callback=_parse_witnesses,
    metavar="URL=VERIFIERKEY",
    help="A witness (C2SP tlog-witness) that checkpoints are offered to, and the key of its "
    "cosignatures; may be given several times, in the environment with spaces between.",
)
@_switch(
    "--read-only",
    default=False,
    help="Refuse whatever would change the store; only a restart without this flag ends it.",
)
@_option(
    "--journal",
    callback=_parse_journal,
    metavar="URL",
    help="Share the log with other nodes by a journal: postgresql://... or nats://HOST,.../STREAM. "
    "The data directory is this node's mirror of it.",
)
@_option(
    "--journal-password-file",
    type=_FILE,
    help="A file that holds the password of the journal, where its URL does not.",
)
@_option(
    "--journal-ca-file",
    type=_FILE,
    help="Certificates of who may vouch for the journal's servers, PEM; TLS is demanded with it.",
)
@_option(
    "--journal-credentials-file",
    type=_FILE,
    help="A NATS credentials file (.creds).",
)
@_option(
    "--journal-replicas",
    type=click.Choice(["1", "3", "5"]),
    default="3",
    help="On how many NATS servers each entry of the journal is.",
)
@_option(
    "--reads",
    type=click.Choice([READS_CURRENT, READS_LOCAL]),
    default=READS_CURRENT,
    help="What reads show on a node: all that any node has acknowledged, which takes a question to "
    "the journal, or what this node has.",
)
@_option(
    "--node",
    default=socket.gethostname,
    show_default="the name of the host",
    metavar="NAME",
    help="The name of this node, for people.",
)
@_option(
    "--follow",
    metavar="URL",
    help="Follow another server, an Everlog or an EventSourcingDB: mirror its events and schemas "
    "into the data directory, and refuse whatever else would change the store.",
)
@_option(
    "--follow-token-file",
    type=_FILE,
    help="A file whose first line is the token of the server that is followed. SIGHUP has it read "
    "again.",
)
@_option(
    "--follow-ca-file",
    type=_FILE,
    help="Certificates to trust for the server that is followed, besides those that the system "
    "trusts, PEM. SIGHUP has it read again.",
)
@_switch(
    "--with-ui",
    default=False,
    help="Serve the management UI too, at / of the same ports: pages that show what is stored to "
    "whoever types in the token.",
)
@_option(
    "--ui-title",
    callback=_parsing(parse_ui_title),
    metavar="TEXT",
    help="What the pages of the UI call this store, such as 'Orders, production': up to "
    f"{UI_TITLE_LENGTH_MAX} characters, for everybody to see.",
)
@_option(
    "--ui-colour",
    callback=_parsing(parse_ui_colour),
    metavar="COLOUR",
    help="The colour of that title, so that nobody takes one store for another: "
    f"{', '.join(UI_COLOURS)}, or #rrggbb.",
)
@_option(
    "--log-level",
    type=click.Choice(LEVELS),
    default=Level.INFO.name.lower(),
    help="Leave out what matters less.",
)
@_option(
    "--log-format",
    type=click.Choice(LOG_FORMATS),
    default="auto",
    help="json has one object on each line, text is for people; auto is text on a terminal, and "
    "json elsewhere.",
)
@click.pass_context
def run(context: click.Context, /, hash_version: str, journal_replicas: str, **flags: Any) -> None:
    """Run the server; the decorators say with what."""
    _choose_token_source(context, flags)
    settings = Settings(
        hash_version=HashVersion(int(hash_version)),
        journal_replicas=int(journal_replicas),
        origins=_find_origins(context, flags),
        **flags,
    )
    try:
        check_settings(settings)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    run_server = _import_server()
    level = Level[settings.log_level.upper()]
    sys.exit(run_server(settings, Log(level=level, form=settings.log_format)))


def _import_server() -> Callable[[Settings, Log], int]:
    """Import the server, in no more time than it takes."""
    # Importing numpy starts a thread for each processor, which nothing here has work for.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Hardly anything of a module becomes garbage: looking for it takes a tenth of the time.
    gc.disable()
    from everlog.bootstrap import run_server

    gc.enable()
    return run_server
