"""The writer's two words for its state, and every way from one of each to another.

`Condition` is what a new change is told, `Turn` what is being done with those that wait.
What is left to others: what happens (`writer`).
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Condition(StrEnum):
    """What a new change is told."""

    WRITABLE = "writable"
    # Until there is room; each change finds out anew.
    DISK_FULL = "disk-full"
    # Until a backup is restored, or is not.
    RESTORING = "restoring"
    # Until the node has what its journal has.
    CATCHING_UP = "catching-up"
    # Until the journal answers again; each change that has begun finds out what became of it.
    JOURNAL_UNREACHABLE = "journal-unreachable"
    # The following until a restart. Who follows another server takes its events, and no others.
    FOLLOWING = "following"
    READ_ONLY = "read-only"
    STOPPING = "stopping"
    FAILED = "failed"


class Happening(StrEnum):
    """What makes a condition another one."""

    BECAME_DURABLE = "a batch became durable"
    DISK_FILLED = "there was no room, for staging or for committing"
    RESTORE_BEGAN = "a backup is being restored into the store"
    RESTORE_ENDED = "it is not, and the store is as it was"
    JOURNAL_LOST = "the journal does not answer any more"
    JOURNAL_FOUND = "the journal answers, and the node has what stands there"
    MADE_READ_ONLY = "somebody asked for the read-only mode"
    STOPPED = "the store is being closed"
    BROKE = "the disk broke its promise, or an error came that nobody expected"


# By what it was, then by what happened; what is not named stays as it is.
CONDITIONS: Final[Mapping[Condition, Mapping[Happening, Condition]]] = MappingProxyType(
    {
        Condition.WRITABLE: {
            Happening.DISK_FILLED: Condition.DISK_FULL,
            Happening.RESTORE_BEGAN: Condition.RESTORING,
            Happening.JOURNAL_LOST: Condition.JOURNAL_UNREACHABLE,
            Happening.MADE_READ_ONLY: Condition.READ_ONLY,
            Happening.STOPPED: Condition.STOPPING,
            Happening.BROKE: Condition.FAILED,
        },
        Condition.DISK_FULL: {
            Happening.BECAME_DURABLE: Condition.WRITABLE,
            Happening.RESTORE_BEGAN: Condition.RESTORING,
            Happening.MADE_READ_ONLY: Condition.READ_ONLY,
            Happening.STOPPED: Condition.STOPPING,
            Happening.BROKE: Condition.FAILED,
        },
        # A store that is closed to be opened again stays so, and takes nothing any more.
        Condition.RESTORING: {
            Happening.RESTORE_ENDED: Condition.WRITABLE,
            Happening.BROKE: Condition.FAILED,
        },
        Condition.CATCHING_UP: {
            Happening.JOURNAL_FOUND: Condition.WRITABLE,
            Happening.MADE_READ_ONLY: Condition.READ_ONLY,
            Happening.STOPPED: Condition.STOPPING,
            Happening.BROKE: Condition.FAILED,
        },
        Condition.JOURNAL_UNREACHABLE: {
            Happening.JOURNAL_FOUND: Condition.WRITABLE,
            Happening.DISK_FILLED: Condition.DISK_FULL,
            Happening.MADE_READ_ONLY: Condition.READ_ONLY,
            Happening.STOPPED: Condition.STOPPING,
            Happening.BROKE: Condition.FAILED,
        },
        Condition.FOLLOWING: {
            Happening.STOPPED: Condition.STOPPING,
            Happening.BROKE: Condition.FAILED,
        },
        Condition.READ_ONLY: {
            Happening.STOPPED: Condition.STOPPING,
            Happening.BROKE: Condition.FAILED,
        },
        Condition.STOPPING: {Happening.BROKE: Condition.FAILED},
        Condition.FAILED: {},
    }
)


class Turn(StrEnum):
    """What is being done with the changes that wait."""

    IDLE = "nothing waits, or what waited has just come to its end"
    SCHEDULED = "they have been judged, and become a batch in the next turn of the event loop"
    JUDGING = "a write that takes long is judged bit by bit, and those behind it wait to be judged"
    COMMITTING = "a batch is on its way, and those that wait belong to the next one"
    APPLYING = "others' batches are applied, and those that wait are judged behind them"
    YIELDING = "others may come first: nodes append, or clients join the next batch"


TURNS: Final[Mapping[Turn, frozenset[Turn]]] = MappingProxyType(
    {
        Turn.IDLE: frozenset(
            {Turn.SCHEDULED, Turn.JUDGING, Turn.COMMITTING, Turn.APPLYING, Turn.YIELDING}
        ),
        Turn.SCHEDULED: frozenset({Turn.IDLE}),
        Turn.JUDGING: frozenset({Turn.IDLE}),
        Turn.COMMITTING: frozenset({Turn.IDLE, Turn.APPLYING}),
        Turn.APPLYING: frozenset({Turn.IDLE}),
        Turn.YIELDING: frozenset({Turn.IDLE}),
    }
)
