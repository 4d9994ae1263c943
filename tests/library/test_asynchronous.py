"""What event loops expect besides: waiting that can be given up, and nobody held up."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import everlog
from everlog import NewEvent


def event(subject: str = "/books/42", **data: Any) -> NewEvent:
    return NewEvent("https://library.example", subject, "com.example.book-acquired", data)


def test_it_is_awaited_or_entered(tmp_path: Path) -> None:
    async def main() -> None:
        store = await everlog.aopen(tmp_path)
        [written] = await store.write([event()])
        await store.close()
        async with everlog.aopen(tmp_path) as again:
            assert [each async for each in again.read("/books/42")] == [written]
            assert list(again.store.read("/books/42")) == [written]
            with pytest.raises(everlog.DirectoryLockedError):
                await everlog.aopen(tmp_path)
        with pytest.raises(everlog.StoreClosedError):
            await again.ping()

    asyncio.run(main())


def test_whoever_stops_waiting_for_an_event_misses_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with everlog.aopen(tmp_path) as store, store.follow() as following:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(following), 0.01)
            written = await store.write([event(number=number) for number in range(3)])
            assert [await anext(following) for _ in range(3)] == written

    asyncio.run(main())


def test_closing_ends_whoever_waits_for_an_event(tmp_path: Path) -> None:
    async def main() -> None:
        async with everlog.aopen(tmp_path) as store:
            following = store.follow()
            waiting = asyncio.create_task(_all_of(following))
            await store.write([event()])
            await asyncio.sleep(0)
            await following.close()
            assert len(await waiting) <= 1

    asyncio.run(main())


async def _all_of(following: everlog.AsyncFollowing) -> list[everlog.Event]:
    return [each async for each in following]


def test_many_writes_go_on_at_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with everlog.aopen(tmp_path) as store:
            written = await asyncio.gather(
                *(store.write([event(f"/books/{number}")]) for number in range(100))
            )
            assert sorted(int(each.id) for [each] in written) == [*range(100)]
            assert len([each async for each in store.read("/", recursive=True)]) == 100

    asyncio.run(main())


def test_an_iteration_can_be_left_and_begun_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with everlog.aopen(tmp_path) as store:
            await store.write([event(number=number) for number in range(5_000)])
            events = store.read("/books/42")
            async for each in events:
                assert each.data == {"number": 0}
                break
            assert [each.data["number"] async for each in events] == [*range(5_000)]
            rows = store.query("FROM e IN events PROJECT INTO e.data.number")
            assert [row async for row in rows] == [*range(5_000)]
            assert [each async for each in store.subjects()] == ["/", "/books", "/books/42"]

    asyncio.run(main())


def test_a_store_belongs_to_no_loop(tmp_path: Path) -> None:
    store = asyncio.run(_opened(tmp_path))
    [written] = asyncio.run(store.write([event()]))
    assert written.id == "0"
    asyncio.run(store.close())


async def _opened(directory: Path) -> everlog.AsyncStore:
    return await everlog.aopen(directory)


def test_its_methods_are_described_as_those_they_are_made_from() -> None:
    for name in ("write", "read", "follow", "query", "subjects", "health", "backup", "close"):
        assert getattr(everlog.AsyncStore, name).__doc__ == getattr(everlog.Store, name).__doc__
    public = {name for name in vars(everlog.Store) if not name.startswith("_")}
    assert public <= {*dir(everlog.AsyncStore)}
