"""Whether the nodes of a cluster fit together: by what each says of itself."""

from collections.abc import Sequence
from typing import Final

from everlog.service.mirroring.journal import Announced, Announcement

# Events get the time of the node that writes them, and a clock that is off shows in them.
CLOCK_SECONDS_MAX: Final = 1.0


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
