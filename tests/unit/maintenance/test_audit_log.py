"""The audit of the log: every changed, missing or added byte is told with its event and place."""

import os
import shutil
from pathlib import Path

import pytest

from everlog.domain.chain import HashVersion
from everlog.domain.event import accept_event
from everlog.maintenance import segments
from everlog.maintenance.findings import Kind
from tests.support.audits import (
    EVENT_COUNT,
    FIRST,
    audit_of,
    check_finding,
    check_kinds,
    edit_line,
    file_of,
)
from tests.support.copies import settle
from tests.support.engines import events_of, open_log, split_lines
from tests.support.events import (
    a_candidate,
    store_staged,
)


def test_lines_across_blocks_are_read_whole(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (7, 100, 1_000):
        monkeypatch.setattr(segments, "_BLOCK_SIZE", size)
        assert audit_of(directory)[0] == []


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
        settle(shutil.copytree(directory, directory.with_name("copy")))
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
    line = b'{"type":"event","payload":%b}  \n' % new.json
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
        settle(shutil.copytree(killed, copy))
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
