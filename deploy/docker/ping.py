"""The image's health check: ask the server in this container for a ping.

Guarantees: exit code 0 if the server answers a ping, else 1; it asks the port that the server was
told to listen on, whatever the flags or the environment said; it needs no token.
Uses the standard library only, since it runs every few seconds.
What is left to others: whether the store is well (`GET /api/v1/health`, with the token).
"""

import argparse
import http.client
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS_MAX = 4.0

# Where a server that was told nothing listens, and whether it does.
DEFAULTS = {
    "host": "127.0.0.1",
    "http-enabled": "false",
    "http-port": "3000",
    "https-port": "4000",
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
    address = address_of(arguments_of_the_server(), os.environ)
    try:
        status = ping(address)
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"no answer from {address}: {error}")
    if status != http.client.OK:
        sys.exit(f"{address} answered {status}")


def arguments_of_the_server() -> list[str]:
    """Return the command line of the container's first process, or our own where there is one."""
    return sys.argv[1:] or Path("/proc/1/cmdline").read_bytes().decode().split("\0")


def address_of(arguments: Sequence[str], environment: Mapping[str, str]) -> Address:
    """Return the address that a server with these flags listens on; HTTP, where it is enabled."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for name, default in DEFAULTS.items():
        value = environment.get("EVERLOG_" + name.replace("-", "_").upper(), default)
        parser.add_argument(f"--{name}", nargs="?", default=value, const="true")
    # With an init process in front, a `--` stands before the command.
    flags, _ = parser.parse_known_args([word for word in arguments if word != "--"])
    host = "127.0.0.1" if flags.host in EVERY_ADDRESS else flags.host
    if flags.http_enabled.lower() in TRUE:
        return Address("http", host, int(flags.http_port))
    return Address("https", host, int(flags.https_port))


def ping(address: Address) -> int:
    """Return the status of the answer."""
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
    connection.request("GET", "/api/v1/ping")
    return connection.getresponse().status


if __name__ == "__main__":
    main()
