"""Trials: a random log and a random query, evaluated in several ways that must agree.

The product answers as planned, and with a plan that reads everything and decides nothing; the
reference interpreter answers too. They agree on the rows, and on whether the query fails, and
at which event. What a plan may do to a query that fails, and nothing else, is left free:

- A scan in the order asked for, instead of a sort, meets other rows before the one that fails;
  with TOP it may never come to it, and neither does a count that is certain early.
- A product with a source that bounds leave nothing of does not read its other sources.
- A number beyond FLOAT64 is an error of whoever reads it, and the product reads no more than it
  must: not the rest of an array when it writes it as it is stored, or has found what it looks for,
  and nothing of events that bounds leave out. The reference interpreter reads whole fields.
- The event of an error is told where each row is that of one event. It is the first source's in
  a product, where others are read before; groups have none.
"""

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pytest

from everlog.eventql.analysis.analyzed import LogSource
from everlog.eventql.codegen.structs import Sign
from everlog.eventql.language import syntax
from everlog.eventql.language.parser import parse
from everlog.eventql.planning.plan import EventScan, Plan, SourcePlan
from everlog.eventql.query import prepare
from tests.support.eventql.answers import Answer, answer_by_product, answer_by_reference
from tests.support.eventql.comparing import are_same
from tests.support.eventql.corpora import Corpus
from tests.support.eventql.generator import sensible_query
from tests.support.eventql.printer import print_query
from tests.support.eventql.random_logs import random_corpus, vocabulary_of
from tests.support.eventql.reference_values import UNREADABLE
from tests.support.eventql.wild import wild_corpus, wild_query

# How many queries a test runs over, and the seed of the first.
QUERY_COUNT = int(os.environ.get("EVENTQL_QUERIES", "1500"))
FIRST_SEED = int(os.environ.get("EVENTQL_SEED", "1"))
# A part takes a minute or two where coverage is measured: a test that takes five is taken for one
# that hangs.
PART_LENGTH_MAX = 2_000
# Enough to see what they have in common, few enough to be read.
REPORTS_MAX = 3

# Events of a log, by the number of sources: products grow fast, and the reference interpreter
# takes each row of them one by one.
EVENT_COUNTS_MAX = {1: 30, 2: 12}
EVENT_COUNT_MAX = 4


@dataclass(frozen=True)
class Trial:
    """One query about one log; the seed makes both again."""

    seed: int
    text: str
    corpus: Corpus
    sign: Sign | None


@dataclass(frozen=True)
class Verdict:
    """What came of a trial: a word for statistics, and what is wrong, or nothing."""

    outcome: str
    difference: str | None


def make_trial(seed: int) -> Trial:
    """Make the trial of a seed."""
    rng = random.Random(seed)
    corpus = random_corpus(rng)
    query = sensible_query(rng, vocabulary_of(corpus), has_now=True)
    event_count_max = EVENT_COUNTS_MAX.get(source_count(query), EVENT_COUNT_MAX)
    corpus = replace(corpus, lines=corpus.lines[:event_count_max])
    sign = signature_of if rng.random() < 0.2 else None
    return Trial(seed, print_query(query), corpus, sign)


def make_wild_trial(seed: int) -> Trial:
    """Make a trial of a query without regard to types."""
    rng = random.Random(seed)
    return Trial(seed, wild_query(rng), wild_corpus(rng), None)


def signature_of(hash_: str) -> str:
    """Sign, in a way that is easily seen."""
    return f"signed:{hash_}"


def source_count(query: syntax.Query) -> int:
    """Count the sources of a query and of its subqueries."""
    inner = (each.source for each in query.sources if isinstance(each.source, syntax.Query))
    return len(query.sources) + sum(map(source_count, inner))


def judge(trial: Trial) -> Verdict:
    """Evaluate a query in all ways, and compare."""
    text, corpus, sign = trial.text, trial.corpus, trial.sign
    planned = answer_by_product(text, corpus, block_size=1 + trial.seed % 20, sign=sign)
    if planned.is_static:
        return Verdict("malformed", None)
    plan = prepare(text)
    expected = answer_by_reference(text, corpus, sign=sign)
    naive = answer_by_product(text, corpus, sign=sign, change_plan=without_decisions)
    is_certain = not ends_early(plan)
    difference = (
        find_difference(planned, expected, plan, is_certain=is_certain)
        # Inlining is done before, and may bring an order of the log to where there was none.
        or find_difference(naive, expected, plan, is_certain=True)
    )
    outcome = "fails" if planned.is_failed else "rows" if planned.rows else "no rows"
    return Verdict(outcome, None if difference is None else describe(trial, difference))


def describe(trial: Trial, difference: str) -> str:
    """Say what is wrong, and how to see it again."""
    lines = b"".join(trial.corpus.lines).decode()
    return f"seed {trial.seed}\n{trial.text}\n{difference}\n{lines}"


def find_difference(
    answer: Answer, expected: Answer, plan: Plan, *, is_certain: bool
) -> str | None:
    """Say how an answer differs, if it does; `is_certain` where errors come at the same row."""
    if expected.is_failed and not (is_certain and expected.message != UNREADABLE):
        return None
    if answer.message is not None and expected.message is None:
        return f"fails with {answer.message}"
    if answer.message is None and expected.message is not None:
        return f"does not fail with {expected.message}"
    if not are_same(answer.rows, expected.rows):
        return f"rows\n{answer.rows}\nbut expected\n{expected.rows}"
    if tells_the_event(plan, answer) and answer.event_id != expected.event_id:
        return f"{answer.message}, but expected event {expected.event_id}"
    return None


def plans_within(plan: Plan) -> Iterator[Plan]:
    """Yield a plan and those of its subqueries."""
    yield plan
    for source in plan.sources:
        if isinstance(source.source, Plan):
            yield from plans_within(source.source)


def ends_early(plan: Plan) -> bool:
    """Tell whether a plan may pass over a row that fails, or come to it at another time."""
    return any(
        each.count_enough is not None
        or (each.ordering is None) != (each.query.ordering is None)
        or may_skip_a_source(each)
        for each in plans_within(plan)
    )


def may_skip_a_source(plan: Plan) -> bool:
    """Tell whether bounds may leave nothing of one source, so that the others are not read."""
    sources = [each.source for each in plan.sources]
    has_bounds = any(isinstance(each, EventScan) and each != EventScan() for each in sources)
    return len(sources) > 1 and has_bounds and any(isinstance(each, Plan) for each in sources)


def tells_the_event(plan: Plan, answer: Answer) -> bool:
    """Tell whether an error is that of one event, and found in the order of the log."""
    if [*plan.query.sources] != [LogSource.EVENTS]:
        return False
    # What is aggregated may be computed before it is sorted, and results have no event.
    is_aggregated = plan.query.is_aggregated
    return not is_aggregated or (answer.event_id is not None and plan.query.ordering is None)


def without_decisions(plan: Plan) -> Plan:
    """Return a plan that reads all events, judges the whole of WHERE, and sorts what is asked."""
    query = plan.query
    sources = tuple(SourcePlan(without_bounds(each.source)) for each in plan.sources)
    return replace(
        plan,
        sources=sources,
        conditions=() if query.where is None else (query.where,),
        ordering=query.ordering,
        index_answer=None,
        count_enough=None,
    )


def without_bounds(source: EventScan | LogSource | Plan) -> EventScan | LogSource | Plan:
    """Return a source of a plan without decisions."""
    match source:
        case EventScan():
            return EventScan()
        case Plan():
            return without_decisions(source)
        case LogSource():
            return source


def parts_of_run() -> list[range]:
    """Return all seeds of this run, in parts of which each is a test."""
    last_seed = FIRST_SEED + QUERY_COUNT
    return [
        range(start, min(start + PART_LENGTH_MAX, last_seed))
        for start in range(FIRST_SEED, last_seed, PART_LENGTH_MAX)
    ]


def check_trials(trials: Iterable[Trial]) -> Counter[str]:
    """Fail if any trial is wrong, and show the first of them; return how often came what."""
    outcomes, wrong = find_wrong_trials(trials, most=REPORTS_MAX)

    if wrong:
        pytest.fail("\n\n".join(map(report, wrong)), pytrace=False)
    return outcomes


def find_wrong_trials(trials: Iterable[Trial], *, most: int) -> tuple[Counter[str], list[Trial]]:
    """Judge trials until so many of them are wrong; return those, and what came of all."""
    outcomes: Counter[str] = Counter()
    wrong: list[Trial] = []
    for trial in trials:
        verdict = judge(trial)
        outcomes[verdict.outcome] += 1
        if verdict.difference is not None:
            wrong.append(trial)
        if len(wrong) == most:
            break
    return outcomes, wrong


def report(trial: Trial) -> str:
    """Say what is wrong with a trial, made as simple as is easily done."""
    simplest = shrink(trial)
    return f"{judge(simplest).difference}\nfound with\n{trial.text}"


def shrink(trial: Trial) -> Trial:
    """Leave out clauses and events as long as something is wrong."""
    for simpler in simpler_trials(trial):
        if judge(simpler).difference is not None:
            return shrink(simpler)
    return trial


def simpler_trials(trial: Trial) -> Iterator[Trial]:
    """Yield trials with something left out."""
    lines = trial.corpus.lines
    for length in (len(lines) // 2, len(lines) - 1):
        if 0 <= length < len(lines):
            yield replace(trial, corpus=replace(trial.corpus, lines=lines[:length]))
    query = parse(trial.text).query
    simpler_queries = (
        *(replace(query, sources=(each,)) for each in query.sources),
        *(each.source for each in query.sources if isinstance(each.source, syntax.Query)),
        replace(query, where=None),
        replace(query, group=None),
        replace(query, order=None),
        replace(query, skip=None),
        replace(query, top=None),
        replace(query, is_distinct=False),
    )
    parts = [] if query.where is None else syntax.operands(query.where)
    for simpler in (*simpler_queries, *(replace(query, where=part) for part in parts)):
        text = print_query(simpler)
        if text != trial.text:
            yield replace(trial, text=text)
