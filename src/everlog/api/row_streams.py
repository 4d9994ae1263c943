"""The rows of a query as an answer, in the look of either version."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import NamedTuple

from everlog.api.media import NDJSON
from everlog.api.refusals import count_refusal
from everlog.api.services import Services
from everlog.domain.errors import Code, RefusedError
from everlog.http import Exchange, Stream
from everlog.service.querying.messages import RowForm
from everlog.service.run_eventql_query import run_eventql_query


class RowLook(NamedTuple):
    """The items of a stream of rows, and how blocks of them are sent.

    `end` is nothing where rows just end.
    """

    form: RowForm
    heartbeat: bytes
    error: Callable[[RefusedError], bytes]
    end: bytes
    send: Callable[[Stream, bytes], Awaitable[None]]


def stream_rows(services: Services, exchange: Exchange, text: str | None, look: RowLook) -> None:
    """Answer with the rows of a query.

    Raises:
        RefusedError: There is no query.
        BusyError: There are too many already.
    """
    if not text:
        raise RefusedError(Code.QUERY_MISSING, "the query is missing", field="query")
    permit = services.store.queries.permits.acquire()
    # It may be released before it is its answer's turn.
    exchange.on_disconnect(permit.release)

    async def produce(stream: Stream) -> None:
        rows = run_eventql_query(services.store, text, permit=permit, form=look.form)
        try:
            async with aclosing(rows) as blocks:
                async for block in blocks:
                    if block is None:
                        stream.send_nowait(look.heartbeat)
                    else:
                        await look.send(stream, block)
        except RefusedError as error:
            count_refusal(services, error)
            await stream.send(look.error(error))
        else:
            await stream.send(look.end)

    exchange.stream(200, NDJSON, produce)
