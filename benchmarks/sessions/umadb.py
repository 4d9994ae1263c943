"""UmaDB over gRPC, with the client of its package, which is compiled.

The subject is a tag of the event, and so is the library it is in where events are read: UmaDB
matches whole tags, so that a tree needs a tag for each level that somebody reads by.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from benchmarks.events import TYPE, data_of, subject_of
from benchmarks.sessions.session import NewEvent

# Known in the peers' environment only, and there by no types that a checker here could see.
_umadb: Any = import_module("umadb")

_FILL_SIZE = 5_000


class UmaDBSession:
    """A client."""

    def __init__(self, address: str) -> None:
        """Connect to a URL."""
        self._client = _umadb.Client(address)
        # When it reads for the first time, it asks for Python's signals: a main thread must do it.
        list(self._client.read(limit=1))
        self._latest: dict[str, int] = {}

    def write(self, events: Sequence[NewEvent]) -> None:
        """Store all of them or none."""
        self._client.append([_event(event) for event in events])

    def write_pristine(self, event: NewEvent) -> None:
        """Store an event unless an event has its subject's tag."""
        condition = _umadb.AppendCondition(_by_tag(event.subject))
        self._client.append([_event(event)], condition=condition)

    def write_next(self, event: NewEvent) -> None:
        """Store an event unless another one has its subject's tag since this session wrote."""
        condition = None
        if event.subject in self._latest:
            after = self._latest[event.subject]
            condition = _umadb.AppendCondition(_by_tag(event.subject), after=after)
        self._latest[event.subject] = self._client.append([_event(event)], condition=condition)

    def read_subject(self, subject: str) -> int:
        """Read all events with a tag."""
        return self._count(_by_tag(subject))

    def read_everything(self) -> int:
        """Read all events."""
        return self._count(None)

    def read_recursive(self, subject: str) -> int:
        """Read all events with the tag of a library."""
        return self._count(_by_tag(subject))

    def prepare_observing(self) -> None:
        """Do nothing: everything can be subscribed to."""

    def observe(self) -> Iterator[None]:
        """Subscribe to everything."""
        subscription = self._client.subscribe()
        yield
        for _ in subscription:
            yield

    def fill(self, event_count: int) -> None:
        """Append the events of a filled log."""
        for first in range(0, event_count, _FILL_SIZE):
            events = []
            for position in range(first, min(first + _FILL_SIZE, event_count)):
                subject = subject_of(position, event_count=event_count)
                tags = [subject, subject.rpartition("/books/")[0] or "/archive"]
                events.append(_umadb.Event(TYPE, data_of(position).encode(), tags))
            self._client.append(events)

    def close(self) -> None:
        """End what is still streaming."""
        self._client.close()

    def _count(self, query: Any) -> int:
        answer = self._client.read(query)
        count = 0
        while batch := answer.next_batch():
            count += len(batch)
        return count


def _event(event: NewEvent) -> Any:
    return _umadb.Event(TYPE, event.data.encode(), [event.subject])


def _by_tag(tag: str) -> Any:
    return _umadb.Query([_umadb.QueryItem(tags=[tag])])
