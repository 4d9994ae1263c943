"""Queries: the way in, for whoever has a text and a log.

    plan = prepare(text)
    for chunk in execute(plan, log, context):
        ...

`prepare` tells all that is wrong with a text; what it returns can be executed again and again,
by several threads at once, and is compiled the first time only.
"""

from collections.abc import Iterator

import msgspec

from everlog.eventql.codegen.compiler import compile_plan, is_compiled
from everlog.eventql.execution.executor import written_rows
from everlog.eventql.execution.incremental import IncrementalAggregation, is_incremental, may_affect
from everlog.eventql.limits import QueryLimits
from everlog.eventql.planning.plan import EvaluationContext, EventScan, Log, Plan, explain
from everlog.eventql.planning.planner import prepare

__all__ = [
    "EvaluationContext",
    "EventScan",
    "IncrementalAggregation",
    "Log",
    "Plan",
    "QueryLimits",
    "execute",
    "explain",
    "is_compiled",
    "is_incremental",
    "may_affect",
    "prepare",
    "reads_events",
    "scans_of",
]


def execute(plan: Plan, log: Log, context: EvaluationContext) -> Iterator[list[bytes]]:
    """Yield the rows of a query as JSON texts, in chunks, as they are found.

    A chunk without rows says that work goes on. Closing the iterator stops everything.

    Raises:
        QueryUnevaluableError: A row has no value; all rows before it have been yielded.
        QueryLimitError: The query needs more than it may have.
    """
    if plan.is_explain:
        yield [msgspec.json.encode(explain(plan, log))]
    else:
        compiled = compile_plan(plan, is_signed=context.sign is not None, as_json=True)
        yield from written_rows(compiled, log, context)


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
