"""Turns, memory for bodies, and what waits for clients that do not take it."""

import asyncio
import gc
import time

import pytest

from everlog.http import Exchange, Response
from everlog.http.framing import PLAIN
from everlog.http.places import Place
from everlog.http.shared import Backlog, BodyBudget, LargeExchange, Room, Turns


def test_turns_are_taken_in_order_and_others_are_served_in_between() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        turns = Turns(loop)
        done: list[int] = []
        served: list[int] = []

        def work(number: int) -> None:
            time.sleep(0.003)
            done.append(number)
            if number < 5:
                turns.add(lambda: work(number + 10))

        def serve() -> None:
            served.append(len(done))
            if turns.is_due:
                loop.call_soon(serve)

        for number in range(10):
            turns.add(lambda number=number: work(number))
        assert done == []
        loop.call_soon(serve)
        while turns.is_due:  # noqa: ASYNC110 - each step is one of the event loop
            await asyncio.sleep(0)
        assert done == [*range(15)]
        assert len(served) > 4

    asyncio.run(test())


def test_what_fails_in_its_turn_harms_nobody_behind_it() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        told: list[object] = []
        loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))
        turns = Turns(loop)
        error = ValueError("a bug")
        done: list[int] = []

        def fail() -> None:
            raise error

        turns.add(fail)
        turns.add(lambda: done.append(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        turns.add(lambda: done.append(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (told, done) == ([error], [1, 2])

    asyncio.run(test())


class Granted:
    """Counts how often room was granted."""

    def __init__(self, budget: BodyBudget, size: int) -> None:
        self.count = 0
        self.room = budget.reserve(size, self._note)

    def _note(self) -> None:
        self.count += 1


def test_nobody_has_more_than_half_of_what_is_left() -> None:
    budget = BodyBudget(80)
    first, second = Granted(budget, 40), Granted(budget, 20)
    third, fourth = Granted(budget, 11), Granted(budget, 10)
    assert [each.room.is_due for each in (first, second, third, fourth)] == [
        False,
        False,
        True,
        False,
    ]
    assert budget.is_short
    assert budget.size == 70

    fourth.room.give_back()
    assert (third.count, budget.size) == (0, 60)
    second.room.give_back()
    assert (third.count, budget.size) == (1, 51)
    assert not budget.is_short
    for each in (first, second, third, fourth, third):
        each.room.give_back()
    assert budget.size == 0


def test_whoever_is_alone_may_have_more_than_there_is() -> None:
    budget = BodyBudget(10)
    large, small = Granted(budget, 1_000), Granted(budget, 1)
    assert (large.room.is_due, small.room.is_due) == (False, True)
    large.room.give_back()
    assert small.count == 1


def test_those_who_wait_go_on_as_soon_as_there_is_enough_for_them() -> None:
    budget = BodyBudget(100)
    first = Granted(budget, 50)
    waiting = [Granted(budget, size) for size in (40, 30, 26)]
    waiting[1].room.give_back()
    first.room.shrink(10)
    assert [each.count for each in waiting] == [1, 0, 0]
    assert budget.size == 50
    waiting[0].room.give_back()
    assert [each.count for each in waiting] == [1, 0, 1]
    assert budget.size == 36
    assert not budget.is_short


class Answering:
    """The connection of an exchange."""

    def send_answer(self, exchange: Exchange) -> None:
        assert exchange.answer is not None


def large_exchange(budget: BodyBudget) -> LargeExchange:
    room = budget.reserve(5, lambda: None)
    return LargeExchange(Answering(), PLAIN).with_room(room)


def test_an_exchange_keeps_its_room_until_it_is_answered() -> None:
    budget = BodyBudget(100)
    exchange = large_exchange(budget)
    assert budget.size == 5
    exchange.respond(Response(200, b"", b""))
    assert budget.size == 0
    del exchange
    assert budget.size == 0


def test_an_exchange_that_nobody_can_answer_gives_its_room_back() -> None:
    budget = BodyBudget(100)
    exchange = large_exchange(budget)
    exchange.disconnect()
    assert budget.size == 5
    del exchange
    gc.collect()
    assert budget.size == 0


class FakeConnection:
    """A connection for which something waits."""

    def __init__(self, *, is_known: bool) -> None:
        self.place: Place | None = None
        self.address = "a"
        self.is_known = is_known
        self.is_aborted = False

    def idle_since(self) -> float | None:
        return None

    def sweep(self, now: float) -> None:
        raise AssertionError(now)

    def stop(self) -> None:
        raise AssertionError

    def abort(self) -> None:
        self.is_aborted = True


def test_those_who_have_waited_longest_are_cut_and_strangers_first() -> None:
    cut: list[tuple[object, int]] = []
    backlog = Backlog(100, on_cut=lambda sharer, size: cut.append((sharer, size)))
    known = [FakeConnection(is_known=True) for _ in range(3)]
    stranger = FakeConnection(is_known=False)
    for connection in known:
        backlog.note(connection, 30)
    # Whoever took everything begins to wait anew.
    backlog.note(known[0], 0)
    backlog.note(known[0], 25)
    backlog.note(stranger, 15)
    assert (cut, backlog.size) == ([], 100)

    backlog.note(known[2], 31)
    assert cut == [(stranger, 15)]
    backlog.note(known[2], 60)
    assert cut[1:] == [(known[1], 30)]
    assert (backlog.size, backlog.cut_count) == (85, 2)
    # It is gone, and may say so.
    backlog.note(stranger, 0)
    backlog.note(known[1], 0)
    assert backlog.size == 85
    # Alone beyond the bound.
    backlog.note(known[0], 0)
    backlog.note(known[2], 101)
    assert known[2].is_aborted
    assert backlog.size == 0


def test_whoever_becomes_known_is_counted_once() -> None:
    backlog = Backlog(100, on_cut=lambda _sharer, _size: pytest.fail("nobody is to be cut"))
    connection = FakeConnection(is_known=False)
    backlog.note(connection, 60)
    connection.is_known = True
    backlog.note(connection, 70)
    assert backlog.size == 70
    backlog.note(connection, 0)
    assert backlog.size == 0


def test_room_that_is_due_cannot_shrink() -> None:
    budget = BodyBudget(10)
    budget.reserve(10, lambda: None)
    room = budget.reserve(10, lambda: None)
    assert isinstance(room, Room)
    with pytest.raises(AssertionError):
        room.shrink(1)
