"""A store for read models that is a list of events in memory, with a true hash chain."""

import json
import threading
from collections.abc import Iterator
from typing import Any, Final

from everlog.domain.chain import GENESIS_HASH, hash_v1
from everlog.library.values import Bound, Event

TIME: Final = "2026-11-23T12:00:00.123456789Z"
SOURCE: Final = "https://library.example"


class Following:
    """Events as they come, until it is closed."""

    def __init__(self, store: "EventList", position: int) -> None:
        self._store: Final = store
        self._position = position
        self._is_closed = False

    def __iter__(self) -> Iterator[Event]:
        store = self._store
        while True:
            with store.changed:
                store.changed.wait_for(
                    lambda: self._is_closed or store.error or self._position < len(store.events)
                )
                if self._is_closed:
                    return
                if store.error is not None:
                    raise store.error
                event = store.events[self._position]
                self._position += 1
            yield event

    def close(self) -> None:
        with self._store.changed:
            self._is_closed = True
            self._store.changed.notify_all()


class EventList:
    """What read models ask of a store, over a list."""

    def __init__(self) -> None:
        self.events: Final[list[Event]] = []
        self.changed: Final = threading.Condition()
        self.error: Exception | None = None

    def add(self, *events: tuple[str, str, dict[str, Any]]) -> None:
        """Write events, each a subject, a type and data."""
        with self.changed:
            for subject, type_, data in events:
                self.events.append(self._event(subject, type_, data))
            self.changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Let those who follow fail."""
        with self.changed:
            self.error = error
            self.changed.notify_all()

    def read(
        self,
        subject: str,
        *,
        recursive: bool,
        order: str = "chronological",
        lower_bound: Bound | None = None,
        upper_bound: Bound | None = None,
    ) -> Iterator[Event]:
        start = 0 if lower_bound is None else int(lower_bound.id)
        stop = len(self.events) if upper_bound is None else int(upper_bound.id) + 1
        assert recursive
        events = [event for event in self.events[start:stop] if is_below(event.subject, subject)]
        return iter(events if order == "chronological" else events[::-1])

    def follow(
        self, subject: str, *, recursive: bool, after: str | None, on_interruption: object
    ) -> Following:
        assert (subject, recursive, on_interruption) == ("/", True, None)
        return Following(self, 0 if after is None else int(after) + 1)

    def _event(self, subject: str, type_: str, data: dict[str, Any]) -> Event:
        predecessor = self.events[-1].hash if self.events else GENESIS_HASH
        id_, text = str(len(self.events)), json.dumps(data, separators=(",", ":"))
        kind = "application/json"
        hash_ = hash_v1("1.0", id_, predecessor, TIME, SOURCE, subject, type_, kind, text)
        members = {
            "specversion": "1.0",
            "id": id_,
            "time": TIME,
            "source": SOURCE,
            "subject": subject,
            "type": type_,
            "datacontenttype": kind,
            "data": data,
            "predecessorhash": predecessor,
            "hash": hash_,
            "signature": None,
        }
        return Event.from_json(json.dumps(members, separators=(",", ":")).encode())


def is_below(subject: str, root: str) -> bool:
    return f"{subject}/".startswith(root if root == "/" else f"{root}/")
