"""The endpoints that let data out and in: backup and restore, in the look of either version.

A backup is a large answer, and a restore a large body: neither is ever held as a whole.
What is left to others: what a backup is made of (`transfer`), and what either means (`service`).
"""

import time
from collections.abc import Callable
from time import perf_counter
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from everlog.api.answers import (
    NDJSON,
    STORE_RESTORED,
    render_api_event,
)
from everlog.api.bodies import MalformedRequestError
from everlog.api.look import Look
from everlog.api.services import Services
from everlog.domain.errors import (
    Code,
    DataDirectoryError,
    DiskFullError,
    ReadFailedError,
    RefusedError,
    StoreFailedError,
)
from everlog.domain.known_event import KnownEvent
from everlog.http import BodyStream, DisconnectedError, Exchange, Request, Stream
from everlog.service.backup import begin_backup, list_schemas
from everlog.service.reader import Transform
from everlog.service.restore import restore
from everlog.service.store import Store
from everlog.transfer.restoring import Restored

# What is made ready between two rests: some tenths of a millisecond.
_PIECE_SIZE: Final = 64 * 1024

RECHAIN: Final = "rechain"
_TRUTHS: Final = {"true": True, "false": False}


class RestoredStore(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Data that says what a store has after a restore; `rechained` only where it was asked for."""

    event_count: int
    schema_count: int
    latest_event_id: str | None
    latest_event_hash: str | None
    rechained: "RechainedStore | msgspec.UnsetType" = msgspec.UNSET


class ChangedEvent(msgspec.Struct, frozen=True, rename="camel"):
    """What chaining anew changed of one event."""

    old_id: str
    new_id: str
    old_hash: str
    new_hash: str


class RechainedStore(msgspec.Struct, frozen=True, rename="camel"):
    """What chaining anew changed: how many events, and the first of each kind."""

    changed_id_count: int
    changed_hash_count: int
    first_changed_id: ChangedEvent | None
    first_changed_hash: ChangedEvent | None


class TransferEndpoints:
    """Backup and restore, in one look."""

    def __init__(self, look: Look) -> None:
        self._look: Final = look

    def backup(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Stream all event schemas and events of this moment, or the events since another one."""
        look, store = self._look, services.store
        last = look.bodies.backup(request.body) if request.body.strip() else None
        work = _back_up(look, services, store, last, exchange)
        services.tasks.start_for(exchange, work)

    def restore(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Fill the store, which is empty, with a backup."""
        assert request.stream is not None
        rechain = _read_rechain(request.head.query)
        work = _restore(self._look, services, request, request.stream, exchange, rechain=rechain)
        services.tasks.start(exchange, work)


async def _back_up(
    look: Look, services: Services, store: Store, last: KnownEvent | None, exchange: Exchange
) -> None:
    head = store.engine.head
    try:
        following = await begin_backup(store, last, head)
    except RefusedError as error:
        look.refuse(services, exchange, error)
        return
    transform = Transform(_resting(look.backup.events), None)

    async def produce(stream: Stream) -> None:
        try:
            # It may be its turn long after it was asked for.
            services.served.check_serves(store)
            async for schemas in store.reader.fetch_chunks(list_schemas(store, head)):
                if schemas:
                    await look.send(stream, b"".join(look.backup.schema(*each) for each in schemas))
            async for block in store.reader.fetch_blocks(following, transform):
                services.served.check_serves(store)
                sending = look.send(stream, block)
                # While the client does not take it, it is kept once, in its last form.
                del block
                await sending
        except ReadFailedError as error:
            services.count_refusal(error)
            failure = RefusedError(Code.BACKUP_FAILED, error.message)
            await stream.send(look.backup.error(failure))
        except RefusedError as error:
            services.count_refusal(error)
            await stream.send(look.backup.error(error))
        else:
            await stream.send(look.end)

    exchange.stream(200, NDJSON, produce)


def _resting(convert: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Convert lines some at a time, and let others have the interpreter for as long in between.

    What that returns raises a ReadFailedError where lines are not as they were stored.
    """

    def convert_and_rest(lines: bytes) -> bytes:
        converted: list[bytes] = []
        start, end = 0, len(lines)
        while start < end:
            stop = lines.rfind(b"\n", start, start + _PIECE_SIZE) + 1
            stop = stop or lines.index(b"\n", start) + 1
            began = perf_counter()
            try:
                converted.append(convert(lines[start:stop]))
            except ValueError as error:
                raise ReadFailedError("what is stored is damaged; an audit says where") from error
            time.sleep(perf_counter() - began)
            start = stop
        return b"".join(converted)

    return convert_and_rest


async def _restore(
    look: Look,
    services: Services,
    request: Request,
    body: BodyStream,
    exchange: Exchange,
    *,
    rechain: bool,
) -> None:
    try:
        restored = await restore(
            services.served,
            body,
            services.restores,
            rechain=rechain,
            settle=services.settle or services.tasks.wait_for_others,
        )
    except (RefusedError, DiskFullError) as error:
        look.refuse(services, exchange, error)
        return
    except DisconnectedError:
        # It may have ended its input only.
        message = "the backup is incomplete: the body of the request ended before its end"
        look.refuse(services, exchange, RefusedError(Code.BACKUP_INCOMPLETE, message))
        return
    except (StoreFailedError, DataDirectoryError, OSError) as error:
        if services.served.lost.done():
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message = f"restoring failed, and the store is empty as before: {reason}"
        look.refuse(services, exchange, RefusedError(Code.STORE_FAILED, message))
        return
    event = render_api_event(
        time=services.now(),
        subject=request.head.path,
        event_type=STORE_RESTORED,
        data=_describe(restored),
    )
    exchange.respond(look.api_event.around(event))


def _describe(restored: Restored) -> RestoredStore:
    rechained: RechainedStore | msgspec.UnsetType = msgspec.UNSET
    if restored.rechained is not None:
        rechained = msgspec.convert(restored.rechained, RechainedStore, from_attributes=True)
    return RestoredStore(
        restored.event_count,
        restored.schema_count,
        restored.last_id,
        restored.last_hash,
        rechained,
    )


def _read_rechain(query: str) -> bool:
    """Return whether a backup is to be chained anew.

    Raises:
        MalformedRequestError: The query says something else.
    """
    values = parse_qsl(query, keep_blank_values=True)
    if not values:
        return False
    name, value = values[0]
    if len(values) > 1 or name != RECHAIN or value not in _TRUTHS:
        message = "the query may say rechain=true or rechain=false, and nothing else"
        raise MalformedRequestError(message)
    return _TRUTHS[value]
