"""The image's health check: ask the server in this container for a ping.

Guarantees: exit code 0 if the server answers a ping, else 1; it asks the port that the server was
told to listen on, whatever the flags or the environment said; it needs no token.

With --ready it asks whether a node of a cluster may get requests: it has caught up with its
journal, and mirrors it. That it needs the token for, which it finds where the server does. A node
whose journal does not answer is ready: the others are no better, and observers go on.

Uses the standard library only, since it runs every few seconds.
What is left to others: whether the store is well (`GET /api/v1/health`, with the token).
"""

import argparse
import http.client
import json
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS_MAX = 4.0

READY = "--ready"

# In what conditions a node shows nothing, or not what its journal has.
NOT_READY = frozenset({"catching-up", "failed"})

# Where a server that was told nothing listens, and whether it does.
DEFAULTS = {
    "host": "127.0.0.1",
    "http-enabled": "false",
    "http-port": "3000",
    "https-port": "4000",
    "api-token": "",
    "api-token-file": "",
}

# What the command line takes for true.
TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})

# Listening on every address includes this one.
EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nothing listens here.


class Address(NamedTuple):
    """Where the server listens."""

    scheme: str
    host: str
    port: int


def main() -> None:
    """Ask, and exit with the answer."""
    arguments = arguments_of_the_server()
    address = address_of(arguments, os.environ)
    try:
        if READY in sys.argv[1:]:
            check_ready(address, token_of(arguments, os.environ))
        else:
            ping(address)
    except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
        sys.exit(f"no answer from {address}: {error}")


def arguments_of_the_server() -> list[str]:
    """Return the command line of the container's first process, or our own where there is one."""
    given = [argument for argument in sys.argv[1:] if argument != READY]
    return given or Path("/proc/1/cmdline").read_bytes().decode().split("\0")


def flags_of(arguments: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """Return what a server was told by these flags, or by its environment."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for name, default in DEFAULTS.items():
        value = environment.get("EVERLOG_" + name.replace("-", "_").upper(), default)
        parser.add_argument(f"--{name}", nargs="?", default=value, const="true")
    # With an init process in front, a `--` stands before the command.
    flags, _ = parser.parse_known_args([word for word in arguments if word != "--"])
    return flags


def address_of(arguments: Sequence[str], environment: Mapping[str, str]) -> Address:
    """Return the address that a server with these flags listens on; HTTP, where it is enabled."""
    flags = flags_of(arguments, environment)
    host = "127.0.0.1" if flags.host in EVERY_ADDRESS else flags.host
    if flags.http_enabled.lower() in TRUE:
        return Address("http", host, int(flags.http_port))
    return Address("https", host, int(flags.https_port))


def token_of(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the token that a server with these flags accepts."""
    flags = flags_of(arguments, environment)
    if not flags.api_token_file:
        token: str = flags.api_token
        return token
    return Path(flags.api_token_file).read_text(encoding="ascii").split("\n", 1)[0].strip()


def ping(address: Address) -> None:
    """Return if the server answers."""
    response = ask(address, "/api/v1/ping", {})
    if response.status != http.client.OK:
        sys.exit(f"{address} answered {response.status}")


def check_ready(address: Address, token: str) -> None:
    """Return if the server is a node that may get requests."""
    response = ask(address, "/api/v1/health", {"Authorization": f"Bearer {token}"})
    if response.status not in {http.client.OK, http.client.SERVICE_UNAVAILABLE}:
        sys.exit(f"{address} answered {response.status}")
    checks = json.loads(response.read())["checks"]
    condition = checks["store:writability"][0]["observedValue"]
    if condition in NOT_READY:
        sys.exit(f"{address} is not ready: {condition}")
    # One that takes no writes anyway says so first.
    for behind in checks.get("cluster:behind", ()):
        if behind["status"] == "fail":
            sys.exit(f"{address} is not ready: {behind['output']}")


def ask(address: Address, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Return the answer to a GET."""
    connection: http.client.HTTPConnection
    if address.scheme == "http":
        connection = http.client.HTTPConnection(address.host, address.port, timeout=SECONDS_MAX)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The container talks to itself, and the certificate names it as others see it.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            address.host, address.port, timeout=SECONDS_MAX, context=context
        )
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


if __name__ == "__main__":
    main()
