"""Bodies: in whatever pieces they come, and never more of them than there is memory for."""

import socket
import struct
import time
from collections.abc import Sequence

import pytest

from everlog.http import Exchange, Limits, Request, Response
from tests.support.serving import Client, RecordingApplication, Serving, serving

POST = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /%b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"

# Room for a body of 80,000 bytes, and for none of 60,000 beside it; what has 1,000 is small.
SMALL, ROOM = 1_000, 160_000
TIGHT = Limits(body_small_size_max=SMALL, bodies_size_max=ROOM)
LARGE, OTHER = 80_000, 60_000


def room_taken(running: Serving) -> int:
    state = running.server._state
    assert state is not None
    return running.call(lambda: state.bodies.size)


def begin(clients: Sequence[Client], size: int) -> None:
    """Send the heads of bodies, and some of each."""
    for client in clients:
        client.send(POST % (b"later", size) + b"x")


def check_answered(running: Serving, client: Client, number: int) -> None:
    """Answer the request of that number, which must be this client's."""
    waiting = running.application.waiting
    running.wait_until(lambda: len(waiting) > number)
    running.call(lambda: waiting[number].respond(Response(200, b"%d" % number, b"text/plain")))
    assert client.read_answer().body == b"%d" % number


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_body_in_small_chunks_is_the_same(size: int) -> None:
    body = bytes(range(256)) * 400
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[start : start + size]), body[start : start + size])
        for start in range(0, len(body), size)
    )
    with serving() as running, Client(running.port) as client:
        client.send(CHUNKED % b"x" + chunks + b"0\r\n\r\n" + GET % b"y")

        assert client.read_answer().body == b"POST /x?\n" + body
        assert client.read_answer().body == b"GET /y?\n"


def test_a_body_for_which_there_is_no_room_waits_in_its_socket() -> None:
    with (
        serving(limits=TIGHT) as running,
        Client(running.port) as first,
        Client(running.port) as second,
        Client(running.port) as small,
    ):
        begin([first], LARGE)
        running.wait_until(lambda: room_of(running) == LARGE)
        begin([second], OTHER)
        second.send(b"y" * (OTHER - 1))
        # Small ones are always read.
        small.send(POST % (b"x", SMALL) + b"z" * SMALL)
        assert small.read_answer().body == b"POST /x?\n" + b"z" * SMALL
        assert len(running.application.requests) == 1

        first.send(b"x" * (LARGE - 1))
        check_answered(running, first, 0)
        check_answered(running, second, 1)
        assert running.application.requests[-1].body == b"x" + b"y" * (OTHER - 1)
        assert room_taken(running) == 0


def room_of(running: Serving) -> int:
    state = running.server._state
    assert state is not None
    return state.bodies.size


def test_room_is_held_until_the_request_is_answered() -> None:
    with (
        serving(limits=TIGHT) as running,
        Client(running.port) as first,
        Client(running.port) as second,
    ):
        first.send(POST % (b"later", LARGE) + b"x" * LARGE)
        running.wait_until(lambda: len(running.application.waiting) == 1)
        second.send(POST % (b"later", OTHER) + b"y" * OTHER)
        second.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            second.socket.recv(1)
        assert len(running.application.waiting) == 1
        second.socket.settimeout(20)

        check_answered(running, first, 0)
        check_answered(running, second, 1)


def test_a_client_that_waits_for_consent_gets_it_when_there_is_room() -> None:
    expecting = (
        b"POST /later HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n"
    )
    with (
        serving(limits=TIGHT) as running,
        Client(running.port) as first,
        Client(running.port) as second,
    ):
        begin([first], LARGE)
        running.wait_until(lambda: room_of(running) == LARGE)
        second.send(expecting)
        second.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            second.socket.recv(1)
        second.socket.settimeout(20)

        first.socket.close()

        assert second.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        second.send(b"y" * OTHER)
        check_answered(running, second, 0)


def test_a_body_of_unknown_length_counts_as_the_largest_once_it_is_not_small() -> None:
    limits = Limits(body_small_size_max=10, bodies_size_max=3 * 1024 * 1024)
    with serving(limits=limits) as running, Client(running.port) as client:
        client.send(CHUNKED % b"later" + b"a\r\n0123456789\r\n")
        running.wait_until(lambda: len(running.application.heads) == 1)
        assert room_taken(running) == 0
        client.send(b"1\r\nx\r\n")
        running.wait_until(lambda: room_of(running) == 1024 * 1024)
        client.send(b"0\r\n\r\n")
        running.wait_until(lambda: room_of(running) == 11)
        check_answered(running, client, 0)
        assert running.application.requests[0].body == b"0123456789x"
        assert room_taken(running) == 0


def test_several_bodies_of_unknown_length_cannot_block_each_other() -> None:
    limits = Limits(body_small_size_max=10, bodies_size_max=1024 * 1024)
    with serving(limits=limits) as running:
        clients = [Client(running.port) for _ in range(5)]
        try:
            for client in clients:
                client.send(CHUNKED % b"x" + b"a\r\n0123456789\r\n")
            for client in clients:
                client.send(b"ff\r\n" + b"x" * 255 + b"\r\n0\r\n\r\n")
            for client in clients:
                assert client.read_answer().body == b"POST /x?\n0123456789" + b"x" * 255
        finally:
            for client in clients:
                client.socket.close()
        running.wait_until(lambda: room_of(running) == 0)


def test_a_client_that_is_gone_gives_its_room_to_others() -> None:
    with serving(limits=TIGHT) as running, Client(running.port) as last:
        gone = [Client(running.port) for _ in range(3)]
        begin(gone, LARGE)
        running.wait_until(lambda: len(running.application.heads) == 3)
        for client in gone:
            client.socket.close()
        last.send(POST % (b"x", LARGE) + b"x" * LARGE)
        assert last.read_answer().status == 200
        assert room_taken(running) == 0


def test_a_request_whose_client_is_gone_keeps_its_room_until_it_is_done() -> None:
    with serving(limits=TIGHT) as running:
        with Client(running.port) as client:
            client.send(POST % (b"later", LARGE) + b"x" * LARGE)
            running.wait_until(lambda: len(running.application.waiting) == 1)
            # Reset: one that says no more could still read its answer.
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        running.wait_until(lambda: running.server.statistics().connections == 0)
        assert room_taken(running) == LARGE
        running.call(lambda: running.application.waiting[0].respond(Response(200, b"", b"")))
        assert room_taken(running) == 0


def test_slow_bodies_are_hurried_while_others_wait_and_only_then() -> None:
    limits = Limits(body_small_size_max=SMALL, bodies_size_max=ROOM, body_hurried_seconds_max=0.1)
    with (
        serving(limits=limits) as running,
        Client(running.port) as slow,
        Client(running.port) as other,
    ):
        begin([slow], LARGE)
        slow.socket.settimeout(0.4)
        with pytest.raises(TimeoutError):
            slow.socket.recv(1)
        slow.socket.settimeout(20)

        other.send(POST % (b"x", OTHER) + b"x" * OTHER)

        assert other.read_answer().status == 200
        answer = slow.read_answer()
        assert answer.status == 408
        assert b"body" in answer.body


def test_whoever_waits_too_long_for_room_is_told_to_come_again() -> None:
    limits = Limits(body_small_size_max=SMALL, bodies_size_max=ROOM, body_wait_seconds_max=0.1)
    with (
        serving(limits=limits) as running,
        Client(running.port) as first,
        Client(running.port) as second,
    ):
        first.send(POST % (b"later", LARGE) + b"x" * LARGE)
        running.wait_until(lambda: len(running.application.waiting) == 1)
        second.send(POST % (b"x", OTHER) + b"x" * OTHER)

        answer = second.read_answer()

        assert answer.status == 503
        assert answer.headers[b"retry-after"] == b"1"
        assert second.receive_all() == b""
        check_answered(running, first, 0)


def test_a_refused_request_takes_no_room() -> None:
    with serving(limits=TIGHT) as running, Client(running.port) as client:
        client.send(POST % (b"refused", 200) + b"x" * 200)
        assert client.read_answer().status == 401
        client.send(POST % (b"small", 200) + b"x" * 200)
        assert client.read_answer().status == 413
        assert room_taken(running) == 0


# What one packet may make the server do, before others have their turn.


class SlowApplication(RecordingApplication):
    """Takes as long for each request as the dearest one that is answered at once."""

    def echo(self, request: Request, exchange: Exchange) -> None:
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass
        super().echo(request, exchange)


class LargeApplication(RecordingApplication):
    """Answers each request with much."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._answer = Response(200, b"x" * size, b"text/plain")

    def echo(self, request: Request, exchange: Exchange) -> None:
        self.requests.append(request)
        exchange.respond(self._answer)


def test_one_packet_of_many_requests_holds_up_nobody() -> None:
    """The watchdog of the server sees how long each step takes."""
    with serving(SlowApplication()) as running, Client(running.port) as client:
        client.send(GET % b"x" * 200)
        for _ in range(200):
            assert client.read_answer().status == 200
        assert len(running.application.requests) == 200


def test_requests_whose_answers_nobody_takes_are_not_handled() -> None:
    with (
        serving(LargeApplication(512 * 1024)) as running,
        Client(running.port, receive_buffer_size=64 * 1024) as client,
    ):
        client.send(GET % b"x" * 40)
        running.wait_until(lambda: len(running.application.requests) > 0)
        time.sleep(0.05)
        assert len(running.application.requests) < 10
        for _ in range(40):
            assert client.read_answer().status == 200


def test_clients_that_take_nothing_are_cut_when_it_is_too_much() -> None:
    limits = Limits(backlog_size_max=4 * 1024 * 1024)
    with serving(LargeApplication(1024 * 1024), limits=limits) as running:
        clients = [Client(running.port, receive_buffer_size=4_096) for _ in range(8)]
        try:
            for client in clients:
                client.send(GET % b"x")
            # That is when five have been answered, in whatever order.
            running.wait_until(lambda: running.server.statistics().connections_cut > 0)
            state = running.server._state
            assert state is not None
            assert running.call(lambda: state.backlog.size) <= limits.backlog_size_max
            # Who comes now has waited least, whichever of the other three come later.
            clients.append(Client(running.port, receive_buffer_size=4_096))
            clients[-1].send(GET % b"x")
            assert clients[-1].read_answer().is_whole
        finally:
            for client in clients:
                client.socket.close()
