"""What holds for any order of events: the same bytes, one state, and nobody left untold.

The connection has no server and no socket here, so that every order can be tried.
"""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from everlog.http import Limits, Response
from everlog.http.states import State
from tests.support.serving import Wired

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"

# Answered at once or later, whole or as a stream, with a head of the usual kind or not.
REQUESTS = (
    GET % b"later",
    POST % (b"later", 3, b"abc"),
    POST % (b"later", 12, b"abcdefghijkl"),
    POST % (b"later", 100_000, b"x" * 100_000),
    GET % b"echo",
    GET % b"numbers?2",
    GET % b"empty",
    GET % b"refused",
    POST % (b"refused", 3, b"abc"),
    b"HEAD /later HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
)
CLOSING = b"%b /%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
LAST = (
    b"",
    CLOSING % (b"GET", b"later", 0, b""),
    CLOSING % (b"POST", b"refused", 3, b"abc"),
    CLOSING % (b"GET", b"later", 0, b"") + b"nonsense\r\n\r\n",
    b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
    b"nonsense\r\n\r\n",
)

SMALL = Limits(pipelined_max=3)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Make requests, and packets that they could arrive in."""
    requests = draw(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=8))
    # The same head again, for it to be known.
    requests = [request for request in requests for _ in range(draw(st.integers(1, 3)))]
    requests.append(draw(st.sampled_from(LAST)))
    if draw(st.booleans()):
        return requests, requests
    whole = b"".join(requests)
    points = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    return requests, [whole[start:end] for start, end in pairwise([0, *points, len(whole)])]


async def answer_one(wired: Wired, choice: st.DataObject) -> None:
    """Answer one of the requests that wait, whichever, if there is one."""
    waiting = wired.application.waiting
    unanswered = [number for number, exchange in enumerate(waiting) if exchange.answer is None]
    if unanswered:
        wired.answer(choice.draw(st.sampled_from(unanswered)))
    await wired.settle()


async def one_by_one(requests: Sequence[bytes]) -> bytes:
    """Answer each request before there is another, on a connection of its own."""
    output = b""
    count = 0
    for request in requests:
        wired = Wired()
        wired.send(request)
        await wired.settle()
        for exchange in wired.application.waiting:
            exchange.respond(Response(200, b"%d" % count, b"text/plain"))
            count += 1
        await wired.settle()
        output += wired.output
    return output


@given(conversation=conversations(), choice=st.data())
def test_answers_are_the_same_bytes_however_requests_arrive_and_are_answered(
    conversation: tuple[list[bytes], list[bytes]], choice: st.DataObject
) -> None:
    async def test() -> None:
        requests, packets = conversation
        wired = Wired(limits=SMALL)
        for packet in packets:
            while wired.transport.is_reading_paused:
                await answer_one(wired, choice)
            wired.send(packet)
            if choice.draw(st.booleans()):
                await answer_one(wired, choice)
        await wired.settle()
        while any(exchange.answer is None for exchange in wired.application.waiting):
            await answer_one(wired, choice)
        await wired.settle()

        assert wired.output == await one_by_one(requests)
        assert wired.application.errors == []
        assert (wired.state is State.READING) == (requests[-1] == b"")
        assert not wired.transport.is_reading_paused

    asyncio.run(test())


class Step(NamedTuple):
    """Something that happens to a connection."""

    name: str
    data: bytes = b""
    number: int = 0


NAMES = ("settle", "half-close", "pause", "resume", "stop")
PARTS = (GET % b"waiting", b"GET /later HTTP/1.1\r\n", b"Host: a\r\n\r\n", b"x")
STEPS = st.one_of(
    st.builds(Step, st.just("send"), st.sampled_from([*REQUESTS, *LAST, *PARTS])),
    st.builds(Step, st.just("answer"), number=st.integers(0, 5)),
    st.builds(Step, st.just("sweep"), number=st.sampled_from([0, 1, 5, 20, 100, 1_000])),
    st.builds(Step, st.sampled_from(NAMES)),
)


async def take(wired: Wired, step: Step, *, has_ended: bool) -> None:
    """Let a step happen, unless an event loop would not let it; `has_ended` is the input."""
    connection, transport = wired.connection, wired.transport
    waiting = wired.application.waiting
    is_read = not transport.is_reading_paused and not transport.is_closed and not has_ended
    match step.name:
        case "send" if is_read and step.data:
            connection.data_received(step.data)
        case "answer" if step.number < len(waiting) and waiting[step.number].answer is None:
            wired.answer(step.number)
        case "sweep":
            wired.server.now += step.number
            connection.sweep(wired.server.now)
        case "half-close" if is_read:
            if not connection.eof_received():
                transport.close()
        case "pause" if not transport.is_closed:
            connection.pause_writing()
        case "resume":
            connection.resume_writing()
        case "stop":
            wired.server.is_stopping = True
            connection.stop()
        case "settle":
            await wired.settle()


@given(steps=st.lists(STEPS, max_size=40))
def test_whatever_happens_no_state_is_impossible_and_everybody_is_told(steps: list[Step]) -> None:
    async def test() -> None:
        wired = Wired(limits=SMALL)
        told: list[int] = []
        has_ended = False
        for step in steps:
            await take(wired, step, has_ended=has_ended)
            has_ended = has_ended or step.name == "half-close"
            # Who is not read waits for us, and nobody else does.
            if wired.transport.is_reading_paused and not wired.transport.is_closed:
                assert wired.state is State.PAUSED
        for number, exchange in enumerate(wired.application.waiting):
            exchange.on_disconnect(lambda number=number: told.append(number))
        wired.connection.connection_lost(None)
        await wired.settle()

        assert wired.state is State.CLOSED
        assert wired.application.errors == []
        assert wired.server.tasks == set()
        for number, exchange in enumerate(wired.application.waiting):
            # Whoever has no answer is told that it needs none, once.
            assert told.count(number) == exchange.is_disconnected
            assert exchange.is_disconnected or exchange.answer is not None

    asyncio.run(test())
