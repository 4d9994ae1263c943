"""Trying a query on a thread of the server.

A thread that computes shares the interpreter's lock with the event loop: while it does, the loop
waits some milliseconds for each turn. So a query that looks short is tried for some milliseconds,
with little memory, and is evaluated as a whole: either all its rows are known, or nothing of it is,
and a process begins anew. So no row is sent twice, and nothing of it is held while a client reads.
What is left to others: what looks short (`plans`), and the process (`processes`).
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

import msgspec

from everlog.domain.errors import EverlogError
from everlog.eventql.diagnostic import QueryLimitError, QueryUnevaluableError
from everlog.eventql.limits import QueryLimits
from everlog.eventql.planning.plan import Plan
from everlog.eventql.query import EvaluationContext, IncrementalAggregation, execute, explain
from everlog.service.querying.faults import ToldFaultError, faults_told, tell
from everlog.service.querying.log import HeadLog, aggregate
from everlog.service.querying.plans import PreparedQuery, is_short
from everlog.storage.engine import Engine, Head

# How long a thread may compute for a query.
_SECONDS_MAX: Final = 0.05

# What a query may hold meanwhile: it bounds what sorting takes, too, which nothing interrupts.
_LIMITS: Final = QueryLimits(held_size_max=4 * 1024 * 1024)

# Bytes of its rows.
_ROWS_SIZE_MAX: Final = 1024 * 1024

_Found = TypeVar("_Found")


class FoundRows(NamedTuple):
    """All rows of a query, up to what was wrong with the next one."""

    rows: list[bytes]
    fault: EverlogError | None


class _TooLongError(Exception):
    """The query takes more than it gets, or nobody waits for it."""


class Trial:
    """One attempt to evaluate a query on a thread."""

    def __init__(self, engine: Engine, context: Callable[[], EvaluationContext]) -> None:
        """Be ready to look at an engine; `context` tells what a query sees besides."""
        self._engine: Final = engine
        self._context: Final = context
        self._ends_at = 0.0
        # Set by whoever waits, from another thread.
        self.is_wanted = True
        # Whether it was given up since it took too much.
        self.was_too_long = False

    def rows(self, prepared: PreparedQuery, head: Head) -> FoundRows | None:
        """Return all rows, None if that is not for a thread.

        Raises: as `Queries.rows`.
        """
        if prepared.needs.is_explain:
            assert prepared.plan is not None
            plan = explain(prepared.plan, HeadLog(self._engine, head))
            return FoundRows([msgspec.json.encode(plan)], None)
        return self._evaluate(prepared, head, _gather)

    def aggregation(self, prepared: PreparedQuery, head: Head) -> IncrementalAggregation | None:
        """Return the aggregates of an incremental plan, None if that is not for a thread.

        Raises: as `Queries.rows`.
        """
        found = self._evaluate(prepared, head, aggregate)
        # Those who add what comes later have limits of their own.
        return None if found is None else found.resume(self._context())

    def _evaluate(
        self,
        prepared: PreparedQuery,
        head: Head,
        evaluate: Callable[[Plan, HeadLog, EvaluationContext], _Found],
    ) -> _Found | None:
        plan, log, context = prepared.plan, HeadLog(self._engine, head), self._context()
        assert plan is not None
        if self._engine.files(head) is None:
            # There is no process that it could be left to.
            with faults_told():
                return evaluate(plan, log, context)
        if not is_short(prepared, log):
            return None
        # The time of this thread alone: one that waits keeps nobody else from working.
        self._ends_at = time.thread_time() + _SECONDS_MAX
        try:
            with faults_told():
                return evaluate(plan, log, replace(context, limits=_LIMITS, check=self._check))
        except (_TooLongError, QueryLimitError):
            self.was_too_long = True
            return None

    def _check(self) -> None:
        if not self.is_wanted or time.thread_time() > self._ends_at:
            raise _TooLongError


def _gather(plan: Plan, log: HeadLog, context: EvaluationContext) -> FoundRows:
    is_limited = context.check is not None
    rows: list[bytes] = []
    size = 0
    try:
        for chunk in execute(plan, log, context):
            rows += chunk
            size += sum(map(len, chunk))
            if is_limited and size > _ROWS_SIZE_MAX:
                raise _TooLongError
    except QueryUnevaluableError as error:
        return FoundRows(rows, ToldFaultError(tell(error)))
    except QueryLimitError as error:
        if is_limited:
            raise
        return FoundRows(rows, error)
    return FoundRows(rows, None)
