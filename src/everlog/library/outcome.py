"""A write whose answer was lost, and how to find out what became of it."""

from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from everlog.domain.data import parse_data, sort_members
from everlog.domain.errors import EverlogError, RefusedError
from everlog.domain.subject import parse_subject
from everlog.library.encoding import encode_data
from everlog.library.store import Store
from everlog.library.values import Bound, Event, NewEvent, Precondition

_Values = tuple[str, str, str, str, str | None, str | None]


class OutcomeUnknownError(EverlogError):
    """A write may have been stored, or not: its answer was lost.

    `find_out` looks whether it was. Writing the same again is safe if a precondition of the write
    cannot hold twice, such as `IsSubjectPristine` or `IsSubjectOnEventId` on a subject of it.

    `events` and `preconditions` are those of the write. `after` is the id of the latest event that
    the store had shown before the write was sent, None if it had shown none.
    """

    def __init__(
        self,
        message: str,
        *,
        events: Sequence[NewEvent] = (),
        preconditions: Sequence[Precondition] = (),
        after: str | None = None,
    ) -> None:
        super().__init__(message)
        self.events: Final = tuple(events)
        self.preconditions: Final = tuple(preconditions)
        self.after: Final = after

    def find_out(self, store: Store) -> list[Event] | None:
        """Return the events of the write as stored, None if they are not.

        It reads what the subject of the first event got since the write was sent, and looks for
        events that follow each other and have the values of the write. So events have to be told
        apart by their values, for example by an id in their data: one that somebody else wrote, and
        that is the same in all of them, is taken for ours.

        Call it when the server answers again, and has had a moment: what is on its way when you ask
        may still be stored a moment later. Only a precondition that cannot hold twice excludes
        that.

        Raises:
            RefusedError, BusyError, UnreachableError, UnauthorizedError: As `Store.read`.
        """
        return _find_written(store, self.events, after=self.after)


def _find_written(
    store: Store, events: Sequence[NewEvent], *, after: str | None
) -> list[Event] | None:
    """Return events behind an id that follow each other and have these values, None without any."""
    try:
        wanted = [_values_of(event) for event in events]
    except RefusedError:
        return None
    if not wanted:
        return None
    bound = None if after is None else Bound(after, "exclusive")
    for candidate in store.read(events[0].subject, lower_bound=bound):
        if _stored_values_of(candidate) != wanted[0]:
            continue
        whole = list(
            islice(store.read("/", recursive=True, lower_bound=Bound(candidate.id)), len(wanted))
        )
        if [_stored_values_of(event) for event in whole] == wanted:
            return whole
    return None


def _values_of(event: NewEvent) -> _Values:
    return (
        *(event.source, parse_subject(event.subject), event.type, _normal(encode_data(event.data))),
        *(event.traceparent or None, event.tracestate or None),
    )


def _stored_values_of(event: Event) -> _Values:
    return (
        *(event.source, event.subject, event.type, _normal(event.data_json)),
        *(event.traceparent, event.tracestate),
    )


def _normal(data: bytes | msgspec.Raw) -> str:
    """Return the text of data that does not depend on the order of its members."""
    return sort_members(*parse_data(data))
