"""What every journal that nodes share promises, tried with each of them on a real server."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import uvloop
from msgspec.structs import replace

from everlog.domain.errors import JournalUnreachableError
from everlog.service.mirroring.journal import (
    BEGINNING,
    Entry,
    EntryLostError,
    OutcomeUnknownError,
    SharedJournal,
    UnknownEntryFormatError,
)
from everlog.storage.engine import StagedSchema
from tests.support.journal_places import (
    Place,
    append_all,
    make_announcement,
    make_entry,
    outcome_of,
    read_all,
)

RACERS = 16

Nodes = tuple[SharedJournal, ...]


def run(place: Place, test: Callable[..., Awaitable[None]], *, nodes: int = 1) -> None:
    """Let a test have so many connections to a journal, which are open, on the loop of servers."""

    async def running() -> None:
        async with AsyncExitStack() as stack:
            journals = [place.connect() for _ in range(nodes)]
            for journal in journals:
                stack.push_async_callback(journal.close)
            await asyncio.gather(*(journal.open() for journal in journals))
            await test(*journals)

    uvloop.run(running())


def test_a_journal_has_one_identity_for_all_who_open_it_at_once(place: Place) -> None:
    async def opening(*journals: SharedJournal) -> None:
        identities = {await journal.open() for journal in journals}
        assert len(identities) == 1
        assert all(identities)

    run(place, opening, nodes=8)


def test_another_journal_has_another_identity(new_place: Callable[[], Place]) -> None:
    identities = []

    async def opening(journal: SharedJournal) -> None:
        identities.append(await journal.open())

    run(new_place(), opening)
    run(new_place(), opening)
    assert identities[0] != identities[1]


def test_an_empty_journal_is_at_its_end(place: Place) -> None:
    async def reading(journal: SharedJournal) -> None:
        page = await journal.read(after=BEGINNING, size_max=1000)
        assert (list(page.entries), page.is_end) == ([], True)
        assert await journal.find(0) == BEGINNING
        assert await journal.find(7) == BEGINNING

    run(place, reading)


def test_entries_are_read_as_they_were_appended(place: Place) -> None:
    schemas = [StagedSchema("com.example.a", '{"type":"object"}')]
    entries = [
        make_entry(0, 3),
        # Nothing but a schema.
        replace(make_entry(3, 0), schemas=schemas),
        make_entry(3, 2, text=bytes(range(256))),
    ]

    async def appending(writer: SharedJournal, reader: SharedJournal) -> None:
        places = await append_all(writer, entries)
        assert places == sorted(set(places))
        assert places[0] > BEGINNING
        page = await reader.read(after=BEGINNING, size_max=1 << 20)
        assert [placed.place for placed in page.entries] == places
        assert [placed.entry for placed in page.entries] == entries
        assert page.is_end
        page = await reader.read(after=places[1], size_max=1 << 20)
        assert [placed.entry for placed in page.entries] == entries[2:]

    run(place, appending, nodes=2)


def test_an_entry_is_lost_where_another_one_stands(place: Place) -> None:
    async def losing(winner: SharedJournal, loser: SharedJournal) -> None:
        first, second = await append_all(winner, [make_entry(0), make_entry(1)])
        for after in (BEGINNING, first):
            with pytest.raises(EntryLostError):
                await loser.append(make_entry(0), after=after)
        assert await loser.append(make_entry(2), after=second) > second
        assert len(await read_all(winner)) == 3

    run(place, losing, nodes=2)


def test_the_very_same_entry_is_stored_once(place: Place) -> None:
    async def repeating(journal: SharedJournal) -> None:
        entry = make_entry()
        await journal.append(entry, after=BEGINNING)
        with pytest.raises(EntryLostError):
            await journal.append(entry, after=BEGINNING)
        assert await read_all(journal) == [entry]

    run(place, repeating)


def test_of_many_who_append_behind_a_place_one_wins(place: Place) -> None:
    async def racing(*journals: SharedJournal) -> None:
        after = BEGINNING
        for turn in range(5):
            entries = [make_entry(turn, node=str(number)) for number in range(RACERS)]
            outcomes = await asyncio.gather(
                *(
                    outcome_of(journal.append(entry, after=after))
                    for journal, entry in zip(journals, entries, strict=True)
                )
            )
            won = [number for number, each in enumerate(outcomes) if isinstance(each, int)]
            lost = [each for each in outcomes if isinstance(each, EntryLostError)]
            assert (len(won), len(lost)) == (1, RACERS - 1), outcomes
            page = await journals[0].read(after=after, size_max=1 << 20)
            assert [placed.entry for placed in page.entries] == [entries[won[0]]]
            after = page.entries[0].place
            assert after == outcomes[won[0]]

    run(place, racing, nodes=RACERS)


def test_a_page_has_about_as_many_bytes_as_asked(place: Place) -> None:
    async def paging(journal: SharedJournal) -> None:
        entries = [make_entry(number, size=10_000) for number in range(12)]
        places = await append_all(journal, entries)
        page = await journal.read(after=BEGINNING, size_max=35_000)
        assert 1 < len(page.entries) < 6
        assert not page.is_end
        # However large it is, one is there.
        page = await journal.read(after=places[3], size_max=1)
        assert [placed.place for placed in page.entries] == [places[4]]
        assert not page.is_end
        page = await journal.read(after=places[10], size_max=1)
        assert page.is_end
        assert await read_all(journal, size_max=35_000) == entries

    run(place, paging)


def test_the_place_of_an_event_is_found(place: Place) -> None:
    async def finding(journal: SharedJournal) -> None:
        entries = [make_entry(0, 0), make_entry(0, 3), make_entry(3, 0), make_entry(3, 2)]
        a, b, c, d = await append_all(journal, entries)
        found = [await journal.find(position) for position in range(8)]
        assert found == [BEGINNING, a, a, a, c, c, d, d]
        assert b < c

    run(place, finding)


@pytest.mark.slow
def test_who_waits_hears_of_an_entry(place: Place) -> None:
    async def waiting(writer: SharedJournal, reader: SharedJournal) -> None:
        # Nothing stands there: the wait ends all the same.
        await asyncio.wait_for(reader.wait(after=BEGINNING), 20)
        waiter = asyncio.create_task(reader.wait(after=BEGINNING))
        await asyncio.sleep(0)
        await writer.append(make_entry(), after=BEGINNING)
        await asyncio.wait_for(waiter, 20)
        assert len(await read_all(reader)) == 1
        # What stood there before is no news, and need not be.
        await asyncio.wait_for(reader.wait(after=BEGINNING), 20)

    run(place, waiting, nodes=2)


def test_nodes_hear_of_each_other(place: Place) -> None:
    async def announcing(one: SharedJournal, other: SharedJournal) -> None:
        assert list(await one.announce(make_announcement("one"))) == []
        ahead = make_announcement("other", ahead=40.0)
        (heard,) = await other.announce(ahead)
        assert replace(heard.announcement, clock=0) == replace(make_announcement("one"), clock=0)
        assert -60 < heard.clock_offset < -20
        (heard,) = await one.announce(make_announcement("one"))
        assert heard.announcement == ahead
        assert 20 < heard.clock_offset < 60
        assert 0 <= heard.age < 60
        # What was said before is forgotten.
        (heard,) = await other.announce(make_announcement("other"))
        (heard,) = await one.announce(make_announcement("one"))
        assert -20 < heard.clock_offset < 20

    run(place, announcing, nodes=2)


@pytest.mark.slow
def test_what_is_large_is_stored_whole(place: Place) -> None:
    async def storing(writer: SharedJournal, reader: SharedJournal) -> None:
        size = min(20 * 1024 * 1024, writer.entry_size_max - 10_000)
        entries = [make_entry(0, size=size, text=b"0123456789 "), make_entry(1)]
        await append_all(writer, entries)
        page = await reader.read(after=BEGINNING, size_max=1000)
        assert [placed.entry for placed in page.entries] == entries[:1]
        assert not page.is_end
        assert await read_all(reader) == entries

    run(place, storing, nodes=2)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hello\n", id="something else"),
        pytest.param(b'everlog-entry {"format":2}\n', id="unknown members"),
        pytest.param(
            b'everlog-entry {"format":2,"batchId":"","node":"","first":0,"end":0,'
            b'"predecessorHash":"","hash":"","hashVersion":1}\n',
            id="unknown format",
        ),
    ],
)
def test_what_is_not_understood_is_refused(place: Place, content: bytes) -> None:
    async def reading(journal: SharedJournal) -> None:
        after = await journal.append(make_entry(), after=BEGINNING)
        await place.store(content, after=after)
        with pytest.raises(UnknownEntryFormatError):
            await journal.read(after=after, size_max=1000)

    run(place, reading)


async def append_until_known(journal: SharedJournal, entry: Entry, *, after: int) -> object:
    """Append the very same until the journal says what became of it."""
    async with asyncio.timeout(100):
        while True:
            outcome = await outcome_of(journal.append(entry, after=after))
            if not isinstance(outcome, JournalUnreachableError | OutcomeUnknownError):
                return outcome


@pytest.mark.slow
def test_while_nobody_answers_each_call_ends_and_afterwards_all_goes_on(place: Place) -> None:
    entry = make_entry(1)

    async def interrupting(journal: SharedJournal, other: SharedJournal) -> None:
        after = await journal.append(make_entry(0), after=BEGINNING)
        await journal.read(after=after, size_max=1000)
        with place.interrupt():
            appended, *rest = await asyncio.gather(
                outcome_of(journal.append(entry, after=after)),
                outcome_of(journal.read(after=after, size_max=1000)),
                outcome_of(journal.find(1)),
                outcome_of(journal.announce(make_announcement("one"))),
                outcome_of(journal.wait(after=after)),
                # Here nothing was asked before.
                outcome_of(other.read(after=after, size_max=1000)),
            )
        assert isinstance(appended, OutcomeUnknownError | JournalUnreachableError), appended
        assert rest.pop(3) is None
        assert all(isinstance(each, JournalUnreachableError) for each in rest), rest
        # It may have been stored, or be stored still: the very same is stored once.
        first = await append_until_known(journal, entry, after=after)
        assert isinstance(first, int | EntryLostError), first
        again = await append_until_known(journal, entry, after=after)
        assert isinstance(again, EntryLostError), again
        assert (await read_all(other))[1:] == [entry]

    run(place, interrupting, nodes=2)


def test_after_closing_nothing_is_left(place: Place) -> None:
    async def closing(journal: SharedJournal) -> None:
        await journal.append(make_entry(), after=BEGINNING)
        waiter = asyncio.create_task(journal.wait(after=1))
        await asyncio.sleep(0)
        await journal.close()
        await asyncio.wait_for(waiter, 20)
        await journal.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(place, closing)
