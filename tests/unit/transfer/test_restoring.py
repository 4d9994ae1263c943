"""Restoring: what is taken, what is refused and where, and that nothing stays of what is."""

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from everlog.domain.chain import HashVersion
from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import is_hash_valid
from everlog.domain.limits import BACKUP_LINE_SIZE_MAX, EVENT_SIZE_MAX
from everlog.storage.line import parse_line
from everlog.storage.log import LogEngine, ReadOnlyLog
from everlog.transfer import restoring
from everlog.transfer.backup_lines import to_backup_lines
from everlog.transfer.restoring import Restored, Restoring, empty_store
from tests.support.audits import check_audit_is_clean
from tests.support.backups import (
    END_LINE,
    MEMBERS,
    Event,
    an_event,
    chained,
    event_line,
    lines_of,
    schema_line,
)
from tests.support.engines import content_of, split_lines
from tests.support.events import TRACEPARENT, a_candidate, store
from tests.support.hostile_schemas import doubling
from tests.support.sources import REPOSITORY

TYPE = "io.everlog.test.happened"
INTEGER_N = '{"type":"object","properties":{"n":{"type":"integer"}}}'
VECTORS = REPOSITORY / "tests" / "fixtures" / "hash-vectors.ndjson"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


def restore(
    directory: Path, *files: bytes, rechain: bool = False, size: int | None = None
) -> Restored:
    with empty_store(directory), Restoring(directory, rechain=rechain) as running:
        for number, file in enumerate(files, start=1):
            step = size or max(1, len(file))
            for start in range(0, len(file), step):
                running.feed(file[start : start + step])
            if number < len(files):
                running.end_file()
        return running.finish()


def refusal_of(
    directory: Path, *files: bytes, rechain: bool = False, code: Code, size: int | None = None
) -> RefusedError:
    """Return the refusal of a backup, of which nothing may be left."""
    with pytest.raises(RefusedError) as caught:
        restore(directory, *files, rechain=rechain, size=size)
    assert caught.value.code is code, caught.value.message
    with ReadOnlyLog.open(directory) as log:
        assert log.head.event_count == log.head.event_type_count == 0
    assert not (directory / "restore.new").exists()
    return caught.value


def log_of(directory: Path) -> bytes:
    with ReadOnlyLog.open(directory) as log:
        return content_of(log).log


def some_events(count: int = 5) -> list[Event]:
    return [an_event(f'{{"n":{number}}}', subject=f"/s/{number % 3}") for number in range(count)]


@pytest.mark.parametrize("look", [1, 2])
@pytest.mark.parametrize("version", [1, 2])
def test_a_backup_is_restored_byte_for_byte(directory: Path, version: int, look: int) -> None:
    chain = chained(
        [
            *some_events(),
            an_event('{"z":1,"a":"\\u003cb\\u003e \u00fc"}', time="2023-11-14T22:13:21Z"),
            an_event("{}", traceparent=TRACEPARENT, time="2023-11-14T22:13:21.12Z"),
            an_event(
                "{}", traceparent=TRACEPARENT, tracestate='a="\\', time="2024-01-01T00:00:00Z"
            ),
        ],
        version=version,
    )
    schema = schema_line(TYPE, INTEGER_N, look=look)
    end = END_LINE if look == 2 else b""

    restored = restore(directory, schema + lines_of(chain, look=look) + end)

    assert restored == Restored(
        event_count=8,
        schema_count=1,
        first_id="0",
        first_hash=chain[0][1],
        last_id="7",
        last_hash=chain[-1][1],
        rechained=None,
    )
    assert to_backup_lines(log_of(directory), 1) == lines_of(chain)
    check_audit_is_clean(directory)
    engine = LogEngine.open(directory)
    assert engine.event_type(TYPE, engine.head) == (TYPE, True, INTEGER_N)
    store(engine, a_candidate())
    engine.close()
    check_audit_is_clean(directory)


def test_the_events_of_the_original_stay_as_they_are(directory: Path) -> None:
    restored = restore(directory, VECTORS.read_bytes())

    assert restored.event_count == 5
    assert to_backup_lines(log_of(directory), 1) == VECTORS.read_bytes()
    check_audit_is_clean(directory)


@pytest.mark.parametrize("size", [1, 7, 1_000, 1_000_000])
def test_a_backup_may_come_in_any_pieces(
    directory: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(restoring, "_BLOCK_SIZE", 3_000)
    backup = lines_of(chained(some_events(30)))

    # The last line feed may be missing.
    restored = restore(directory, backup[:-1], size=size)

    assert restored.event_count == 30
    assert to_backup_lines(log_of(directory), 1) == backup


def test_versions_of_hashes_may_follow_each_other(directory: Path) -> None:
    first = chained(some_events(3), version=1)
    second = chained(some_events(3), version=2, position=3, hash_=first[-1][1])

    assert restore(directory, lines_of(first + second)).event_count == 6


def test_an_empty_backup_is_an_empty_store(directory: Path) -> None:
    restored = restore(directory, b"")

    assert (restored.event_count, restored.first_id, restored.last_hash) == (0, None, None)
    assert restore(directory, END_LINE).event_count == 0


def test_a_file_that_somebody_wrote_anew_means_the_same(directory: Path) -> None:
    chain = chained([an_event('{"b":[1,2],"a":{"c":"x y"}}')])
    [line] = lines_of(chain).splitlines()

    restore(directory, json.dumps(json.loads(line)).encode())

    assert to_backup_lines(log_of(directory), 1) == line + b"\n"


def test_space_that_a_hash_covers_stays(directory: Path) -> None:
    backup = lines_of(chained([an_event('{ "a": 1 }'), an_event('{"a":[ ]}')]))

    restore(directory, backup)

    assert to_backup_lines(log_of(directory), 1) == backup
    check_audit_is_clean(directory)


# Increments.


@pytest.mark.parametrize("look", [1, 2])
def test_increments_follow_a_full_backup(directory: Path, look: int) -> None:
    chain = chained(some_events(9))
    end = END_LINE if look == 2 else b""
    schema = schema_line(TYPE, INTEGER_N, look=look)
    parts = [
        schema + lines_of(part, look=look) + end for part in (chain[:4], chain[4:7], (), chain[7:])
    ]

    assert restore(directory, *parts).last_hash == chain[-1][1]
    assert to_backup_lines(log_of(directory), 1) == lines_of(chain)


def test_increments_may_come_as_one_file(directory: Path) -> None:
    chain = chained(some_events(4))
    first, second = (lines_of(part, look=2) + END_LINE for part in (chain[:2], chain[2:]))

    assert restore(directory, first + second).event_count == 4


def test_an_increment_alone_is_refused(directory: Path) -> None:
    chain = chained(some_events(4))

    refusal = refusal_of(directory, lines_of(chain[2:]), code=Code.FULL_BACKUP_MISSING)

    assert refusal.details == {"line": 1, "eventId": "2", "expected": "0"}


@pytest.mark.parametrize("start, stop", [(3, 4), (1, 4), (0, 4)])
def test_an_increment_to_something_else_is_refused(directory: Path, start: int, stop: int) -> None:
    chain = chained(some_events(4))

    refusal_of(
        directory,
        lines_of(chain[:2]),
        lines_of(chain[start:stop]),
        code=Code.BACKUP_INCREMENT_DISCONNECTED,
    )


def test_an_increment_of_another_store_is_refused(directory: Path) -> None:
    others = chained([an_event('{"other":1}'), *some_events(3)])

    refusal_of(
        directory,
        lines_of(chained(some_events(2))),
        lines_of(others[2:]),
        code=Code.BACKUP_INCREMENT_DISCONNECTED,
    )


# What is not whole.


def test_a_file_of_version_2_without_its_end_is_refused(directory: Path) -> None:
    chain = chained(some_events(4))

    refusal_of(directory, lines_of(chain, look=2), code=Code.BACKUP_INCOMPLETE)
    refusal_of(
        directory,
        lines_of(chain[:2], look=2),
        lines_of(chain[2:], look=2) + END_LINE,
        code=Code.BACKUP_INCOMPLETE,
    )


def test_a_file_that_was_cut_is_refused(directory: Path) -> None:
    backup = lines_of(chained(some_events(4)))

    refusal = refusal_of(directory, backup[:-9], code=Code.BACKUP_INCOMPLETE)

    assert "in the middle of line 4" in refusal.message


def test_an_error_in_the_file_is_quoted(directory: Path) -> None:
    backup = lines_of(chained(some_events(4))) + b'{"type":"error","payload":"disk full"}\n'

    refusal = refusal_of(directory, backup, code=Code.BACKUP_INCOMPLETE)

    assert "in line 5: disk full" in refusal.message


@pytest.mark.parametrize("start", [b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_what_is_compressed_or_no_utf_8_is_refused(directory: Path, start: bytes) -> None:
    backup = start + lines_of(chained(some_events(1)))

    refusal_of(directory, backup, code=Code.BACKUP_UNREADABLE)


def test_a_line_may_not_be_endless(directory: Path) -> None:
    refusal = refusal_of(
        directory,
        lines_of(chained(some_events(2))) + b" " * (BACKUP_LINE_SIZE_MAX + 2_000_000),
        code=Code.BACKUP_MALFORMED,
        size=100_000,
    )

    assert refusal.details["line"] == 3


# What is wrong with an event.

Alter = Callable[[Event], None]


def altered(**values: str) -> Alter:
    def alter(event: Event) -> None:
        event.update(values)

    return alter


LARGE = '{"a":"%s"}' % ("x" * EVENT_SIZE_MAX)

ALTERATIONS: list[tuple[Alter, Code, str]] = [
    (altered(id="7"), Code.EVENT_CHAIN_BROKEN, "its id is '7', and 2 would be next"),
    (altered(id="02"), Code.EVENT_CHAIN_BROKEN, "its id is '02'"),
    (altered(predecessorhash="0" * 64), Code.EVENT_CHAIN_BROKEN, "predecessor hash is not"),
    (altered(data='{"n":3}'), Code.EVENT_CHAIN_BROKEN, "its hash is not that of its content"),
    (altered(subject="/other"), Code.EVENT_CHAIN_BROKEN, "its hash is not that of its content"),
    (altered(time="2023-11-14T22:13:19.9Z"), Code.BACKUP_MALFORMED, "older than the event before"),
    (altered(time="2023-11-14T22:13:20.10Z"), Code.BACKUP_MALFORMED, "zeros at the end"),
    (altered(time="yesterday"), Code.BACKUP_MALFORMED, "its time is not an RFC 3339 time"),
    (altered(time="2023-13-14T22:13:20.00Z"), Code.BACKUP_MALFORMED, "its time is"),
    (altered(subject="s"), Code.BACKUP_MALFORMED, "malformed event subject 's'"),
    (altered(subject="/s/"), Code.BACKUP_MALFORMED, "ends with a slash"),
    (altered(type="s"), Code.BACKUP_MALFORMED, "malformed event type 's'"),
    (altered(source="://x"), Code.BACKUP_MALFORMED, "malformed event source"),
    (altered(specversion="a"), Code.BACKUP_MALFORMED, "its specversion is 'a'"),
    (altered(datacontenttype="text/xml"), Code.BACKUP_MALFORMED, "datacontenttype is 'text/xml'"),
    (altered(traceparent="x"), Code.BACKUP_MALFORMED, "malformed traceparent 'x'"),
    (altered(tracestate="a=1"), Code.BACKUP_MALFORMED, "traceparent is required"),
    (altered(data="[]"), Code.DATA_MALFORMED, "must be a JSON object, but it is an array"),
    (altered(data='{"a":1e999}'), Code.DATA_MALFORMED, "beyond the range of a double"),
    (altered(data=LARGE), Code.EVENT_TOO_LARGE, "too large"),
]


@pytest.mark.parametrize("look", [1, 2])
@pytest.mark.parametrize("alter, code, message", ALTERATIONS)
def test_the_first_event_that_is_wrong_is_named(
    directory: Path, alter: Alter, code: Code, message: str, look: int
) -> None:
    chain = chained(some_events(5))
    event = dict(chain[2][0])
    alter(event)
    lines = [event_line(found, hash_, look=look) for found, hash_ in chain]
    lines[2] = event_line(event, chain[2][1], look=look)
    schema = schema_line("io.x.y", '{"type":"object","properties":{}}', look=look)

    refusal = refusal_of(directory, schema + b"\n" + b"".join(lines) + END_LINE, code=code)

    assert message in refusal.message
    assert refusal.message.startswith(f"line 5, event {event['id']}: ")
    assert refusal.details["line"] == 5
    assert refusal.details["eventId"] == event["id"]


@pytest.mark.parametrize(
    "hash_, code",
    [
        ("", Code.EVENT_HASH_MISSING),
        ("ab", Code.EVENT_HASH_MALFORMED),
        ("A" * 64, Code.EVENT_HASH_MALFORMED),
        ("esdb:hash:v2:ab", Code.EVENT_HASH_MALFORMED),
        ("esdb:hash:v3:" + "0" * 64, Code.EVENT_HASH_VERSION_UNKNOWN),
        ("0" * 64, Code.EVENT_CHAIN_BROKEN),
    ],
)
def test_a_hash_that_is_none_is_refused(directory: Path, hash_: str, code: Code) -> None:
    [(event, _)] = chained(some_events(1))

    refusal = refusal_of(directory, event_line(event, hash_), code=code)

    assert refusal.details["eventId"] == "0"


def test_what_nobody_knows_is_refused(directory: Path) -> None:
    backup = lines_of(chained(some_events(1))) + b'{"type":"row","payload":1}\n'

    assert refusal_of(directory, backup, code=Code.BACKUP_FORMAT_UNKNOWN).details["line"] == 2


# Schemas.


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("text", ['{"n":"x"}', '{"n":1.5}'])
def test_an_event_that_does_not_match_its_schema_is_refused(
    directory: Path, text: str, *, is_late: bool
) -> None:
    schema = schema_line(TYPE, INTEGER_N)
    backup = lines_of(chained([*some_events(3), an_event(text)]))

    refusal = refusal_of(
        directory,
        backup + schema if is_late else schema + backup,
        code=Code.EVENT_SCHEMA_VIOLATED,
    )

    assert "expected integer, but got number" in refusal.message or "string" in refusal.message
    assert refusal.details["eventId"] == "3"
    assert refusal.details["line"] == 5
    assert refusal.details["eventType"] == TYPE


@pytest.mark.parametrize("is_late", [False, True])
def test_judging_has_an_end(directory: Path, *, is_late: bool) -> None:
    schema = schema_line(TYPE, json.dumps(doubling(40, "anyOf")))
    backup = lines_of(chained([an_event('{"n":1}')]))

    refusal = refusal_of(
        directory,
        backup + schema if is_late else schema + backup,
        code=Code.EVENT_SCHEMA_VIOLATED,
    )

    assert "cannot be judged within" in refusal.message
    assert refusal.details["eventId"] == "0"


def test_what_takes_longer_is_judged_all_the_same(directory: Path) -> None:
    schema = schema_line(TYPE, json.dumps(doubling(12, "anyOf")))
    many = json.dumps({str(number): 1 for number in range(120)}, separators=(",", ":"))
    events = [an_event(many), an_event('{"n":1}')]

    refusal = refusal_of(
        directory, schema + lines_of(chained(events)), code=Code.EVENT_SCHEMA_VIOLATED
    )

    assert refusal.details["eventId"] == "1"
    assert refusal.details["line"] == 3
    assert restore(directory, schema + lines_of(chained(events[:1]))).event_count == 1


@pytest.mark.parametrize(
    "schema, code",
    [
        ("[]", Code.EVENT_SCHEMA_NOT_OBJECT),
        ('{"type":"object"}', Code.EVENT_SCHEMA_NOT_OBJECT),
        ('{"type":"object","properties":7}', Code.EVENT_SCHEMA_MALFORMED),
        (
            '{"type":"object","properties":{},"pattern":"%s("}' % ("x" * 40_000),
            Code.EVENT_SCHEMA_MALFORMED,
        ),
    ],
)
def test_a_schema_that_is_none_is_refused(directory: Path, schema: str, code: Code) -> None:
    refusal = refusal_of(directory, schema_line(TYPE, schema), code=code)

    assert refusal.message.startswith("line 1: ")


def test_a_type_has_one_schema(directory: Path) -> None:
    first = schema_line(TYPE, INTEGER_N)
    other = schema_line(TYPE, '{"type":"object","properties":{}}', word="eventType")

    assert restore(directory / "same", first + first).schema_count == 1
    refusal_of(directory / "other", first + other, code=Code.BACKUP_MALFORMED)


# Chaining anew.


def test_a_filtered_backup_is_chained_anew(directory: Path) -> None:
    chain = chained(some_events(6))
    filtered = lines_of(chain[:2] + chain[4:])
    refusal = refusal_of(directory, filtered, code=Code.EVENT_CHAIN_BROKEN)
    assert "--rechain" in refusal.message

    restored = restore(directory, filtered, rechain=True)

    events = [parse_line(line)[0] for line in split_lines(log_of(directory))]
    assert [event.id for event in events] == ["0", "1", "2", "3"]
    assert [bytes(event.data) for event in events] == [
        b'{"n":0}',
        b'{"n":1}',
        b'{"n":4}',
        b'{"n":5}',
    ]
    assert all(is_hash_valid(event) for event in events)
    assert events[1].hash == chain[1][1]
    changes: Any = restored.rechained
    assert (changes.changed_id_count, changes.changed_hash_count) == (2, 2)
    first = changes.first_changed_id
    assert (first.old_id, first.new_id) == ("4", "2")
    assert (first.old_hash, first.new_hash) == (chain[4][1], events[2].hash)
    assert changes.first_changed_hash == first
    assert restored.last_hash == events[-1].hash
    check_audit_is_clean(directory)


def test_an_event_keeps_the_version_of_its_hash(directory: Path) -> None:
    first = chained(some_events(2), version=1)
    second = chained(some_events(2), version=2, position=2, hash_=first[-1][1])
    last = chained(some_events(1), version=1, position=4, hash_=second[-1][1])
    changed = [({**event, "data": '{"n":100}'}, hash_) for event, hash_ in first + second + last]

    restored = restore(directory, lines_of(changed), rechain=True)

    events = [parse_line(line)[0] for line in split_lines(log_of(directory))]
    assert [event.hash.startswith("esdb:hash:v2:") for event in events] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert all(is_hash_valid(event) for event in events)
    changes: Any = restored.rechained
    assert (changes.changed_id_count, changes.changed_hash_count) == (0, 5)
    assert changes.first_changed_id is None


def test_what_is_whole_is_not_changed_by_chaining_it_anew(directory: Path) -> None:
    backup = lines_of(chained([an_event('{ "n":1}'), *some_events(3)]))

    restored = restore(directory, backup, rechain=True)

    changes: Any = restored.rechained
    assert (changes.changed_id_count, changes.changed_hash_count) == (0, 0)
    assert to_backup_lines(log_of(directory), 1) == backup


def test_events_without_hashes_get_some(directory: Path) -> None:
    members = [name for name in MEMBERS if name not in {"id", "predecessorhash"}]
    lines = [event_line(event, "", members=members) for event, _ in chained(some_events(2))]
    backup = b"".join(lines).replace(b',"hash":""', b"")
    refusal_of(directory, backup, code=Code.EVENT_HASH_MISSING)

    with (
        empty_store(directory),
        Restoring(directory, rechain=True, hash_version=HashVersion.V1) as running,
    ):
        running.feed(backup)
        running.finish()

    assert to_backup_lines(log_of(directory), 1) == lines_of(chained(some_events(2)))


@pytest.mark.parametrize(
    "alter, code",
    [(alter, code) for alter, code, _ in ALTERATIONS if code is not Code.EVENT_CHAIN_BROKEN],
)
def test_chaining_anew_takes_no_event_that_is_none(
    directory: Path, alter: Alter, code: Code
) -> None:
    chain = chained(some_events(5))
    alter(chain[2][0])

    refusal_of(directory, lines_of(chain), rechain=True, code=code)


# The directory.


def test_a_store_that_is_not_empty_is_refused(directory: Path) -> None:
    backup = lines_of(chained(some_events(2)))
    restore(directory, backup)

    with pytest.raises(RefusedError, match="it has 2 events") as caught:
        restore(directory, backup)

    assert caught.value.code is Code.STORE_NOT_EMPTY
    assert to_backup_lines(log_of(directory), 1) == backup


def test_a_store_with_a_schema_is_not_empty(directory: Path) -> None:
    restore(directory, schema_line(TYPE, INTEGER_N))

    with pytest.raises(RefusedError, match="not empty"):
        restore(directory, b"")


def test_a_draft_that_was_left_is_removed(directory: Path) -> None:
    (directory / "x").mkdir(parents=True)
    (directory / "x").rmdir()
    LogEngine.open(directory).close()
    left = directory / "restore.new" / "log"
    left.mkdir(parents=True)
    (left / "file").write_bytes(b"x")
    (left / "link").symlink_to(directory / "everlog.json")

    restore(directory, lines_of(chained(some_events(2))))

    assert not (directory / "restore.new").exists()
    assert (directory / "everlog.json").exists()


def test_memory_does_not_grow_with_a_batch(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "_BLOCK_SIZE", 5_000)
    chance = random.Random(4711)
    events: Iterable[Event] = some_events(300)
    backup = lines_of(chained(events))
    LogEngine.open(directory).close()
    with Restoring(directory) as running:
        start = 0
        while start < len(backup):
            stop = start + chance.randrange(1, 20_000)
            running.feed(backup[start:stop])
            start = stop
            assert running._rest_size <= 5_000 + 500
            assert len(running._lines) <= 20
            assert running.event_count >= running._engine.head.event_count
