"""Services: work that an answer waits for ends with its client, or on its own, and is told of."""

import asyncio

import pytest

from everlog.api.services import Tasks
from everlog.http import Exchange, Response
from everlog.http.framing import PLAIN


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def fail() -> None:
    raise KeyError


def disconnect(exchange: Exchange) -> None:
    for callback in exchange.disconnect():
        callback()


@pytest.mark.parametrize("is_gone_before", [False, True])
def test_a_task_that_is_tied_to_a_client_is_cancelled_with_it(*, is_gone_before: bool) -> None:
    errors: list[BaseException] = []

    async def run() -> asyncio.Task[None]:
        tasks, exchange = Tasks(errors.append), Exchange(None, PLAIN)
        task = asyncio.get_running_loop().create_task(never())
        if is_gone_before:
            disconnect(exchange)
        tasks.tie(exchange, task)
        disconnect(exchange)
        await tasks.wait()
        return task

    assert asyncio.run(run()).cancelled()
    assert errors == []


def test_work_that_must_be_done_goes_on_without_its_client() -> None:
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append("it")

    async def run() -> None:
        tasks, exchange = Tasks(lambda _: None), Exchange(None, PLAIN)
        tasks.start(exchange, work())
        disconnect(exchange)
        await tasks.wait()

    asyncio.run(run())

    assert done == ["it"]


@pytest.mark.parametrize("name", ["start", "start_for"])
def test_a_bug_in_such_work_is_reported_and_answered(name: str) -> None:
    errors: list[BaseException] = []

    async def run() -> Exchange:
        tasks, exchange = Tasks(errors.append), Exchange(None, PLAIN)
        getattr(tasks, name)(exchange, fail())
        await tasks.wait()
        # Whoever waited is told of the end before those who take notice of it.
        await asyncio.sleep(0)
        return exchange

    exchange = asyncio.run(run())

    assert [type(error) for error in errors] == [KeyError]
    assert isinstance(exchange.answer, Response)
    assert exchange.answer.status == 500
