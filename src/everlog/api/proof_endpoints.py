"""The endpoints about the log's Merkle tree: its checkpoint, proofs, and tiles for mirrors.

They take what they are asked from the path and the query, and have no body. Proofs are JSON, with
refusals as everywhere. A checkpoint and a tile are files that programs keep as they are, so that
whatever is wrong with them has a status and a line of text.
"""

from base64 import b64encode
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from everlog.api.answers import JSON, OCTETS, TEXT, text_response
from everlog.api.bodies import MalformedRequestError
from everlog.api.look import Look
from everlog.api.services import CHECKPOINT_MISSING, Services
from everlog.domain.errors import (
    Code,
    DiskFullError,
    NoCheckpointError,
    ReadFailedError,
    RefusedError,
)
from everlog.domain.merkle import parse_tile
from everlog.domain.selection import parse_event_id
from everlog.http import Exchange, Request, Response
from everlog.service.proofs import (
    latest_checkpoint,
    read_consistency_proof,
    read_inclusion_proof,
    read_tile,
)

TILE_PREFIX: Final = "/api/v2/log/tile/"

# A tile never changes; it is not for everybody, as all that is asked for with a token.
_IMMUTABLE: Final = ((b"Cache-Control", b"private, max-age=31536000, immutable"),)

# As many digits as an id may have.
_SIZE_LENGTH_MAX: Final = 19


class InclusionProof(msgspec.Struct, frozen=True):
    """That an event is in the log's tree of a size; hashes of the tree are base64."""

    event: str
    hash: str
    size: int
    root: str
    proof: list[str]


class ConsistencyProof(msgspec.Struct, frozen=True, rename="camel"):
    """That the log's tree of one size is the beginning of that of another one."""

    from_: int = msgspec.field(name="from")
    to: int
    from_root: str
    to_root: str
    proof: list[str]


class ProofEndpoints:
    """All of them, in one look."""

    def __init__(self, look: Look) -> None:
        self._look: Final = look

    def checkpoint(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Show the latest checkpoint of the log, a signed note."""
        _read_parameters(request, ())

        async def work() -> None:
            try:
                latest = await latest_checkpoint(services.store)
            except NoCheckpointError as error:
                services.tally.refusals[CHECKPOINT_MISSING] += 1
                exchange.respond(text_response(503, str(error)))
            else:
                exchange.respond(Response(200, latest.note.encode(), TEXT))

        self._start(services, exchange, work())

    def inclusion_proof(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Prove that an event is in the log."""
        given = _read_parameters(request, ("event", "size"))
        position = parse_event_id(given.get("event"), field="event")
        size = _parse_size("size", given.get("size"))

        async def work() -> None:
            found = await read_inclusion_proof(services.store, position, size)
            answer = InclusionProof(
                str(found.position),
                found.hash,
                found.size,
                _encode(found.root),
                list(map(_encode, found.proof)),
            )
            exchange.respond(Response(200, msgspec.json.encode(answer) + b"\n", JSON))

        self._start(services, exchange, work())

    def consistency_proof(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Prove that the log of some size is the beginning of a later one."""
        given = _read_parameters(request, ("from", "to"))
        earlier = _parse_size("from", given.get("from"))
        if earlier is None:
            raise MalformedRequestError("from must be the size of the earlier tree")
        later = _parse_size("to", given.get("to"))

        async def work() -> None:
            found = await read_consistency_proof(services.store, earlier, later)
            answer = ConsistencyProof(
                found.earlier,
                found.later,
                _encode(found.earlier_root),
                _encode(found.later_root),
                list(map(_encode, found.proof)),
            )
            exchange.respond(Response(200, msgspec.json.encode(answer) + b"\n", JSON))

        self._start(services, exchange, work())

    def tile(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Show some nodes of the tree, as mirrors fetch them."""
        _read_parameters(request, ())
        tile = parse_tile(request.head.path.removeprefix(TILE_PREFIX))
        if tile is None:
            message = (
                "a tile is named LEVEL/INDEX, or LEVEL/INDEX.p/WIDTH, with the index in groups of "
                "three digits such as x001/234"
            )
            raise MalformedRequestError(message)

        async def work() -> None:
            try:
                hashes = await read_tile(services.store, tile)
            except (ReadFailedError, DiskFullError) as error:
                services.count_refusal(error)
                exchange.respond(text_response(503, str(error)))
            except RefusedError as error:
                if error.code is not Code.RANGE_UNSATISFIABLE:
                    # A restore has begun meanwhile, which is told as everywhere.
                    raise
                services.count_refusal(error)
                exchange.respond(text_response(400, str(error)))
            else:
                exchange.respond(Response(200, hashes, OCTETS, _IMMUTABLE))

        self._start(services, exchange, work())

    def _start(
        self, services: Services, exchange: Exchange, work: Coroutine[Any, Any, None]
    ) -> None:
        async def work_or_refuse() -> None:
            try:
                await work
            except (RefusedError, DiskFullError) as error:
                self._look.refuse(services, exchange, error)

        services.tasks.start_for(exchange, work_or_refuse())


def _read_parameters(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    """Return what stands in the query, by name.

    Raises:
        MalformedRequestError: A parameter is not known, or comes twice.
    """
    found: dict[str, str] = {}
    for name, value in parse_qsl(request.head.query, keep_blank_values=True):
        if name not in known:
            expected = f": there are {' and '.join(known)}" if known else ""
            raise MalformedRequestError(f"there is no parameter '{name}'{expected}")
        if name in found:
            raise MalformedRequestError(f"{name} comes twice")
        found[name] = value
    return found


def _parse_size(name: str, value: str | None) -> int | None:
    if value is None:
        return None
    is_number = value.isascii() and value.isdigit() and len(value) <= _SIZE_LENGTH_MAX
    if not is_number or str(int(value)) != value:
        message = f"{name} must be a number of events, such as 1000, not '{value}'"
        raise MalformedRequestError(message)
    return int(value)


def _encode(hash_: bytes) -> str:
    return b64encode(hash_).decode()
