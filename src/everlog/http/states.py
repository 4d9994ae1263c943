"""How far a connection is: what it does with what arrives, and how it ends.

One state at a time, and a table that says which happening leads from which state to which; what is
not in the table cannot happen. Whether the transport is TLS, what waits to be answered, and whether
the server is stopping are facts beside it, which decide what happens and not what it leads to.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class State(Enum):
    """What becomes of what arrives."""

    GREETING = "hands are being shaken (TLS), and requests cannot come yet"
    READING = "requests are read"
    PAUSED = "requests wait in the client's socket until answers have left"
    FINISHING = "the last request is known, and answers are owed; what arrives is ignored"
    REFUSING = "as FINISHING, and the client may go on sending what nobody reads"
    HALF_CLOSED = "the client sends no more, and answers are owed"
    PROBED = "as HALF_CLOSED, and it was sent a byte to betray itself by if it is gone"
    LINGERING = "all is said; what arrives is ignored until the client closes"
    CLOSING = "the transport is being closed, once what was written has left"
    CLOSED = "the connection is gone"


class Happening(Enum):
    """What leads from one state to another."""

    GREETED = "hands were shaken"
    FULL = "no more requests are to be held for this client"
    ROOM = "more requests may be held"
    LAST_REQUEST = "a request said that it is the last"
    REFUSAL = "a request ends the connection and is not read to its end"
    HALF_CLOSE = "the client ended its input while answers are owed"
    PROBE = "a byte without meaning was sent"
    LAST_ANSWER = "the last answer was written"
    CLOSE = "nothing is to be waited for"
    LOST = "the event loop said that the connection is gone"


# Every state but the last may be closed or lost; the rest is the way of a connection.
TRANSITIONS: Final[Mapping[tuple[State, Happening], State]] = MappingProxyType(
    {
        (State.GREETING, Happening.GREETED): State.READING,
        (State.GREETING, Happening.REFUSAL): State.REFUSING,
        (State.READING, Happening.FULL): State.PAUSED,
        (State.READING, Happening.LAST_REQUEST): State.FINISHING,
        (State.READING, Happening.REFUSAL): State.REFUSING,
        (State.READING, Happening.HALF_CLOSE): State.HALF_CLOSED,
        (State.READING, Happening.LAST_ANSWER): State.LINGERING,
        (State.PAUSED, Happening.ROOM): State.READING,
        (State.PAUSED, Happening.REFUSAL): State.REFUSING,
        (State.PAUSED, Happening.HALF_CLOSE): State.HALF_CLOSED,
        (State.PAUSED, Happening.LAST_ANSWER): State.LINGERING,
        (State.FINISHING, Happening.HALF_CLOSE): State.HALF_CLOSED,
        (State.FINISHING, Happening.LAST_ANSWER): State.LINGERING,
        (State.REFUSING, Happening.HALF_CLOSE): State.HALF_CLOSED,
        (State.REFUSING, Happening.LAST_ANSWER): State.LINGERING,
        (State.HALF_CLOSED, Happening.PROBE): State.PROBED,
        (State.HALF_CLOSED, Happening.LAST_ANSWER): State.CLOSING,
        (State.PROBED, Happening.LAST_ANSWER): State.CLOSING,
        (State.CLOSING, Happening.LAST_ANSWER): State.CLOSING,
    }
    | {(state, Happening.CLOSE): State.CLOSING for state in State if state is not State.CLOSED}
    | {(state, Happening.LOST): State.CLOSED for state in State if state is not State.CLOSED}
)
