"""An HTTP/1.1 server: `asyncio.Protocol`, httptools and uvloop; it knows nothing of events.

An `Application` decides about a request by its head alone and answers it through an `Exchange`, at
any time and in any order; answers leave in the order of the requests. The server owns connections,
framing, limits, time, back-pressure and disconnects.
What is left to others: what paths mean, who may ask, and what bodies say.
"""

from everlog.http.answers import Response, StatusCounts, no_counts
from everlog.http.exchange import Exchange
from everlog.http.limits import Limits
from everlog.http.messages import Application, Endpoint, Head, Request
from everlog.http.output import DisconnectedError
from everlog.http.server import Server, Statistics
from everlog.http.stream import Stream

__all__ = [
    "Application",
    "DisconnectedError",
    "Endpoint",
    "Exchange",
    "Head",
    "Limits",
    "Request",
    "Response",
    "Server",
    "Statistics",
    "StatusCounts",
    "Stream",
    "no_counts",
]
