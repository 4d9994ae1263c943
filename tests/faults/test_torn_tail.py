"""A last batch that the death of the process or of the power left torn is cut, but never halved.

Sectors are 160 bytes here instead of 512 or 4,096, so that a small batch has several.
"""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from everlog.domain.chain import HashVersion
from everlog.domain.errors import CorruptLogError
from everlog.storage.log import LogEngine, segments
from tests.support.engines import (
    SEGMENT_SIZE,
    content_of,
    events_of,
    kill,
    open_log,
    positions_of,
    split_lines,
)
from tests.support.events import a_candidate, a_schema, seal, stage, store, store_staged

SECTOR_SIZE = 160


class Torn(NamedTuple):
    """A killed data directory whose last batch can be torn, and how it was before that batch."""

    directory: Path
    segment: Path
    # The log's file before the last batch and the batch, a write of two events and one of one.
    before: bytes
    batch: bytes
    # The durable bound before and after the last batch.
    bounds: tuple[bytes, bytes]

    def tear(self, rest: bytes, *, bound: int = 0) -> None:
        """Leave this of the batch, with the bound of before (0) or after it (1)."""
        shutil.rmtree(self.directory / "index", ignore_errors=True)
        self.segment.write_bytes(self.before + rest)
        (self.directory / "durable").write_bytes(self.bounds[bound])


@pytest.fixture
def torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Torn:
    monkeypatch.setattr(segments, "ALLOCATION_STEP", 1_000)
    directory = tmp_path / "data"
    engine = open_whole(directory)
    store(engine, a_candidate("/a"), a_candidate("/b"))
    store(engine, a_candidate("/a"))
    size = engine.head.log_size
    bound_before = (directory / "durable").read_bytes()
    stage(engine, a_candidate("/a", data="{}"), a_candidate("/c", data="{}"))
    stage(engine, a_candidate("/a", data="{}"), hash_version=HashVersion.V1)
    batch = seal(engine)
    engine.commit(batch)
    bounds = (bound_before, (directory / "durable").read_bytes())
    kill(engine)
    segment = directory / "log" / f"{0:020}.ndjson"
    before = segment.read_bytes()[:size]
    return Torn(directory, segment, before, b"".join(batch.lines), bounds)


def open_whole(directory: Path) -> LogEngine:
    """Open a log that stays in one segment."""
    return open_log(directory, segment_size_max=100_000)


def check_recovered(torn: Torn, rest: bytes) -> int:
    """Check that whole writes of the batch are kept, and return of how many events."""
    engine = open_whole(torn.directory)
    log = content_of(engine).log
    assert log.startswith(torn.before)
    assert (torn.before + torn.batch).startswith(log)
    count = len(split_lines(log)) - 3
    # The batch has a write of two events and one of one.
    assert count in {0, 2, 3}
    used = len(rest.rstrip(b"\0"))
    assert engine.report.torn_size == used - (len(log) - len(torn.before))
    assert engine.head.hash == events_of(log)[-1].hash
    kill(engine)
    return count


def check_goes_on(torn: Torn, count: int) -> None:
    """Check that the chain goes on where it was cut."""
    engine = open_whole(torn.directory)
    store(engine, a_candidate("/late"))
    log = content_of(engine).log
    kill(engine)

    engine = open_whole(torn.directory)
    assert content_of(engine).log == log
    assert positions_of(log) == list(range(4 + count))
    assert engine.report.torn_size == 0
    kill(engine)


def check_every(torn: Torn, tails: Iterator[bytes]) -> set[int]:
    counts = set()
    for number, rest in enumerate(tails):
        torn.tear(rest)
        count = check_recovered(torn, rest)
        counts.add(count)
        if number % 10 == 0:
            check_goes_on(torn, count)
    return counts


def truncated(batch: bytes) -> Iterator[bytes]:
    return (batch[:size] for size in range(len(batch) + 1))


def zeroed(batch: bytes) -> Iterator[bytes]:
    """Yield the batch zeroed from each byte on, in a file that was allocated ahead."""
    return (batch[:size] + bytes(len(batch) - size + 100) for size in range(len(batch) + 1))


@pytest.mark.slow
@pytest.mark.parametrize("tear", [truncated, zeroed])
def test_a_batch_torn_at_any_byte_is_cut(
    torn: Torn, tear: Callable[[bytes], Iterator[bytes]]
) -> None:
    assert check_every(torn, tear(torn.batch)) == {0, 2, 3}


def sectors(batch: bytes, offset: int) -> list[bytes]:
    """Split a batch as the disk does, which does not care where a batch begins."""
    first = SECTOR_SIZE - offset % SECTOR_SIZE
    starts = [0, *range(first, len(batch), SECTOR_SIZE)]
    return [batch[start:stop] for start, stop in itertools.pairwise([*starts, len(batch)])]


def with_lost_sectors(batch: bytes, offset: int) -> Iterator[bytes]:
    """Yield the batch with every combination of its sectors lost."""
    parts = sectors(batch, offset)
    for kept in itertools.product((True, False), repeat=len(parts)):
        yield b"".join(
            part if is_kept else bytes(len(part)) for part, is_kept in zip(parts, kept, strict=True)
        )


@pytest.mark.slow
def test_a_batch_whose_sectors_are_lost_in_any_combination_is_cut(torn: Torn) -> None:
    assert check_every(torn, with_lost_sectors(torn.batch, len(torn.before))) == {0, 2, 3}


def test_rubbish_where_the_batch_should_be_is_cut(torn: Torn) -> None:
    rubbish = (b"\n", b"\n\n", b"{}\n", b"\xff" * 300, b"\0\n\0\n", bytes(100) + b"x", b" \n" * 50)

    assert check_every(torn, iter(rubbish)) == {0}
    behind = (torn.batch[: torn.batch.index(b" \n") + 2] + rest for rest in rubbish)
    assert check_every(torn, behind) == {2}


def test_a_write_without_its_mark_is_cut(torn: Torn) -> None:
    first, second, third = split_lines(torn.batch)
    unmarked = (first, first + second.replace(b" \n", b"\n"), first + second[:-2])

    assert check_every(torn, iter(unmarked)) == {0}
    # The mark of the batch alone tells nothing about the write before it.
    assert check_every(torn, iter([first + second + third[:-3] + b"\n"])) == {2}


def test_a_log_of_nothing_but_a_torn_batch_is_empty(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    (tmp_path / "log" / f"{0:020}.ndjson").write_bytes(b'{"type":"event","payl' + bytes(5_000))

    engine = open_log(tmp_path)

    assert engine.head.event_count == 0
    assert engine.report.torn_size == 21
    store(engine, a_candidate())
    engine.close()


def check_refused(torn: Torn) -> None:
    content = torn.segment.read_bytes()
    with pytest.raises(CorruptLogError) as raised:
        open_whole(torn.directory)
    assert raised.value.position in {3, 4, 5, 6}
    assert torn.segment.read_bytes() == content


def test_a_durable_batch_with_lost_bytes_is_refused(torn: Torn) -> None:
    tails = [*truncated(torn.batch), *zeroed(torn.batch)]
    tails = [tail for tail in tails if not tail.startswith(torn.batch)]

    for rest in tails[::7]:
        torn.tear(rest, bound=1)
        check_refused(torn)


def test_damage_within_a_durable_write_names_the_event_and_not_the_write(torn: Torn) -> None:
    first, second, third = split_lines(torn.batch)
    torn.tear(first + second.replace(b"/c", b"/d") + third, bound=1)

    with pytest.raises(CorruptLogError, match=r"id 4 .*hash is not that of its content"):
        open_whole(torn.directory)


def test_a_durable_batch_with_lost_sectors_is_refused(torn: Torn) -> None:
    tails = list(with_lost_sectors(torn.batch, len(torn.before)))

    for rest in tails[1::5]:
        torn.tear(rest, bound=1)
        check_refused(torn)
    torn.tear(tails[0], bound=1)
    assert check_recovered(torn, torn.batch) == 3


def test_a_torn_batch_is_cut_without_any_durable_bound(torn: Torn) -> None:
    for bound in (b"", b"x", bytes(28), bytes(range(28))):
        for rest in (b"", torn.batch[:-1], torn.batch[:700], bytes(500) + torn.batch[500:]):
            torn.tear(rest)
            (torn.directory / "durable").write_bytes(bound)
            check_recovered(torn, rest)


def test_a_segment_that_was_created_and_not_written_is_taken_up(tmp_path: Path) -> None:
    engine = open_log(tmp_path)
    while engine.head.log_size < SEGMENT_SIZE:
        store(engine, a_candidate())
    before = content_of(engine)
    engine.close()
    segment = tmp_path / "log" / f"{before.head.event_count:020}.ndjson"

    for rest in (b"", b'{"type":', bytes(100)):
        segment.write_bytes(rest)
        engine = open_log(tmp_path)
        assert content_of(engine) == before
        kill(engine)

    engine = open_log(tmp_path)
    store(engine, a_candidate())
    engine.close()
    assert len(split_lines(segment.read_bytes())) == 1


def test_an_unfinished_write_in_front_of_another_segment_is_refused(tmp_path: Path) -> None:
    engine = open_log(tmp_path)
    while engine.head.log_size < SEGMENT_SIZE:
        store(engine, a_candidate())
    count = engine.head.event_count
    engine.close()
    shutil.rmtree(tmp_path / "index")
    (tmp_path / "durable").write_bytes(b"")
    first = tmp_path / "log" / f"{0:020}.ndjson"
    first.write_bytes(first.read_bytes().removesuffix(b"  \n") + b"\n")
    (tmp_path / "log" / f"{count:020}.ndjson").write_bytes(b"")

    with pytest.raises(CorruptLogError) as raised:
        open_log(tmp_path)

    assert raised.value.position == count - 1


def test_a_torn_schema_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "data" / "schemas.ndjson"
    engine = open_log(tmp_path / "data")
    engine.stage_schema(a_schema("io.everlog.one"))
    store_staged(engine)
    before, bound = path.read_bytes(), (tmp_path / "data" / "durable").read_bytes()
    engine.stage_schema(a_schema("io.everlog.two"))
    store_staged(engine)
    after = path.read_bytes()
    kill(engine)

    batch = after[len(before) :]
    for rest in [*truncated(batch), *with_lost_sectors(batch, len(before))]:
        path.write_bytes(before + rest)
        (tmp_path / "data" / "durable").write_bytes(bound)
        engine = open_log(tmp_path / "data")
        names = [entry.name for entry in content_of(engine).event_types]
        kill(engine)
        is_whole = rest == batch
        assert names == ["io.everlog.one", "io.everlog.two"][: 1 + is_whole]
        assert path.read_bytes() == (after if is_whole else before)
