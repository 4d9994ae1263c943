"""Readers: the rows of a source, chunk by chunk, in the form in which generated code takes them.

A chunk of events is a block of stored lines, of which structs, lines or only the number is made,
whatever the code asks for. Names are sorted, since the log has them in another order.
`selected_lines` does without the index, for lines that are not in it yet, since they are about to
be written.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import msgspec

from everlog.eventql.analysis.analyzed import LogSource
from everlog.eventql.codegen.row_code import EventRows
from everlog.eventql.codegen.structs import event_id_of, lines_of
from everlog.eventql.diagnostic import QueryLimitError
from everlog.eventql.evaluation.datetimes import parse_event_time
from everlog.eventql.execution.memory_budget import MemoryBudget, size_of
from everlog.eventql.execution.row_operators import chunks_of
from everlog.eventql.limits import QueryLimits
from everlog.eventql.planning.plan import EventScan, Log


class _Event(msgspec.Struct, gc=False):
    id: str
    time: str
    subject: str
    type: str


class _Line(msgspec.Struct, gc=False):
    payload: _Event


_decode_lines: Final[Callable[[bytes], list[_Line]]] = msgspec.json.Decoder(_Line).decode_lines


def selected_lines(block: bytes, scan: EventScan) -> bytes:
    """Return those lines of a block whose events a scan selects, in their order."""
    decoded = _decode_lines(block)
    chosen = [
        line
        for line, struct in zip(lines_of(block), decoded, strict=True)
        if _is_selected(struct.payload, scan)
    ]
    if len(chosen) == len(decoded):
        return block
    return b"".join(line + b"\n" for line in chosen)


def selects_any(block: bytes, scans: Sequence[EventScan]) -> bool:
    """Tell whether one of several scans selects one of the events in a block."""
    events = [line.payload for line in _decode_lines(block)]
    return any(_is_selected(event, scan) for event in events for scan in scans)


def _is_selected(event: _Event, scan: EventScan) -> bool:
    is_named = (scan.event_types is None or event.type in scan.event_types) and (
        scan.subjects is None or event.subject in scan.subjects
    )
    if not is_named or not event.subject.startswith(scan.subject_prefix or ""):
        return False
    if not _is_between(int(event.id), scan.id_start, scan.id_stop):
        return False
    if scan.time_start is None and scan.time_stop is None:
        return True
    return _is_between(parse_event_time(event.time).nanoseconds, scan.time_start, scan.time_stop)


def _is_between(number: int, start: int | None, stop: int | None) -> bool:
    return (start is None or number >= start) and (stop is None or number < stop)


# Combinations of rows that are judged before whoever asks for rows is heard of.
_TURN_ROWS: Final = 50_000


@dataclass(slots=True)
class BlockLines:
    """The lines of a block, which is split when one of them is asked for."""

    block: bytes
    _lines: list[bytes] = field(default_factory=list)

    def __call__(self, index: int) -> bytes:
        """Return a line by its place in the block."""
        if not self._lines:
            self._lines = lines_of(self.block)
        return self._lines[index]

    def event_id(self, index: int) -> str:
        """Return the id of the event at a place in the block."""
        return event_id_of(self(index))


def items_of(block: bytes, rows: EventRows) -> Sequence[Any]:
    """Return what the loop over a block's events goes through."""
    if rows.has_fields:
        return rows.structs.decode(block)
    return lines_of(block) if rows.needs_line else range(block.count(b"\n"))


def read_table(
    log: Log, scan: EventScan, rows: EventRows, budget: MemoryBudget, table: list[Any]
) -> Iterator[None]:
    """Read all events of a scan into a table, for loops within loops; yield after each block."""
    for block in log.scan(scan):
        items: Sequence[Any] = items_of(block, rows)
        if rows.has_fields:
            items = [item.f0 for item in items]
            if rows.needs_line:
                items = [*zip(items, lines_of(block), strict=True)]
        # The structs refer to texts in the block.
        budget.add(len(items), len(block) + size_of(None) * len(items))
        table.extend(items)
        yield


def name_chunks(log: Log, source: LogSource) -> Iterator[list[str]]:
    """Yield all subjects or event types, in order of their code points."""
    if source is LogSource.SUBJECTS:
        return chunks_of(sorted(chain.from_iterable(log.subjects())))
    return chunks_of(sorted(log.event_types()))


class Turns:
    """Counts the combinations of rows of several sources, and ends a query that has too many."""

    __slots__ = ("_check", "_combinations", "_limits", "_turn")

    def __init__(self, limits: QueryLimits, check: Callable[[], None] | None = None) -> None:
        self._limits = limits
        self._check = check
        self._combinations = 0
        self._turn = 0

    def take(self, count: int) -> bool:
        """Account for combinations; tell whether whoever asks for rows should be heard of.

        Raises:
            QueryLimitError: There are too many.
        """
        if self._check is not None:
            self._check()
        self._combinations += count
        if self._combinations > self._limits.product_rows_max:
            raise QueryLimitError(
                f"the query combines more than {self._limits.product_rows_max} rows of its "
                "sources; select fewer of each, in subqueries for example"
            )
        turn, self._turn = self._turn, self._combinations // _TURN_ROWS
        return turn != self._turn
