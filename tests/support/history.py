"""What clients did and were told, and the log that this must agree with: values only.

Times are those of one monotonic clock, in seconds, so that "before" means the same to everybody.
Each write marks its events: `data` says which write, which of its events, and of how many.
Where there are several nodes, what a client was told has the name of the one that told it.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any, Final, NamedTuple

# An event as it is served.
Event = dict[str, Any]

ROOT: Final = "/"

# How the writes of somebody begin who is no client, and is told nothing (`rack_rivals`).
RIVAL: Final = "rival-"


class Kind(StrEnum):
    """The kinds of preconditions, as the API names them."""

    PRISTINE = "isSubjectPristine"
    POPULATED = "isSubjectPopulated"
    ON_EVENT_ID = "isSubjectOnEventId"


class Reads(StrEnum):
    """What a node promises to who reads."""

    # All that any node had acknowledged before.
    CURRENT = "current"
    # Some state of the one log, and on this node never an earlier one than before.
    LOCAL = "local"


class Condition(NamedTuple):
    """A precondition."""

    kind: Kind
    subject: str
    recursive: bool = False
    event_id: int = 0


class Accepted(NamedTuple):
    """The answer to a write that took place."""

    events: Sequence[Event]


class Refused(NamedTuple):
    """The answer to a write whose precondition did not hold; version 1 does not say which."""

    condition_index: int | None


class Unavailable(NamedTuple):
    """The answer that nothing was stored, nor will be, and that another time may be better."""


Outcome = Accepted | Refused | Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write; without an outcome where no answer came, so that it may have taken place."""

    key: str
    node: str = ""
    subjects: Sequence[str]
    conditions: Sequence[Condition] = ()
    invoked: float
    answered: float = inf
    outcome: Outcome | None = None


class Selection(NamedTuple):
    """What a reader or observer asked for, from the position `lower` on."""

    subject: str = ROOT
    recursive: bool = True
    lower: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One read that got a whole answer."""

    client: str
    node: str = ""
    mode: Reads = Reads.CURRENT
    selection: Selection
    invoked: float
    answered: float
    events: Sequence[Event]


@dataclass(slots=True, kw_only=True)
class Observation:
    """All that one observer saw, over as many connections as it took, each event with its time."""

    client: str
    # The node that it stays with, empty if it takes any.
    node: str = ""
    selection: Selection
    sightings: list[tuple[float, Event]] = field(default_factory=list)

    @property
    def next_position(self) -> int:
        """Return from where on to go on observing."""
        if not self.sightings:
            return self.selection.lower
        return int(self.sightings[-1][1]["id"]) + 1


@dataclass(slots=True)
class History:
    """Everything that happened, in no order."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    # Event types whose schema was registered, and whether that was acknowledged.
    schemas: dict[str, bool] = field(default_factory=dict)
    # How many reads were told that another time may be better.
    put_off_count: int = 0
    # Answers that no client should get.
    surprises: list[str] = field(default_factory=list)
    # Events by their hash, so that those which were seen again take no more memory.
    _known: dict[str, Event] = field(default_factory=dict)

    def keep(self, events: Iterable[Event]) -> list[Event]:
        """Return the events, those that are known as they are known."""
        return [
            known if (known := self._known.setdefault(event["hash"], event)) == event else event
            for event in events
        ]

    def note_rivals(self, log: "Log") -> None:
        """Take what rivals wrote for writes that nobody has an answer to."""
        known = {write.key for write in self.writes}
        for key, positions in log.writes.items():
            if key.startswith(RIVAL) and key not in known:
                subjects = [log.events[position]["subject"] for position in positions]
                self.writes.append(Write(key=key, subjects=subjects, invoked=-inf))

    @property
    def accepted_count(self) -> int:
        """Return how many writes were acknowledged."""
        return self.count(Accepted)

    def count(self, kind: type[Outcome]) -> int:
        """Return how many writes ended like this."""
        return sum(isinstance(write.outcome, kind) for write in tuple(self.writes))


class Log:
    """The whole log, event by event, as the sequential model knows it.

    A place is a number of events: the state of the log when it had so many.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        """Index the events; that they form a chain is checked elsewhere."""
        self.events: Final = events
        self._positions: Final[dict[tuple[str, bool], list[int]]] = defaultdict(list)
        # The positions of each write's events.
        self.writes: Final[dict[str, list[int]]] = defaultdict(list)
        for position, event in enumerate(events):
            subject = event["subject"]
            self._positions[subject, False].append(position)
            for above in _self_and_above(subject):
                self._positions[above, True].append(position)
            self.writes[event["data"]["write"]].append(position)
        # Where one write ends and the next one begins: the only places a reader may see.
        self.places: Final = [*sorted(found[0] for found in self.writes.values()), len(events)]

    @property
    def end(self) -> int:
        """Return the last place."""
        return len(self.events)

    def select(self, selection: Selection) -> list[int]:
        """Return the positions of all events that a selection means."""
        found = self._positions.get((selection.subject, selection.recursive), [])
        return found[bisect_left(found, selection.lower) :]

    def place_from(self, position: int) -> int:
        """Return the first place at which there were so many events or more."""
        return self.places[min(bisect_left(self.places, position), len(self.places) - 1)]

    def places_between(self, low: int, high: int) -> list[int]:
        """Return the places from `low` to `high`, both included."""
        return self.places[bisect_left(self.places, low) : bisect_left(self.places, high + 1)]

    def holds(self, condition: Condition, place: int) -> bool:
        """Tell whether a precondition holds at a place."""
        positions = self._positions.get((condition.subject, condition.recursive), [])
        count = bisect_left(positions, place)
        match condition.kind:
            case Kind.PRISTINE:
                return count == 0
            case Kind.POPULATED:
                return count > 0
            case Kind.ON_EVENT_ID:
                return count > 0 and positions[count - 1] == condition.event_id


def _self_and_above(subject: str) -> list[str]:
    parts = subject.removeprefix(ROOT).split(ROOT)
    return [ROOT, *(ROOT + ROOT.join(parts[: depth + 1]) for depth in range(len(parts)))]
