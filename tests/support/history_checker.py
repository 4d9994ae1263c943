"""Whether what clients were told can have happened: histories against the sequential model.

The ids give the order of the writes, so nothing has to be searched for: the log is the only
candidate, and every claim of every client is held against it. A client that was told of an event
knows that whatever is asked from then on comes behind it; a write that was asked for later than an
answer cannot have had a part in it. Between these two bounds lies the place at which a read or a
refusal was true.

Of several nodes, each is held to what any of them has told, except for local reads: these are held
to what their own node has told, and, like all others, to the one log.

Every function returns findings, each a sentence; none of them means that the history is sound.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from tests.support.history import (
    Accepted,
    Event,
    History,
    Log,
    Observation,
    Read,
    Reads,
    Refused,
    Unavailable,
    Write,
)


def find_violations(history: History, log: Log) -> list[str]:
    """Return everything in a history that cannot have happened as the log says."""
    bounds = Bounds(history, log)
    return [
        *history.surprises,
        *find_broken_writes(history.writes, log),
        *find_misplaced_writes(history.writes, log, bounds),
        *find_false_acceptances(history.writes, log),
        *find_false_refusals(history.writes, log, bounds),
        *find_impossible_reads(history.reads, log, bounds),
        *find_broken_observations(history.observations, log),
    ]


class Telling(NamedTuple):
    """When somebody was told of which place, by which node."""

    moment: float
    place: int
    node: str


class Bounds:
    """Between which places something happened that took from one moment to another."""

    def __init__(self, history: History, log: Log) -> None:
        """Gather what was told when, and what was asked for when."""
        tellings = sorted(_told(history, log))
        self._told: Final = _Told(tellings)
        by_node: dict[str, list[Telling]] = defaultdict(list)
        for telling in tellings:
            by_node[telling.node].append(telling)
        self._told_by: Final = {node: _Told(some) for node, some in by_node.items()}
        asked = sorted(
            (
                (write.invoked, log.writes[write.key][0])
                for write in history.writes
                if write.key in log.writes
            ),
            reverse=True,
        )
        # From the latest one on, so that each place is the lowest of all that were asked for later.
        places = list(accumulate((place for _, place in asked), min))
        self._asked_at: Final = [moment for moment, _ in reversed(asked)]
        self._asked_places: Final = [*reversed(places), log.end]

    def low(self, moment: float) -> int:
        """Return the place that somebody had been told of before a moment."""
        return self._told.low(moment)

    def low_of(self, node: str, moment: float) -> int:
        """Return the place that a node had told somebody of before a moment."""
        told = self._told_by.get(node)
        return 0 if told is None else told.low(moment)

    def high(self, moment: float) -> int:
        """Return the place before everything that was asked for after a moment."""
        return self._asked_places[bisect_right(self._asked_at, moment)]


class _Told:
    def __init__(self, tellings: Sequence[Telling]) -> None:
        self._moments: Final = [telling.moment for telling in tellings]
        self._places: Final = list(accumulate((telling.place for telling in tellings), max))

    def low(self, moment: float) -> int:
        count = bisect_left(self._moments, moment)
        return self._places[count - 1] if count > 0 else 0


def _told(history: History, log: Log) -> Iterator[Telling]:
    """Yield when which place was told of, as far as it is one of the log."""

    def place_behind(event: Event) -> int:
        return log.place_from(min(int(event["id"]) + 1, log.end))

    for write in history.writes:
        if isinstance(write.outcome, Accepted) and write.outcome.events:
            yield Telling(write.answered, place_behind(write.outcome.events[-1]), write.node)
    for read in history.reads:
        if read.events:
            yield Telling(read.answered, place_behind(read.events[-1]), read.node)
    for seen in history.observations:
        for moment, event in seen.sightings:
            yield Telling(moment, place_behind(event), seen.node)


def find_broken_writes(writes: Sequence[Write], log: Log) -> Iterator[str]:
    """Look for writes that are not as they were answered, not whole, or not anybody's."""
    known = {write.key: write for write in writes}
    for key in log.writes.keys() - known.keys():
        yield f"the log holds a write {key} that nobody sent"
    for write in writes:
        positions = log.writes.get(write.key, [])
        stored = [log.events[position] for position in positions]
        match write.outcome:
            case Accepted(events) if not stored:
                yield f"{write.key} was acknowledged with {len(events)} events and is lost"
            case Accepted(events) if list(events) != stored:
                yield f"{write.key} is not stored as it was acknowledged"
            case Refused() if stored:
                yield f"{write.key} was refused and is stored"
            case Unavailable() if stored:
                yield f"{write.key} was told that nothing was stored, and is stored"
        if stored:
            yield from _find_broken_write(write, positions, stored)


def _find_broken_write(write: Write, positions: list[int], stored: list[Event]) -> Iterator[str]:
    count = len(write.subjects)
    if positions != [*range(positions[0], positions[0] + len(positions))]:
        yield f"{write.key} is not in one piece: {positions}"
    if [event["data"]["index"] for event in stored] != [*range(count)]:
        yield f"{write.key} has {count} events, of which the log holds {len(stored)}"
    elif [event["subject"] for event in stored] != list(write.subjects):
        yield f"{write.key} is not on the subjects that it was sent for"


def find_misplaced_writes(writes: Iterable[Write], log: Log, bounds: Bounds) -> Iterator[str]:
    """Look for writes before something that was told of before they were sent."""
    for write in writes:
        if write.key in log.writes:
            place, low = log.writes[write.key][0], bounds.low(write.invoked)
            if place < low:
                yield f"{write.key} is at {place}, though {low} events were there before it"


def find_false_acceptances(writes: Iterable[Write], log: Log) -> Iterator[str]:
    """Look for stored writes whose preconditions did not hold at their place."""
    for write in writes:
        if write.key in log.writes:
            place = log.writes[write.key][0]
            for condition in write.conditions:
                if not log.holds(condition, place):
                    yield f"{write.key} is at {place}, where this did not hold: {condition}"


def find_false_refusals(writes: Iterable[Write], log: Log, bounds: Bounds) -> Iterator[str]:
    """Look for refusals that were true at no place between the request and the answer."""
    for write in writes:
        if isinstance(write.outcome, Refused):
            low, high = bounds.low(write.invoked), bounds.high(write.answered)
            places = log.places_between(low, high)
            if not any(_is_refusal_true(write, write.outcome, log, place) for place in places):
                yield f"{write.key} was refused, but from {low} to {high} {write.conditions} held"


def _is_refusal_true(write: Write, refusal: Refused, log: Log, place: int) -> bool:
    violated = (
        index for index, condition in enumerate(write.conditions) if not log.holds(condition, place)
    )
    first = next(violated, None)
    return first is not None and refusal.condition_index in {None, first}


def find_impossible_reads(reads: Iterable[Read], log: Log, bounds: Bounds) -> Iterator[str]:
    """Look for reads that are the state of no place, or of one that had passed or was to come."""
    for read in reads:
        expected = log.select(read.selection)
        count = len(read.events)
        if list(read.events) != [log.events[position] for position in expected[:count]]:
            yield f"{read.client} read {read.selection}: not what the log holds"
            continue
        # At which places exactly so many of the selection's events are there.
        first = expected[count - 1] + 1 if count > 0 else 0
        last = expected[count] if count < len(expected) else log.end
        is_local = read.mode is Reads.LOCAL
        low = bounds.low_of(read.node, read.invoked) if is_local else bounds.low(read.invoked)
        high = bounds.high(read.answered)
        if not log.places_between(max(first, low), min(last, high)):
            yield (
                f"{read.client} read {read.selection} as of {first} to {last}{_at(read.node)}, "
                f"though the log went from {low} to {high} at that time"
            )


def _at(node: str) -> str:
    return f" at {node}" if node else ""


def find_broken_observations(observations: Iterable[Observation], log: Log) -> Iterator[str]:
    """Look for observers that did not see exactly the log's events, one after the other."""
    for observation in observations:
        expected = log.select(observation.selection)
        seen = [event for _, event in observation.sightings]
        stored = [log.events[position] for position in expected[: len(seen)]]
        if seen != stored:
            place = next(
                (
                    n
                    for n, (one, other) in enumerate(zip(seen, stored, strict=False))
                    if one != other
                ),
                len(stored),
            )
            yield (
                f"{observation.client} observed {observation.selection}: its event number {place} "
                f"has the id {seen[place]['id']}, where the log has {expected[place : place + 1]}"
            )


def find_differences(copies: Mapping[str, Sequence[bytes]]) -> Iterator[str]:
    """Look for copies of the log, line by line, that are not the same as the first one."""
    (first, expected), *others = copies.items()
    for name, lines in others:
        if list(lines) != list(expected):
            pairs = enumerate(zip(lines, expected, strict=False))
            shortest = min(len(lines), len(expected))
            place = next((n for n, (one, other) in pairs if one != other), shortest)
            yield (
                f"{name} has {len(lines)} events and {first} {len(expected)}, "
                f"and from {place} on they differ"
            )
