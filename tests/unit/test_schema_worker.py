"""The process that judges: what it says about a job, and that it outlives every one of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from everlog import schema_worker
from everlog.judging_messages import (
    LENGTH,
    Compiled,
    End,
    Exceeded,
    Failed,
    Judged,
    JudgingJob,
    Message,
    Mismatched,
    Refused,
    decode_message,
    encode,
)
from everlog.schema_worker import run_job
from tests.support.hostile_schemas import an_object, doubling, expressions

ONE_TYPE = an_object(properties={"a": {"type": "integer"}})
MATCHING, MISMATCHING = '{"a":1}', '{"a":"b"}'


def a_job(schema: Any, *data: str, is_registered: bool = True) -> JudgingJob:
    text = schema if isinstance(schema, str) else json.dumps(schema, separators=(",", ":"))
    return JudgingJob("io.everlog.test", text, is_registered, data)


def run(job: JudgingJob) -> tuple[Sequence[Message], End]:
    told = list[Message]()
    end = run_job(job, told.append)
    return told, end


@pytest.mark.parametrize("is_registered", [True, False])
def test_all_data_is_judged(*, is_registered: bool) -> None:
    job = a_job(ONE_TYPE, MATCHING, MATCHING, is_registered=is_registered)

    assert run(job) == ([Compiled()], Judged(None))


def test_the_first_data_that_does_not_match_ends_it() -> None:
    told, end = run(a_job(ONE_TYPE, MATCHING, MISMATCHING, MISMATCHING))

    assert told == [Compiled(), Mismatched(1)]
    assert end == Judged("/a: expected integer, but got string")


def test_what_is_no_schema_is_refused() -> None:
    told, end = run(a_job(an_object(properties=5), is_registered=False))

    assert told == []
    assert isinstance(end, Refused)
    assert end.code == "event-schema-malformed"
    assert end.details == {"field": "schema"}


def test_what_was_registered_is_not_held_to_limits_of_today() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"not": deep}
    schema = an_object(properties={"a": {"default": deep}})

    assert run(a_job(schema, MATCHING))[1] == Judged(None)
    assert isinstance(run(a_job(schema, is_registered=False))[1], Refused)


def test_a_bug_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(schema_worker, "matches", fail)

    assert run(a_job(ONE_TYPE, MATCHING))[1] == Failed("ZeroDivisionError")


class Worker:
    """The process itself, spoken to as the server does."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    def ask(self, job: JudgingJob) -> list[Message]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(encode(job))
        self.process.stdin.flush()
        messages = list[Message]()
        while not messages or isinstance(messages[-1], (Compiled, Mismatched)):
            [length] = LENGTH.unpack(self.process.stdout.read(LENGTH.size))
            messages.append(decode_message(self.process.stdout.read(length)))
        return messages


@pytest.fixture
def worker() -> Iterator[Worker]:
    command = (sys.executable, "-m", "everlog.schema_worker")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        yield Worker(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


def test_it_goes_on_after_a_job_that_took_too_long(worker: Worker) -> None:
    for _ in range(2):
        assert worker.ask(a_job(doubling(40), MATCHING)) == [Compiled(), Exceeded()]
        assert worker.ask(a_job(ONE_TYPE, MATCHING))[-1] == Judged(None)


def test_it_goes_on_after_a_job_that_took_too_much_memory(worker: Worker) -> None:
    # Without the limit of the process, this takes gigabytes before it takes long.
    branches = {"anyOf": [{"const": index} for index in range(20_000)]}
    schema = an_object(properties={"a": {"items": branches}})
    data = json.dumps({"a": ["b"] * 30_000})

    messages = worker.ask(a_job(schema, data))

    assert messages[:2] == [Compiled(), Mismatched(0)] or messages[-1] == Exceeded()
    assert worker.ask(a_job(ONE_TYPE, MISMATCHING))[1] == Mismatched(0)


def test_what_takes_long_to_explain_is_still_known_not_to_match(worker: Worker) -> None:
    schema = an_object(properties={"a": {"items": {"type": "string"}}})
    data = json.dumps({"a": [1] * 400_000})

    assert worker.ask(a_job(schema, data)) == [Compiled(), Mismatched(0), Exceeded()]


def test_an_ordinary_tree_is_explained(worker: Worker) -> None:
    leaf: Any = {"value": "wrong"}
    for _ in range(30):
        leaf = {"operator": "+", "left": leaf, "right": {"value": 1}}

    messages = worker.ask(a_job(expressions(), json.dumps({"expression": leaf})))

    assert messages[-1] == Judged("/expression: oneOf failed")


def test_it_ends_when_nobody_speaks_to_it_any_more() -> None:
    read, write = os.pipe()
    with subprocess.Popen((sys.executable, "-m", "everlog.schema_worker"), stdin=read) as process:
        os.close(read)
        os.close(write)
        assert process.wait(30) == 0
