"""What every store is asked to do: a session is one connection, used by one thread."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class NewEvent(NamedTuple):
    """An event to be written; its type and source are the same for all."""

    subject: str
    data: str


class Session(Protocol):
    """One client of one store; each call returns when the store has answered.

    Reads return how many events were received, each as bytes or text of its own.
    """

    def write(self, events: Sequence[NewEvent]) -> None:
        """Store all of them or none, on whatever subjects, with no condition."""

    def write_pristine(self, event: NewEvent) -> None:
        """Store an event if its subject has none yet, and fail if it has."""

    def write_next(self, event: NewEvent) -> None:
        """Store an event if its subject's latest is the one that this session wrote last."""

    def read_subject(self, subject: str) -> int:
        """Read all events of one subject."""

    def read_everything(self) -> int:
        """Read all events of the store in their order."""

    def read_recursive(self, subject: str) -> int:
        """Read all events of the subjects below one, in their order."""

    def prepare_observing(self) -> None:
        """Do once what a store needs before anybody observes."""

    def observe(self) -> Iterator[None]:
        """Yield once when listening to an empty store, and then for each event."""

    def close(self) -> None:
        """Disconnect."""
