"""Run an EventQL query: from its text to rows, as items of a stream."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from everlog.service.permits import Permit
from everlog.service.querying.faults import QUERY_FAULTS, refusal_of
from everlog.service.querying.messages import RowForm
from everlog.service.store import Store


async def run_eventql_query(
    store: Store, text: str, *, permit: Permit, form: RowForm
) -> AsyncGenerator[bytes | None, None]:
    """Yield blocks of rows, and a None for each second without a row.

    The permit was acquired before, so that a request can still be refused; here it is released.

    Raises:
        RefusedError: The query is malformed, cannot be evaluated or takes too much; or the server
            is going down. The rows before have been yielded.
    """
    with permit:
        try:
            async with aclosing(store.queries.run(text, form=form)) as blocks:
                async for block in blocks:
                    yield block
        except QUERY_FAULTS as fault:
            raise refusal_of(fault) from fault
