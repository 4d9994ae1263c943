"""Every limit, at it, below it and above it."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from everlog.http import Limits, Response
from tests.support.serving import Client, RecordingApplication, serving

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"

# The shape of a head with nothing in it: what is counted besides the filling.
HEAD_FRAME = len(b"GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n")


def with_head_size(size: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (size - HEAD_FRAME) + b"\r\n\r\n"


def with_target_length(length: int) -> bytes:
    return b"GET /" + b"x" * (length - 1) + b" HTTP/1.1\r\nHost: a\r\n\r\n"


def with_headers(count: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * (count - 1) + b"\r\n"


def with_body(size: int) -> bytes:
    return b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


def with_chunks(size: int) -> bytes:
    start = b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    return start + b"1\r\nx\r\n" * size + b"0\r\n\r\n"


# Each row: how to make a request of a size, the limit, and the status beyond it.
SIZES: tuple[tuple[Callable[[int], bytes], int, int], ...] = (
    (with_head_size, 500, 431),
    (with_target_length, 200, 414),
    (with_headers, 8, 431),
    (with_body, 10, 413),
    (with_chunks, 10, 413),
)
SMALL = Limits(head_size_max=500, target_length_max=200, header_count_max=8)


@pytest.mark.parametrize("make, limit, status", SIZES, ids=[row[0].__name__ for row in SIZES])
@pytest.mark.parametrize("step", [1, 1_000_000], ids=["by bytes", "at once"])
def test_a_request_may_reach_a_limit_but_not_exceed_it(
    make: Callable[[int], bytes], limit: int, status: int, step: int
) -> None:
    with serving(limits=SMALL) as running:
        for size, expected in ((limit - 1, 200), (limit, 200), (limit + 1, status)):
            with Client(running.port) as client:
                data = make(size)
                try:
                    for start in range(0, len(data), step):
                        client.send(data[start : start + step])
                except ConnectionError:
                    assert expected == status
                assert client.read_answer().status == expected


@pytest.mark.parametrize(
    "endless, status",
    [
        (b"GET /" + b"x" * 10_000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"X" * 10_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"X:y\r\n" * 10_000, 431),
    ],
)
def test_a_head_without_end_is_refused_before_its_end(endless: bytes, status: int) -> None:
    with serving(limits=SMALL) as running, Client(running.port) as client:
        for start in range(0, len(endless), 100):
            try:
                client.send(endless[start : start + 100])
            except ConnectionError:
                break

        assert client.read_answer().status == status


@pytest.mark.parametrize("flood", [b"1;" + b"e" * 40_000, b"0\r\n" + b"T: t\r\n" * 8_000])
def test_chunks_that_are_all_framing_are_refused(flood: bytes) -> None:
    start = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with (
        serving(limits=Limits(chunk_overhead_max=4_096)) as running,
        Client(running.port) as client,
    ):
        client.send(start)
        for position in range(0, len(flood), 500):
            try:
                client.send(flood[position : position + 500])
            except ConnectionError:
                break

        assert client.read_answer().status == 400


def test_content_in_the_smallest_chunks_is_accepted() -> None:
    size = 20_000
    with serving(limits=Limits(chunk_overhead_max=1)) as running, Client(running.port) as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"1\r\nx\r\n" * size + b"0\r\n\r\n")

        assert client.read_answer().body == b"POST /x?\n" + b"x" * size


def test_a_small_refused_body_is_drained_up_to_its_limit() -> None:
    with serving(limits=Limits(drain_size_max=100)) as running:
        for size, closing in ((99, None), (100, None), (101, b"close")):
            with Client(running.port) as client:
                client.send(
                    b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
                )
                client.send(b"x" * size)

                assert client.read_answer().headers.get(b"connection") == closing


def test_connections_beyond_the_limit_are_told_so() -> None:
    with serving(limits=Limits(connections_max=2)) as running:
        first, second = Client(running.port), Client(running.port)
        for client in (first, second):
            client.send(GET % b"x")
            assert client.read_answer().status == 200

        with Client(running.port) as third:
            answer = third.read_answer()
            assert answer.status == 503
            assert b"2 connections" in answer.body
            assert third.receive_all() == b""

        first.send(GET % b"x")
        assert first.read_answer().status == 200
        first.socket.close()
        second.socket.close()
        running.wait_until(lambda: running.server.statistics().connections == 0)
        with Client(running.port) as fourth:
            fourth.send(GET % b"x")
            assert fourth.read_answer().status == 200


def test_connections_far_beyond_the_limit_are_not_even_told() -> None:
    with serving(limits=Limits(connections_max=1)) as running, ExitStack() as stack:
        first = stack.enter_context(Client(running.port))
        first.send(GET % b"x")
        assert first.read_answer().status == 200
        clients = [first, *(stack.enter_context(Client(running.port)) for _ in range(257))]

        assert [client.read_answer().status for client in clients[1:257]] == [503] * 256
        assert clients[257].is_closed_by_server()


IMPATIENT = Limits(
    head_seconds_max=0.1, body_seconds_max=0.1, idle_seconds_max=0.2, linger_seconds_max=0.1
)


# Each row: what arrives and then stops, and the status that the client gets.
@pytest.mark.parametrize(
    "start, status, what",
    [
        (b"G", 408, b"head"),
        (b"GET / HTTP/1.1\r\nHo", 408, b"head"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123", 408, b"body"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 408, b"body"),
    ],
)
def test_a_request_that_stops_arriving_is_given_up(start: bytes, status: int, what: bytes) -> None:
    with serving(limits=IMPATIENT) as running, Client(running.port) as client:
        client.send(start)

        answer = client.read_answer()
        assert answer.status == status
        assert what in answer.body
        assert client.receive_all() == b""


def test_bytes_that_trickle_do_not_extend_the_time_for_a_head() -> None:
    with serving(limits=IMPATIENT) as running, Client(running.port) as client:
        client.send(b"GET / HTTP/1.1\r\n")
        client.socket.settimeout(0.02)
        answer = b""
        for _ in range(1_000):
            try:
                answer = client.socket.recv(100)
                break
            except TimeoutError:
                client.send(b"X: y\r\n")

        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_keeps_arriving_has_time() -> None:
    limits = Limits(body_seconds_max=0.05, body_rate_min=10)
    with serving(limits=limits) as running, Client(running.port) as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 301\r\n\r\n")
        client.socket.settimeout(0.005)
        for _ in range(30):
            # Four times as long as a body that stops would get.
            client.send(b"0123456789")
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
        client.socket.settimeout(20.0)
        client.send(b"!")

        assert client.read_answer().status == 200


def test_the_rest_of_a_refused_body_is_not_awaited_for_ever() -> None:
    with serving(limits=IMPATIENT) as running, Client(running.port) as client:
        client.send(b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123")

        assert client.read_answer().status == 401
        assert client.receive_all() == b""


def test_an_idle_connection_is_closed_without_a_word() -> None:
    with serving(limits=IMPATIENT) as running, Client(running.port) as client:
        client.send(GET % b"x")
        assert client.read_answer().status == 200

        assert client.receive_all() == b""


def test_a_connection_that_never_says_anything_is_closed() -> None:
    with serving(limits=IMPATIENT) as running, Client(running.port) as client:
        assert client.receive_all() == b""


def test_waiting_for_an_answer_is_not_idling() -> None:
    application = RecordingApplication()
    with (
        serving(application, limits=IMPATIENT) as running,
        Client(running.port) as patient,
        Client(running.port) as idle,
    ):
        patient.send(GET % b"waiting")
        patient.read_until(b"\r\n\r\n")
        # The other one came later, and is gone by now.
        assert idle.receive_all() == b""

        assert running.call(lambda: application.streams[0].send_nowait(b"x"))


def test_time_does_not_run_while_the_client_has_to_wait_for_us() -> None:
    application = RecordingApplication()
    with (
        serving(application, limits=IMPATIENT) as running,
        Client(running.port) as client,
        Client(running.port) as idle,
    ):
        client.send((GET % b"later") * 64 + b"GET /x HTTP/1.1\r\n")
        running.wait_until(lambda: len(application.waiting) == 64)
        # The other one came later, and is gone by now.
        assert idle.receive_all() == b""

        for exchange in application.waiting:
            running.call(lambda exchange=exchange: exchange.respond(Response(204, b"", b"")))
        client.send(b"Host: a\r\n\r\n")

        assert [client.read_answer().status for _ in range(65)] == [204] * 64 + [200]


def test_a_half_closed_client_that_still_reads_is_not_idling() -> None:
    application = RecordingApplication()
    with (
        serving(application, limits=IMPATIENT) as running,
        Client(running.port) as client,
        Client(running.port) as idle,
    ):
        client.send(GET % b"waiting")
        client.half_close()
        client.read_until(b"\r\n\r\n")
        assert idle.receive_all() == b""

        assert running.call(lambda: application.streams[0].send_nowait(b"x"))


def test_a_client_that_does_not_leave_after_the_last_answer_is_left() -> None:
    with serving(limits=IMPATIENT) as running, Client(running.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

        running.wait_until(lambda: running.server.statistics().requests == 1)
        running.wait_until(lambda: running.server.statistics().connections == 0)


def test_a_client_that_takes_nothing_is_given_up() -> None:
    application = RecordingApplication()
    with (
        serving(application, limits=Limits(send_seconds_max=0.2)) as running,
        Client(running.port, receive_buffer_size=4_096) as client,
    ):
        client.send(GET % b"endless")

        running.wait_until(lambda: bool(application.streams))
        running.wait_until(lambda: running.server.statistics().connections == 0)
        assert running.statistics().streams == 0
        assert application.errors == []


def test_a_client_that_takes_little_by_little_is_kept() -> None:
    application = RecordingApplication()
    limits = Limits(send_seconds_max=0.2, write_buffer_high=8_192, write_buffer_low=4_096)
    with (
        serving(application, limits=limits) as running,
        Client(running.port, receive_buffer_size=4_096) as client,
    ):
        client.send(GET % b"endless")
        running.wait_until(lambda: bool(application.streams))
        output = application.streams[0]._output
        running.wait_until(lambda: output.is_paused)
        started_at = running.loop.time()

        # Three times as long as a client that takes nothing would get.
        while running.loop.time() < started_at + 0.6:
            assert client.receive()

        assert running.statistics().connections == 1
