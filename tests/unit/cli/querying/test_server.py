"""Asking a server: what it answers, and what is no complete answer, however it comes about."""

import json
import socket
from collections.abc import Iterator

import pytest

from everlog.cli import connecting
from everlog.cli.connecting import connect
from everlog.cli.querying import server
from everlog.cli.querying.server import Details, RemoteFaultError, ServerError, Token, query_server
from tests.support.one_answer import DEADLINE_SECONDS, HEAD, answering, chunks


def ask(url: str, text: str = "FROM e IN events PROJECT INTO e") -> Iterator[list[bytes]]:
    connection = connect(url, None, timeout_seconds=DEADLINE_SECONDS)
    return query_server(connection, "the-token", text)


def collect(url: str, found: list[bytes]) -> None:
    """Put the rows of an answer into a list, as far as they come."""
    for rows in ask(url):
        found += rows


def row(text: bytes) -> bytes:
    return b'{"type":"row","data":{"value":%b}}\n' % text


END = b'{"type":"end","data":{}}\n'
HEARTBEAT = b'{"type":"heartbeat","data":{}}\n'
LAST = b"0\r\n\r\n"


def check_rows(parts: list[bytes], *expected: bytes) -> None:
    """Check the rows of a complete answer."""
    with answering(*parts) as (url, _):
        assert [text for rows in ask(url) for text in rows] == [*expected]


def check_breaks_off(parts: list[bytes], *expected: bytes, text: str) -> None:
    """Check that these rows come, and then the message that the answer is not complete."""
    found: list[bytes] = []
    with answering(*parts) as (url, _), pytest.raises(ServerError, match=text) as raised:
        collect(url, found)
    assert found == [*expected]
    assert "the-token" not in str(raised.value)


def test_the_request_is_one_of_version_2() -> None:
    with answering(*chunks(END), LAST) as (url, requests):
        assert [*ask(url, 'FROM e IN events\nPROJECT INTO "\u00e9"')] == [[]]

    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"QUERY /api/v2/data/run-eventql-query HTTP/1.1\r\n")
    assert b"Authorization: Bearer the-token" in head
    assert json.loads(body) == {"query": 'FROM e IN events\nPROJECT INTO "\u00e9"'}


def test_rows_are_the_very_texts_that_came() -> None:
    texts = [b"1.50", b'{"a":[1,null]}', b'"\\u00e9"', b"null", b"[]"]
    check_rows([*chunks(b"".join(map(row, texts)) + END), LAST], *texts)


def test_items_may_be_cut_anywhere() -> None:
    content = row(b'{"a":1}') + HEARTBEAT + row(b"2") + END
    for size in (1, 7, 50):
        blocks = [content[start : start + size] for start in range(0, len(content), size)]
        check_rows([*chunks(*blocks), LAST], b'{"a":1}', b"2")


def test_a_heartbeat_is_a_chunk_without_rows() -> None:
    with answering(*chunks(HEARTBEAT), *chunks(row(b"1") + END)[1:], LAST) as (url, _):
        assert [*ask(url)] == [[], [b"1"]]


def test_a_fault_comes_after_the_rows_before_it() -> None:
    data = {
        "code": "https://docs.eventsourcingdb.io/errors/query-unevaluable",
        "description": "1:2: event '3': no",
        "details": {
            "eventId": "3",
            "startToken": {"line": 1, "column": 2, "text": "a", "type": "identifier"},
            "endToken": {"line": 1, "column": 4, "text": "b", "type": "identifier"},
        },
    }
    error = json.dumps({"type": "error", "data": data}).encode() + b"\n"
    found: list[bytes] = []

    parts = [*chunks(row(b"1") + error), LAST]
    with answering(*parts) as (url, _), pytest.raises(RemoteFaultError) as raised:
        collect(url, found)

    assert found == [b"1"]
    assert (raised.value.code, str(raised.value)) == ("query-unevaluable", "1:2: event '3': no")
    assert raised.value.details == Details((), Token(1, 2, "a"), Token(1, 4, "b"))


@pytest.mark.parametrize(
    "parts, text",
    [
        ([*chunks(row(b"1")), LAST], "ended before the query did"),
        (chunks(row(b"1")), "IncompleteRead"),
        ([*chunks(row(b"1") + b'{"type":"en'), LAST], "ended before the query did"),
        ([*chunks(row(b"1"), b"<html>\n"), LAST], "not one of this API"),
        ([*chunks(row(b"1"), b'{"type":"new"}\n'), LAST], "not one of this API"),
        ([*chunks(row(b"1"), b'{"type":"row","data":{}}\n'), LAST], "not one of this API"),
        ([HEAD + b"\r\n" + row(b"1")], "ended before the query did"),
    ],
)
def test_what_ends_without_an_end_is_no_complete_answer(parts: list[bytes], text: str) -> None:
    check_breaks_off(parts, b"1", text=text)


@pytest.mark.parametrize(
    "parts, text",
    [
        ([b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nno\x1b[1"], r"401: no\\x1b\[1"),
        ([b"HTTP/1.1 503 Busy\r\nContent-Length: 900\r\n\r\n" + b"x" * 900], "503: x{200}$"),
        ([b"SSH-2.0-OpenSSH\r\n"], "SSH"),
        ([], "closed connection"),
    ],
)
def test_what_is_no_answer_is_told(parts: list[bytes], text: str) -> None:
    check_breaks_off(parts, text=text)


def test_an_item_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_ITEM_SIZE_MAX", 1_000)
    monkeypatch.setattr(connecting, "_BLOCK_SIZE", 100)

    check_breaks_off([*chunks(b"x" * 2_000), LAST], text="more than 1000 bytes")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(ServerError, match="refused"):
        next(ask(f"http://127.0.0.1:{port}"))
