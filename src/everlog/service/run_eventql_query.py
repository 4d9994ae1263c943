"""Run an EventQL query: from its text to rows, as items of a stream."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from everlog.eventql.diagnostic import (
    QueryLimitError,
    QueryMalformedError,
    QueryUnevaluableError,
)
from everlog.service.places import Place
from everlog.service.query_faults import refusal_of
from everlog.service.query_messages import RowForm
from everlog.service.store import Store


async def run_eventql_query(
    store: Store, text: str, *, place: Place, form: RowForm
) -> AsyncGenerator[bytes | None, None]:
    """Yield blocks of rows, and a None for each second without a row.

    The place was taken before, so that a request can still be refused; here it is left.

    Raises:
        RefusedError: The query is malformed, cannot be evaluated or takes too much; or the server
            is going down. The rows before have been yielded.
    """
    with place:
        try:
            plan = await store.queries.prepare(text)
            rows = store.queries.rows(plan, store.engine.head, form=form)
            async with aclosing(rows) as blocks:
                async for block in blocks:
                    yield block
        except (QueryMalformedError, QueryUnevaluableError, QueryLimitError) as fault:
            raise refusal_of(fault) from fault
