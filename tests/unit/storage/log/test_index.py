"""The index, where a reader and the writer meet in a way that threads seldom do."""

from collections.abc import Callable
from pathlib import Path

from everlog.storage.log.columns import Column
from tests.support.engines import open_log, positions_of, read
from tests.support.events import a_candidate, stage, store


class InterruptedColumn:
    """A column at whose first use something else happens first."""

    def __init__(self, column: Column, interrupt: Callable[[], None]) -> None:
        self._column = column
        self._interrupt: Callable[[], None] | None = interrupt

    @property
    def cells(self) -> "memoryview[int]":
        if self._interrupt is not None:
            interrupt, self._interrupt = self._interrupt, None
            interrupt()
        return self._column.cells


def test_a_chain_that_was_rolled_back_while_it_was_walked_is_walked_again(tmp_path: Path) -> None:
    engine = open_log(tmp_path)
    store(engine, a_candidate("/a"), a_candidate("/b"), a_candidate("/a"))
    head = engine.head
    stage(engine, a_candidate("/a"), a_candidate("/a"))
    column = engine._index.previous

    def overwrite_what_is_staged() -> None:
        engine._index.previous = column
        engine.roll_back()
        store(engine, a_candidate("/b"), a_candidate("/b"))

    engine._index.previous = InterruptedColumn(column, overwrite_what_is_staged)

    assert positions_of(read(engine, "/a", recursive=False, head=head)) == [0, 2]
    engine.close()
