"""The delay of an event loop: what is measured of somebody who holds it up."""

import asyncio
import time

import pytest

from everlog.monitoring import loop_delay
from everlog.monitoring.loop_delay import LoopDelay


def hold_up(seconds: float) -> None:
    time.sleep(seconds)


def test_a_loop_that_is_held_up_is_late_by_so_much() -> None:
    async def run() -> LoopDelay:
        delay = LoopDelay(asyncio.get_running_loop(), interval_seconds=0.01)
        delay.start()
        await asyncio.sleep(0.05)
        hold_up(0.3)
        await asyncio.sleep(0.05)
        delay.stop()
        return delay

    delay = asyncio.run(run())

    assert delay.longest_recent_seconds >= 0.28
    assert sum(delay.seconds.counts) > 2
    assert sum(delay.seconds.counts[delay.seconds.bounds.index(0.25) + 1 :]) >= 1


def test_what_was_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_delay, "_RECENT_SECONDS", 0.05)

    async def run() -> tuple[float, float]:
        delay = LoopDelay(asyncio.get_running_loop(), interval_seconds=0.005)
        delay.start()
        hold_up(0.3)
        await asyncio.sleep(0.02)
        before = delay.longest_recent_seconds
        # Two times what is remembered at least.
        await asyncio.sleep(0.5)
        delay.stop()
        return before, delay.longest_recent_seconds

    before, after = asyncio.run(run())

    assert before >= 0.25 > after


def test_who_does_not_measure_any_more_sets_no_timer() -> None:
    async def run() -> int:
        delay = LoopDelay(asyncio.get_running_loop(), interval_seconds=0.001)
        delay.start()
        await asyncio.sleep(0.02)
        delay.stop()
        count = sum(delay.seconds.counts)
        await asyncio.sleep(0.05)
        return sum(delay.seconds.counts) - count

    assert asyncio.run(run()) == 0
