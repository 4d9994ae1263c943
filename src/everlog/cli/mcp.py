"""`everlog mcp`: a store as tools for language models."""

import os
import socket
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

import click

from everlog.cli.faults import told
from everlog.cli.progress import Progress
from everlog.cli.stores import FILE, StoreChoice, store_options
from everlog.domain.errors import SettingsError

if TYPE_CHECKING:
    from everlog.credentials.token import ApiToken

MCP_TOKEN_VARIABLE: Final = "EVERLOG_MCP_TOKEN"  # noqa: S105 - the name of a variable.

DEFAULT_PORT: Final = 3100

# Click does not fill a paragraph that begins with this character.
_HELP: Final = f"""Offer a store as tools to language models (MCP).

A client starts this program and talks to it over standard input and output; or, with --http, asks
it over HTTP at /mcp. The tools read: events, subjects, event types, and rows for queries in
EventQL. They write with --allow-writes only. It needs the extra: pip install 'everlog[mcp]'.

Over HTTP each request needs a token: the one in the environment variable {MCP_TOKEN_VARIABLE},
or in a file; without either, it is the token of the store, which opens the store itself too.

\b
Examples:
  everlog mcp --url https://localhost:4000 --api-token-file token
  everlog mcp --data-directory /var/lib/everlog
  everlog mcp --http --port 3100 --mcp-token-file mcp-token
  claude mcp add everlog -- everlog mcp --url https://localhost:4000 --api-token-file token

\b
Exit codes:
  0  the client closed the connection, or the server was told to end
  1  anything unexpected
  2  a flag is wrong or missing, or the extra is
  3  the data directory cannot be read, or it is none
  4  the data directory is damaged
  8  the server cannot be asked, or refuses the token
"""


@click.command(help=_HELP)
@store_options
@click.option("--allow-writes", is_flag=True, help="Offer the tools that write, too.")
@click.option("--http", "is_http", is_flag=True, help="Listen for HTTP instead of starting there.")
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen; beyond this machine only behind a proxy with TLS.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="On which port; 0 lets the system choose.",
)
@click.option(
    "--mcp-token-file",
    type=FILE,
    envvar="EVERLOG_MCP_TOKEN_FILE",
    show_envvar=True,
    help="A file that holds the token of clients over HTTP.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which clients may ask, besides those of this machine; may be repeated.",
)
@click.option(
    "--items-max",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="How many events, rows, subjects or event types an answer has at most.",
)
@click.option(
    "--bytes-max",
    type=click.IntRange(1024, 64 * 1024 * 1024),
    default=256 * 1024,
    show_default=True,
    help="How many bytes of them.",
)
@click.option(
    "--seconds-max",
    type=click.FloatRange(0, 300, min_open=True),
    default=30.0,
    show_default=True,
    help="For how long a call reads.",
)
def mcp(
    store: StoreChoice,
    allow_writes: bool,  # noqa: FBT001 - click calls this with keywords.
    is_http: bool,  # noqa: FBT001 - as above.
    address: str,
    port: int,
    mcp_token_file: Path | None,
    allowed_hosts: tuple[str, ...],
    items_max: int,
    bytes_max: int,
    seconds_max: float,
) -> None:
    """Serve until the client has gone, or until it is told to end."""
    token = _find_mcp_token(mcp_token_file, store) if is_http else None
    listener = _listen(address, port, allowed_hosts) if is_http else None
    serving = _import_serving()
    from everlog.mcp.tools import Call, Limits

    with told(Progress()), store.open(is_writer=allow_writes) as opened:
        limits = Limits(items_max, bytes_max, seconds_max)
        call = Call(opened, limits, has_token=store.url is not None)
        server = serving.build_server(call, may_write=allow_writes)
        if token is None or listener is None:
            serving.serve_stdio(server)
            return
        with closing(listener):
            host, number = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            click.echo(f"listening at http://{shown}:{number}{serving.PATH}", err=True)
            serving.serve_http(server, listener, token, hosts=allowed_hosts)


def _import_serving() -> ModuleType:
    try:
        from everlog.mcp import serving
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("everlog"):
            raise
        raise click.UsageError(
            "a library that MCP needs is not installed: pip install 'everlog[mcp]' brings it"
        ) from error
    return serving


def _find_mcp_token(file: Path | None, store: StoreChoice) -> "ApiToken":
    from everlog.credentials.token import load_token_file, parse_token

    try:
        if file is not None:
            (token,) = load_token_file(file)
            return token
        if given := os.environ.get(MCP_TOKEN_VARIABLE, ""):
            return parse_token(given.encode())
    except (SettingsError, ValueError) as error:
        place = MCP_TOKEN_VARIABLE if file is None else f"--mcp-token-file {file}"
        raise click.UsageError(
            f"{place} has to hold one token of printable ASCII: 'everlog generate api-token' "
            "makes one"
        ) from error
    if not store.token:
        raise click.UsageError(
            f"clients need a token over HTTP: set {MCP_TOKEN_VARIABLE}, or --mcp-token-file"
        )
    click.echo(
        "clients use the token of the store, which opens the store itself too: "
        f"{MCP_TOKEN_VARIABLE} or --mcp-token-file gives them one of their own",
        err=True,
    )
    return parse_token(store.token.encode())


def _listen(address: str, port: int, allowed_hosts: tuple[str, ...]) -> socket.socket:
    try:
        is_loopback = ip_address(address).is_loopback
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
    except ValueError as error:
        raise click.UsageError(f"--address {address!r} is no IP address") from error
    if not is_loopback and not allowed_hosts:
        raise click.UsageError(
            f"--address {address} can be reached from other machines: say with --allowed-host "
            "under which name, and put a proxy with TLS before it"
        )
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise click.UsageError(
            f"cannot listen at {address}, port {port}: {error.strerror}"
        ) from error
