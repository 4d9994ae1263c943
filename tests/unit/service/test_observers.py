"""Observers: woken by what concerns them, and only by that."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from everlog.domain.errors import TooManyObserversError
from everlog.service.observers import Interest, Observers
from everlog.storage.engine import Batch
from tests.support.events import a_candidate, store
from tests.support.memory_engine import MemoryEngine

SHORT = 0.02
LONG = 20.0


def run(work: Callable[[Observers], Awaitable[None]]) -> None:
    async def run_with_observers() -> None:
        observers = Observers(asyncio.get_running_loop())
        with observers.permits.acquire():
            await work(observers)

    asyncio.run(run_with_observers())


def recent(observers: Observers, interest: Interest, *, start: int, stop: int) -> bytes | None:
    """Return all recent lines of an interest, None if they are not kept."""
    block = b""
    while start < stop:
        found = observers.recent(interest, start=start, stop=stop, convert=as_it_is)
        if found is None:
            return None
        assert start < found.stop <= stop
        start = found.stop
        block += found.block
    return block


def as_it_is(lines: bytes) -> bytes:
    return lines


def batch_of(*subjects: str) -> Batch:
    return store(MemoryEngine(), *map(a_candidate, subjects))


@pytest.mark.parametrize(
    "subject, recursive, written, is_woken",
    [
        ("/a", False, "/a", True),
        ("/a", False, "/a/b", False),
        ("/a/b", False, "/a", False),
        ("/a", True, "/a", True),
        ("/a", True, "/a/b/c", True),
        ("/a", True, "/ab", False),
        ("/a/b", True, "/a", False),
        ("/", True, "/a/b", True),
        ("/", False, "/a", False),
    ],
)
def test_an_observer_is_woken_by_what_concerns_it(
    subject: str, written: str, *, recursive: bool, is_woken: bool
) -> None:
    async def work(observers: Observers) -> None:
        interest = Interest(subject, recursive)
        seconds = LONG if is_woken else SHORT
        waiting = asyncio.ensure_future(observers.wait(interest, seconds=seconds))
        await asyncio.sleep(0)
        observers.publish(batch_of(written))
        assert await waiting == is_woken

    run(work)


def test_a_large_batch_wakes_some_at_a_time_and_everybody_in_the_end() -> None:
    async def work(observers: Observers) -> None:
        names = [f"/s{number}" for number in range(1_000)]
        waiting = [
            asyncio.ensure_future(
                observers.wait(Interest(name, recursive=number % 2 == 0), seconds=LONG)
            )
            for number, name in enumerate(names)
        ]
        await asyncio.sleep(0)
        observers.publish(batch_of(*names))
        # Who has been woken has its result, and goes on in the next turn.
        left = len(observers._exact) + len(observers._recursive)
        assert 0 < left < 1_000
        # Who closes the store does not wait for the rest.
        assert await asyncio.gather(*waiting) == [True] * 1_000
        assert not observers._exact
        assert not observers._recursive

    run(work)


def test_closing_wakes_everybody_and_nobody_waits_any_more() -> None:
    async def work(observers: Observers) -> None:
        interests = [Interest("/a", recursive=False), Interest("/", recursive=True)]
        waiting = [
            asyncio.ensure_future(observers.wait(interest, seconds=LONG)) for interest in interests
        ]
        await asyncio.sleep(0)
        observers.close()
        assert await asyncio.gather(*waiting) == [True, True]
        assert observers.is_closed
        assert await observers.wait(interests[0], seconds=LONG)

    run(work)


def test_who_stops_waiting_leaves_nothing_behind() -> None:
    async def work(observers: Observers) -> None:
        interest = Interest("/a", recursive=True)
        waiting = [asyncio.ensure_future(observers.wait(interest, seconds=LONG)) for _ in range(3)]
        await asyncio.sleep(0)
        for future in waiting:
            future.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not observers._recursive
        assert not await observers.wait(interest, seconds=SHORT)
        assert not observers._recursive

    run(work)


def test_lines_that_nobody_was_told_of_yet_are_not_taken_for_none() -> None:
    async def work(observers: Observers) -> None:
        # As others' batches are: in the log first, told of afterwards.
        engine = MemoryEngine()
        first = store(engine, a_candidate("/a"))
        second = store(engine, a_candidate("/b"))
        interest = Interest("/b", recursive=False)
        observers.publish(first)
        assert recent(observers, interest, start=0, stop=1) == b""
        assert recent(observers, interest, start=0, stop=2) is None
        assert recent(observers, interest, start=1, stop=2) is None

        observers.publish(second)
        assert recent(observers, interest, start=1, stop=2) == b"".join(second.lines)

    run(work)


def test_recent_lines_are_those_of_the_interest_between_two_positions() -> None:
    async def work(observers: Observers) -> None:
        engine = MemoryEngine()
        everything: list[tuple[str, bytes]] = []
        for subjects in (("/a", "/a/b"), ("/c",), ("/a/b", "/a", "/ab")):
            batch = store(engine, *map(a_candidate, subjects))
            observers.publish(batch)
            everything += zip(subjects, batch.lines, strict=True)
        below = {"/a": ("/a", "/a/b"), "/": ("/a", "/a/b", "/ab", "/c")}
        for start in range(7):
            for stop in range(start, 7):
                part = everything[start:stop]
                for subject, names in below.items():
                    lines = [line for name, line in part if name in names]
                    interest = Interest(subject, recursive=True)
                    assert recent(observers, interest, start=start, stop=stop) == b"".join(lines)
                lines = [line for name, line in part if name == "/a"]
                interest = Interest("/a", recursive=False)
                assert recent(observers, interest, start=start, stop=stop) == b"".join(lines)

    run(work)


def test_lines_that_are_not_kept_have_to_be_read_from_the_log() -> None:
    async def work(observers: Observers) -> None:
        interest = Interest("/", recursive=True)
        assert recent(observers, interest, start=0, stop=1) is None
        engine = MemoryEngine()
        large = f'{{"text":"{"x" * 60_000}"}}'
        for _ in range(100):
            observers.publish(store(engine, a_candidate(data=large)))
        assert recent(observers, interest, start=0, stop=100) is None
        latest = recent(observers, interest, start=99, stop=100)
        assert latest is not None
        assert latest.count(b"\n") == 1
        assert observers._recent_size <= 4 * 1024 * 1024

    run(work)


def test_lines_are_kept_while_somebody_observes() -> None:
    async def work(_: Observers) -> None:
        observers = Observers(asyncio.get_running_loop())
        interest = Interest("/", recursive=True)
        engine = MemoryEngine()
        observers.publish(store(engine, a_candidate()))
        assert recent(observers, interest, start=0, stop=1) is None
        with observers.permits.acquire():
            second = store(engine, a_candidate())
            observers.publish(second)
            assert recent(observers, interest, start=1, stop=2) == b"".join(second.lines)
            assert recent(observers, interest, start=0, stop=2) is None
        observers.publish(store(engine, a_candidate()))
        with observers.permits.acquire():
            # Not those with a gap between them.
            fourth = store(engine, a_candidate())
            observers.publish(fourth)
            assert recent(observers, interest, start=3, stop=4) == b"".join(fourth.lines)
            assert recent(observers, interest, start=2, stop=4) is None

    run(work)


def test_no_more_may_observe_than_there_are_permits() -> None:
    async def work(_: Observers) -> None:
        observers = Observers(asyncio.get_running_loop(), count_max=2)
        first, _second = observers.permits.acquire(), observers.permits.acquire()
        with pytest.raises(TooManyObserversError, match="2 observers"):
            observers.permits.acquire()
        first.release()
        # Whoever is gone does not go again.
        first.release()
        assert observers.permits.held_count == 1
        with observers.permits.acquire(), pytest.raises(TooManyObserversError):
            observers.permits.acquire()
        assert observers.permits.held_count == 1

    run(work)


def test_what_is_sent_at_once_is_bounded_but_never_nothing_for_ever() -> None:
    async def work(observers: Observers) -> None:
        engine = MemoryEngine()
        large = f'{{"text":"{"x" * 50_000}"}}'
        lines = store(engine, *[a_candidate(data=large) for _ in range(4)])
        observers.publish(lines)
        interest = Interest("/", recursive=True)
        found = observers.recent(interest, start=0, stop=4, convert=as_it_is)
        assert found is not None
        assert (found.block, found.stop) == (lines.lines[0], 1)
        assert recent(observers, interest, start=0, stop=4) == b"".join(lines.lines)

        # Nor may one that finds nothing look for long.
        small = [a_candidate("/a") for _ in range(2_500)]
        observers.publish(store(engine, *small))
        other = Interest("/b", recursive=True)
        found = observers.recent(other, start=4, stop=2_504, convert=as_it_is)
        assert found is not None
        assert (found.block, found.stop) == (b"", 1_004)
        assert recent(observers, other, start=4, stop=2_504) == b""

    run(work)


def test_many_observers_are_sent_less_at_once() -> None:
    async def work(observers: Observers) -> None:
        engine = MemoryEngine()
        batch = store(engine, *[a_candidate() for _ in range(900)])
        observers.publish(batch)
        interest = Interest("/", recursive=True)
        few = observers.recent(interest, start=0, stop=900, convert=as_it_is)
        permits = [observers.permits.acquire() for _ in range(4_000)]
        many = observers.recent(interest, start=0, stop=899, convert=as_it_is)
        assert few is not None
        assert many is not None
        assert len(many.block) <= 64 * 1024 * 1024 // 4_000 < len(few.block) <= 64 * 1024
        del permits

    run(work)


def test_what_many_are_sent_is_converted_once() -> None:
    async def work(observers: Observers) -> None:
        calls: list[bytes] = []

        def convert(lines: bytes) -> bytes:
            calls.append(lines)
            return lines

        observers.publish(batch_of("/a"))
        interest = Interest("/a", recursive=False)
        for _ in range(3):
            assert observers.recent(interest, start=0, stop=1, convert=convert)
            assert observers.recent(interest, start=0, stop=1, convert=as_it_is)
        assert len(calls) == 1

    run(work)


def test_of_many_who_are_woken_some_go_on_at_a_time() -> None:
    async def work(observers: Observers) -> None:
        loop = asyncio.get_running_loop()
        woken = 0
        seen: list[int] = []

        async def observe(*, seconds: float) -> None:
            nonlocal woken
            await observers.wait(Interest("/a", recursive=False), seconds=seconds)
            woken += 1

        def look() -> None:
            seen.append(woken)
            if woken < 1_000:
                loop.call_soon(look)

        for seconds in (LONG, SHORT):
            woken, seen = 0, []
            waiting = [asyncio.ensure_future(observe(seconds=seconds)) for _ in range(1_000)]
            await asyncio.sleep(0)
            if seconds == LONG:
                observers.publish(batch_of("/a"))
            loop.call_soon(look)
            await asyncio.gather(*waiting)
            assert max(after - before for before, after in pairwise(seen)) <= 64

    run(work)
