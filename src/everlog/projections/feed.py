"""What a log has for a read model, in batches: as many events as are there, and never none.

Who is behind gets many at a time, who has caught up each event as it comes. A thread of its own
waits for the store, so that what comes while a batch is applied is the next one.
"""

import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from everlog.library.values import Event

if TYPE_CHECKING:
    from everlog.library.store import Following

# What one transaction takes: enough to make its cost small, and little enough to be kept twice.
_EVENTS_MAX: Final = 1_000
_BYTES_MAX: Final = 4 * 1024 * 1024

# How long it takes at most until somebody who stops the runner is heard.
_LOOK_SECONDS: Final = 0.1


def batches_of(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Divide events that come to an end."""
    batch: list[Event] = []
    size = 0
    for event in events:
        batch.append(event)
        size += len(event.data_json)
        if len(batch) >= _EVENTS_MAX or size >= _BYTES_MAX:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class Feed:
    """Events that do not come to an end; a thread reads them, one batch ahead."""

    def __init__(self, events: "Following") -> None:
        """Begin to read."""
        self._following: Final = events
        self._changed: Final = threading.Condition()
        self._events: list[Event] = []
        self._bytes = 0
        self._has_ended = False
        self._error: BaseException | None = None
        self._thread: Final = threading.Thread(
            target=self._read, name="everlog-projection", daemon=True
        )
        self._thread.start()

    def batches(self, stop: threading.Event) -> Iterator[list[Event]]:
        """Return what is there, again and again, until somebody stops it, or the events end.

        What the reading raises is raised here, behind all that was read before.
        """
        while not stop.is_set():
            with self._changed:
                while not (self._events or self._has_ended or stop.is_set()):
                    self._changed.wait(_LOOK_SECONDS)
                batch, self._events, self._bytes = self._events, [], 0
                self._changed.notify_all()
            if batch:
                yield batch
            elif self._error is not None:
                raise self._error
            elif self._has_ended:
                return

    def close(self) -> None:
        """Read no further; what was read and not asked for is left."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
        self._following.close()
        self._thread.join()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for event in self._following:
                with self._changed:
                    while not self._has_ended and self._is_full:
                        self._changed.wait()
                    if self._has_ended:
                        break
                    self._events.append(event)
                    self._bytes += len(event.data_json)
                    self._changed.notify_all()
        except BaseException as raised:  # noqa: BLE001 - it is raised where the events are taken.
            error = raised
        with self._changed:
            self._error, self._has_ended = error, True
            self._changed.notify_all()

    @property
    def _is_full(self) -> bool:
        return len(self._events) >= _EVENTS_MAX or self._bytes >= _BYTES_MAX
