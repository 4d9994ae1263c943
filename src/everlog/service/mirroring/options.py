"""How a node takes part in sharing a journal, whom it tells what happens, and what it counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from everlog.service.mirroring.journal import SharedJournal


def _ignore(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorEvents:
    """Whom a mirror tells; each is called on the event loop's thread."""

    # The journal is open: its identity, what is worth a warning, and how many events are here.
    opened: Callable[[str, Sequence[str], int], None] = _ignore
    # So many events are here, of those that are known to be there, while the node catches up.
    progressed: Callable[[int], None] = _ignore
    # The node has what the journal has: so many events, after so many seconds.
    caught_up: Callable[[int, float], None] = _ignore
    # It cannot be reached, and why; and it can again, after so many seconds.
    lost: Callable[[str], None] = _ignore
    found: Callable[[float], None] = _ignore
    # What is wrong between this node and others, each said once.
    mismatched: Callable[[str], None] = _ignore
    # The log here is not what the journal has, or the journal cannot be used: nothing goes on.
    failed: Callable[[Exception], None] = _ignore
    bug: Callable[[Exception], None] = _ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorOptions:
    """How a node takes part."""

    journal: SharedJournal
    node: str
    version: str = ""
    # The fingerprints of public keys, empty where there is none.
    signing_key: str = ""
    checkpoint_key: str = ""
    # Whether reads wait for a barrier; else they show what is here.
    reads_are_current: bool = True
    events: MirrorEvents = field(default_factory=MirrorEvents)


@dataclass(slots=True, kw_only=True)
class MirrorFigures:
    """What a mirror has done since the node was started."""

    appends: int = 0
    lost_appends: int = 0
    unknown_appends: int = 0
    applied_entries: int = 0
    applied_events: int = 0
    # Questions to the journal what stands behind the head, and who shared them.
    barriers: int = 0
    barrier_callers: int = 0
    # Seconds since 1970; None while it can be reached.
    unreachable_since: float | None = None
    unreachable_reason: str = ""
    is_caught_up: bool = False
    # How many events are known of and not here yet.
    behind_events: int = 0
    mismatches: Sequence[str] = ()
    nodes: int = 1
    failure: str = ""
