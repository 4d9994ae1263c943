"""Three PostgreSQL servers with Patroni: the primary dies under load, and appends go on."""

import asyncio
import os
import time
from typing import Final

import pytest
import uvloop

from everlog.journals.postgresql import PostgresqlJournal
from tests.support.appenders import Appender
from tests.support.journal_places import read_all
from tests.support.patroni_cluster import (
    START_SECONDS_MAX,
    PatroniCluster,
    running_patroni,
)

# How often the primary is lost: first its server; then all of its machine, of which nobody hears
# before its lease has ended; then its machine stands still until another one has taken over, and
# goes on as if nothing had happened; and so on.
KILLS: Final = int(os.environ.get("EVERLOG_PATRONI_KILLS", "1"))

APPENDERS: Final = 3


async def _die_again_and_again(cluster: PatroniCluster) -> None:
    journals = [PostgresqlJournal(cluster.url) for _ in range(APPENDERS)]
    appenders = [
        Appender(journal, str(number), seed=number, pause_seconds=0.02)
        for number, journal in enumerate(journals)
    ]
    tasks = [asyncio.create_task(appender.run()) for appender in appenders]

    def count() -> int:
        assert not any(task.done() for task in tasks), tasks
        return sum(len(appender.acknowledged) for appender in appenders)

    async def go_on() -> None:
        """Wait until more is appended by each, by a time that is far too long."""
        goals = [len(appender.acknowledged) + 10 for appender in appenders]
        async with asyncio.timeout(START_SECONDS_MAX):
            for appender, goal in zip(appenders, goals, strict=True):
                while len(appender.acknowledged) < goal:
                    await asyncio.sleep(0.01)
                    count()

    await go_on()
    for number in range(KILLS):
        leader = await asyncio.to_thread(cluster.leader)
        lose, return_ = (
            (leader.kill_postgresql, None),
            (leader.kill, leader.start_again),
            (leader.pause, leader.resume),
        )[number % 3]
        begun = time.monotonic()
        await asyncio.to_thread(lose)
        # Answers may be on their way, one for each.
        before = count() + APPENDERS
        async with asyncio.timeout(START_SECONDS_MAX):
            while count() <= before:  # noqa: ASYNC110 - they only count
                await asyncio.sleep(0.01)
        seconds = time.monotonic() - begun
        print(f"{lose.__name__}: {seconds:.1f} s")  # noqa: T201 - a figure
        if return_ is not None:
            await asyncio.to_thread(return_)
        await go_on()
        await asyncio.to_thread(cluster.wait_for_standby)
    for appender in appenders:
        appender.stop()
    await asyncio.gather(*tasks)
    stored = [entry.batch_id for entry in await read_all(journals[0])]
    acknowledged = [each for appender in appenders for each in appender.acknowledged]
    assert len(set(stored)) == len(stored)
    assert set(acknowledged) == set(stored)
    for journal in journals:
        await journal.close()


@pytest.mark.slow
def test_the_primary_dies_and_another_one_goes_on_with_all_that_was_acknowledged() -> None:
    with running_patroni() as cluster:
        uvloop.run(_die_again_and_again(cluster))
