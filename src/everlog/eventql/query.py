"""Queries: the way in, for whoever has a text and a log.

    plan = prepare(text)
    for chunk in execute(plan, log, surroundings):
        ...

`prepare` tells all that is wrong with a text; what it returns can be executed again and again.
"""

from collections.abc import Iterator

import msgspec

from everlog.eventql.execution.compiler import compile_plan
from everlog.eventql.execution.executor import written_rows
from everlog.eventql.execution.tally import Tally, is_incremental, may_affect
from everlog.eventql.limits import QueryLimits
from everlog.eventql.planning.explain import explain
from everlog.eventql.planning.plan import EventScan, Log, Plan
from everlog.eventql.planning.preparation import prepare
from everlog.eventql.surroundings import Surroundings

__all__ = [
    "EventScan",
    "Log",
    "Plan",
    "QueryLimits",
    "Surroundings",
    "Tally",
    "execute",
    "explain",
    "is_incremental",
    "may_affect",
    "prepare",
    "reads_events",
    "scans_of",
]


def execute(plan: Plan, log: Log, surroundings: Surroundings) -> Iterator[list[bytes]]:
    """Yield the rows of a query as JSON texts, in chunks, as they are found.

    A chunk without rows says that work goes on. Closing the iterator stops everything.

    Raises:
        QueryUnevaluableError: A row has no value; all rows before it have been yielded.
        QueryLimitError: The query needs more than it may have.
    """
    if plan.is_explain:
        yield [msgspec.json.encode(explain(plan, log))]
    else:
        yield from written_rows(compile_plan(plan, surroundings, as_json=True), log, surroundings)


def scans_of(plan: Plan) -> tuple[EventScan, ...]:
    """Return all scans of events that a plan needs, those of subqueries included."""
    scans: list[EventScan] = []
    pending = [plan]
    while pending:
        for source in pending.pop().sources:
            if isinstance(source.source, EventScan):
                scans.append(source.source)
            elif isinstance(source.source, Plan):
                pending.append(source.source)
    return tuple(scans)


def reads_events(plan: Plan) -> bool:
    """Tell whether any event is read, and not all is known to the index."""
    pending = [plan]
    while pending:
        current = pending.pop()
        if current.index_answer is None and current.count_enough != 0:
            for source in current.sources:
                if isinstance(source.source, EventScan):
                    return True
                if isinstance(source.source, Plan):
                    pending.append(source.source)
    return False
