"""Judging: what is judged at once, what a verdict is worth, and what the processes are asked."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from everlog.domain.errors import BusyError, Code, RefusedError, TooMuchUnjudgedError
from everlog.domain.event import EventCandidate
from everlog.domain.schema import EventSchema, read_event_schema
from everlog.service import judging
from everlog.service.judging import Judge, UnjudgedError, Verdict, judge_at_once
from everlog.service.judging_processes import JudgingProcesses
from tests.support.events import a_candidate
from tests.support.hostile_schemas import an_object, doubling, expressions

LIGHT, HEAVY, OPEN = "io.everlog.test.light", "io.everlog.test.heavy", "io.everlog.test.open"


def a_schema(event_type: str, schema: object) -> EventSchema:
    return read_event_schema(event_type, json.dumps(schema).encode())


SCHEMAS = {
    LIGHT: a_schema(LIGHT, an_object(properties={"a": {"type": "integer"}})),
    HEAVY: a_schema(HEAVY, expressions()),
}


def light(value: object = 1) -> EventCandidate:
    return a_candidate(type_=LIGHT, data=json.dumps({"a": value}))


def heavy(value: object = 1) -> EventCandidate:
    return a_candidate(type_=HEAVY, data=json.dumps({"expression": {"value": value}}))


def is_open() -> EventCandidate:
    return a_candidate(type_=OPEN)


def run(work: Callable[[Judge], Coroutine[Any, Any, None]], *, program: str | None = None) -> None:
    async def run_and_close() -> None:
        command = (sys.executable, "-c", program) if program else ()
        judge = Judge(JudgingProcesses(command) if command else JudgingProcesses())
        try:
            await work(judge)
        finally:
            await judge.close()

    asyncio.run(run_and_close())


def reason_of(verdict: Verdict) -> tuple[str, object] | None:
    error = verdict.violation
    return None if error is None else (error.message, error.details["eventIndex"])


WRONG = "event candidate does not match schema: /a: expected integer, but got string"


def test_what_is_light_is_judged_at_once() -> None:
    assert reason_of(judge_at_once(SCHEMAS, [is_open(), light(), light()])) is None
    assert reason_of(judge_at_once(SCHEMAS, [is_open(), light(), light("b"), light([])])) == (
        WRONG,
        2,
    )


@pytest.mark.parametrize(
    "candidates",
    [
        [heavy()],
        [light(), heavy()],
        [light()] * 10_000,
        [light(list(range(20_000)))],
    ],
    ids=["without a bound", "one without", "many", "large"],
)
def test_what_may_take_long_is_not(candidates: list[EventCandidate]) -> None:
    with pytest.raises(UnjudgedError):
        judge_at_once(SCHEMAS, candidates)


def test_what_has_too_many_reasons_is_not_explained_at_once() -> None:
    schemas = {LIGHT: a_schema(LIGHT, an_object(required=[f"a{index}" for index in range(900)]))}

    with pytest.raises(UnjudgedError):
        judge_at_once(schemas, [light()])


def test_a_verdict_holds_for_the_schemas_that_it_was_made_by() -> None:
    verdict = judge_at_once(SCHEMAS, [is_open(), light()])

    assert verdict.is_current(SCHEMAS)
    assert verdict.is_current({LIGHT: SCHEMAS[LIGHT]})
    assert not verdict.is_current({})
    assert not verdict.is_current({**SCHEMAS, OPEN: SCHEMAS[LIGHT]})
    assert not verdict.is_current({**SCHEMAS, LIGHT: a_schema(LIGHT, an_object())})


def test_processes_judge_as_the_loop_does() -> None:
    async def work(judge: Judge) -> None:
        assert reason_of(await judge.judge(SCHEMAS, [light(), heavy(), is_open()] * 500)) is None
        found = await judge.judge(SCHEMAS, [heavy(), *[light()] * 9_000, light("b"), heavy("c")])
        assert reason_of(found) == (WRONG, 9_001)
        found = await judge.judge(SCHEMAS, [light(), heavy("c"), light("b")])
        assert reason_of(found) == (
            "event candidate does not match schema: /expression: oneOf failed",
            1,
        )
        assert found.is_current(SCHEMAS)

    run(work)


def test_many_are_judged_beside_each_other() -> None:
    async def work(judge: Judge) -> None:
        found = await asyncio.gather(
            *(judge.judge(SCHEMAS, [heavy(index)]) for index in range(50)),
            *(judge.judge(SCHEMAS, [light("b")]) for _ in range(50)),
        )
        assert [verdict.violation is None for verdict in found] == [True] * 50 + [False] * 50

    run(work)


def test_who_takes_too_much_is_refused_and_nobody_else() -> None:
    schemas = {**SCHEMAS, OPEN: a_schema(OPEN, doubling(40))}

    async def work(judge: Judge) -> None:
        slow, quick = await asyncio.gather(
            judge.judge(schemas, [heavy(), is_open()]), judge.judge(schemas, [heavy()])
        )
        assert reason_of(quick) is None
        found = reason_of(slow)
        assert found is not None
        assert "it cannot be judged within 1 s of processor time and 512 MiB of memory" in found[0]
        assert found[1] == 1

    run(work)


def test_who_leaves_harms_nobody() -> None:
    schemas = {**SCHEMAS, OPEN: a_schema(OPEN, doubling(40))}

    async def work(judge: Judge) -> None:
        for _ in range(3):
            leaving = [
                asyncio.create_task(judge.judge(schemas, [is_open(), heavy()])) for _ in range(9)
            ]
            await asyncio.sleep(0.1)
            for task in leaving:
                task.cancel()
            assert {
                type(end) for end in await asyncio.gather(*leaving, return_exceptions=True)
            } <= {
                asyncio.CancelledError,
                Verdict,
            }
        assert reason_of(await judge.judge(schemas, [heavy()])) is None

    run(work)


def test_only_so_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "UNJUDGED_LENGTH_MAX", 100)

    async def work(judge: Judge) -> None:
        # One write is always taken.
        first = asyncio.create_task(judge.judge(SCHEMAS, [heavy()] * 9))
        await asyncio.sleep(0)
        with pytest.raises(TooMuchUnjudgedError, match="100"):
            await judge.judge(SCHEMAS, [heavy()])
        assert reason_of(await first) is None
        assert reason_of(await judge.judge(SCHEMAS, [heavy()])) is None

    run(work)


def test_a_schema_that_is_none_is_refused() -> None:
    async def work(judge: Judge) -> None:
        with pytest.raises(RefusedError) as caught:
            await judge.check(EventSchema(OPEN, '{"type":"object","properties":5}'))
        assert caught.value.code is Code.EVENT_SCHEMA_MALFORMED
        assert caught.value.details == {"field": "schema"}
        await judge.check(SCHEMAS[HEAVY])
        # What was one when it was registered is none any more.
        schemas = {OPEN: EventSchema(OPEN, '{"type":"object","properties":5}')}
        found = reason_of(await judge.judge(schemas, [is_open()]))
        assert found is not None
        assert found[1] == 0

    run(work)


def test_a_process_that_is_gone_is_replaced() -> None:
    async def work(judge: Judge) -> None:
        assert reason_of(await judge.judge(SCHEMAS, [heavy()])) is None
        [process] = judge._processes._all
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        found = reason_of(await judge.judge(SCHEMAS, [heavy()]))
        assert found is None or "cannot be judged" in found[0]
        assert reason_of(await judge.judge(SCHEMAS, [heavy()])) is None

    run(work)


def test_a_process_that_cannot_compile_in_time_refuses_the_schema() -> None:
    async def work(judge: Judge) -> None:
        with pytest.raises(RefusedError, match="cannot be compiled within 1 s") as caught:
            await judge.check(SCHEMAS[HEAVY])
        assert caught.value.details == {"field": "schema", "limit": 1.0}

    run(work, program="pass")


def test_a_bug_of_a_process_is_nobodys_refusal() -> None:
    program = """
import sys
from everlog.judging_messages import *
sys.stdout.buffer.write(encode(Compiled()) + encode(Failed("ZeroDivisionError")))
"""

    async def work(judge: Judge) -> None:
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            await judge.judge(SCHEMAS, [heavy()])

    run(work, program=program)


def test_without_a_process_the_server_is_busy() -> None:
    async def work() -> None:
        judge = Judge(JudgingProcesses(("/nowhere/at/all",)))
        with pytest.raises(BusyError, match="starts no process"):
            await judge.judge(SCHEMAS, [heavy()])
        await judge.close()

    asyncio.run(work())
