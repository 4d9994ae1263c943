"""Clients that go away, half or whole, in time and out of time."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from everlog.http import DisconnectedError, Response
from tests.support.serving import Client, RecordingApplication, Serving, serving

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def application() -> RecordingApplication:
    return RecordingApplication()


@pytest.fixture
def running(application: RecordingApplication) -> Iterator[Serving]:
    with serving(application) as running:
        yield running


def close(client: Client) -> None:
    client.socket.close()


def reset(client: Client) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


LEAVING = (close, reset)


@pytest.mark.parametrize("leave", LEAVING)
def test_a_stream_is_cancelled_when_the_client_leaves(
    running: Serving, application: RecordingApplication, leave: Callable[[Client], None]
) -> None:
    client = Client(running.port)
    client.send(GET % b"waiting")
    client.read_until(b"\r\n\r\n")
    running.wait_until(lambda: running.server.statistics().streams == 1)

    leave(client)

    running.wait_until(lambda: application.streams_cancelled == 1)
    running.wait_until(lambda: running.server.statistics().connections == 0)
    assert running.statistics().streams == 0
    assert len(application.disconnected) == 1
    assert application.errors == []
    assert not running.call(lambda: application.streams[0].send_nowait(b"x"))


def test_a_stream_that_ignores_the_end_is_told_when_it_sends(
    running: Serving, application: RecordingApplication
) -> None:
    client = Client(running.port)
    client.send(GET % b"endless")
    client.read_until(b"xxx")

    reset(client)

    running.wait_until(lambda: running.server.statistics().streams == 0)
    assert application.errors == []
    with pytest.raises(DisconnectedError):
        running.call(lambda: application.streams[0]._write((b"x",)))


def test_pending_exchanges_are_told_once_and_may_still_answer(
    running: Serving, application: RecordingApplication
) -> None:
    client = Client(running.port)
    client.send(GET % b"later" + GET % b"later")
    running.wait_until(lambda: len(application.waiting) == 2)
    first, second = application.waiting
    assert not first.is_disconnected

    reset(client)

    running.wait_until(lambda: len(application.disconnected) == 2)
    running.call(lambda: second.respond(Response(200, b"", b"")))
    running.call(lambda: first.respond(Response(200, b"", b"")))
    assert application.disconnected == [first, second]
    assert first.is_disconnected
    assert second.is_disconnected


def test_who_asks_late_is_told_at_once(running: Serving, application: RecordingApplication) -> None:
    client = Client(running.port)
    client.send(GET % b"later")
    running.wait_until(lambda: len(application.waiting) == 1)
    reset(client)
    running.wait_until(lambda: application.waiting[0].is_disconnected)
    told: list[str] = []

    running.call(lambda: application.waiting[0].on_disconnect(lambda: told.append("gone")))

    assert told == ["gone"]


def test_a_vanished_client_does_not_harm_the_answers_of_others(
    running: Serving, application: RecordingApplication
) -> None:
    clients = [Client(running.port) for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(GET % b"later?%d" % number)
    running.wait_until(lambda: len(application.waiting) == 20)
    for client in clients[::2]:
        reset(client)

    def answer_all() -> None:
        # At once, as after one commit, whether or not the resets have been seen by now.
        for request, exchange in zip(application.requests, application.waiting, strict=True):
            exchange.respond(Response(200, request.head.query.encode(), b"text/plain"))

    running.call(answer_all)

    order = [int(request.head.query) for request in application.requests]
    assert sorted(order) == list(range(20))
    for number, client in enumerate(clients):
        if number % 2:
            assert client.read_answer().body == b"%d" % number
            client.socket.close()
    assert application.errors == []


def test_a_callback_that_fails_is_reported_and_the_others_are_called(
    running: Serving, application: RecordingApplication
) -> None:
    client = Client(running.port)
    client.send(GET % b"later")
    running.wait_until(lambda: len(application.waiting) == 1)
    told: list[str] = []

    def fail() -> None:
        raise LookupError

    running.call(lambda: application.waiting[0].on_disconnect(fail))
    running.call(lambda: application.waiting[0].on_disconnect(lambda: told.append("gone")))
    reset(client)

    running.wait_until(lambda: told == ["gone"])
    assert [type(error) for error in application.errors] == [LookupError]


def test_a_half_closed_client_gets_its_answers(
    running: Serving, application: RecordingApplication
) -> None:
    with Client(running.port) as client:
        client.send(GET % b"later" + GET % b"numbers?2")
        client.half_close()
        running.wait_until(lambda: len(application.waiting) == 1)

        running.call(lambda: application.waiting[0].respond(Response(200, b"late", b"text/plain")))

        assert client.read_answer().body == b"late"
        assert client.read_answer().body == b"number 0\nnumber 1\n"
        assert client.receive_all() == b""


def test_a_half_closed_client_keeps_its_stream(
    running: Serving, application: RecordingApplication
) -> None:
    with Client(running.port) as client:
        client.send(GET % b"waiting")
        running.wait_until(lambda: len(application.streams) == 1)
        client.half_close()
        # The probe: a zero in front of the size of the next chunk.
        client.read_until(b"\r\n\r\n0")

        assert running.call(lambda: application.streams[0].send_nowait(b"still here"))

        assert client.read_until(b"still here\r\n") == b"a\r\nstill here\r\n"
        assert application.streams_cancelled == 0


def test_a_stream_whose_client_left_before_its_turn_ends_with_it(
    running: Serving, application: RecordingApplication
) -> None:
    client = Client(running.port)
    client.send(GET % b"later" + GET % b"waiting")
    running.wait_until(lambda: len(application.heads) == 2)
    # Only the end of its input is seen of this, and it might still be reading.
    client.socket.close()

    running.call(lambda: application.waiting[0].respond(Response(200, b"", b"")))

    running.wait_until(lambda: running.server.statistics().connections == 0)
    assert running.statistics().streams == 0
    assert len(application.disconnected) == 1


def test_half_of_a_request_and_the_end_is_no_request(
    running: Serving, application: RecordingApplication
) -> None:
    with Client(running.port) as client:
        client.send(GET % b"x" + b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab")
        client.half_close()

        assert client.read_answer().body == b"GET /x?\n"
        assert client.receive_all() == b""
    assert len(application.requests) == 1


def test_a_stream_that_fails_is_cut_without_its_end(
    running: Serving, application: RecordingApplication
) -> None:
    with Client(running.port) as client:
        client.send(GET % b"torn" + GET % b"later")

        answer = client.read_answer()
        assert (answer.body, answer.is_whole) == (b"half a sen", False)
        assert client.is_closed_by_server()
    assert [str(error) for error in application.errors] == ["a bug in a stream"]


def test_a_client_that_reads_nothing_stops_the_producer(
    running: Serving, application: RecordingApplication
) -> None:
    with Client(running.port, receive_buffer_size=4_096) as client:
        client.send(GET % b"endless")
        running.wait_until(lambda: bool(application.streams))
        output = application.streams[0]._output
        running.wait_until(lambda: output.is_paused)

        # What the kernel buffers, and what we do: far from endless.
        assert running.call(lambda: application.stream_size) < 16 * 1024 * 1024
        assert running.call(output._transport.get_write_buffer_size) < 512 * 1024
        assert not running.call(lambda: application.streams[0].send_nowait(b"x"))

        # It goes on when the client does.
        before = application.stream_size
        while application.stream_size < before + 1024 * 1024:
            assert client.receive()
    running.wait_until(lambda: running.server.statistics().streams == 0)


def test_a_client_that_reads_no_answers_is_not_read_any_more(
    running: Serving, application: RecordingApplication
) -> None:
    with Client(running.port, receive_buffer_size=4_096) as client:
        body = b"x" * 10_000
        request = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n" + body
        client.socket.settimeout(0.3)
        sent = 0
        with suppress(TimeoutError):
            while sent < 100_000_000:
                sent += client.socket.send(request[sent % len(request) :])

        assert sent < 100_000_000
        held = running.call(lambda: len(application.requests)) * len(body)
        assert held < 16 * 1024 * 1024

        # It goes on when the client does.
        client.socket.settimeout(20.0)
        for _ in range(sent // len(request)):
            assert client.read_answer().body.endswith(body)
