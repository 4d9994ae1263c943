"""A real server under random input: never a hang, a traceback, or an answer to somebody else."""

import random
import socket
from contextlib import suppress

import pytest

from everlog.http import Limits, Response
from tests.support.serving import Client, RecordingApplication, Serving, serving

IMPATIENT = Limits(head_seconds_max=0.2, body_seconds_max=0.2, linger_seconds_max=0.2)

VALID = (
    b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"QUERY /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"PUT /%d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    b"POST /numbers?%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
)


def mutate(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        position = chance.randrange(len(changed))
        changed[position : position + chance.randint(0, 2)] = chance.choice(
            [
                b"\r",
                b"\n",
                b"\0",
                b" ",
                b":",
                b"9",
                b"\r\n\r\n",
                b"\xff",
                bytes([chance.randrange(256)]),
            ]
        )
    return bytes(changed)


def send_in_pieces(client: Client, data: bytes, chance: random.Random) -> None:
    while data:
        size = chance.choice([1, 2, 7, 50, 1_000])
        client.send(data[:size])
        data = data[size:]


def check_next_client_is_answered(running: Serving, number: int) -> None:
    with Client(running.port) as client:
        client.send(b"GET /next?%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        assert client.read_answer().body == b"GET /next?%d\n" % number


@pytest.mark.parametrize("seed", range(12))
def test_broken_input_ends_in_answers_and_a_closed_connection(seed: int) -> None:
    chance = random.Random(seed)
    application = RecordingApplication()
    with serving(application, limits=IMPATIENT) as running:
        for number in range(15):
            data = b"".join(chance.choice(VALID) % number for _ in range(chance.randint(1, 4)))
            data = chance.choice([mutate(data, chance), chance.randbytes(200)])
            with Client(running.port) as client:
                try:
                    send_in_pieces(client, data, chance)
                    client.half_close()
                    answers = client.receive_all()
                except OSError:
                    # It closed while we were still sending.
                    answers = b""

            assert answers.count(b"HTTP/1.1 400") <= 1
            check_next_client_is_answered(running, number)
        assert application.errors == []


@pytest.mark.parametrize("seed", range(6))
def test_every_answer_of_a_pipeline_belongs_to_its_request(seed: int) -> None:
    chance = random.Random(seed)
    with serving() as running, Client(running.port) as client:
        expected: list[tuple[str, bytes]] = []
        data = b""
        for number in range(60):
            template = chance.choice(VALID[:3])
            data += template % number
            method = template.split(b" ")[0].decode()
            body = {"GET": b"", "POST": b"hello", "QUERY": b"abc"}[method]
            expected.append((method, b"%b /%d?\n%b" % (method.encode(), number, body)))
        send_in_pieces(client, data, chance)

        for method, body in expected:
            assert client.read_answer(method).body == body


def test_clients_that_come_and_go_leave_nothing_behind() -> None:
    chance = random.Random(1)
    application = RecordingApplication()
    with serving(application) as running:
        for number in range(200):
            client = Client(running.port)
            client.send(chance.choice([b"GET /waiting", b"GET /later", b"GET /endless", b"GET /x"]))
            if chance.random() < 0.8:
                client.send(b" HTTP/1.1\r\nHost: a\r\n\r\n")
            if chance.random() < 0.3:
                client.half_close()
            if chance.random() < 0.5:
                with suppress(OSError):
                    client.socket.shutdown(socket.SHUT_RDWR)
            client.socket.close()
            check_next_client_is_answered(running, number)

        running.wait_until(lambda: running.server.statistics().streams == 0)
        # Who has only sent the end of its input may still be reading, as far as we can know.
        for exchange in application.waiting:
            running.call(lambda exchange=exchange: exchange.respond(Response(200, b"", b"")))
        running.wait_until(lambda: running.server.statistics().connections == 0)
        assert application.errors == []
