"""Somebody else who appends to the server's log, and is now and then first.

The rival lives in the server's own process and stands where a journal does that several decide
about: what it wrote comes with the news that a batch is lost, before anything of that batch is
written. It contends for the subjects of the batch, so that preconditions are violated by it.
"""

import json
import os
from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Final

from everlog.domain.chain import HashVersion
from everlog.domain.event import EventCandidate
from everlog.storage.engine import Batch, BatchLostError, JournalEntry, StagedSchema
from everlog.storage.log import LogEngine
from tests.support.events import a_candidate, a_schema, entries_behind
from tests.support.history import RIVAL

_ACCOUNTS: Final = 4


class _Rival:
    def __init__(self, lost_every: int) -> None:
        self._lost_every: Final = lost_every
        self._rng: Final = Random(lost_every)
        self._numbers: Final = count()
        # Applying commits, too, and what is applied stands in the journal for good.
        self.is_applied = False

    def be_first_now_and_then(self, engine: LogEngine, batch: Batch) -> None:
        if not self.is_applied and self._rng.randrange(self._lost_every) == 0:
            raise BatchLostError(self._entries(engine, batch))

    def _entries(self, engine: LogEngine, batch: Batch) -> list[JournalEntry]:
        rng = self._rng
        wanted = [event.subject for event in batch.events]
        wanted += [f"/account/{number}" for number in range(_ACCOUNTS)]
        batches: list[Sequence[EventCandidate | StagedSchema]] = []
        for _ in range(rng.choice([1, 1, 2])):
            # Servers that live on the same directory have rivals of their own.
            key = f"{RIVAL}{os.getpid()}-{next(self._numbers)}"
            subjects = [rng.choice(wanted) for _ in range(rng.choice([1, 2, 5]))]
            events = [_candidate(subject, key, index) for index, subject in enumerate(subjects)]
            is_with_schema = rng.random() < 0.1
            schemas = [a_schema(f"io.everlog.torture.{key}")] if is_with_schema else []
            batches.append([*events, *schemas])
        return entries_behind(engine.head, *batches, hash_version=rng.choice([*HashVersion]))


def _candidate(subject: str, key: str, index: int) -> EventCandidate:
    # Of both versions of the hash: the members are in order.
    return a_candidate(subject, data=json.dumps({"index": index, "write": key}))


def let_rivals_in(lost_every: int) -> None:
    """Alter the engine of this process for good: about one of so many commits is lost."""
    rival = _Rival(lost_every)
    commit, begin_commit, apply = LogEngine.commit, LogEngine.begin_commit, LogEngine.apply

    def commit_or_lose(self: LogEngine, batch: Batch) -> None:
        rival.be_first_now_and_then(self, batch)
        commit(self, batch)

    def begin_commit_or_lose(self: LogEngine, batch: Batch) -> int | None:
        rival.be_first_now_and_then(self, batch)
        return begin_commit(self, batch)

    def apply_for_good(self: LogEngine, entry: JournalEntry, *, is_verified: bool) -> Batch:
        rival.is_applied = True
        try:
            return apply(self, entry, is_verified=is_verified)
        finally:
            rival.is_applied = False

    for replacement in (commit_or_lose, begin_commit_or_lose, apply_for_good):
        name = replacement.__name__.removesuffix("_or_lose").removesuffix("_for_good")
        assert hasattr(LogEngine, name)
        setattr(LogEngine, name, replacement)
