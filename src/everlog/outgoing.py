"""HTTP as a client: where a server is, how it is connected to, and what goes wrong on the way.

`post` is what the server itself asks others: one POST, within a time and a size. Guarantees that
whoever answers slowly, or without end, is left. Redirects are not followed, and whom to trust the
system says.
What is left to others: connections that are kept, and answers that stream (`library`, `following`).
"""

import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final, NamedTuple
from urllib.parse import urlsplit

# For connecting, and for each piece of an answer; and for all of it.
_PIECE_SECONDS_MAX: Final = 5.0
_SECONDS_MAX: Final = 10.0

_PIECE_SIZE: Final = 4096


class Address(NamedTuple):
    """Where a server is: what a URL says, without a slash at the end of the path."""

    scheme: str
    host: str
    port: int | None
    path: str


class OutgoingAnswer(NamedTuple):
    """What somebody answered."""

    status: int
    content_type: str
    body: bytes


def post(url: str, body: bytes, headers: Mapping[str, str], *, size_max: int) -> OutgoingAnswer:
    """Send a body, and return the answer; to be called on a thread of its own.

    Raises:
        OSError: There is none, or none within the time, or it is larger than that.
    """
    deadline = time.monotonic() + _SECONDS_MAX
    parts = urlsplit(url)
    assert parts.hostname is not None
    address = Address(parts.scheme, parts.hostname, parts.port, parts.path)
    try:
        with closing(
            prepare_connection(address, None, seconds_max=_PIECE_SECONDS_MAX)
        ) as connection:
            connection.request("POST", address.path, body, dict(headers))
            response = connection.getresponse()
            content = bytearray()
            while piece := response.read1(_PIECE_SIZE):
                content += piece
                if len(content) > size_max:
                    raise OSError("its answer is too large")
                if time.monotonic() > deadline:
                    raise TimeoutError("it does not come to an end")
            return OutgoingAnswer(
                response.status, response.headers.get("Content-Type", ""), bytes(content)
            )
    except HTTPException as error:
        # What others say is not repeated.
        raise OSError(describe_failure(error)) from error


def parse_address(url: str) -> Address:
    """Return what a URL says. It is never quoted, since it may hold a password.

    Raises:
        ValueError: It is none of a server; the message begins with what it must be.
    """
    message = "the URL must begin with http:// or https:// and name a host"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{message}, and its port must be a number") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(message)
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{message}, without a user or a password: the token opens the server")
    if parts.query or parts.fragment:
        raise ValueError(f"{message}, and end with its path: no query and no fragment")
    if not (parts.hostname + parts.path).isprintable() or not parts.path.isascii():
        raise ValueError(f"{message}, and its path must be ASCII, with %-escapes for the rest")
    if " " in parts.hostname + parts.path:
        raise ValueError(f"{message}, without spaces")
    return Address(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))


def prepare_connection(
    address: Address, context: ssl.SSLContext | None, *, seconds_max: float
) -> HTTPConnection:
    """Return a connection that its first request opens; without a context the system is trusted."""
    if address.scheme == "http":
        return HTTPConnection(address.host, address.port, timeout=seconds_max)
    return HTTPSConnection(
        address.host,
        address.port,
        timeout=seconds_max,
        context=context or ssl.create_default_context(),
    )


def describe_failure(error: Exception) -> str:
    """Return what went wrong with a connection, without anything that the other side said."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'it was ended'}"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"its answer is not HTTP ({type(error).__name__})"
