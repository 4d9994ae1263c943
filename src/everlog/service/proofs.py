"""What is proven of the log, and handed to mirrors: inclusion, consistency, tiles.

Each answer belongs to a tree size; what a size shows never changes. A size that the head has and
the tree has not yet lets the tree grow first. Nodes are read on a reading thread, some tens of
them at most, whatever the size of the log.
"""

from functools import partial
from typing import Final, NamedTuple

from everlog.domain.errors import Code, NoCheckpointError, RefusedError
from everlog.domain.merkle import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    prove_consistency,
    prove_inclusion,
    root,
)
from everlog.service.proving.checkpoints import SignedCheckpoint
from everlog.service.proving.tree import find_hash
from everlog.service.store import Store

_NO_KEY: Final = "there are no checkpoints: the server was started without --checkpoint-key-file"


class InclusionProof(NamedTuple):
    """That an event is in the tree of a size."""

    position: int
    # Of the event.
    hash: str
    size: int
    root: bytes
    proof: list[bytes]


class ConsistencyProof(NamedTuple):
    """That the tree of one size is the beginning of that of another one."""

    earlier: int
    later: int
    earlier_root: bytes
    later_root: bytes
    proof: list[bytes]


async def latest_checkpoint(store: Store) -> SignedCheckpoint:
    """Return the latest checkpoint, waiting for the first one.

    Raises:
        NoCheckpointError: There is none.
    """
    checkpoints = store.checkpoints
    if not checkpoints.has_key:
        raise NoCheckpointError(_NO_KEY)
    await checkpoints.wait_for_first()
    figures = checkpoints.figures()
    if figures.contradiction:
        raise NoCheckpointError(f"nothing is signed any more: {figures.contradiction}")
    if checkpoints.latest is None:
        raise NoCheckpointError(f"there is no checkpoint yet: {figures.error}")
    return checkpoints.latest


async def read_inclusion_proof(store: Store, position: int, size: int | None) -> InclusionProof:
    """Prove that an event is in the tree of a size, by default that of the latest checkpoint.

    An event that came behind that is proven in the whole log.

    Raises:
        RefusedError: There is no such size, or no such event in it.
        ReadFailedError: The disk does not give what is needed.
    """
    count = store.engine.head.event_count
    if size is None:
        size = _default_size(store, least=position + 1)
    _check_size("size", size, count)
    if position >= size:
        message = f"the tree of {size} events ends before the event with id {position}"
        raise RefusedError(Code.RANGE_UNSATISFIABLE, message, field="event", limit=size - 1)
    await store.tree.reach(size)
    return await store.reader.call(partial(_prove_inclusion, store, position, size))


def _prove_inclusion(store: Store, position: int, size: int) -> InclusionProof:
    hash_of = store.tree.nodes.hash_of
    return InclusionProof(
        position,
        find_hash(store.engine, position),
        size,
        root(size, hash_of),
        prove_inclusion(position, size, hash_of),
    )


async def read_consistency_proof(store: Store, earlier: int, later: int | None) -> ConsistencyProof:
    """Prove that a tree is the beginning of another one, by default of the latest checkpoint's.

    Raises:
        RefusedError: There is no such size, or the first is the larger one.
        ReadFailedError: The disk does not give what is needed.
    """
    count = store.engine.head.event_count
    _check_size("from", earlier, count)
    if later is None:
        later = _default_size(store, least=earlier)
    _check_size("to", later, count)
    if earlier > later:
        message = f"a tree of {earlier} events is not the beginning of one of {later}"
        raise RefusedError(Code.RANGE_UNSATISFIABLE, message, field="from", limit=later)
    await store.tree.reach(later)
    return await store.reader.call(partial(_prove_consistency, store, earlier, later))


def _prove_consistency(store: Store, earlier: int, later: int) -> ConsistencyProof:
    hash_of = store.tree.nodes.hash_of
    return ConsistencyProof(
        earlier,
        later,
        root(earlier, hash_of),
        root(later, hash_of),
        prove_consistency(earlier, later, hash_of),
    )


async def read_tile(store: Store, tile: Tile) -> bytes:
    """Return the hashes of a tile, joined.

    Raises:
        RefusedError: The log is too short for it.
        ReadFailedError: The disk does not give what is needed.
    """
    count = store.engine.head.event_count
    if tile.size > count:
        message = f"the tile needs {tile.size} events, and the log has {count}"
        raise RefusedError(Code.RANGE_UNSATISFIABLE, message, field="tile", limit=count)
    await store.tree.reach(tile.size)
    read = partial(
        store.tree.nodes.read_nodes,
        tile.level * TILE_HEIGHT,
        tile.index * TILE_WIDTH,
        tile.width,
    )
    return await store.reader.call(read)


def _default_size(store: Store, *, least: int) -> int:
    """Return the size of the latest checkpoint, or that of the log where that is too small."""
    latest = store.checkpoints.latest
    count = store.engine.head.event_count
    return count if latest is None or latest.checkpoint.size < least else latest.checkpoint.size


def _check_size(field: str, size: int, count: int) -> None:
    if size > count:
        message = f"the log has {count} events, so that there is no tree of {size}"
        raise RefusedError(Code.RANGE_UNSATISFIABLE, message, field=field, limit=count)
