"""Blame: whose value an expression failed over, where rows of several sources meet.

Looked for only once an error has happened, so that rows that do not fail pay nothing for it.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import Any

from everlog.eventql.analysis.analyzed import (
    AnalyzedQuery,
    FieldAccess,
    LogSource,
    TypedExpression,
    operands,
)
from everlog.eventql.codegen.events import event_id_of, lines_of
from everlog.eventql.diagnostic import Span
from everlog.eventql.planning.plan import EventScan, Log
from everlog.eventql.trees import walk


def blamed_source(query: AnalyzedQuery, span: Span) -> int:
    """Return the source of events that the expression at a span names first; 0 if it names none."""
    blamed = next((node for place, node in _evaluated(query) if place == span), None)
    if blamed is None:
        return 0
    named = (node for node in walk(blamed, operands) if isinstance(node, FieldAccess))
    events = (field for field in named if query.sources[field.source] is LogSource.EVENTS)
    first = min(events, key=lambda field: field.span.start, default=None)
    return 0 if first is None else first.source


def place_of_row(traceback: TracebackType | None, source: int) -> int | None:
    """Return the place in its table of the row that a loop over a later source had come to.

    The names are those that generated loops have (`codegen.loop_code`).
    """
    while traceback is not None:
        names = traceback.tb_frame.f_locals
        table = names.get(f"s{source}")
        row = names.get(f"r{source}", names.get(f"w{source}"))
        if table is not None and row is not None:
            return next((place for place, item in enumerate(table) if _is_of(item, row)), None)
        traceback = traceback.tb_next
    return None


def event_at(log: Log, scan: EventScan, place: int) -> str:
    """Return the id of an event by its place in a scan, which is read again up to there."""
    before = 0
    for block in log.scan(scan):
        count = block.count(b"\n")
        if place < before + count:
            return event_id_of(lines_of(block)[place - before])
        before += count
    raise AssertionError


def _is_of(item: Any, row: Any) -> bool:
    """Tell whether an item of a table is a row, or a row with its line."""
    return item is row or (type(item) is tuple and item[0] is row)


def _evaluated(query: AnalyzedQuery) -> Iterator[tuple[Span, TypedExpression]]:
    """Yield what is evaluated with a row of each source, with the places that errors name."""
    roots = [query.where, query.group_key, query.projection]
    if query.ordering is not None:
        roots.append(query.ordering.key)
    for call in query.aggregates:
        if call.argument is not None:
            yield call.span, call.argument
            roots.append(call.argument)
    for root in roots:
        if root is not None:
            yield from ((node.span, node) for node in walk(root, operands))
