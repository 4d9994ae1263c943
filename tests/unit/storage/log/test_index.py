"""The index, where a reader and the writer meet in a way that threads seldom do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from everlog.domain.errors import CorruptLogError
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


@pytest.mark.parametrize("call", range(1, 4))
def test_a_write_for_which_there_is_no_memory_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    engine = open_log(tmp_path)
    store(engine, a_candidate("/a"))
    stage(engine, a_candidate("/a"))
    tip, types = engine.tip, engine._index.event_types
    number, calls = types.number, iter(range(1, 4))

    def fail_once(name: str, *, position: int) -> int:
        found = number(name, position=position)
        if next(calls) == call:
            # It was added, but got no number.
            types.ids.pop(name, None)
            raise MemoryError
        return found

    monkeypatch.setattr(types, "number", fail_once)
    with pytest.raises(MemoryError):
        stage(engine, *(a_candidate(f"/new/{n}", f"io.everlog.new.{n}") for n in range(3)))
    monkeypatch.undo()

    assert engine.tip == tip
    assert not engine.state.has_events("/new", recursive=True)
    assert engine.state.latest_position("/a", recursive=False) == 1
    assert len(list(engine.unpublished_events())) == 1
    store(engine, a_candidate("/new/1", "io.everlog.new.1"))
    assert positions_of(read(engine)) == [0, 1, 2]
    assert positions_of(read(engine, "/new/1", recursive=False)) == [2]
    engine.close()


def test_a_damaged_chain_is_told_and_not_walked_for_ever(tmp_path: Path) -> None:
    engine = open_log(tmp_path)
    store(engine, a_candidate("/a"), a_candidate("/b"), a_candidate("/a"))
    engine._index.previous.cells[0] = 3

    with pytest.raises(CorruptLogError, match="index is damaged at the events of /a"):
        read(engine, "/a", recursive=False)
    engine.close()
