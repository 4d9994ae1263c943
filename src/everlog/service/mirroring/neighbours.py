"""Whether the nodes of a cluster fit together: by what each says of itself."""

import time
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from everlog._version import __version__
from everlog.service.mirroring.journal import (
    ENTRY_FORMAT,
    Announced,
    Announcement,
    SharedJournal,
)

# Events get the time of the node that writes them, and a clock that is off shows in them.
CLOCK_SECONDS_MAX: Final = 1.0


def nodes_of(announced: Sequence[Announced], *, but: str = "") -> list[Announced]:
    """Return those that are nodes, but the one with an id."""
    return [
        other
        for other in announced
        if other.announcement.is_node and other.announcement.node_id != but
    ]


async def look_for_nodes(journal: SharedJournal) -> list[Announced]:
    """Return the nodes that have spoken up in the last minute; for who is none.

    Raises:
        JournalUnreachableError: There is no answer.
    """
    nobody = Announcement(
        node_id=uuid4().hex,
        node="",
        version=__version__,
        entry_format=ENTRY_FORMAT,
        hash_version=0,
        signing_key="",
        checkpoint_key="",
        clock=time.time_ns(),
        is_node=False,
    )
    return nodes_of(await journal.announce(nobody))


def find_mismatches(ours: Announcement, others: Sequence[Announced]) -> list[str]:
    """Return what is not the same on this node and on others, a sentence each."""
    found: list[str] = []
    for theirs, clock_offset, _ in others:
        pairs = (
            ("version of the journal's entries", theirs.entry_format, ours.entry_format),
            ("hash version", theirs.hash_version, ours.hash_version),
            ("signing key", theirs.signing_key, ours.signing_key),
            ("checkpoint key", theirs.checkpoint_key, ours.checkpoint_key),
        )
        found += [
            f"the node {theirs.node} has another {what}"
            for what, their_value, our_value in pairs
            if their_value != our_value
        ]
        if abs(clock_offset) > CLOCK_SECONDS_MAX:
            direction = "ahead of" if clock_offset > 0 else "behind"
            found.append(f"the clock of the node {theirs.node} is {direction} the one here")
    return found
