"""What goes wrong between an application and its store, beside what the rules forbid.

`RefusedError` and `BusyError` are the domain's: whoever is refused was understood, and nothing was
stored. The classes here are about the way to the store and back, but for a write whose outcome is
not known (`outcome`).
"""

from typing import Final

from everlog.domain.errors import EverlogError


class UnreachableError(EverlogError):
    """The store cannot be asked, or does not answer to the end; of a write, nothing was stored.

    Trying again later may succeed.
    """


class UnauthorizedError(EverlogError):
    """The server does not take the token; nothing was stored."""


class StoreClosedError(EverlogError):
    """The store was closed, or belongs to the process that this one was forked from."""


class VerificationError(EverlogError):
    """An event is not what was written: its hash, its place in the chain, or its signature.

    `event_id` is that of the event, None where what came is no event at all.
    """

    def __init__(self, message: str, *, event_id: str | None = None) -> None:
        super().__init__(message)
        self.event_id: Final = event_id


class FrameError(EverlogError):
    """An event or a row does not fit into the columns of a data frame."""
