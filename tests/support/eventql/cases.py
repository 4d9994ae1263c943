"""Executable cases: a query, the log that it is about, and what must come of it.

They stand in files that a person can read, `tests/eventql/cases/*.eql`. A line that begins with
`#` is a remark, and empty lines separate cases. A case takes one line,

    1 + 2 => 3

where what is evaluated is an expression, for the single event of the corpus `one`; or several,
where it is a whole query, followed by its outcome:

    on library
    FROM e IN events WHERE e.type == 'x'
    PROJECT INTO e.id
    => "0"
    => "3"

`on` names the corpus for all cases below. Outcomes are

    => <JSON>                      a row (on one line: the value)
    => event 3                     a row that is the whole event 3
    => nothing                     no row at all
    => malformed at <place>        refused before any row
    => fails at <place> event 3    ended by what the row of event 3 has, after the rows above

A place is line and column, or in a case of one line the text that is blamed. It may be left out.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.eventql.corpora import CORPORA, Corpus
from tests.support.sources import REPOSITORY

CASE_DIRECTORY = REPOSITORY / "tests" / "eventql" / "cases"
FIXTURE = REPOSITORY / "tests" / "fixtures" / "eventql-cases.ndjson"

EXPRESSION_PREFIX = "FROM e IN events PROJECT INTO "
EXPRESSION_CORPUS = "one"


@dataclass(frozen=True)
class Failure:
    """What a query ends with; what is None is not said."""

    is_static: bool
    line_and_column: str | None = None
    blamed: str | None = None
    event_id: str | None = None


@dataclass(frozen=True)
class Case:
    """One case; of a failure, the rows are those before it."""

    name: str
    query: str
    corpus_name: str
    rows: tuple[Any, ...] = ()
    failure: Failure | None = None

    @property
    def corpus(self) -> Corpus:
        """The log that the query is about."""
        return CORPORA[self.corpus_name]


@dataclass
class Outcome:
    """What has been read about a case so far."""

    rows: list[Any] = field(default_factory=list)
    failure: Failure | None = None


def fixture_cases() -> Iterator[Case]:
    """Yield the cases of the fixture."""
    for number, line in enumerate(FIXTURE.read_text().splitlines(), start=1):
        yield fixture_case(f"{FIXTURE.name}:{number}", json.loads(line))


def fixture_case(name: str, entry: dict[str, Any]) -> Case:
    """Return the case of one line of the fixture."""
    on = entry["on"]
    rows = entry.get("rows", [])
    rows += [event_of(on, id_) for id_ in entry.get("events", [])]
    failure = None
    if "malformed" in entry:
        failure = Failure(is_static=True, line_and_column=entry["malformed"])
    if "unevaluable" in entry:
        failure = Failure(
            is_static=False, line_and_column=entry["unevaluable"], event_id=entry["event"]
        )
    return Case(name, entry["query"], on, tuple(rows), failure)


def file_cases() -> Iterator[Case]:
    """Yield the cases of all files."""
    for path in sorted(CASE_DIRECTORY.glob("*.eql")):
        yield from parse_cases(path)


def parse_cases(path: Path) -> Iterator[Case]:
    """Yield the cases of one file."""
    on = "library"
    block: list[str] = []
    for number, line in enumerate([*path.read_text().splitlines(), ""], start=1):
        name = f"{path.name}:{number}"
        if line.startswith("#"):
            continue
        if line.startswith("on ") and not block:
            on = line.removeprefix("on ")
        elif line.strip() and " => " in line and not block and not line.startswith("=>"):
            yield expression_case(name, line)
        elif line.strip() or (block and not block[-1].startswith("=>")):
            block.append(line)
        elif block:
            yield query_case(name, block, on)
            block = []


def expression_case(name: str, line: str) -> Case:
    """Return the case of one line."""
    expression, _, text = line.rpartition(" => ")
    outcome = Outcome()
    read_outcome(text, outcome, EXPRESSION_CORPUS)
    query = EXPRESSION_PREFIX + expression
    return Case(name, query, EXPRESSION_CORPUS, tuple(outcome.rows), outcome.failure)


def query_case(name: str, block: list[str], on: str) -> Case:
    """Return the case of a paragraph; an empty line belongs to the query above its outcome."""
    query = [line for line in block if not line.startswith("=>")]
    outcome = Outcome()
    for line in block[len(query) :]:
        read_outcome(line.removeprefix("=>").strip(), outcome, on)
    return Case(name, "\n".join(query), on, tuple(outcome.rows), outcome.failure)


FAILURE = re.compile(r"(malformed|fails)(?: at (.+?))?(?: event (\d+))?")


def read_outcome(text: str, outcome: Outcome, on: str) -> None:
    """Add one line to what must come of a case."""
    assert outcome.failure is None
    failure = FAILURE.fullmatch(text)
    if text == "nothing":
        assert outcome.rows == []
    elif text.startswith("event "):
        outcome.rows.append(event_of(on, text.removeprefix("event ")))
    elif failure is not None:
        place = failure[2]
        is_position = place is not None and re.fullmatch(r"\d+:\d+", place) is not None
        outcome.failure = Failure(
            is_static=failure[1] == "malformed",
            line_and_column=place if is_position else None,
            blamed=None if is_position else place,
            event_id=failure[3],
        )
    else:
        outcome.rows.append(json.loads(text))


def event_of(on: str, id_: str) -> dict[str, Any]:
    """Return a whole event of a corpus."""
    return CORPORA[on].events[int(id_)]
