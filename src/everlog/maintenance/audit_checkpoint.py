"""The audit against checkpoints that somebody kept: whether the log still begins as each says.

The root is computed from the events that the audit reads, and from nothing that lies beside them.
What is left to others: whether the log itself is whole, and whose signatures a checkpoint has.
"""

from collections.abc import Iterator, Sequence

import msgspec

from everlog.maintenance.audit_log import Block
from everlog.maintenance.findings import Finding, Kind
from everlog.maintenance.segments import LOG_FOLDER
from everlog.verifying.checkpoints import Checkpoint
from everlog.verifying.merkle import EMPTY_ROOT, GrowingRoot


class KeptCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint to compare the log with."""

    # How findings name it.
    name: str
    checkpoint: Checkpoint
    # Who signed it, in words; None where nobody checked.
    signers: str | None = None


class CheckpointAudit:
    """The roots of a log at the sizes of some checkpoints, while the log is read."""

    def __init__(self, kept: Sequence[KeptCheckpoint]) -> None:
        """Begin before the first event."""
        self._kept = kept
        # The names of those that the log is as, once it has been read.
        self.confirmed: list[str] = []
        self._tree = GrowingRoot()
        self._roots = {0: EMPTY_ROOT}
        # Those still ahead, the nearest one last.
        self._sizes = sorted({one.checkpoint.size for one in kept} - {0}, reverse=True)

    def add(self, block: Block) -> None:
        """Take events that follow those so far."""
        if not self._sizes:
            return
        assert block.first_position == self._tree.size
        for event in block.events:
            self._tree.add(event.hash.encode())
            if self._tree.size == self._sizes[-1]:
                self._roots[self._sizes.pop()] = self._tree.root()
                if not self._sizes:
                    return

    def finish(self, event_count: int, *, is_intact: bool) -> Iterator[Finding]:
        """Yield how a log of so many events differs from checkpoints."""
        for one in self._kept:
            size, root = one.checkpoint.size, self._roots.get(one.checkpoint.size)
            if size > event_count and is_intact:
                meaning = f"it ends before the {size} events of the checkpoint {one.name}"
                yield _finding(Kind.CHECKPOINT_SIZE, event_count, meaning)
            elif root is None:
                meaning = (
                    f"its first {size} events cannot be compared with the checkpoint {one.name}, "
                    "since not all of them are as they were written"
                )
                yield _finding(Kind.CHECKPOINT_ROOT, None, meaning)
            elif root != one.checkpoint.root:
                meaning = f"its first {size} events are not those of the checkpoint {one.name}"
                yield _finding(Kind.CHECKPOINT_ROOT, None, meaning)
            else:
                self.confirmed.append(one.name)


def _finding(kind: Kind, event_id: int | None, meaning: str) -> Finding:
    return Finding(kind=kind, event_id=event_id, file=LOG_FOLDER, offset=None, meaning=meaning)
