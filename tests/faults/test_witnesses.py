"""What says how much was acknowledged besides the log: a loss of the log's end is never accepted.

There are two witnesses. The durable bound is written after each sync, but may be deleted, or be
restored with an older log; the snapshot of the index speaks only of what was durable before it.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from everlog.domain.errors import CorruptLogError
from everlog.maintenance.findings import Kind, Weight
from everlog.storage.log import LogEngine, ReadOnlyLog
from tests.support.audits import audit_of
from tests.support.engines import content_of, kill, open_log, read
from tests.support.events import a_candidate, a_schema, store, store_staged

EVENTS = 20


def fill(engine: LogEngine, start: int, stop: int) -> None:
    for number in range(start, stop):
        store(engine, a_candidate(f"/s/{number}"))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Return a directory with an index that was saved, and beside it an older copy."""
    data = tmp_path / "data"
    engine = open_log(data)
    fill(engine, 0, EVENTS // 2)
    engine.close()
    shutil.copytree(data, tmp_path / "older")
    engine = open_log(data)
    fill(engine, EVENTS // 2, EVENTS)
    engine.close()
    return data


def content_below(directory: Path) -> dict[Path, bytes | None]:
    return {
        path.relative_to(directory): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
        if path.name != "lock"
    }


def check_refused(directory: Path, position: int | None) -> None:
    before = content_below(directory)
    for opening in (open_log, ReadOnlyLog.open):
        with pytest.raises(CorruptLogError) as caught:
            opening(directory)
        assert caught.value.position == position
        assert content_below(directory) == before
    findings, summary = audit_of(directory)
    assert not summary.is_ok
    assert any(found.weight is Weight.DATA for found in findings)


def segments_of(directory: Path) -> list[Path]:
    return sorted((directory / "log").iterdir())


def lose_log_and_bound(directory: Path) -> None:
    shutil.rmtree(directory / "log")
    (directory / "durable").unlink()


def lose_the_files_of_the_log_and_the_bound(directory: Path) -> None:
    for path in (*segments_of(directory), directory / "durable"):
        path.unlink()


def restore_an_older_log_and_bound(directory: Path) -> None:
    older = directory.with_name("older")
    lose_log_and_bound(directory)
    shutil.copytree(older / "log", directory / "log")
    shutil.copy(older / "durable", directory / "durable")


def restore_what_was_copied_while_a_server_ran(directory: Path) -> None:
    """Restore an older log with zeros behind its end, as they are allocated."""
    restore_an_older_log_and_bound(directory)
    with segments_of(directory)[-1].open("ab") as file:
        file.truncate(1024 * 1024)


def lose_the_last_segment_and_the_bound(directory: Path) -> None:
    (directory / "durable").unlink()
    segments_of(directory)[-1].unlink()


def lose_the_bound_and_the_end_of_the_last_line(directory: Path) -> None:
    (directory / "durable").unlink()
    path = segments_of(directory)[-1]
    path.write_bytes(path.read_bytes()[:-1])


LOSSES: dict[Callable[[Path], None], int] = {
    lose_log_and_bound: 0,
    lose_the_files_of_the_log_and_the_bound: 0,
    restore_an_older_log_and_bound: EVENTS // 2,
    restore_what_was_copied_while_a_server_ran: EVENTS // 2,
    lose_the_bound_and_the_end_of_the_last_line: EVENTS - 1,
}


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_a_log_that_ends_before_what_its_index_speaks_of_is_refused(
    directory: Path, lose: Callable[[Path], None]
) -> None:
    lose(directory)

    check_refused(directory, LOSSES[lose])


def test_a_lost_segment_is_refused_without_a_bound_too(directory: Path) -> None:
    first = int(segments_of(directory)[-1].stem)
    assert first > 0
    lose_the_last_segment_and_the_bound(directory)

    check_refused(directory, first)


def test_who_wants_the_older_log_is_told_what_to_remove(directory: Path) -> None:
    restore_an_older_log_and_bound(directory)
    with pytest.raises(CorruptLogError) as caught:
        open_log(directory)
    message = str(caught.value)
    assert f"the event with id {EVENTS // 2} " in message
    assert f"saved with {EVENTS} events" in message
    assert "remove the folder 'index'" in message

    shutil.rmtree(directory / "index")
    engine = open_log(directory)
    assert content_of(engine).head.event_count == EVENTS // 2
    fill(engine, 100, 101)
    engine.close()


@pytest.mark.parametrize("size", range(1, 12))
def test_a_last_line_that_was_cut_is_never_made_longer(directory: Path, size: int) -> None:
    """With the bound, and without one: an event behind zeros would be the end of the log."""
    path = segments_of(directory)[-1]
    path.write_bytes(path.read_bytes()[:-size])

    check_refused(directory, EVENTS - 1)
    (directory / "durable").unlink()
    check_refused(directory, EVENTS - 1)


def test_damage_in_the_last_batch_is_no_torn_tail_where_the_index_knows_the_batch(
    directory: Path,
) -> None:
    """The bound may be older than the truth, and then the last batch is judged by the snapshot."""
    shutil.copy(directory.with_name("older") / "durable", directory / "durable")
    path = segments_of(directory)[-1]
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)

    check_refused(directory, EVENTS - 1)


def test_a_file_that_somebody_cut_is_not_made_longer_by_a_server_that_stops(
    directory: Path,
) -> None:
    engine = open_log(directory)
    path = segments_of(directory)[-1]
    size = path.stat().st_size
    with path.open("rb+") as file:
        file.truncate(size - 10)

    with pytest.raises(OSError, match="that were stored"):
        engine.close()

    assert path.stat().st_size == size - 10


def test_an_index_that_speaks_of_less_is_brought_up_to_date(directory: Path) -> None:
    shutil.rmtree(directory / "index")
    shutil.copytree(directory.with_name("older") / "index", directory / "index")

    engine = open_log(directory)

    assert engine.head.event_count == EVENTS
    assert read(engine).count(b"\n") == EVENTS
    kill(engine)


def test_event_schemas_that_the_index_knows_of_are_not_forgotten(directory: Path) -> None:
    older = directory.with_name("older")
    engine = open_log(directory)
    engine.stage_schema(a_schema("io.everlog.late"))
    store_staged(engine)
    engine.close()
    for name in ("schemas.ndjson", "durable"):
        shutil.copy(older / name, directory / name)

    check_refused(directory, None)


def test_an_audit_names_the_witness(directory: Path) -> None:
    restore_an_older_log_and_bound(directory)

    findings, _ = audit_of(directory)

    [found] = [found for found in findings if found.weight is Weight.DATA]
    assert found.kind is Kind.LOG_TOO_SHORT
    assert "says index/checkpoint.json" in found.meaning
