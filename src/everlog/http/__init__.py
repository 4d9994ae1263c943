"""An HTTP/1.1 server: `asyncio.Protocol`, httptools and uvloop; it knows nothing of events.

An `Application` decides about a request by its head alone and answers it through an `Exchange`, at
any time and in any order; answers leave in the order of the requests. The server owns connections,
framing, limits, time, back-pressure and disconnects.
What is left to others: what paths mean, who may ask, and what bodies say.
"""

from everlog.http.exchange import (
    Admission,
    Application,
    BodyStream,
    DisconnectedError,
    Endpoint,
    Exchange,
    Head,
    Request,
    Stream,
)
from everlog.http.framing import Response, StatusCounts, no_counts
from everlog.http.limits import Limits
from everlog.http.places import Crowding, name_address
from everlog.http.server import BACKLOG, Server, Statistics
from everlog.http.shared import ServerEvents
from everlog.http.sockets import open_listeners

__all__ = [
    "BACKLOG",
    "Admission",
    "Application",
    "BodyStream",
    "Crowding",
    "DisconnectedError",
    "Endpoint",
    "Exchange",
    "Head",
    "Limits",
    "Request",
    "Response",
    "Server",
    "ServerEvents",
    "Statistics",
    "StatusCounts",
    "Stream",
    "name_address",
    "no_counts",
    "open_listeners",
]
