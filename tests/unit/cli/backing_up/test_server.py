"""A backup from a server: what it answers, and what is no whole backup, however it comes about."""

import json

import pytest

from everlog.cli.backing_up.server import ServerSource
from everlog.cli.connecting import ServerError
from everlog.transfer.contents import Place
from tests.support.backups import END_LINE, an_event, chained, lines_of, schema_line
from tests.support.one_answer import HEAD, answering, chunks

CHAIN = chained(
    [
        an_event(),
        # What an item begins with, within an item.
        an_event('{"a":{"type":"event","data":{"event":{"type":"end","data":{}}}}}'),
        an_event('{"a":{"type":"schema","data":{}}}'),
    ]
)
SCHEMA = '{"type":"object","properties":{"data":{"type":"object","data":{}}}}'
LINES = schema_line("io.x.y", SCHEMA, look=2) + lines_of(CHAIN, look=2)
HEARTBEAT = b'{"type":"heartbeat","data":{}}\n'


def collect(url: str, after: Place | None = None) -> bytes:
    return b"".join(ServerSource(url, None, "the-token").lines(after))


@pytest.mark.parametrize("size", [7, 300, 10_000])
def test_items_become_lines_of_version_1(size: int) -> None:
    body = HEARTBEAT + LINES + HEARTBEAT + END_LINE
    blocks = [body[start : start + size] for start in range(0, len(body), size)]
    with answering(*chunks(*blocks, b"")) as (url, requests):
        found = collect(url)

    assert found == schema_line("io.x.y", SCHEMA) + lines_of(CHAIN)
    assert requests[0].startswith(b"POST /api/v2/management/backup HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer the-token\r\n" in requests[0]
    assert requests[0].endswith(b"\r\n\r\n{}")


def test_an_increment_is_asked_for_by_id_and_hash() -> None:
    with answering(*chunks(END_LINE, b"")) as (url, requests):
        assert collect(url, Place("7", "ab")) == b""

    body = requests[0].partition(b"\r\n\r\n")[2]
    assert json.loads(body) == {"lastBackedUpEvent": {"id": "7", "hash": "ab"}}


@pytest.mark.parametrize(
    "parts, text",
    [
        (chunks(LINES, b""), "ended before the backup did"),
        (chunks(LINES), "ended before the backup did"),
        (chunks(LINES + END_LINE[:9], b""), "ended before the backup did"),
        (
            chunks(
                LINES + b'{"type":"error","data":{"code":"https://docs.eventsourcingdb.io/errors/'
                b'backup-failed","description":"no disk","details":{}}}\n'
            ),
            r"no disk \[backup-failed\]",
        ),
        (chunks(b"hello\n"), "is not one of this API"),
        (chunks(b"[1]\n"), "is not one of this API"),
        ([HEAD.replace(b"200 OK", b"404 Not Found") + b"\r\nnothing"], "status 404: nothing"),
        ([HEAD.replace(b"200 OK", b"401 No") + b"\r\nunauthorized"], "status 401: unauthorized"),
        ([], "closed connection|Remote end"),
    ],
)
def test_what_is_no_whole_backup_is_told(parts: list[bytes], text: str) -> None:
    with answering(*parts) as (url, _), pytest.raises(ServerError, match=text):
        collect(url)


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(ServerError, match="refused"):
        collect("http://127.0.0.1:1")


@pytest.mark.parametrize(
    "parts, count",
    [
        (chunks(b'{"type":"row","data":{"value":12}}\n', END_LINE, b""), 12),
        (chunks(END_LINE, b""), None),
        ([HEAD.replace(b"200 OK", b"404 Not Found") + b"\r\nnothing"], None),
        (
            chunks(b'{"type":"error","data":{"code":"x","description":"no","details":{}}}\n', b""),
            None,
        ),
    ],
)
def test_how_many_events_there_are_may_be_left_open(parts: list[bytes], count: int | None) -> None:
    with answering(*parts) as (url, _):
        assert ServerSource(url, None, "the-token").count() == count
