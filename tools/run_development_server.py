"""Start a server to try things with: HTTP on this machine only, data and token kept between runs.

Guarantees: the token is random, readable by its owner only, and never printed nor put into the
list of processes. Each port has a data directory of its own, so that servers run side by side; the
token is that of all. A context file says to commands which server was started last. This process
becomes the server, so that every signal reaches it.
"""

import argparse
import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# That of the environment that runs this.
SERVER = Path(sys.executable).with_name("everlog")
DIRECTORY = ROOT / ".everlog"
TOKEN_FILE = DIRECTORY / "token"
CONTEXT_FILE = DIRECTORY / "context.toml"

DEFAULT_PORT = 3000

# What commands read that are told of no store (docs/operating/commands.md).
CONTEXT = """\
# The server that was started last; written by `make run`.
url = "http://127.0.0.1:{port}"
token-file = "token"
"""

BANNER = """
Everlog runs for development, at {url}

  token   {token_file}
  data    {data_directory}
  look    open {url} in a browser, and type in the token
  stop    Ctrl-C

In another terminal, in this folder, commands work with it, such as:

  {everlog} read / --recursive

Write an event:

  curl {url}/api/v1/write-events \\
    --header "Authorization: Bearer $(cat {token_file})" \\
    --header "Content-Type: application/json" \\
    --data '{event}'
"""

# One that a person can send again and again: it has no precondition.
EVENT = (
    '{"events":[{"source":"https://shop.example","subject":"/orders/1",'
    '"type":"example.shop.order-placed","data":{"total":42}}]}'
)


def main() -> None:
    """Show where everything is, and become the server."""
    parser = argparse.ArgumentParser(description="Start a server to try things with.")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port of HTTP (default: 3000)"
    )
    port = parser.parse_args().port
    DIRECTORY.mkdir(mode=0o700, exist_ok=True)
    token = stored_token()
    write_context(port)
    print(banner(port), file=sys.stderr, flush=True)
    environment = os.environ | {"EVERLOG_API_TOKEN": token}
    arguments = [str(SERVER), *server_arguments(port)]
    os.execve(SERVER, arguments, environment)  # noqa: S606 - a shell would keep the signals.


def stored_token() -> str:
    """Read the token, made on the first run."""
    if not TOKEN_FILE.exists():
        # Nobody else may read it, not even before it is written.
        TOKEN_FILE.touch(mode=0o600)
        TOKEN_FILE.write_text(secrets.token_urlsafe(32) + "\n", encoding="ascii")
    return TOKEN_FILE.read_text(encoding="ascii").strip()


def write_context(port: int) -> None:
    """Tell commands which server to ask, in a file that nobody else may write to."""
    CONTEXT_FILE.touch(mode=0o600)
    CONTEXT_FILE.write_text(CONTEXT.format(port=port), encoding="ascii")


def data_directory(port: int) -> Path:
    """Return where the server of a port keeps its data: only one can have a directory open."""
    return DIRECTORY / ("data" if port == DEFAULT_PORT else f"data-{port}")


def banner(port: int) -> str:
    return BANNER.format(
        url=f"http://127.0.0.1:{port}",
        everlog=os.path.relpath(SERVER),
        token_file=os.path.relpath(TOKEN_FILE),
        data_directory=os.path.relpath(data_directory(port)),
        event=EVENT,
    )


def server_arguments(port: int) -> list[str]:
    return [
        "run",
        "--host=127.0.0.1",
        "--http-enabled",
        f"--http-port={port}",
        "--https-enabled=false",
        "--with-ui",
        "--ui-title=Development",
        f"--data-directory={data_directory(port)}",
    ]


if __name__ == "__main__":
    main()
