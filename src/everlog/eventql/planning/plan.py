"""The plan: how a query is going to be answered.

What a plan leaves out of reading (`EventScan`) never changes the answer, only the work: the whole
condition of WHERE is still judged for each event that is read, unless the scan alone says the
same of a condition.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from everlog.eventql.analysis.analyzed import AnalyzedQuery, LogSource, Ordering, TypedExpression


@dataclass(frozen=True, slots=True, kw_only=True)
class EventScan:
    """Which events have to be read: those that fulfil every condition that is given here.

    Ids and times are inclusive lower and exclusive upper bounds; times are nanoseconds since 1970.
    Empty sets select nothing.
    """

    event_types: frozenset[str] | None = None
    subjects: frozenset[str] | None = None
    subject_prefix: str | None = None
    id_start: int = 0
    id_stop: int | None = None
    time_start: int | None = None
    time_stop: int | None = None
    is_reversed: bool = False


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source of a plan: a scan of events, all names of a kind, or a plan of its own."""

    source: "EventScan | LogSource | Plan"

    @property
    def is_events(self) -> bool:
        """Whether the rows are events."""
        return isinstance(self.source, EventScan)


class IndexAnswer(StrEnum):
    """What the index knows without any event being read."""

    COUNT = "count"
    COUNT_BY_EVENT_TYPE = "count by event type"


class Log(Protocol):
    """The log as a query sees it: one state, which does not change while the query runs."""

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        """Yield blocks of whole stored lines, in the scan's order."""

    def count(self, scan: EventScan) -> int:
        """Return how many events a scan selects; reads no event unless times are bounded."""

    def count_by_event_type(self, scan: EventScan) -> dict[str, int]:
        """Return the same by type, in the order of each type's first event, without zeros."""

    def subjects(self) -> Iterator[Sequence[str]]:
        """Yield chunks of all subjects, the root and all intermediate ones included."""

    def event_types(self) -> Sequence[str]:
        """Return all event types, those that have but a schema included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A query with all decisions taken; `query` may say the same with fewer subqueries."""

    query: AnalyzedQuery
    sources: tuple[SourcePlan, ...]
    # What is left of WHERE, as operands of AND, in the order written.
    conditions: tuple[TypedExpression, ...]
    # What is left to be sorted: None too where the scan or the result has that order anyway.
    ordering: Ordering | None
    index_answer: IndexAnswer | None
    # The number of rows from which on the result of a query that counts is certain.
    count_enough: int | None
    # Whether the text asks for the plan and not for rows.
    is_explain: bool = False
