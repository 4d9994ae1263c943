"""Event types: their names, first events and schemas.

Numbered in the order of their appearance, like subjects. A type comes into being with its first
event or with its schema.
"""

from everlog.storage.engine import EventType, Head

_NEVER = -1


class EventTypeTable:
    """Names and numbers of event types; small, so it is kept in plain lists."""

    def __init__(self) -> None:
        """Start empty."""
        self.ids: dict[str, int] = {}
        self.names: list[str] = []
        self.schemas: dict[str, str] = {}
        self._first_positions: list[int] = []

    def load(self, names: list[str], first_positions: list[int]) -> None:
        """Take over the types of a snapshot; a type without events has the position -1."""
        self.names = names
        self.ids = dict(zip(names, range(len(names)), strict=True))
        self._first_positions = first_positions

    def number(self, name: str, *, position: int = _NEVER) -> int:
        """Return a type's number, adding it where it is new; the position is an event's of it."""
        number = self.ids.get(name)
        if number is None:
            number = len(self.names)
            self.names.append(name)
            self._first_positions.append(position)
            self.ids[name] = number
        elif self._first_positions[number] == _NEVER:
            self._first_positions[number] = position
        return number

    def first_position(self, number: int) -> int:
        """Return the position of a type's first event, -1 where it has none."""
        return self._first_positions[number]

    def truncate(self, head: Head) -> None:
        """Forget what came after a head, schemas apart."""
        for name in self.names[head.event_type_count :]:
            # Without a number where there was no memory for it.
            self.ids.pop(name, None)
        del self.names[head.event_type_count :]
        self._first_positions = [
            first if first < head.event_count else _NEVER
            for first in self._first_positions[: head.event_type_count]
        ]

    def visible(self, head: Head) -> list[EventType]:
        """Return the types of a head, sorted by name."""
        entries = (self._entry(number, head) for number in range(head.event_type_count))
        return sorted(entry for entry in entries if entry is not None)

    def find(self, name: str, head: Head) -> EventType | None:
        """Return one type as of a head."""
        number = self.ids.get(name)
        if number is None or number >= head.event_type_count:
            return None
        return self._entry(number, head)

    def _entry(self, number: int, head: Head) -> EventType | None:
        name = self.names[number]
        has_events = 0 <= self._first_positions[number] < head.event_count
        schema = self.schemas.get(name)
        # Numbered for a schema whose registration failed, or is not published yet.
        if not has_events and schema is None:
            return None
        return EventType(name, has_events, schema)
