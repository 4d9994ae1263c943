"""The table of a connection's states: the real connection goes every way in it, and no other."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from itertools import product

import pytest

from everlog.http import Exchange, Limits, Request, Stream
from everlog.http.states import TRANSITIONS, Happening, State
from tests.support.pages import read_page
from tests.support.serving import RecordingApplication, Wired

PAGE = "docs/internals/http.md"

LATER = b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /later HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
STREAM = b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n"
NONSENSE = b"nonsense\r\n\r\n"

# So few that a connection is soon full.
PIPELINED_MAX = 3


class EndingApplication(RecordingApplication):
    """Ends its streams when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_over = asyncio.Event()

    def stream_and_wait(self, request: Request, exchange: Exchange) -> None:
        del request

        async def produce(stream: Stream) -> None:
            del stream
            await self.is_over.wait()

        exchange.stream(200, b"text/plain", produce)


Act = Callable[[Wired], Awaitable[None]]


def connect(state: State, application: RecordingApplication | None = None) -> Wired:
    limits = Limits(pipelined_max=PIPELINED_MAX)
    return Wired(application, limits=limits, is_tls=state is State.GREETING)


async def nothing(_: Wired) -> None:
    pass


async def fill(wired: Wired) -> None:
    wired.send(LATER * PIPELINED_MAX)
    await wired.settle()


async def take_the_last(wired: Wired) -> None:
    wired.send(LAST)


async def owe_and_refuse(wired: Wired) -> None:
    wired.send(LATER + NONSENSE)


async def owe_and_half_close(wired: Wired) -> None:
    wired.send(LATER + STREAM)
    await wired.settle()
    wired.connection.eof_received()


async def stream_and_half_close(wired: Wired) -> None:
    wired.send(STREAM)
    await wired.settle()
    wired.connection.eof_received()


async def say_all(wired: Wired) -> None:
    wired.send(b"GET /x HTTP/1.0\r\n\r\n")


async def owe_and_abort(wired: Wired) -> None:
    wired.send(LAST)
    wired.connection.abort()


async def lose(wired: Wired) -> None:
    wired.connection.connection_lost(None)


# How a connection comes into each state.
WAYS: Mapping[State, Act] = {
    State.GREETING: nothing,
    State.READING: nothing,
    State.PAUSED: fill,
    State.FINISHING: take_the_last,
    State.REFUSING: owe_and_refuse,
    State.HALF_CLOSED: owe_and_half_close,
    State.PROBED: stream_and_half_close,
    State.LINGERING: say_all,
    State.CLOSING: owe_and_abort,
    State.CLOSED: lose,
}


async def make_room(wired: Wired) -> None:
    wired.answer(0)
    await wired.settle()


async def refuse(wired: Wired) -> None:
    if wired.state is State.GREETING:
        wired.connection.refuse_plain()
    elif wired.state is State.PAUSED:
        # As if a body had waited for room all the time.
        wired.server.bodies.size = 1
        wired.connection._reserve(wired.server.limits.bodies_size_max)
        wired.server.now += 1_000
        wired.connection.sweep(wired.server.now)
    else:
        wired.send(NONSENSE)


async def shake_hands(wired: Wired) -> None:
    wired.connection.hands_shaken()


async def half_close(wired: Wired) -> None:
    if not wired.application.waiting:
        wired.send(LATER)
    assert wired.connection.eof_received()


async def look_for_the_client(wired: Wired) -> None:
    wired.answer(0)
    await wired.settle()
    wired.connection.sweep(wired.server.now)


async def answer_all(wired: Wired) -> None:
    if wired.state is State.READING:
        wired.send(LATER)
    # An answer may be the last because the server stops.
    wired.server.is_stopping = True
    for number in range(len(wired.application.waiting)):
        wired.answer(number)
    if isinstance(wired.application, EndingApplication):
        wired.application.is_over.set()
        await wired.settle()


async def close(wired: Wired) -> None:
    wired.connection.abort()


# How each happening is brought about.
CAUSES: Mapping[Happening, Act] = {
    Happening.GREETED: shake_hands,
    Happening.FULL: fill,
    Happening.ROOM: make_room,
    Happening.LAST_REQUEST: take_the_last,
    Happening.REFUSAL: refuse,
    Happening.HALF_CLOSE: half_close,
    Happening.PROBE: look_for_the_client,
    Happening.LAST_ANSWER: answer_all,
    Happening.CLOSE: close,
    Happening.LOST: lose,
}

PAIRS = [*product(State, Happening)]


@pytest.mark.parametrize("state", State)
def test_every_state_is_reached(state: State) -> None:
    async def test() -> None:
        wired = connect(state)
        await WAYS[state](wired)
        assert wired.state is state
        assert wired.transport.is_reading_paused == (state is State.PAUSED)

    asyncio.run(test())


@pytest.mark.parametrize(
    "state, happening", TRANSITIONS, ids=[f"{pair[0].name}-{pair[1].name}" for pair in TRANSITIONS]
)
def test_the_connection_goes_every_way_of_the_table(state: State, happening: Happening) -> None:
    async def test() -> None:
        wired = connect(state, EndingApplication())
        await WAYS[state](wired)
        moves = wired.connection.moves
        moves.clear()

        await CAUSES[happening](wired)

        assert (state, happening) in moves
        following = [before for before, _ in moves[moves.index((state, happening)) + 1 :]]
        assert [*following, wired.state][0] is TRANSITIONS[state, happening]
        # Whatever happened, who is read is read, and whoever sends without end is not held up.
        if wired.state in {State.READING, State.FINISHING, State.REFUSING, State.LINGERING}:
            assert not wired.transport.is_reading_paused
        assert wired.application.errors == []
        wired.connection._drop_exchanges()

    asyncio.run(test())


@pytest.mark.parametrize(
    "state, happening",
    [pair for pair in PAIRS if pair not in TRANSITIONS],
    ids=[f"{pair[0].name}-{pair[1].name}" for pair in PAIRS if pair not in TRANSITIONS],
)
def test_what_is_not_in_the_table_cannot_happen(state: State, happening: Happening) -> None:
    async def test() -> None:
        wired = connect(state)
        await WAYS[state](wired)

        with pytest.raises(AssertionError):
            wired.connection._move(happening)

        assert wired.state is state

    asyncio.run(test())


def test_every_state_leads_to_the_end_and_nothing_leads_from_it() -> None:
    for state in State:
        followers = [after for (before, _), after in TRANSITIONS.items() if before is state]
        assert (State.CLOSED in followers) == (state is not State.CLOSED)


def test_a_client_that_is_refused_is_not_read_any_more() -> None:
    async def test() -> None:
        for way in (take_the_last, owe_and_refuse, say_all, owe_and_abort, lose):
            wired = connect(State.READING)
            await way(wired)
            seen = len(wired.application.heads)

            wired.send(LATER)

            assert len(wired.application.heads) == seen

    asyncio.run(test())


def test_the_end_of_input_is_no_news_to_a_connection_that_is_being_closed() -> None:
    async def test() -> None:
        wired = connect(State.READING)
        await owe_and_abort(wired)

        assert not wired.connection.eof_received()

        assert wired.state is State.CLOSING

    asyncio.run(test())


def test_input_that_overtakes_what_is_held_is_a_bug_of_the_event_loop() -> None:
    async def test() -> None:
        wired = connect(State.READING)
        await fill(wired)

        with pytest.raises(AssertionError):
            wired.send(LATER)

    asyncio.run(test())


def test_who_answers_another_when_it_is_told_of_the_end_harms_nobody() -> None:
    async def test() -> None:
        wired = connect(State.READING)
        await fill(wired)
        first, second, _ = wired.application.waiting
        told: list[Exchange] = []
        first.on_disconnect(lambda: wired.answer(1))
        second.on_disconnect(lambda: told.append(second))

        await lose(wired)

        assert wired.application.errors == []
        assert told == [second]

    asyncio.run(test())


def rows_of_the_page(columns: int) -> list[tuple[str, ...]]:
    _, _, section = read_page(PAGE).partition("\n## States\n")
    section, _, _ = section.partition("\n## ")
    lines = re.findall(r"^\| `.*\|$", section, re.MULTILINE)
    rows = [tuple(cell.strip(" `") for cell in line.strip("|").split("|")) for line in lines]
    return [row for row in rows if len(row) == columns]


def test_the_page_has_the_states_the_happenings_and_the_table() -> None:
    names = [(member.name, member.value) for member in (*State, *Happening)]
    # Closing and losing are told in a sentence.
    told = (Happening.CLOSE, Happening.LOST)
    table = [
        (before.name, happening.name, after.name)
        for (before, happening), after in TRANSITIONS.items()
        if happening not in told
    ]

    assert rows_of_the_page(2) == names
    assert rows_of_the_page(3) == table
    for happening, target in zip(told, (State.CLOSING, State.CLOSED), strict=True):
        ways = {before: after for (before, by), after in TRANSITIONS.items() if by is happening}
        assert ways == {state: target for state in State if state is not State.CLOSED}
