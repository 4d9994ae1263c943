"""A PostgreSQL server that is killed, paused, replaced, or has lost its standby, under load.

Nothing that was acknowledged is lost, and nothing is read that is not proven.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Final

import pytest
import uvloop

from everlog.domain.errors import JournalUnreachableError
from everlog.journals.postgresql import PostgresqlJournal
from everlog.service.mirroring.journal import (
    BEGINNING,
    EntryLostError,
    OutcomeUnknownError,
)
from tests.support.appenders import Appender
from tests.support.journal_places import make_announcement, make_entry, outcome_of, read_all
from tests.support.postgresql_server import (
    PostgresqlServer,
    running_postgresql,
    running_standby,
)
from tests.support.server import wait_until

STANDBY: Final = "the_standby"

# How often the server is killed.
KILLS: Final = int(os.environ.get("EVERLOG_JOURNAL_KILLS", "4"))

pytestmark = pytest.mark.slow


def run(test: Callable[..., Awaitable[None]], *urls: str) -> None:
    """Let a test have journals, which are not open yet."""

    async def running() -> None:
        async with AsyncExitStack() as stack:
            journals = [PostgresqlJournal(url) for url in urls]
            for journal in journals:
                stack.push_async_callback(journal.close)
            await test(*journals)

    uvloop.run(running())


def test_nothing_acknowledged_is_lost_when_the_server_is_killed_in_the_midst_of_appending() -> None:
    chance = random.Random(1)

    async def killing(*journals: PostgresqlJournal) -> None:
        appenders = [
            Appender(journal, str(number), seed=number) for number, journal in enumerate(journals)
        ]
        tasks = [asyncio.create_task(appender.run()) for appender in appenders]
        for _ in range(KILLS):
            goal = sum(len(appender.acknowledged) for appender in appenders) + 40
            while sum(len(appender.acknowledged) for appender in appenders) < goal:
                await asyncio.sleep(0.002)
                assert not any(task.done() for task in tasks)
            await asyncio.sleep(chance.uniform(0, 0.05))
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(chance.uniform(0, 0.1))
            await asyncio.to_thread(server.start_again)
        # Nobody is promised a turn, but none of them loses every race.
        while not all(appender.acknowledged for appender in appenders):
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in tasks)
        for appender in appenders:
            appender.stop()
        await asyncio.gather(*tasks)
        stored = [entry.batch_id for entry in await read_all(journals[0])]
        assert len(set(stored)) == len(stored)
        acknowledged = {each for appender in appenders for each in appender.acknowledged}
        assert acknowledged == set(stored)

    with running_postgresql() as server:
        run(killing, server.url, server.url, server.url)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[PostgresqlServer, PostgresqlServer]]:
    with running_postgresql() as primary, running_standby(primary, STANDBY) as standby:
        yield primary, standby


Pair = tuple[PostgresqlServer, PostgresqlServer]


def test_standbys_of_which_none_is_synchronous_are_remarked(pair: Pair) -> None:
    primary, _ = pair

    async def opening(journal: PostgresqlJournal) -> None:
        await journal.open()
        assert [text for text in journal.remarks if "none is synchronous" in text]

    primary.configure(synchronous_standby_names="")
    run(opening, primary.url)


def test_a_standby_is_no_journal_and_its_primary_is_found(pair: Pair) -> None:
    primary, standby = pair
    both = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"

    async def opening(alone: PostgresqlJournal, found: PostgresqlJournal) -> None:
        with pytest.raises(JournalUnreachableError):
            await alone.open()
        await found.open()
        assert (await found.read(after=BEGINNING, size_max=1)).is_end is not None

    run(opening, standby.url, primary.url.replace(f"127.0.0.1:{primary.port}", both))


def test_while_the_synchronous_standby_is_away_nothing_is_acknowledged_nor_shown() -> None:
    """What the server has committed by itself is there to see, and may still be lost."""

    async def pausing(journal: PostgresqlJournal, other: PostgresqlJournal) -> None:
        await journal.open()
        await other.open()
        assert journal.remarks == ()
        after = await journal.append(make_entry(0), after=BEGINNING)
        assert (await other.read(after=after, size_max=1000)).is_end
        standby.pause()
        entry = make_entry(1)
        # A connection that is new shows no more than others.
        late = PostgresqlJournal(primary.url)
        appended, *outcomes = await asyncio.gather(
            outcome_of(journal.append(entry, after=after)),
            outcome_of(other.read(after=after, size_max=1000)),
            outcome_of(journal.read(after=after, size_max=1000)),
            outcome_of(other.announce(make_announcement("one"))),
            outcome_of(late.open()),
        )
        assert committed() == 2
        assert isinstance(appended, OutcomeUnknownError), appended
        assert all(isinstance(each, JournalUnreachableError) for each in outcomes), outcomes
        await late.close()
        # Who gives up leaves nobody behind who waits.
        await asyncio.to_thread(wait_until, lambda: waiting() == 0)
        standby.resume()
        with pytest.raises(EntryLostError):
            await journal.append(entry, after=after)
        assert (await read_all(other))[1:] == [entry]

    def committed() -> int:
        return int(primary.execute("SELECT max(number) FROM everlog.batch")[0][0])

    def waiting() -> int:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        return int(primary.execute(statement)[0][0])

    with running_postgresql() as primary, running_standby(primary, STANDBY) as standby:
        primary.configure(synchronous_standby_names=STANDBY)
        try:
            run(pausing, primary.url, primary.url)
        finally:
            standby.resume()


def test_a_wait_for_the_standby_that_is_cut_short_is_no_acknowledgement() -> None:
    async def cancelling(journal: PostgresqlJournal) -> None:
        await journal.open()
        for place, function in enumerate(("pg_cancel_backend", "pg_terminate_backend")):
            # There is a connection to append with.
            after = await journal.append(make_entry(2 * place), after=2 * place)
            standby.pause()
            entry = make_entry(after)
            task = asyncio.create_task(outcome_of(journal.append(entry, after=after)))
            await asyncio.to_thread(cut_short, function)
            outcome = await task
            assert isinstance(outcome, OutcomeUnknownError), outcome
            standby.resume()
            assert (await read_all(journal, after=after)) == [entry]

    def cut_short(function: str) -> None:
        statement = f"SELECT {function}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        wait_until(lambda: primary.execute(statement) != [])

    with running_postgresql() as primary, running_standby(primary, STANDBY) as standby:
        primary.configure(synchronous_standby_names=STANDBY)
        try:
            run(cancelling, primary.url)
        finally:
            standby.resume()


def test_a_standby_takes_over_and_the_primary_that_was_replaced_proves_nothing() -> None:
    async def replacing(journal: PostgresqlJournal, left_behind: PostgresqlJournal) -> None:
        await journal.open()
        await left_behind.open()
        after = await journal.append(make_entry(0), after=BEGINNING)
        primary.pause()
        standby.execute("SELECT pg_promote()")
        # The first host that is named does not answer.
        entries = [make_entry(number) for number in range(1, 4)]
        for entry in entries:
            outcome: object = None
            while not isinstance(outcome, int | EntryLostError):
                outcome = await outcome_of(journal.append(entry, after=after))
            after += 1
        assert (await read_all(journal))[1:] == entries
        primary.resume()
        # It takes writes, and nobody confirms them; what it has not is nobody's loss.
        outcomes = await asyncio.gather(
            outcome_of(left_behind.append(make_entry(1), after=1)),
            outcome_of(left_behind.read(after=1, size_max=1000)),
        )
        assert isinstance(outcomes[0], JournalUnreachableError | OutcomeUnknownError), outcomes
        assert isinstance(outcomes[1], JournalUnreachableError), outcomes
        outcome = await outcome_of(left_behind.append(make_entry(4), after=4))
        assert isinstance(outcome, JournalUnreachableError), outcome
        assert (await read_all(journal))[1:] == entries

    with running_postgresql() as primary, running_standby(primary, STANDBY) as standby:
        primary.configure(synchronous_standby_names=STANDBY)
        both = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        url = primary.url.replace(f"127.0.0.1:{primary.port}", both)
        try:
            run(replacing, url, primary.url)
        finally:
            primary.resume()


def test_closing_waits_for_no_server() -> None:
    async def closing(journal: PostgresqlJournal) -> None:
        await journal.open()
        await journal.append(make_entry(0), after=BEGINNING)
        await journal.read(after=BEGINNING, size_max=1000)
        await journal.wait(after=BEGINNING)
        server.pause()
        calls = [
            asyncio.create_task(outcome_of(journal.append(make_entry(1), after=1))),
            asyncio.create_task(outcome_of(journal.read(after=1, size_max=1000))),
        ]
        await asyncio.sleep(0)
        await asyncio.wait_for(journal.close(), 20)
        assert isinstance(await calls[0], OutcomeUnknownError | JournalUnreachableError)
        assert isinstance(await calls[1], JournalUnreachableError)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with running_postgresql() as server:
        run(closing, server.url)


def test_a_call_that_is_cancelled_leaves_a_journal_that_goes_on() -> None:
    async def cancelling(journal: PostgresqlJournal) -> None:
        await journal.open()
        after = await journal.append(make_entry(0), after=BEGINNING)
        for _ in range(3):
            server.pause()
            entry = make_entry(after)
            task = asyncio.create_task(journal.append(entry, after=after))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            server.resume()
            outcome = await outcome_of(journal.append(entry, after=after))
            assert isinstance(outcome, int | EntryLostError), outcome
            after += 1
        assert len(await read_all(journal)) == after

    with running_postgresql() as server:
        run(cancelling, server.url)
