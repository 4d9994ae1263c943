"""From the lines of a source to writes: what is taken, what is refused, where writes end."""

import json
from typing import Any

import pytest

from everlog.domain.known_event import KnownEvent
from everlog.following import writes
from everlog.following.versions import V1, V2, Version
from everlog.following.writes import WriteReader
from everlog.service.mirroring.source import SourceError, UnfitSourceError, Writes
from everlog.storage.line import Mark, parse_line
from tests.support.backups import Event, an_event, chained
from tests.support.followed import event_text

HEARTBEATS = {
    "v1": b'{"type":"heartbeat","payload":{}}\n',
    "v2": b'{"type":"heartbeat","data":{}}\n',
}


def times(*seconds: int) -> list[str]:
    return [f"2024-01-01T00:00:{second:02d}.5Z" for second in seconds]


def line_of(event: Event, hash_: str, *, mark: str = "", version: Version = V1) -> bytes:
    return f'{{"type":"event","{version.body}":{event_text(event, hash_)}}}{mark}\n'.encode()


def lines_of(events: list[tuple[Event, str]], *, version: Version = V1) -> bytes:
    return b"".join(line_of(event, hash_, version=version) for event, hash_ in events)


def a_reader(*, is_marked: bool = False, version: Version = V1) -> WriteReader:
    return WriteReader(version, None, time=0, is_marked=is_marked)


def marks_of(found: Writes | None) -> list[Mark]:
    assert found is not None
    return [parse_line(line)[1] for line in found.lines]


@pytest.mark.parametrize("hash_version", [1, 2])
@pytest.mark.parametrize("version", [V1, V2], ids=["v1", "v2"])
def test_an_event_has_the_form_of_the_log_and_the_values_of_the_source(
    version: Version, hash_version: int
) -> None:
    data = '{"z": 1.50,"a":"\\u00e9 \u00fc","n":[1e3,{}]}'
    tracing = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": 'a="1"'}
    [(event, hash_)] = chained([an_event(data, **tracing)], version=hash_version)
    reader = a_reader(version=version)

    reader.feed(line_of(event, hash_, version=version))
    found = reader.take(is_silent=True)

    assert found is not None
    stored, mark = parse_line(found.lines[0])
    assert mark is Mark.WRITE
    assert bytes(stored.data).decode() == data
    assert (stored.hash, stored.id, stored.time) == (hash_, "0", event["time"])
    assert (stored.traceparent, stored.tracestate) == (event["traceparent"], event["tracestate"])
    # It is made when an event leaves a server, by the key of that server.
    assert stored.signature is None
    assert (found.first_position, found.size) == (0, len(found.lines[0]))
    assert found.events[0].hash == hash_


def test_the_marks_of_an_everlog_say_where_writes_end() -> None:
    events = chained([an_event() for _ in range(4)])
    reader = a_reader(is_marked=True)

    reader.feed(line_of(*events[0], mark=" ") + line_of(*events[1]))
    first = reader.take(is_silent=True)
    reader.feed(line_of(*events[2]))
    nothing = reader.take(is_silent=True)
    reader.feed(line_of(*events[3], mark="  "))
    second = reader.take(is_silent=False)

    assert marks_of(first) == [Mark.WRITE]
    assert nothing is None
    assert marks_of(second) == [Mark.EVENT, Mark.EVENT, Mark.WRITE]
    assert second is not None
    assert (second.first_position, second.predecessor_hash) == (1, events[0][1])


def test_a_mark_tells_an_everlog_behind_who_exchanges_its_header() -> None:
    events = chained([an_event() for _ in range(2)])
    reader = a_reader()

    reader.feed(line_of(*events[0], mark=" ") + line_of(*events[1]))

    assert reader.is_marked
    assert marks_of(reader.take(is_silent=True)) == [Mark.WRITE]


def test_without_marks_nothing_is_whole_before_a_pause() -> None:
    events = chained([an_event(time=time) for time in times(1, 1, 2, 2)])
    reader = a_reader()

    reader.feed(lines_of(events[:3]))
    assert reader.take(is_silent=False) is None
    reader.feed(lines_of(events[3:]))
    found = reader.take(is_silent=True)

    assert marks_of(found) == [Mark.EVENT, Mark.WRITE, Mark.EVENT, Mark.WRITE]


def test_without_marks_and_pauses_times_part_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "_PAUSELESS_SIZE_MAX", 1)
    events = chained([an_event(time=time) for time in times(1, 1, 2, 2)])
    reader = a_reader()

    reader.feed(lines_of(events))
    first = reader.take(is_silent=False)
    nothing = reader.take(is_silent=False)
    second = reader.take(is_silent=True)

    assert marks_of(first) == [Mark.EVENT, Mark.WRITE]
    assert nothing is None
    assert marks_of(second) == [Mark.EVENT, Mark.WRITE]
    assert first is not None
    assert first.time < (second or first).time


def test_a_heartbeat_says_that_there_is_no_more() -> None:
    events = chained([an_event(), an_event()])
    for version in (V1, V2):
        reader = a_reader(version=version)

        reader.feed(line_of(*events[0], version=version) + HEARTBEATS[version.name])
        assert reader.is_current
        reader.feed(line_of(*events[1], version=version))
        assert not reader.is_current


def test_the_known_event_comes_first_and_is_not_given_away() -> None:
    events = chained([an_event() for _ in range(3)])
    reader = WriteReader(V1, KnownEvent(1, events[1][1]), time=0, is_marked=True)
    assert not reader.is_proven

    reader.feed(line_of(*events[1], mark=" ") + line_of(*events[2], mark=" "))
    found = reader.take(is_silent=False)

    assert reader.is_proven
    assert found is not None
    assert (found.first_position, found.predecessor_hash) == (2, events[1][1])
    assert len(found.lines) == 1


def test_another_known_event_is_refused() -> None:
    events = chained([an_event() for _ in range(2)])
    reader = WriteReader(V1, KnownEvent(1, "f" * 64), time=0, is_marked=True)

    with pytest.raises(UnfitSourceError, match="event 1 has another hash") as refusal:
        reader.feed(line_of(*events[1]))

    assert refusal.value.position == 1


def changed(event: Event, hash_: str, **members: Any) -> bytes:
    return line_of({**event, **members}, hash_)


UNFIT = {
    "content": ({"subject": "/other"}, "hash of its event 1 is not that"),
    "data": ({"data": '{"n":2}'}, "hash of its event 1 is not that"),
    "predecessor": ({"predecessorhash": "e" * 64}, "does not name the hash"),
    "type": ({"type": "short"}, "event 1 cannot be stored here: its type is not allowed"),
    "subject": ({"subject": "x"}, "event 1 cannot be stored here: its subject is not allowed"),
    "time": ({"time": "yesterday"}, "event 1 cannot be stored here: its time is not allowed"),
    "content-type": ({"datacontenttype": "text/plain"}, "event 1 cannot be stored here: a value"),
    "no-object": ({"data": "[1]"}, "event 1 cannot be stored here: its data is not allowed"),
    "carriage-return": ({"data": '{"n":\r1}'}, "hash of its event 1"),
    "large": ({"data": '{"n":"' + "x" * 200_000 + '"}'}, "an event may hold 131072"),
    "deep": ({"data": '{"n":' + "[" * 99 + "]" * 99 + "}"}, "its data is not allowed"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_event_that_cannot_follow_is_refused_with_its_position(name: str) -> None:
    members, reason = UNFIT[name]
    [first, (event, hash_)] = chained([an_event(), an_event()])
    reader = a_reader(is_marked=True)
    reader.feed(line_of(*first, mark=" "))

    with pytest.raises(UnfitSourceError, match=reason) as refusal:
        reader.feed(changed(event, hash_, **members))

    assert refusal.value.position == 1
    # What came before it is right.
    assert marks_of(reader.take(is_silent=False)) == [Mark.WRITE]


def test_an_event_that_is_older_than_the_one_before_it_is_refused() -> None:
    events = chained([an_event(time=time) for time in times(2, 1)])
    reader = a_reader()

    with pytest.raises(UnfitSourceError, match="event 1 is older"):
        reader.feed(lines_of(events))


def test_a_hash_of_an_unknown_version_is_refused() -> None:
    [(event, _)] = chained([an_event()])

    with pytest.raises(UnfitSourceError, match="version that is not known"):
        a_reader().feed(line_of(event, "esdb:hash:v3:" + "0" * 64))


GARBAGE = {
    "no-json": b"nonsense\n",
    "empty-line": b"\n",
    "no-object": b"[]\n",
    "half": b'{"type":"event","payload":{"id"\n',
    "no-event": b'{"type":"event","payload":{"id":"0"}}\n',
    "more-members": b'{"type":"event","payload":{"id":"0","more":1}}\n',
    "unknown": b'{"type":"surprise","payload":{}}\n',
    "error": b'{"type":"error","payload":{"error":"server is shutting down"}}\n',
    "not-utf8": b'{"type":"event","payload":{"id":"\xff"}}\n',
    "deep": b'{"type":"event","payload":' + b"[" * 100_000 + b"\n",
    "surrogate": b'{"type":"event","payload":{"data":{"n":"\\ud800"}}}\n',
    "other-version": b'{"type":"event","data":{}}\n',
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_item_is_told_without_quoting_it(name: str) -> None:
    with pytest.raises(SourceError) as error:
        a_reader().feed(GARBAGE[name])

    assert "shutting" not in str(error.value)
    assert "surprise" not in str(error.value)


def test_the_code_of_an_error_is_told() -> None:
    code = "https://docs.eventsourcingdb.io/errors/server-shutting-down"
    item = {"type": "error", "data": {"code": code, "description": "x", "details": {}}}

    with pytest.raises(SourceError, match=r"\(server-shutting-down\)"):
        a_reader(version=V2).feed(json.dumps(item).encode() + b"\n")


@pytest.mark.parametrize("position", [0, 2, 3])
def test_an_id_that_jumps_is_no_answer(position: int) -> None:
    events = chained([an_event() for _ in range(4)])
    reader = a_reader()
    reader.feed(line_of(*events[0]))

    with pytest.raises(SourceError, match="where 1 would be next"):
        reader.feed(line_of(*events[position]))


def test_a_write_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "_WRITE_SIZE_MAX", 1_000)
    events = chained([an_event() for _ in range(10)])
    reader = a_reader(is_marked=True)
    reader.feed(lines_of(events))

    with pytest.raises(SourceError, match="a write of more than 1000 bytes"):
        reader.take(is_silent=False)
