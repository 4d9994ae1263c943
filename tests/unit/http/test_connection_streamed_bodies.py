"""Bodies that are streamed to their endpoint: whole, at its pace, and with an end that is told."""

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from everlog.http import DisconnectedError, Exchange, Limits, Response
from everlog.http.states import State
from tests.support.certificates import issue, write_files
from tests.support.serving import Client, Serving, Wired, serving

POST = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /%b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECTING = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"

AHEAD = 1_000
SMALL = Limits(body_ahead_size_max=AHEAD)


def described(body: bytes) -> bytes:
    return b"%d %b" % (len(body), sha256(body).hexdigest().encode())


def chunks_of(body: bytes, size: int) -> bytes:
    parts = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def is_in(wired: Wired, state: State) -> bool:
    return wired.state is state


def is_read(wired: Wired) -> bool:
    return not wired.transport.is_reading_paused


BODY = bytes(range(256)) * 4_000


@pytest.mark.parametrize("chunk_size", [None, 1_000, 65_536, 1_000_000])
def test_a_body_arrives_whole_and_the_connection_stays(chunk_size: int | None) -> None:
    with serving() as running, Client(running.port) as client:
        if chunk_size is None:
            client.send(POST % (b"swallowed", len(BODY)) + BODY + GET)
        else:
            client.send(CHUNKED % b"swallowed" + chunks_of(BODY, chunk_size) + GET)

        assert client.read_answer().body == described(BODY)
        assert client.read_answer().body == b"GET /x?\n"


def test_a_body_of_single_bytes_arrives_whole() -> None:
    body = BODY[:20_000]
    with serving(limits=SMALL) as running, Client(running.port) as client:
        client.send(CHUNKED % b"swallowed" + chunks_of(body, 1))

        assert client.read_answer().body == described(body)


@pytest.mark.parametrize("count", [1, 3])
def test_a_head_that_repeats_streams_its_body_too(count: int) -> None:
    with serving() as running, Client(running.port) as client:
        for number in range(count + 2):
            body = b"x" * (number + 10)
            client.send(POST % (b"swallowed", len(body)) + body)
            assert client.read_answer().body == described(body)


@pytest.mark.parametrize("framing", [POST % (b"swallowed", 0), CHUNKED % b"swallowed"])
def test_an_empty_body_has_an_end(framing: bytes) -> None:
    with serving() as running, Client(running.port) as client:
        client.send(framing + (b"0\r\n\r\n" if b"chunked" in framing else b"") + GET)

        assert client.read_answer().body == described(b"")
        assert client.read_answer().body == b"GET /x?\n"


def test_a_body_that_nobody_reads_waits_in_the_clients_socket() -> None:
    async def test() -> None:
        wired = Wired(limits=SMALL)
        wired.send(POST % (b"untouched", 10_000) + b"x" * (AHEAD - 1))
        await wired.settle()
        assert is_read(wired)
        wired.send(b"y")
        await wired.settle()

        assert not is_read(wired)
        assert is_in(wired, State.PAUSED)

        body, _ = wired.application.bodies[0]
        assert await body.read() == b"x" * (AHEAD - 1) + b"y"
        await wired.settle()
        assert is_read(wired)
        assert is_in(wired, State.READING)

    in_loop(test)


def test_chunks_behind_a_full_body_are_held_until_it_is_read() -> None:
    async def test() -> None:
        wired = Wired(limits=SMALL)
        body = bytes(range(250)) * 400
        wired.send(CHUNKED % b"untouched" + chunks_of(body, 100))
        await wired.settle()
        assert not is_read(wired)

        stream, _ = wired.application.bodies[0]
        parts = []
        while part := await asyncio.wait_for(stream.read(), 5):
            # As much as is fed at once, at most.
            assert len(part) < AHEAD + 16 * 1024
            parts.append(part)
        assert b"".join(parts) == body
        assert is_read(wired)

    in_loop(test)


def test_consent_is_given_when_the_endpoint_reads() -> None:
    async def test() -> None:
        wired = Wired()
        wired.send(EXPECTING % (b"untouched", 3))
        await wired.settle()
        assert wired.output == b""

        body, exchange = wired.application.bodies[0]
        reading = asyncio.create_task(body.read())
        await wired.settle()
        assert wired.output == b"HTTP/1.1 100 Continue\r\n\r\n"
        wired.send(b"abc")
        assert await reading == b"abc"
        assert await body.read() == b""
        assert wired.output.count(b"100 Continue") == 1
        exchange.respond(Response(200, b"thanks", b"text/plain"))
        assert wired.output.endswith(b"thanks")
        assert is_in(wired, State.READING)

    in_loop(test)


def test_consent_waits_for_the_answers_before_it() -> None:
    async def test() -> None:
        wired = Wired()
        wired.send(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n" + EXPECTING % (b"untouched", 3))
        await wired.settle()
        body, _ = wired.application.bodies[0]
        reading = asyncio.create_task(body.read())
        await wired.settle()
        assert wired.output == b""

        wired.answer(0)
        await wired.settle()
        assert wired.output.endswith(b"0HTTP/1.1 100 Continue\r\n\r\n")
        wired.send(b"abc")
        assert await reading == b"abc"

    in_loop(test)


def test_a_refusal_while_consent_is_still_due_ends_the_connection() -> None:
    async def test() -> None:
        wired = Wired()
        wired.send(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n" + EXPECTING % (b"untouched", 3))
        await wired.settle()
        body, exchange = wired.application.bodies[0]
        reading = asyncio.create_task(body.read())
        await wired.settle()
        exchange.respond(Response(409, b"not wanted", b"text/plain"))
        with pytest.raises(DisconnectedError):
            await reading
        wired.answer(0)
        await wired.settle()

        assert b"100 Continue" not in wired.output
        assert wired.output.endswith(b"not wanted")
        assert is_in(wired, State.LINGERING)

    in_loop(test)


@pytest.mark.parametrize(
    "request_head, is_kept",
    [
        (POST % (b"unwanted", 100), True),
        (POST % (b"unwanted", 100_000_000), False),
        (CHUNKED % b"unwanted", False),
        (EXPECTING % (b"unwanted", 100), False),
    ],
)
def test_a_refusal_comes_before_the_body(request_head: bytes, *, is_kept: bool) -> None:
    with serving() as running, Client(running.port) as client:
        client.send(request_head)
        answer = client.read_answer()

        assert (answer.status, answer.body) == (409, b"not wanted")
        assert answer.statuses_before == []
        assert (answer.headers.get(b"connection") == b"close") != is_kept
        if is_kept:
            client.send(b"x" * 100 + GET)
            assert client.read_answer().body == b"GET /x?\n"
        else:
            assert client.is_closed_by_server()


def test_a_bug_of_the_endpoint_is_an_answer() -> None:
    with serving() as running, Client(running.port) as client:
        client.send(CHUNKED % b"mishandled" + b"3\r\nabc\r\n")

        assert client.read_answer().status == 500
        assert client.is_closed_by_server()


def test_an_answer_in_the_midst_of_a_body_is_the_last() -> None:
    async def test() -> None:
        wired = Wired(limits=SMALL)
        wired.send(CHUNKED % b"untouched" + chunks_of(b"x" * 50_000, 1_000))
        await wired.settle()
        assert is_in(wired, State.PAUSED)
        body, exchange = wired.application.bodies[0]
        exchange.respond(Response(400, b"enough", b"text/plain"))

        assert wired.output.endswith(b"enough")
        assert b"Connection: close\r\n" in wired.output
        assert is_in(wired, State.LINGERING)
        assert is_read(wired)
        # Nobody gets what comes now.
        wired.send(b"more")
        with pytest.raises(DisconnectedError):
            await body.read()

    in_loop(test)


def test_a_client_that_goes_away_ends_the_body() -> None:
    with serving() as running:
        with Client(running.port) as client:
            client.send(POST % (b"swallowed", 1_000) + b"x")
            running.wait_until(lambda: len(running.application.tasks) == 1)
        running.wait_until(lambda: len(running.application.body_errors) == 1)

        assert isinstance(running.application.body_errors[0], DisconnectedError)


def test_a_client_that_ends_its_input_early_is_answered() -> None:
    with serving() as running, Client(running.port) as client:
        client.send(CHUNKED % b"swallowed" + b"3\r\nabc\r\n")
        client.half_close()

        assert client.read_answer().body == b"the body ended early"
        assert isinstance(running.application.body_errors[0], DisconnectedError)


def test_what_is_no_chunk_is_refused_in_the_place_of_the_endpoints_answer() -> None:
    with serving() as running, Client(running.port) as client:
        client.send(CHUNKED % b"swallowed" + b"3\r\nabc\r\nno chunk")

        assert client.read_answer().status == 400
        assert client.is_closed_by_server()
        running.wait_until(lambda: len(running.application.body_errors) == 1)
        assert len(running.application.disconnected) == 1
        assert running.application.errors == []


def test_chunks_that_hold_nothing_but_framing_are_refused() -> None:
    with serving() as running, Client(running.port) as client:
        client.send(CHUNKED % b"swallowed" + b"1;" + b"x" * 200_000)

        assert client.read_answer().status in {400, 431}


SLOW = Limits(body_seconds_max=0.2, body_rate_min=1_000)


def test_a_client_that_stops_sending_is_refused() -> None:
    with serving(limits=SLOW) as running, Client(running.port) as client:
        client.send(POST % (b"swallowed", 10_000) + b"x")

        answer = client.read_answer()
        assert answer.status == 408
        running.wait_until(lambda: len(running.application.disconnected) == 1)


def test_however_much_came_before_a_long_pause_is_one() -> None:
    with serving(limits=SLOW) as running, Client(running.port) as client:
        # At this rate it would be allowed to take hours.
        client.send(POST % (b"swallowed", 20_000_000) + b"x" * 10_000_000)

        assert client.read_answer().status == 408


def test_the_time_that_the_endpoint_takes_is_not_the_clients() -> None:
    with serving(limits=SLOW) as running, Client(running.port) as client:
        client.send(POST % (b"untouched", 3) + b"a")
        running.wait_until(lambda: len(running.application.bodies) == 1)
        time.sleep(1.0)
        body, exchange = running.application.bodies[0]
        assert call(running, body.read()) == b"a"
        client.send(b"bc")
        assert call(running, body.read()) == b"bc"
        running.call(lambda: answer(exchange))

        assert client.read_answer().body == b"done"


def answer(exchange: Exchange) -> None:
    exchange.respond(Response(200, b"done", b"text/plain"))


def call(running: Serving, work: Coroutine[Any, Any, bytes]) -> bytes:
    return asyncio.run_coroutine_threadsafe(work, running.loop).result(20)


def test_a_request_whose_body_streams_waits_for_its_turn_behind_others() -> None:
    body = b"y" * 5_000
    with serving() as running, Client(running.port) as client:
        client.send(GET * 40 + CHUNKED % b"swallowed" + chunks_of(body, 1_000) + GET)

        for _ in range(40):
            assert client.read_answer().body == b"GET /x?\n"
        assert client.read_answer().body == described(body)
        assert client.read_answer().body == b"GET /x?\n"


def test_a_reader_that_is_cut_is_told_why() -> None:
    async def test() -> None:
        wired = Wired()
        wired.send(POST % (b"untouched", 10) + b"abc")
        body, _ = wired.application.bodies[0]
        assert await body.read() == b"abc"
        reading = asyncio.create_task(body.read())
        await wired.settle()
        body.cut(ValueError("the server stops"))

        with pytest.raises(ValueError, match="the server stops"):
            await reading
        # What comes afterwards changes nothing.
        wired.send(b"defghij")
        with pytest.raises(ValueError, match="the server stops"):
            await body.read()

    in_loop(test)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_arrives_whole_over_tls(tmp_path: Path, *, is_chunked: bool) -> None:
    issued = issue()
    files = write_files(tmp_path, issued)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.private_key)
    wrap = partial(
        ssl.create_default_context(cadata=issued.pem.decode()).wrap_socket,
        server_hostname="127.0.0.1",
    )
    with (
        serving(ssl=context, limits=SMALL) as running,
        Client(running.port, socket_wrapper=wrap) as client,
    ):
        if is_chunked:
            client.send(CHUNKED % b"swallowed" + chunks_of(BODY, 10_000))
        else:
            client.send(POST % (b"swallowed", len(BODY)) + BODY)

        assert client.read_answer().body == described(BODY)
