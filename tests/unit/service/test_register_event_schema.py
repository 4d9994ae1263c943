"""Register event schema: stored events are judged, wherever that is done, while others write."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from everlog.domain.errors import BusyError, Code, RefusedError
from everlog.domain.schema import EventSchema, read_event_schema
from everlog.service import register_event_schema as registering
from everlog.service.judging import UnjudgedError
from everlog.service.register_event_schema import check_event_schema, register_event_schema
from everlog.service.store import Store, open_store
from everlog.service.write import write
from everlog.service.writing.changes import Outcome
from tests.support.events import a_candidate
from tests.support.hostile_schemas import an_object, expressions

TYPE = "io.everlog.test.judged"
LIGHT = an_object(properties={"n": {"type": "integer"}})


def a_schema(schema: object) -> EventSchema:
    return read_event_schema(TYPE, json.dumps(schema).encode())


def run(path: Path, work: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    async def run_with_store() -> None:
        async with open_store(path) as store:
            await work(store)

    asyncio.run(run_with_store())


async def write_all(store: Store, *data: object, type_: str = TYPE) -> Outcome:
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    candidates = [a_candidate(type_=type_, data=json.dumps(each)) for each in data]
    task = write(store, candidates, [], done.set_result)
    outcome = await done
    if task is not None:
        await task
    return outcome


async def refusal_of(store: Store, schema: object) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await register_event_schema(store, a_schema(schema))
    return caught.value


@pytest.mark.parametrize("count", [5, 3_000], ids=["few", "many"])
def test_a_stored_event_that_does_not_match_refuses_it(tmp_path: Path, count: int) -> None:
    async def work(store: Store) -> None:
        await write_all(store, *[{"n": 1}] * count)
        await write_all(store, {"n": "b"}, type_="io.everlog.test.other")
        await write_all(store, {"n": 1}, {"n": "b"})

        error = await refusal_of(store, LIGHT)
        assert error.code is Code.EVENT_SCHEMA_VIOLATED
        assert error.message == (f"event with ID {count + 2}: /n: expected integer, but got string")
        assert error.details == {"eventId": str(count + 2), "eventType": TYPE}
        await register_event_schema(store, a_schema(an_object()))
        assert (await refusal_of(store, LIGHT)).code is Code.EVENT_SCHEMA_ALREADY_REGISTERED

    run(tmp_path, work)


async def check_refusal_of(store: Store, schema: object) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await check_event_schema(store, a_schema(schema))
    return caught.value


@pytest.mark.parametrize("count", [5, 3_000], ids=["few", "many"])
def test_a_check_tells_what_registering_would(tmp_path: Path, count: int) -> None:
    async def work(store: Store) -> None:
        assert await check_event_schema(store, a_schema(LIGHT)) == 0
        await write_all(store, *[{"n": 1}] * count)
        await write_all(store, {"n": "b"}, type_="io.everlog.test.other")
        assert await check_event_schema(store, a_schema(LIGHT)) == count
        await write_all(store, {"n": "b"})

        error = await check_refusal_of(store, LIGHT)
        assert error.code is Code.EVENT_SCHEMA_VIOLATED
        assert str(error) == str(await refusal_of(store, LIGHT))
        assert error.details == {"eventId": str(count + 1), "eventType": TYPE}

    run(tmp_path, work)


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        assert await check_event_schema(store, a_schema(LIGHT)) == 0
        assert store.engine.event_type(TYPE, store.engine.head) is None
        assert await write_all(store, {"n": "no integer"})

        await register_event_schema(store, a_schema(an_object()))
        error = await check_refusal_of(store, an_object())
        assert error.code is Code.EVENT_SCHEMA_ALREADY_REGISTERED

    run(tmp_path, work)


def test_what_takes_long_is_judged_when_it_is_registered_and_ever_after(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await write_all(store, *[{"expression": {"value": 1}}] * 100)
        await register_event_schema(store, a_schema(expressions()))
        assert await write_all(store, {"expression": {"value": 2}}) != ()
        outcome = await write_all(store, {"expression": {"value": "b"}})
        assert isinstance(outcome, RefusedError)
        assert outcome.code is Code.EVENT_SCHEMA_VIOLATED

    run(tmp_path, work)
    run(tmp_path, check_is_judged)


async def check_is_judged(store: Store) -> None:
    assert isinstance(await write_all(store, {"expression": {}}), RefusedError)


def test_events_that_come_meanwhile_are_judged_too(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await write_all(store, *[{"expression": {"value": 1}}] * 2_000)
        registering_ = asyncio.create_task(register_event_schema(store, a_schema(expressions())))
        count = 0
        while not registering_.done() and count < 50:
            await write_all(store, {"expression": {"value": count}})
            count += 1
            await asyncio.sleep(0.01)
        await registering_
        assert isinstance(await write_all(store, {"expression": 1}), RefusedError)

    run(tmp_path, work)


def test_who_can_never_be_done_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> Outcome:
        return UnjudgedError()

    monkeypatch.setattr(registering, "_hand_over", never)

    async def work(store: Store) -> None:
        with pytest.raises(BusyError, match="faster than they can be judged"):
            await register_event_schema(store, a_schema(LIGHT))

    run(tmp_path, work)
