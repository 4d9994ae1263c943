"""Backup lines: what stored lines become, and what is read."""

import json

import pytest

from everlog.domain.chain import HashVersion
from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import EventCandidate
from everlog.storage.engine import Head
from everlog.storage.line import render_write
from everlog.transfer.backup_lines import (
    END_LINE,
    EndItem,
    EventItem,
    SchemaItem,
    error_line,
    parse_backup_lines,
    schema_line,
    to_backup_lines,
)
from tests.support import backups
from tests.support.events import FIRST_TIME, TRACEPARENT, a_candidate, accept_at

# What is hard to find the end of.
CANDIDATES = [
    a_candidate(),
    a_candidate(data='{"a":",\\"predecessorhash\\":\\"","hash":"\\\\"}'),
    a_candidate(data='{"predecessorhash":"x","hash":"y","signature":null}'),
    a_candidate(data='{"source":"x","datacontenttype":"application/json","traceparent":"t"}'),
    a_candidate(data='{"t":"\u00fc\u2028}}  "}'),
    a_candidate(data="{}", traceparent=TRACEPARENT),
    a_candidate(data='{"d":1}', traceparent=TRACEPARENT, tracestate='a=",\\"data\\":{'),
    EventCandidate("tag:x,2023:\u00fc'&a=1", "/", "io.x.y", '{"x":{"data":{}}}'),
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("hash_version", HashVersion)
def test_stored_lines_become_backup_lines(version: int, hash_version: HashVersion) -> None:
    events = accept_at(Head(), CANDIDATES, time=FIRST_TIME, hash_version=hash_version)

    found = to_backup_lines(b"".join(render_write(events)), version)

    lines = found.splitlines(keepends=True)
    assert len(lines) == len(CANDIDATES)
    for line, accepted, candidate in zip(lines, events, CANDIDATES, strict=True):
        stored = json.loads(accepted.json)
        placed = {**stored, "data": candidate.data}
        assert json.loads(line) == json.loads(
            backups.event_line(placed, stored["hash"], look=version)
        )
        # The very bytes, and members in the order of the original.
        assert b'"data":' + candidate.data.encode() + b'},"hash":"' in line
        body = json.loads(line)["payload" if version == 1 else "data"]
        assert list(body["event"]) == [name for name in backups.MEMBERS if name in body["event"]]


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_made_is_read(version: int) -> None:
    events = accept_at(Head(), CANDIDATES, time=FIRST_TIME)
    lines = to_backup_lines(b"".join(render_write(events)), version)
    schema = schema_line("io.x.y", '{"type":"object","properties":{}}', version)
    assert schema == backups.schema_line(
        "io.x.y", '{"type":"object","properties":{}}', look=version
    )

    found = list(parse_backup_lines(schema + lines, 5))

    assert [line.number for line in found] == [*range(5, 6 + len(events))]
    assert {line.version for line in found} == {version}
    assert isinstance(found[0].item, SchemaItem)
    for line, candidate, event in zip(found[1:], CANDIDATES, events, strict=True):
        assert isinstance(line.item, EventItem)
        assert bytes(line.item.event.data).decode() == candidate.data
        assert line.item.hash == event.hash
        assert line.item.event.tracestate == candidate.tracestate
    # The same without the line that makes it slow.
    assert [line.item for line in parse_backup_lines(lines, 1)] == [line.item for line in found[1:]]


def test_lines_may_be_written_in_other_ways() -> None:
    [(event, hash_)] = backups.chained([backups.an_event(traceparent=TRACEPARENT)])
    line = backups.event_line(event, hash_, members=sorted(event))
    lines = (
        b"\n"
        + backups.schema_line("io.x.y", "{}", word="eventType")
        + b"  \r\n"
        + line.replace(b'","', b'" , "').replace(b"\n", b"\r\n")
        + b'{"type":"heartbeat","data":{}}\n'
        + END_LINE
    )

    schema, found, end = parse_backup_lines(lines, 1)

    assert (schema.number, found.number, end.number) == (2, 4, 6)
    assert isinstance(schema.item, SchemaItem)
    assert schema.item.event_type == "io.x.y"
    assert isinstance(found.item, EventItem)
    assert found.item.event.id == "0"
    assert isinstance(end.item, EndItem)


@pytest.mark.parametrize(
    "line, code, message",
    [
        (b"no json\n", Code.BACKUP_MALFORMED, "line 3 is no line of a backup: JSON is malformed"),
        (b"[]\n", Code.BACKUP_MALFORMED, "Expected `object`, got `array`"),
        (b"{}\n", Code.BACKUP_MALFORMED, "missing required field `type`"),
        (b'{"type":"row","payload":1}\n', Code.BACKUP_FORMAT_UNKNOWN, "its type is 'row'"),
        (b'{"type":"event"}\n', Code.BACKUP_MALFORMED, "neither 'payload' nor 'data'"),
        (b'{"type":"event","payload":{}}\n', Code.BACKUP_MALFORMED, "required field `event`"),
        (b'{"type":"schema","data":{}}\n', Code.BACKUP_MALFORMED, "required field `eventType`"),
        (
            backups.event_line({**backups.chained([backups.an_event()])[0][0]}, "x").replace(
                b'"id":', b'"new":"","id":'
            ),
            Code.BACKUP_MALFORMED,
            "unknown field `new`",
        ),
        (error_line('disk "full"'), Code.BACKUP_INCOMPLETE, 'says so in line 3: disk "full"'),
        (
            b'{"type":"error","payload":{"error":"gone"}}\n',
            Code.BACKUP_INCOMPLETE,
            "says so in line 3: gone",
        ),
        (
            b'{"type":"error","data":{"code":"x","description":"bad","details":{}}}\n',
            Code.BACKUP_INCOMPLETE,
            "says so in line 3: bad",
        ),
        (b'{"type":"error"}\n', Code.BACKUP_INCOMPLETE, "no reason is given"),
    ],
)
def test_what_is_no_line_of_a_backup_is_refused(line: bytes, code: Code, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        list(parse_backup_lines(END_LINE + END_LINE + line + END_LINE, 1))

    assert caught.value.code is code
    assert message in caught.value.message
    assert caught.value.details["line"] == 3
