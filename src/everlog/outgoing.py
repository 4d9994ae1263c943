"""Requests that the server itself makes to others: one POST, within a time and a size.

Guarantees that whoever answers slowly, or without end, is left. Redirects are not followed, and
whom to trust the system says.
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
    try:
        with closing(_connect(parts.scheme, parts.hostname, parts.port)) as connection:
            connection.request("POST", parts.path, body, dict(headers))
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
        raise OSError(f"its answer is not HTTP ({type(error).__name__})") from error


def _connect(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=_PIECE_SECONDS_MAX)
    context = ssl.create_default_context()
    return HTTPSConnection(host, port, timeout=_PIECE_SECONDS_MAX, context=context)
