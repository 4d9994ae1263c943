"""The writer believes verdicts by the schemas in force, and judges what takes a moment."""

import json

from everlog.domain.errors import Code
from everlog.domain.precondition import IsSubjectPristine
from everlog.domain.schema import EventSchema, read_event_schema
from everlog.service.judging import UnjudgedError, Verdict, judge_at_once
from tests.support.events import a_candidate
from tests.support.hostile_schemas import an_object, expressions
from tests.support.writer_bench import CLOSED_TYPE, Bench, run_bench

HEAVY_TYPE = "io.everlog.test.heavy"


def heavy() -> EventSchema:
    schema = read_event_schema(HEAVY_TYPE, json.dumps(expressions()).encode())
    assert schema.validator is None
    return schema


async def register(bench: Bench, schema: EventSchema, name: str = "schema") -> None:
    checked = bench.engine.head.event_count
    bench.writer.register(schema, checked_event_count=checked, answer=bench.keep(name))
    await bench.wait_for(name)


def test_what_cannot_be_judged_in_a_moment_needs_a_verdict() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        schema = heavy()
        await register(bench, schema)
        candidate = a_candidate("/a", HEAVY_TYPE)

        bench.write("without", "/a", type_=HEAVY_TYPE)
        verdict = Verdict({HEAVY_TYPE: schema}, None)
        bench.writer.write([candidate], [], bench.keep("with"), verdict)
        stale = Verdict({HEAVY_TYPE: None}, None)
        bench.writer.write([candidate], [], bench.keep("stale"), stale)

        await bench.wait_for("without", "with", "stale")
        assert isinstance(bench.outcomes["without"], UnjudgedError)
        assert isinstance(bench.outcomes["stale"], UnjudgedError)
        assert bench.ids("with") == [0]

    run_bench(work)


def test_a_stale_verdict_is_replaced_where_that_takes_a_moment() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        stale = Verdict({CLOSED_TYPE: None}, None)

        bench.writer.write([a_candidate("/a", CLOSED_TYPE)], [], bench.keep("stale"), stale)

        await bench.wait_for("stale")
        assert bench.code("stale") is Code.EVENT_SCHEMA_VIOLATED

    run_bench(work)


def test_preconditions_are_told_before_a_violation() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        bench.write("first", "/a")
        candidate = a_candidate("/b", CLOSED_TYPE)
        verdict = judge_at_once(bench.writer.schemas, [candidate])
        for name, subject in (("both", "/a"), ("one", "/b")):
            condition = IsSubjectPristine(subject=subject, recursive=False)
            bench.writer.write([candidate], [condition], bench.keep(name), verdict)

        await bench.wait_for("first", "both", "one")
        assert bench.code("both") is Code.PRECONDITION_VIOLATED
        assert bench.code("one") is Code.EVENT_SCHEMA_VIOLATED

    run_bench(work)


def test_a_violation_of_a_schema_that_was_rolled_back_is_none() -> None:
    async def work(bench: Bench) -> None:
        schema = read_event_schema(HEAVY_TYPE, json.dumps(an_object(required=["z"])).encode())
        bench.writer.register(schema, checked_event_count=0, answer=bench.keep("schema"))
        candidate = a_candidate("/a", HEAVY_TYPE)
        verdict = judge_at_once(bench.writer.schemas, [candidate])
        assert verdict.violation is not None
        await bench.wait_until_committing()
        bench.let_go(OSError("no room for it"))
        await bench.wait_for("schema")

        assert HEAVY_TYPE not in bench.writer.schemas

    run_bench(work, closed=False)


def test_a_registration_has_others_judge_the_events_that_take_long() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        bench.write("first", "/a", type_=HEAVY_TYPE)
        await bench.wait_for("first")
        schema = heavy()
        bench.writer.register(schema, checked_event_count=0, answer=bench.keep("unjudged"))
        bench.writer.register(schema, checked_event_count=1, answer=bench.keep("judged"))

        await bench.wait_for("unjudged", "judged")
        assert isinstance(bench.outcomes["unjudged"], UnjudgedError)
        assert bench.outcomes["judged"] == ()

    run_bench(work)


def test_a_registration_has_others_judge_what_is_staged_and_takes_long() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a", type_=HEAVY_TYPE)
        await bench.wait_until_committing()
        bench.writer.register(heavy(), checked_event_count=0, answer=bench.keep("unjudged"))
        bench.let_go()

        await bench.wait_for("first", "unjudged")
        assert isinstance(bench.outcomes["unjudged"], UnjudgedError)

    run_bench(work)
