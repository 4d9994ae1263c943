"""Whether the preconditions of a write hold at the tip of the log, where it would stand.

What is told at once takes the event loop some milliseconds at most, for all writes of a batch
together. What is left to others: when writes are judged (`writer`), and queries by themselves
(`querying.conditions`).
"""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Final

from everlog.domain.errors import Code, StateConflictError
from everlog.domain.limits import PAUSE_SECONDS_MAX
from everlog.domain.precondition import holds
from everlog.service.querying.conditions import StandingQuery, take_in
from everlog.service.writing.changes import Preconditions, describe
from everlog.storage.engine import Engine, Scan
from everlog.storage.line import Mark, render_line

# What the queries of all writes that are judged at once take in before the next batch sets out, as
# `StandingQuery.work` counts it: some milliseconds.
_AT_ONCE_WORK_MAX: Final = 8 * 1024 * 1024


class PreconditionChecks:
    """Checks preconditions at the tip of one engine."""

    def __init__(self, engine: Engine) -> None:
        """Begin with nothing taken in."""
        self._engine: Final = engine
        # What queries have taken in since the last batch set out.
        self.work = 0

    def check(self, preconditions: Preconditions) -> bool:
        """Refuse what is not met at the tip; return False if telling that takes long."""
        is_behind = True
        for index, precondition in enumerate(preconditions):
            if isinstance(precondition, StandingQuery):
                if is_behind and not self._bring_up(preconditions):
                    return False
                is_behind = False
                is_met = precondition.is_true()
            else:
                is_met = holds(precondition, self._engine.state)
            if not is_met:
                raise StateConflictError(
                    Code.PRECONDITION_VIOLATED,
                    f"precondition failed: {describe(precondition)}",
                    # The original's own framework reads the first of these names.
                    precondition=index,
                    preconditionIndex=index,
                )
        return True

    def catching_up(self, preconditions: Preconditions) -> Callable[[], None] | None:
        """Return what lets all queries take in what they missed up to the tip, on any thread."""
        queries = [entry for entry in preconditions if isinstance(entry, StandingQuery)]
        if not queries:
            return None
        return partial(take_in, self._engine, queries, self._engine.tip, PAUSE_SECONDS_MAX)

    def _bring_up(self, preconditions: Preconditions) -> bool:
        """Let all queries take in what came since, up to the tip; False if that takes long."""
        tip, behind = self._engine.tip, list[StandingQuery]()
        for precondition in preconditions:
            if isinstance(precondition, StandingQuery) and not (
                precondition.head is tip and precondition.is_light
            ):
                behind.append(precondition)
        if not behind:
            return True
        work = sum([query.work(tip) for query in behind])
        if self.work + work > _AT_ONCE_WORK_MAX:
            return False
        self.work += int(work)
        lines: dict[int, bytes] = {}
        for query in behind:
            position = query.head.event_count
            if position not in lines:
                lines[position] = self._lines_since(position)
            query.advance((lines[position],), tip)
        return True

    def _lines_since(self, position: int) -> bytes:
        """Return the lines from a position up to the tip, those that are only staged included."""
        head = self._engine.head
        published = self._engine.scan(Scan(start=position, stop=head.event_count), head)
        seen = max(position - head.event_count, 0)
        staged = islice(self._engine.unpublished_events(), seen, None)
        return b"".join([*published, *(render_line(event.json, Mark.EVENT) for event in staged)])
