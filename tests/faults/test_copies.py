"""A copy of a data directory that was made while it was written to opens at a state that was.

Whatever the program that copies does first, and at which moment it reads which piece of a file.
"""

import errno
import fcntl
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everlog.domain.errors import (
    CorruptLogError,
    DataDirectoryError,
    DirectoryLockedError,
    EverlogError,
)
from everlog.domain.event import Event
from everlog.maintenance import copies as audit_of_copies
from everlog.maintenance.findings import Kind
from everlog.storage.line import Mark, parse_next_line
from everlog.storage.log import (
    LogEngine,
    OpeningReport,
    ReadOnlyEngine,
    ReadOnlyLog,
    recovery,
    segments,
)
from everlog.storage.log import engine as engine_module
from tests.support.audits import (
    EVENT_COUNT,
    audit_of,
    check_audit_is_clean,
    check_kinds,
    fill_directory,
    kill_while_writing,
)
from tests.support.copying import Moment, RecordingDisk, copy_at_random
from tests.support.disks import FailingDisk, Fault
from tests.support.disks import Kind as Call
from tests.support.engines import (
    Content,
    content_of,
    kill,
    marks_of,
    open_log,
    split_lines,
)
from tests.support.events import a_candidate, a_schema, stage, store, store_staged

# Of a few batches.
SEGMENT_SIZE = 4_096


@dataclass(frozen=True, repr=False)
class Recorded:
    """A life of a data directory."""

    moments: list[Moment]
    log: bytes
    schemas: bytes
    # Where writes end in the log.
    ends: set[int]


def live(directory: Path, resources: ExitStack) -> Recorded:
    """Write, register, save snapshots, stop, die, and go on."""
    disk = RecordingDisk(directory, resources)
    rng = random.Random(1)

    def tell(engine: LogEngine) -> None:
        disk.told = (engine.head.log_size, (directory / "schemas.ndjson").stat().st_size)
        disk.record()

    def write(engine: LogEngine, number: int) -> None:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            subjects = [f"/s/{rng.randrange(9)}" for _ in range(rng.choice((1, 1, 2, 4)))]
            data = f'{{"text":"{"x" * rng.choice((0, 0, 30, 300))}"}}'
            type_ = f"io.everlog.t{number % 7}"
            stage(engine, *[a_candidate(subject, type_, data=data) for subject in subjects])
        if number % 6 == 1:
            engine.stage_schema(a_schema(f"io.everlog.s{number}"))
        store_staged(engine)
        tell(engine)

    engine = open_log(directory, disk=disk, segment_size_max=SEGMENT_SIZE)
    # Before it says where it is, it has never been opened.
    disk.moments.clear()
    for number in range(24):
        write(engine, number)
        if number % 3 == 1:
            engine.save_snapshot()
            disk.record()
        if number in {7, 18}:
            engine.close() if number == 7 else kill(engine)
            disk.record()
            engine = open_log(directory, disk=disk, segment_size_max=SEGMENT_SIZE)
            tell(engine)
    engine.close()
    disk.record()
    log = b"".join(path.read_bytes() for path in segments_of(directory))
    ends, size = {0}, 0
    for line, mark in zip(split_lines(log), marks_of(log), strict=True):
        size += len(line)
        if mark is not Mark.EVENT:
            ends.add(size)
    return Recorded(disk.moments, log, (directory / "schemas.ndjson").read_bytes(), ends)


def segments_of(directory: Path) -> list[Path]:
    return sorted((directory / "log").iterdir())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with pytest.MonkeyPatch.context() as monkeypatch, ExitStack() as resources:
        monkeypatch.setattr(segments, "ALLOCATION_STEP", 3_000)
        yield live(tmp_path_factory.mktemp("life") / "data", resources)


def check_copy(copy: Path, recorded: Recorded, began: Moment) -> Content:
    """Check that all who open a copy see the same state of that life, and nothing lost."""
    before = content_below(copy)
    with ReadOnlyLog.open(copy) as reader:
        seen = content_of(reader)
    _, summary = audit_of(copy)
    assert summary.is_ok
    assert (summary.event_count, summary.head_hash) == (seen.head.event_count, seen.head.hash)
    assert content_below(copy) == before

    engine = open_log(copy)
    content = content_of(engine)
    assert engine.report.is_copy
    assert content == seen
    size = content.head.log_size
    assert recorded.log.startswith(content.log)
    assert size in recorded.ends
    assert size >= began.told[0]
    schemas = (copy / "schemas.ndjson").read_bytes()
    assert recorded.schemas.startswith(schemas)
    assert len(schemas) >= began.told[1]
    check_is_an_original(engine, copy)
    return content


def check_is_an_original(engine: LogEngine, directory: Path) -> None:
    """Check that a copy that was opened for writing is its own, whatever comes then."""
    store(engine, a_candidate("/later"))
    content = content_of(engine)
    kill(engine)
    engine = open_log(directory)
    assert not engine.report.is_copy
    assert engine.report.rebuild_reason is None
    assert content_of(engine) == content
    engine.close()
    check_audit_is_clean(directory)
    segment = segments_of(directory)[-1]
    segment.write_bytes(segment.read_bytes()[:-1])
    with pytest.raises(CorruptLogError):
        open_log(directory)


def content_below(directory: Path) -> dict[Path, bytes | None]:
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
        if path.name != "lock"
    }


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(seed=st.integers(0, 2**32))
def test_a_copy_opens_whatever_moment_each_piece_is_of(
    recorded: Recorded, tmp_path: Path, seed: int
) -> None:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    began, _ = copy_at_random(recorded.moments, copy, random.Random(seed))

    check_copy(copy, recorded, began)


# What is copied at rest.


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """Return a directory after a clean stop, with two segments and event schemas."""
    directory = tmp_path / "data"
    fill_directory(directory)
    return directory


def copy_of(directory: Path) -> Path:
    return shutil.copytree(directory, directory.with_name("copy"))


def test_a_copy_of_a_stopped_directory_has_everything_and_its_index_is_used(stopped: Path) -> None:
    with ReadOnlyLog.open(stopped) as reader:
        content = content_of(reader)
    copy = copy_of(stopped)
    check_kinds(copy, Kind.COPY)

    engine = open_log(copy)

    assert content_of(engine) == content
    assert engine.report == OpeningReport(
        event_count=content.head.event_count,
        replayed_event_count=0,
        torn_size=0,
        rebuild_reason=None,
        is_copy=True,
        noted_event_count=content.head.event_count,
    )
    check_is_an_original(engine, copy)


def test_what_a_crash_left_behind_an_old_bound_is_in_a_copy_too(stopped: Path) -> None:
    kill_while_writing(stopped)
    copy = copy_of(stopped)
    check_kinds(copy, Kind.COPY, Kind.UNCONFIRMED)

    engine = open_log(copy)

    assert engine.head.event_count == EVENT_COUNT + 3
    assert engine.report.noted_event_count == EVENT_COUNT
    check_is_an_original(engine, copy)


def test_a_snapshot_is_not_believed_of_what_was_read_before_it(stopped: Path) -> None:
    """Its last event is in its place, and what is before it was copied at an earlier moment."""
    copy = copy_of(stopped)
    (copy / "durable").write_bytes(bytes(28))
    path = segments_of(copy)[0]
    content = bytearray(path.read_bytes())
    content[1_000:1_300] = bytes(300)
    path.write_bytes(content)
    findings = check_kinds(copy, Kind.COPY, Kind.NO_CHECKPOINT, Kind.UNCONFIRMED)

    engine = open_log(copy)

    assert engine.report.rebuild_reason == (
        "the snapshot speaks of events that the copy does not have"
    )
    assert engine.head.event_count == findings[0].event_id == 2
    check_is_an_original(engine, copy)


@pytest.mark.parametrize("rubbish", [b"rubbish", b"\n\n", b"{}\n"])
def test_what_a_crash_left_torn_is_cut_off_a_copy_too(stopped: Path, rubbish: bytes) -> None:
    kill_while_writing(stopped)
    path = segments_of(stopped)[-1]
    path.write_bytes(path.read_bytes().rstrip(b"\0") + rubbish)
    copy = copy_of(stopped)

    engine = open_log(copy)

    assert engine.head.event_count == EVENT_COUNT + 3
    assert engine.report.torn_size == len(rubbish)
    check_is_an_original(engine, copy)


def test_a_directory_that_was_moved_is_no_copy(stopped: Path) -> None:
    moved = stopped.rename(stopped.with_name("moved"))
    check_audit_is_clean(moved)

    engine = open_log(moved)

    assert not engine.report.is_copy
    kill(engine)


def test_files_that_were_put_back_as_a_whole_are_a_copy(stopped: Path) -> None:
    """The directory is the same, and what is in it is not, as after `rm -r data/*`."""
    copy = copy_of(stopped)
    for path in stopped.iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)
    shutil.copytree(copy, stopped, dirs_exist_ok=True)

    engine = open_log(stopped)

    assert engine.report.is_copy
    check_is_an_original(engine, stopped)


@pytest.mark.parametrize("place", [None, b"", b"{}", b"\xff", b'{"directory":1}'])
def test_a_directory_that_does_not_say_where_it_is_is_no_copy(
    stopped: Path, place: bytes | None
) -> None:
    copy = copy_of(stopped)
    (copy / "place").unlink()
    if place is not None:
        (copy / "place").write_bytes(place)
    content = (copy / "log").joinpath(segments_of(copy)[-1].name).read_bytes()
    segments_of(copy)[-1].write_bytes(content[:-1])
    with pytest.raises(CorruptLogError, match="does not exist yet"):
        open_log(copy)

    segments_of(copy)[-1].write_bytes(content)
    engine = open_log(copy)
    assert not engine.report.is_copy
    engine.close()
    check_audit_is_clean(copy)
    check_kinds(shutil.copytree(copy, copy.with_name("next")), Kind.COPY)


# What is refused.


def check_refused(directory: Path, match: str) -> None:
    before = content_below(directory)
    for opening in (open_log, ReadOnlyLog.open):
        with pytest.raises(CorruptLogError, match=match):
            opening(directory)
    findings, summary = audit_of(directory)
    assert Kind.COPY in {found.kind for found in findings}
    assert not summary.is_ok
    assert content_below(directory) == before


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_in_a_copy_is_refused(stopped: Path, bit: int) -> None:
    """Behind its snapshot; what was written while it was copied is missing as well."""
    engine = open_log(stopped, segment_size_max=10_000)
    for subject in ("/e", "/f", "/g"):
        store(engine, a_candidate(subject))
    kill(engine)
    copy = copy_of(stopped)
    path = segments_of(copy)[-1]
    content = bytearray(path.read_bytes().rstrip(b"\0"))
    content[content.rindex(b'"/f"') + 1] ^= 1 << bit
    path.write_bytes(content[:-20] + bytes(1_000))

    check_refused(copy, "damaged in this copy.*Make the copy again")


def test_what_is_missing_in_a_copy_that_was_made_at_rest_is_refused(stopped: Path) -> None:
    copy = copy_of(stopped)
    path = segments_of(copy)[0]
    content = bytearray(path.read_bytes())
    content[1_000:2_000] = bytes(1_000)
    path.write_bytes(content)

    check_refused(copy, "damaged in this copy.*Make the copy again")


def test_a_copy_without_its_first_segment_is_refused(stopped: Path) -> None:
    copy = copy_of(stopped)
    segments_of(copy)[0].unlink()

    check_refused(copy, "id 0 is damaged in this copy")


def test_damage_in_the_event_schemas_of_a_copy_is_refused(stopped: Path) -> None:
    copy = copy_of(stopped)
    path = copy / "schemas.ndjson"
    lines = split_lines(path.read_bytes())
    path.write_bytes(lines[0].replace(b"object", b"objekt") + lines[1][:-10])

    check_refused(copy, "line 1 of")


def test_a_copy_that_shares_its_files_is_refused(stopped: Path) -> None:
    """As `cp -al` makes it; but whoever only reads may read it."""
    before = content_below(stopped)
    copy = shutil.copytree(stopped, stopped.with_name("copy"), copy_function=os.link)

    with pytest.raises(DataDirectoryError, match=r"a hard link.*'cp -a'"):
        open_log(copy)

    with ReadOnlyLog.open(copy) as reader:
        assert reader.is_copy
    engine = open_log(stopped)
    assert not engine.report.is_copy
    kill(engine)
    assert content_below(stopped) == before


def test_loss_in_the_directory_itself_is_refused_as_before(stopped: Path) -> None:
    """The very bytes that a copy is opened with."""
    path = segments_of(stopped)[-1]
    path.write_bytes(path.read_bytes()[:-500] + bytes(100))
    engine = open_log(copy_of(stopped))
    assert engine.head.event_count < EVENT_COUNT
    kill(engine)

    with pytest.raises(CorruptLogError, match="the log ends before it"):
        open_log(stopped)


# How a copy becomes a directory of its own.


def test_a_copy_stays_one_where_there_is_no_room_to_say_otherwise(stopped: Path) -> None:
    copy = copy_of(stopped)
    disk = FailingDisk()
    disk.arm(Fault(Call.RENAME, 0, errno.ENOSPC, is_lasting=True))
    engine = open_log(copy, disk=disk)
    assert disk.has_failed
    store(engine, a_candidate("/later"))
    content = content_of(engine)
    kill(engine)

    engine = open_log(copy)

    assert engine.report.is_copy
    assert content_of(engine) == content
    check_is_an_original(engine, copy)


def test_a_reader_beside_a_server_that_opens_a_copy_is_told_to_wait(stopped: Path) -> None:
    copy = copy_of(stopped)
    path = segments_of(copy)[-1]
    path.write_bytes(path.read_bytes()[:-10])
    server = os.open(copy, os.O_RDONLY)
    fcntl.flock(server, fcntl.LOCK_EX)

    with pytest.raises(DirectoryLockedError, match="just opening"):
        ReadOnlyLog.open(copy)

    os.close(server)
    with ReadOnlyLog.open(copy) as reader:
        assert reader.head.event_count == EVENT_COUNT - 1


def test_who_cannot_write_serves_a_copy_as_it_is(stopped: Path) -> None:
    copy = copy_of(stopped)
    path = segments_of(copy)[-1]
    path.write_bytes(path.read_bytes()[:-10])
    before = content_below(copy)

    engine = ReadOnlyEngine.open(copy)

    assert engine.report.is_copy
    assert (engine.report.event_count, engine.report.noted_event_count) == (
        EVENT_COUNT - 1,
        EVENT_COUNT,
    )
    engine.close()
    assert content_below(copy) == before


# Planted bugs: copies of any moments show them.


def do_nothing(*_: object, **__: object) -> None:
    """Leave out what the product does."""


def take_every_directory_for_the_original(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "is_copy", lambda *_: False)


def forget_to_say_where_it_is(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine_module, "record_place", do_nothing)


def leave_later_segments(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(segments.Segments, "end_at", do_nothing)


def take_what_is_missing_for_damage(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "_is_missing", lambda *_: False)


def look_at_zeros_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "_is_missing", lambda *arguments: b"\0" in arguments[-1])


def keep_half_a_write(patch: pytest.MonkeyPatch) -> None:
    def parse(line: bytes, **options: Any) -> tuple[Event, Mark]:
        return parse_next_line(line, **options)[0], Mark.WRITE

    patch.setattr(recovery, "parse_next_line", parse)


def audit_as_if_it_were_none(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(audit_of_copies, "is_copy", lambda _: False)


PLANTS = (
    take_every_directory_for_the_original,
    forget_to_say_where_it_is,
    leave_later_segments,
    take_what_is_missing_for_damage,
    look_at_zeros_only,
    keep_half_a_write,
    audit_as_if_it_were_none,
)


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_shows(
    recorded: Recorded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
) -> None:
    plant(monkeypatch)

    with pytest.raises((AssertionError, EverlogError)):
        check_copies(recorded, tmp_path)


def check_copies(recorded: Recorded, folder: Path) -> None:
    for seed in range(400):
        copy = folder / str(seed)
        began, _ = copy_at_random(recorded.moments, copy, random.Random(seed))
        check_copy(copy, recorded, began)
