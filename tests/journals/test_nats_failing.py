"""NATS servers that are killed or paused under load, one of them or most.

Nothing that was acknowledged is lost, one entry stands in a place, and nothing is read that is not
proven. What comes back is used again by itself.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import pytest
import uvloop

from everlog.domain.errors import JournalUnreachableError
from everlog.journals.nats import NatsJournal
from everlog.service.mirroring.journal import (
    BEGINNING,
    EntryLostError,
    OutcomeUnknownError,
    Page,
)
from tests.support.appenders import Appender
from tests.support.journal_places import make_announcement, make_entry, outcome_of, read_all
from tests.support.nats_servers import NatsServer, NatsServers, running_nats

# How often the leader goes away.
KILLS: Final = max(1, int(os.environ.get("EVERLOG_JOURNAL_KILLS", "4")) // 4)

# Far longer than the servers need to elect another leader.
PATIENCE_SECONDS: Final = 60.0

pytestmark = pytest.mark.slow


def run(
    test: Callable[..., Awaitable[None]], servers: NatsServers, *, nodes: int, is_open: bool = True
) -> None:
    """Let a test have so many journals."""

    async def running() -> None:
        async with AsyncExitStack() as stack:
            journals = [NatsJournal(servers.url) for _ in range(nodes)]
            for journal in journals:
                stack.push_async_callback(journal.close)
            if is_open:
                await asyncio.gather(*(journal.open() for journal in journals))
            await test(*journals)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    uvloop.run(running())


async def check_all_is_there(appenders: Sequence[Appender], journal: NatsJournal) -> None:
    """Compare what stands in a journal with what its writers were told."""
    stored = [entry.batch_id for entry in await read_all(journal)]
    assert len(set(stored)) == len(stored)
    assert {each for appender in appenders for each in appender.acknowledged} == set(stored)


@pytest.mark.parametrize(
    "harm, mend",
    [
        pytest.param(NatsServer.kill, NatsServer.start_again, id="killed"),
        pytest.param(NatsServer.pause, NatsServer.resume, id="paused"),
    ],
)
def test_writing_goes_on_without_the_leader_and_nothing_is_lost(
    harm: Callable[[NatsServer], None], mend: Callable[[NatsServer], None]
) -> None:
    chance = random.Random(1)

    async def harming(*journals: NatsJournal) -> None:
        appenders = [
            Appender(journal, str(number), seed=number) for number, journal in enumerate(journals)
        ]
        tasks = [asyncio.create_task(appender.run()) for appender in appenders]

        async def wait_for(count: int) -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                goal = sum(len(appender.acknowledged) for appender in appenders) + count
                while sum(len(appender.acknowledged) for appender in appenders) < goal:
                    await asyncio.sleep(0.002)
                    assert not any(task.done() for task in tasks)

        for _ in range(KILLS):
            await wait_for(50)
            leader = await asyncio.to_thread(servers.leader)
            await asyncio.sleep(chance.uniform(0, 0.05))
            harm(leader)
            # It stays away: the others have another leader.
            await wait_for(50)
            mend(leader)
            await wait_for(50)
            await asyncio.to_thread(servers.wait_until_ready)
        for appender in appenders:
            appender.stop()
        await asyncio.gather(*tasks)
        await check_all_is_there(appenders, journals[0])

    with running_nats(3) as servers:
        run(harming, servers, nodes=3, is_open=False)


def test_without_a_minority_all_goes_on() -> None:
    """Which of the servers a node is connected to does not matter."""

    async def pausing(*journals: NatsJournal) -> None:
        after = await journals[0].append(make_entry(0), after=BEGINNING)
        follower = (await asyncio.to_thread(servers.followers))[0]
        follower.pause()
        for number in range(1, 12):
            journal = journals[number % len(journals)]
            entry = make_entry(number)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not isinstance(
                    outcome := await outcome_of(journal.append(entry, after=after)),
                    int | EntryLostError,
                ):
                    # It was connected to the one that is paused, and finds another one.
                    assert isinstance(outcome, OutcomeUnknownError | JournalUnreachableError)
            async with asyncio.timeout(PATIENCE_SECONDS):
                # So may this one be.
                while isinstance(
                    page := await outcome_of(journals[0].read(after=after, size_max=1 << 20)),
                    JournalUnreachableError,
                ):
                    pass
            assert isinstance(page, Page)
            assert [placed.entry for placed in page.entries] == [entry]
            after = page.entries[0].place
        follower.resume()

    with running_nats(3) as servers:
        # However they choose, somebody is connected to each of them.
        run(pausing, servers, nodes=9)


@pytest.mark.parametrize(
    "harm, mend",
    [
        pytest.param(NatsServer.kill, NatsServer.start_again, id="killed"),
        pytest.param(NatsServer.pause, NatsServer.resume, id="paused"),
    ],
)
def test_without_a_majority_nothing_is_acknowledged_nor_shown(
    harm: Callable[[NatsServer], None], mend: Callable[[NatsServer], None]
) -> None:
    entry = make_entry(1)

    async def harming(journal: NatsJournal, other: NatsJournal) -> None:
        after = await journal.append(make_entry(0), after=BEGINNING)
        assert (await other.read(after=after, size_max=1000)).is_end
        # The one that leads is left, and knows nothing of it at first.
        followers = await asyncio.to_thread(servers.followers)
        for server in followers:
            harm(server)
        late = NatsJournal(servers.url)
        appended, *outcomes = await asyncio.gather(
            outcome_of(journal.append(entry, after=after)),
            outcome_of(other.read(after=after, size_max=1000)),
            outcome_of(other.read(after=BEGINNING, size_max=1000)),
            outcome_of(other.find(1)),
            outcome_of(other.announce(make_announcement("one"))),
            outcome_of(late.open()),
        )
        await late.close()
        assert isinstance(appended, OutcomeUnknownError | JournalUnreachableError), appended
        assert all(isinstance(each, JournalUnreachableError) for each in outcomes), outcomes
        for server in followers:
            mend(server)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not isinstance(
                outcome := await outcome_of(journal.append(entry, after=after)),
                int | EntryLostError,
            ):
                assert isinstance(outcome, OutcomeUnknownError | JournalUnreachableError)
                await asyncio.sleep(0.05)
        with pytest.raises(EntryLostError):
            await journal.append(entry, after=after)
        assert (await read_all(other))[1:] == [entry]

    with running_nats(3) as servers:
        run(harming, servers, nodes=2)
