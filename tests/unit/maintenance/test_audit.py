"""The audit: a directory as it was written is fine, and everything else is told with its place."""

import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from everlog.domain.chain import HashVersion
from everlog.domain.errors import DataDirectoryError, DirectoryLockedError, UnknownFormatError
from everlog.domain.event import accept_event
from everlog.maintenance import segments
from everlog.maintenance.audit import Progress, audit
from everlog.maintenance.findings import Finding, Kind, Summary, Weight
from everlog.storage.log import columns
from tests.support.audits import audit_of
from tests.support.engines import events_of, kill, open_log, split_lines
from tests.support.events import (
    TRACEPARENT,
    a_candidate,
    a_schema,
    seal,
    stage,
    store,
    store_staged,
)

BOUND = struct.Struct("<QQQ")

FIRST = f"log/{0:020}.ndjson"

# Enough for two segments, of which the first one has eight at least.
EVENT_COUNT = 12
SEGMENT_SIZE = 4_096


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data directory with everything that there is, after a clean stop."""
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 16)
    engine = open_log(tmp_path / "data", segment_size_max=SEGMENT_SIZE)
    stage(engine, a_candidate("/a", traceparent=TRACEPARENT), a_candidate("/a/b"))
    stage(engine, a_candidate("/a", traceparent=TRACEPARENT, tracestate='a="\\"'))
    engine.stage_schema(a_schema("io.everlog.one"))
    store_staged(engine)
    store(engine, a_candidate("/c", data='{"t":"\u00e9 }}  \\n"}'), hash_version=HashVersion.V1)
    while engine.head.event_count < EVENT_COUNT:
        store(engine, a_candidate(f"/d/{engine.head.event_count}", "io.everlog.other"))
    engine.stage_schema(a_schema("io.everlog.two"))
    store_staged(engine)
    engine.close()
    assert len(list((tmp_path / "data" / "log").iterdir())) == 2
    return tmp_path / "data"


def file_of(directory: Path, position: int) -> Path:
    """Return the segment that holds an event."""
    paths = sorted((directory / "log").iterdir())
    return next(path for path in reversed(paths) if int(path.stem) <= position)


def edit_line(directory: Path, position: int, edit: Callable[[bytes], bytes]) -> int:
    """Change the line of an event, and return where it begins in its file."""
    path = file_of(directory, position)
    lines = split_lines(path.read_bytes())
    index = position - int(path.stem)
    offset = sum(map(len, lines[:index]))
    lines[index] = edit(lines[index])
    path.write_bytes(b"".join(lines))
    return offset


def check_finding(
    directory: Path,
    kind: Kind,
    *,
    event_id: int | None,
    file: str,
    offset: int | None,
    meaning: str,
) -> None:
    """Check that an audit tells exactly one thing."""
    findings, summary = audit_of(directory)
    assert [(found.kind, found.event_id, found.file, found.offset) for found in findings] == [
        (kind, event_id, file, offset)
    ], findings
    assert re.search(meaning, findings[0].meaning), findings[0].meaning
    assert summary.is_ok == (findings[0].weight is Weight.NOTICE)


def check_kinds(directory: Path, *kinds: Kind) -> list[Finding]:
    findings, _ = audit_of(directory)
    assert [found.kind for found in findings] == list(kinds), findings
    return findings


def test_what_was_written_is_as_it_was_written(directory: Path) -> None:
    findings, summary = audit_of(directory)

    engine = open_log(directory)
    head = engine.head
    kill(engine)
    assert findings == []
    assert summary == Summary(
        event_count=EVENT_COUNT,
        head_hash=head.hash,
        log_size=head.log_size,
        segment_count=2,
        schema_count=2,
        finding_count=0,
        notice_count=0,
    )
    assert summary.is_ok


def test_an_empty_directory_is_fine(tmp_path: Path) -> None:
    open_log(tmp_path).close()

    findings, summary = audit_of(tmp_path)

    assert findings == []
    assert (summary.event_count, summary.head_hash) == (0, "0" * 64)


def test_nothing_is_changed_and_a_copy_that_nobody_may_write_to_will_do(directory: Path) -> None:
    def state() -> dict[Path, tuple[bytes, int]]:
        return {
            path: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in directory.rglob("*")
            if path.is_file()
        }

    (directory / "lock").unlink()
    before = state()

    assert audit_of(directory)[0] == []

    assert state() == before


def test_lines_across_blocks_are_read_whole(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (7, 100, 1_000):
        monkeypatch.setattr(segments, "_BLOCK_SIZE", size)
        assert audit_of(directory)[0] == []


def test_progress_is_told_in_bytes(directory: Path) -> None:
    told: list[tuple[int, int]] = []
    list(audit(directory, on_progress=lambda found: told.append((found.done, found.total))))

    size = sum(path.stat().st_size for path in (directory / "log").iterdir())
    assert told[-1] == (size, size)
    assert Progress().done == 0


# Each row: what is exchanged in the line of event 4, the kind of the one finding, what it says.
EDITS: tuple[tuple[bytes, bytes, Kind, str], ...] = (
    (b"specversion", b"spacversion", Kind.BROKEN_LINE, "event 4 is not readable.*not an event"),
    (b'"data":{', b'"data":[', Kind.BROKEN_LINE, "not an event"),
    (b"other", b"oth\xffr", Kind.BROKEN_LINE, "not an event"),
    (b'"data":{', b'"data":' + b"[" * 5_000, Kind.BROKEN_LINE, "not an event"),
    (b'{"type"', b' {"type"', Kind.BROKEN_LINE, "another form"),
    (b'"signature"', b' "signature"', Kind.BROKEN_LINE, "another form"),
    (b'"subject":', b'"subject":"/x","subject":', Kind.BROKEN_LINE, "another form"),
    (b"/d/4", b"\\u002fd/4", Kind.BROKEN_LINE, "another form"),
    (b"  \n", b"   \n", Kind.BROKEN_LINE, "another form"),
    (b"  \n", b" \t\n", Kind.BROKEN_LINE, "another form"),
    (b"/d/4", b"/d/5", Kind.HASH, "not that of its content"),
    (b'{"n":1}', b'{"n":2}', Kind.HASH, "not that of its content"),
    (b"\n", b"\nrubbish\n", Kind.BROKEN_LINE, "8 bytes in front of it are not an event"),
)


@pytest.mark.parametrize("old, new, kind, meaning", EDITS)
def test_a_changed_line_is_told_with_its_event_and_its_place(
    directory: Path, old: bytes, new: bytes, kind: Kind, meaning: str
) -> None:
    offset = edit_line(directory, 4, lambda line: line.replace(old, new))
    # What stands behind a line is in front of the next one.
    is_behind = b"rubbish" in new
    if is_behind:
        offset += len(split_lines(file_of(directory, 4).read_bytes())[4])
    event_id = 5 if is_behind else 4

    check_finding(directory, kind, event_id=event_id, file=FIRST, offset=offset, meaning=meaning)


def test_two_lines_that_became_one_are_two_lost_events(directory: Path) -> None:
    offset = edit_line(directory, 3, lambda line: line.replace(b"\n", b"\x0b"))

    check_finding(
        directory,
        Kind.BROKEN_LINE,
        event_id=3,
        file=FIRST,
        offset=offset,
        meaning="events 3 to 4 are not readable",
    )


def test_a_changed_hash_is_told_once_and_of_the_right_event(directory: Path) -> None:
    event = events_of(file_of(directory, 4).read_bytes())[4]
    changed = event.hash[:-1] + ("0" if event.hash[-1] != "0" else "1")
    offset = edit_line(
        directory, 4, lambda line: line.replace(event.hash.encode(), changed.encode())
    )

    check_finding(
        directory, Kind.HASH, event_id=4, file=FIRST, offset=offset, meaning="its hash is not"
    )


def test_a_hash_of_an_unknown_version_is_told(directory: Path) -> None:
    event = events_of(file_of(directory, 4).read_bytes())[4]
    changed = event.hash.replace("v2", "v3")
    edit_line(directory, 4, lambda line: line.replace(event.hash.encode(), changed.encode()))

    kinds = check_kinds(directory, Kind.HASH, Kind.PREDECESSOR_HASH)
    assert "unknown version" in kinds[0].meaning


def test_a_changed_id_is_told_and_the_rest_is_in_its_place(directory: Path) -> None:
    for new in (b'"id":"7"', b'"id":"2"', b'"id":"x"', b'"id":"%d"' % 10**30):
        shutil.copytree(directory, directory.with_name("copy"))
        edit_line(
            directory.with_name("copy"), 4, lambda line, new=new: line.replace(b'"id":"4"', new)
        )
        findings = check_kinds(directory.with_name("copy"), Kind.ID, Kind.HASH)
        assert [found.event_id for found in findings] == [4, 4]
        shutil.rmtree(directory.with_name("copy"))


def test_missing_doubled_and_swapped_events_are_told(directory: Path) -> None:
    path = file_of(directory, 0)
    lines = split_lines(path.read_bytes())
    offset = sum(map(len, lines[:3]))

    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    check_finding(
        directory,
        Kind.EVENTS_MISSING,
        event_id=3,
        file=FIRST,
        offset=offset,
        meaning="event 3 is missing",
    )
    path.write_bytes(b"".join(lines[:3] + lines[2:]))
    check_finding(
        directory, Kind.ID, event_id=3, file=FIRST, offset=offset, meaning="'2' stands where"
    )
    path.write_bytes(b"".join([*lines[:3], lines[4], lines[3], *lines[5:]]))
    check_kinds(directory, Kind.EVENTS_MISSING, Kind.ID)


def test_an_event_rewritten_with_its_hash_breaks_the_chain_behind_it(directory: Path) -> None:
    old = events_of(file_of(directory, 4).read_bytes())[4]
    new = accept_event(
        a_candidate("/d/4", "io.everlog.other", data='{"n":2}'),
        position=4,
        time=old.time,
        predecessor_hash=old.predecessorhash,
        hash_version=HashVersion.V2,
    )
    line = b'{"type":"event","payload":%b}  \n' % new.json.encode()
    offset = edit_line(directory, 4, lambda _: line)

    check_finding(
        directory,
        Kind.PREDECESSOR_HASH,
        event_id=5,
        file=FIRST,
        offset=offset + len(line),
        meaning="does not name the hash of event 4",
    )


@pytest.mark.parametrize("time", ["2023-11-14T22:13:19.9Z", "2023-13-14T22:13:19.9Z", "yesterday"])
def test_a_time_that_goes_back_or_is_none_is_told(directory: Path, time: str) -> None:
    engine = open_log(directory)
    head = engine.head
    event = accept_event(
        a_candidate(),
        position=head.event_count,
        time=time,
        predecessor_hash=head.hash,
        hash_version=HashVersion.V2,
    )
    engine.stage([event], time=head.time)
    store_staged(engine)
    engine.close()

    findings = check_kinds(directory, Kind.TIME)
    assert (findings[0].event_id, time in findings[0].meaning) == (head.event_count, True)


def test_every_flaw_is_told_and_not_only_the_first(directory: Path) -> None:
    for position in (0, 3, 10):
        edit_line(directory, position, lambda line: line.replace(b'"n":', b'"m":'))
    edit_line(directory, 5, lambda line: b"x" + line)
    (directory / "log" / "notes.txt").touch()
    shutil.copy(directory / FIRST, directory / "log" / "0.ndjson")

    findings, summary = audit_of(directory)

    assert [(found.kind, found.event_id) for found in findings] == [
        (Kind.SEGMENT, None),
        (Kind.SEGMENT, None),
        (Kind.HASH, 0),
        (Kind.BROKEN_LINE, 5),
        (Kind.HASH, 10),
    ]
    assert summary.finding_count == 5


def test_a_missing_segment_is_told(directory: Path) -> None:
    first, second = sorted((directory / "log").iterdir())
    second.rename(directory / "second")
    findings = check_kinds(directory, Kind.LOG_TOO_SHORT, Kind.CHECKPOINT)
    assert findings[0].event_id == int(second.stem)

    (directory / "second").rename(second)
    first.unlink()
    findings, _ = audit_of(directory)
    assert findings[0].kind is Kind.EVENTS_MISSING
    assert (findings[0].event_id, findings[0].file) == (0, f"log/{second.name}")


def test_a_segment_with_another_name_is_told(directory: Path) -> None:
    second = max((directory / "log").iterdir())
    number = int(second.stem)
    second.rename(second.with_name(f"{number - 1:020}.ndjson"))
    check_kinds(directory, Kind.SEGMENT)

    second.with_name(f"{number - 1:020}.ndjson").rename(
        second.with_name(f"{number + 1:020}.ndjson")
    )
    check_kinds(directory, Kind.EVENTS_MISSING, Kind.ID)


def test_a_write_without_its_end_is_told(directory: Path) -> None:
    first = file_of(directory, 0)
    last = len(split_lines(first.read_bytes())) - 1
    edit_line(directory, last, lambda line: line.replace(b"  \n", b"\n"))
    findings, _ = audit_of(directory)
    assert (Kind.UNFINISHED_WRITE, last) in [(found.kind, found.event_id) for found in findings]

    edit_line(directory, EVENT_COUNT - 1, lambda line: line.replace(b"  \n", b"\n"))
    findings, _ = audit_of(directory)
    assert (Kind.UNFINISHED_WRITE, EVENT_COUNT - 1) in [
        (found.kind, found.event_id) for found in findings
    ]


def test_zeros_inside_the_log_are_told_and_behind_it_they_mean_nothing(directory: Path) -> None:
    first, second = sorted((directory / "log").iterdir())
    size = first.stat().st_size
    os.truncate(second, second.stat().st_size + 5_000)
    assert audit_of(directory)[0] == []

    os.truncate(first, size + 10)
    findings, _ = audit_of(directory)
    assert (findings[0].kind, findings[0].offset) == (Kind.BROKEN_LINE, size)


def test_a_lost_end_is_told(directory: Path) -> None:
    path = file_of(directory, EVENT_COUNT - 1)
    content = path.read_bytes()
    last = split_lines(content)[-1]

    path.write_bytes(content.removesuffix(last))
    check_kinds(directory, Kind.LOG_TOO_SHORT, Kind.CHECKPOINT)
    path.write_bytes(content[:-10])
    findings, _ = audit_of(directory)
    assert (findings[0].kind, findings[0].event_id) == (Kind.BROKEN_LINE, EVENT_COUNT - 1)


@pytest.fixture
def killed(directory: Path) -> Path:
    """Return the directory after the death of the process, with the bound of one batch ago."""
    engine = open_log(directory)
    bound = (directory / "durable").read_bytes()
    stage(engine, a_candidate("/e"), a_candidate("/f"))
    stage(engine, a_candidate("/g"))
    engine.commit(seal(engine))
    kill(engine)
    (directory / "durable").write_bytes(bound)
    return directory


def test_events_behind_the_bound_are_a_notice(killed: Path) -> None:
    check_finding(
        killed,
        Kind.UNCONFIRMED,
        event_id=EVENT_COUNT,
        file="durable",
        offset=None,
        meaning="events 12 to 14 are whole",
    )


def test_what_may_be_torn_is_a_notice_and_gone_after_the_next_opening(killed: Path) -> None:
    path = file_of(killed, EVENT_COUNT)
    content = path.read_bytes().rstrip(b"\0")
    lines = split_lines(content)
    end = len(content) - sum(map(len, lines[-3:]))
    whole = content[: end + len(lines[-3]) + len(lines[-2])]
    # Each row: what the disk holds, and where the torn tail begins.
    for rest, start, event_id in (
        (content[:-1], len(whole), EVENT_COUNT + 2),
        (content[: end + 5], end, EVENT_COUNT),
        (content[: end + len(lines[-3])] + bytes(100), end, EVENT_COUNT),
        (content[:end] + bytes(200) + content[end + 200 :], end, EVENT_COUNT),
        (content.replace(b'"/f"', b'"/x"'), end, EVENT_COUNT),
    ):
        path.write_bytes(rest)
        findings, summary = audit_of(killed)
        torn = next(found for found in findings if found.kind is Kind.TORN_TAIL)
        assert (torn.offset, torn.event_id) == (start, event_id)
        assert summary.is_ok
        copy = killed.with_name("copy")
        shutil.copytree(killed, copy)
        engine = open_log(copy)
        assert engine.head.event_count == event_id
        engine.close()
        assert audit_of(copy)[0] == []
        shutil.rmtree(copy)


def test_what_a_later_batch_proves_to_be_durable_is_no_torn_tail(killed: Path) -> None:
    (killed / "durable").write_bytes(b"")
    edit_line(killed, 8, lambda line: line.replace(b'"n":', b'"m":'))

    findings, summary = audit_of(killed)

    assert [found.kind for found in findings] == [Kind.UNCONFIRMED, Kind.HASH, Kind.UNCONFIRMED]
    assert not summary.is_ok


def test_a_damaged_bound_is_told(directory: Path) -> None:
    path = directory / "durable"
    content = path.read_bytes()
    for offset in range(len(content)):
        path.write_bytes(content[:offset] + bytes((content[offset] ^ 4,)) + content[offset + 1 :])
        findings, _ = audit_of(directory)
        assert findings[0].kind is Kind.DURABLE_BOUND
    for missing in (b"", bytes(28)):
        path.write_bytes(missing)
        assert audit_of(directory)[1].is_ok


def test_a_bound_that_means_another_log_is_told(directory: Path) -> None:
    path = directory / "durable"
    count, log_size, schemas_size = BOUND.unpack(path.read_bytes()[:-4])
    for wrong, kind in (
        ((count - 1, log_size, schemas_size), Kind.DURABLE_BOUND),
        ((count, log_size - 1, schemas_size), Kind.DURABLE_BOUND),
        ((count, log_size + 1, schemas_size), Kind.LOG_TOO_SHORT),
        ((count, log_size, schemas_size + 1), Kind.SCHEMAS_TOO_SHORT),
    ):
        body = BOUND.pack(*wrong)
        path.write_bytes(body + zlib.crc32(body).to_bytes(4, "little"))
        check_kinds(directory, kind)


def test_damaged_schemas_are_told_with_their_line(directory: Path) -> None:
    path = directory / "schemas.ndjson"
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    for offset, byte in enumerate(content):
        flipped = byte ^ (1, 32, 128)[offset % 3]
        path.write_bytes(content[:offset] + bytes((flipped,)) + content[offset + 1 :])
        findings, _ = audit_of(directory)
        assert findings[0].kind is Kind.SCHEMA
        assert findings[0].offset in (
            {0, start} if offset == start - 1 else {start * (offset >= start)}
        )
        assert findings[0].file == "schemas.ndjson"
    path.write_bytes(content[:-1])
    check_kinds(directory, Kind.SCHEMA, Kind.SCHEMAS_TOO_SHORT)
    path.write_bytes(content + content[:start])
    findings, summary = audit_of(directory)
    assert [found.kind for found in findings] == [Kind.TORN_TAIL]
    assert summary.schema_count == 2


@pytest.mark.parametrize(
    "content, meaning",
    [(b"", "damaged"), (b'{"format":"other","version":1}\n', "damaged"), (b"{", "damaged")],
)
def test_a_damaged_format_is_told(directory: Path, content: bytes, meaning: str) -> None:
    (directory / "everlog.json").write_bytes(content)

    check_finding(
        directory, Kind.FORMAT, event_id=None, file="everlog.json", offset=None, meaning=meaning
    )


def test_bytes_that_the_system_cannot_read_are_told_and_the_rest_is_read(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread = os.pread

    def failing(file: int, size: int, offset: int) -> bytes:
        if offset <= 700 < offset + size and size == 512:
            raise OSError(5, "Input/output error")
        return pread(file, size, offset)

    monkeypatch.setattr(segments, "_BLOCK_SIZE", 512)
    monkeypatch.setattr("os.pread", failing)

    findings, _ = audit_of(directory)

    assert [found.kind for found in findings[:2]] == [Kind.UNREADABLE, Kind.BROKEN_LINE]
    assert findings[0].offset == 512
    assert findings[1].event_id == 1
    assert "events 1 to 2 are not readable" in findings[1].meaning


def test_a_directory_that_a_server_has_open_is_refused(directory: Path) -> None:
    engine = open_log(directory)
    with pytest.raises(DirectoryLockedError, match=f"process id {os.getpid()}.*stop it first"):
        audit_of(directory)
    engine.close()
    assert audit_of(directory)[0] == []


def test_a_server_is_kept_out_meanwhile_and_told_why(directory: Path) -> None:
    running = audit(directory, on_progress=lambda _: None)
    edit_line(directory, 0, lambda line: b"x" + line)
    assert isinstance(next(running), Finding)

    with pytest.raises(DirectoryLockedError, match="in use by another process \\(an audit\\)"):
        open_log(directory)
    assert audit_of(directory)[1].finding_count == 1

    assert len(list(running)) == 1
    edit_line(directory, 0, lambda line: line[1:])
    open_log(directory).close()


def test_a_server_that_came_meanwhile_is_noticed(directory: Path) -> None:
    (directory / "lock").unlink()
    edit_line(directory, 0, lambda line: b"x" + line)
    running = audit(directory, on_progress=lambda _: None)
    next(running)
    (directory / "lock").touch()

    with pytest.raises(DirectoryLockedError, match="meanwhile"):
        list(running)


def refusals(tmp_path: Path) -> Iterator[tuple[Path, type[Exception], str]]:
    (tmp_path / "file").touch()
    yield tmp_path / "file", DataDirectoryError, "is not a directory"
    yield tmp_path / "missing", DataDirectoryError, "is not a directory"
    (tmp_path / "empty").mkdir()
    yield tmp_path / "empty", UnknownFormatError, r"no everlog\.json"
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "everlog.json").write_text('{"format":"everlog-data","version":2}')
    yield tmp_path / "new", UnknownFormatError, "data format 2"
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "everlog.json").symlink_to(tmp_path / "new" / "everlog.json")
    yield tmp_path / "link", DataDirectoryError, "cannot be read"


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    for directory, error, message in refusals(tmp_path):
        with pytest.raises(error, match=message):
            audit_of(directory)
