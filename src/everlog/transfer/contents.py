"""What a backup holds: counted and checked while it is made, and while one is gone on with.

Only the chain is looked at: what is backed up was stored, whatever the rules were then.
What is left to others: where lines come from and go to.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from everlog.domain.errors import RefusedError
from everlog.transfer.backup_lines import EventItem, Line, SchemaItem, parse_backup_lines
from everlog.transfer.chaining import Chain


class Place(NamedTuple):
    """An event by its id and its hash, for saying behind which one an increment begins."""

    id: str
    hash: str


class BackupContents:
    """What has been written to a backup so far."""

    def __init__(self, after: Place | None) -> None:
        """Begin with nothing, behind the last event of another backup if this is an increment."""
        self._chain: Final = (
            Chain() if after is None else Chain(count=int(after.id) + 1, hash_=after.hash)
        )
        self._first_position: Final = self._chain.count
        self._line_count = 0
        # By event type.
        self._schemas: Final[dict[str, bytes]] = {}
        self.first: Place | None = None
        # The last event, or the one behind which an increment begins.
        self.last = after

    @property
    def event_count(self) -> int:
        """How many events there are."""
        return self._chain.count - self._first_position

    @property
    def schema_count(self) -> int:
        """How many event schemas there are."""
        return len(self._schemas)

    def add(self, lines: bytes) -> bytes:
        """Check whole lines that follow, and return them without the schemas that are there.

        Raises:
            RefusedError: They are no lines of a backup, or do not follow.
        """
        found = list(parse_backup_lines(lines, self._line_count + 1))
        for line in found:
            if isinstance(line.item, EventItem):
                self._follow(line.item)
                self.last = Place(line.item.event.id, line.item.hash)
                self.first = self.first or self.last
        added = lines
        if not all(isinstance(line.item, EventItem) for line in found):
            added = self._without_known_schemas(lines, found)
        self._line_count += added.count(b"\n")
        return added

    def _follow(self, item: EventItem) -> None:
        try:
            self._chain.follow(item)
        except RefusedError as error:
            id_ = item.event.id[:100]
            message = f"event {id_} is not what follows: {error.message}"
            raise RefusedError(error.code, message, eventId=id_, **error.details) from error

    def _without_known_schemas(self, lines: bytes, found: Sequence[Line]) -> bytes:
        texts, first_number = lines.splitlines(keepends=True), self._line_count + 1
        added = []
        for line in found:
            item = line.item
            if isinstance(item, SchemaItem):
                if item.event_type in self._schemas:
                    continue
                self._schemas[item.event_type] = bytes(item.schema)
            added.append(texts[line.number - first_number])
        return b"".join(added)
