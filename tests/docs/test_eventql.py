"""The pages about EventQL: every example runs, every table is that of the code.

An example is a block `eventql` with the block of its outcome behind it: `json` has the rows, one a
line, and `text` the error, after the rows before it. A table `expression | value` says what an
expression is for the first event of the examples. Blocks `http` are requests and their answers.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import pytest

from everlog.eventql.diagnostic import QueryMalformedError
from everlog.eventql.evaluation.conversion import convertible_to
from everlog.eventql.language.lexer import RESERVED_WORDS
from everlog.eventql.language.syntax import CONNECTIVES, VALUE_LEVELS
from everlog.eventql.query import prepare
from everlog.eventql.types import CONVERSION_TARGETS, EVENT_FIELDS, Kind
from tests.support.exchanges import DOCUMENTED_TOKEN, Message, ask, check_answer, exchanges
from tests.support.pages import code_blocks, read_page, with_placeholders
from tests.support.server import RunningServer, running_server
from tests.support.sources import REPOSITORY

FOLDER = "docs/eventql"
START = f"{FOLDER}/README.md"
SYNTAX = f"{FOLDER}/syntax.md"
GIVEN_HEADING = "## The events of the examples"

# What an example without rows says instead.
NO_ROW = "no row"
ERROR = re.compile(r"(query-malformed|query-unevaluable)\n|no row$")

ROW = re.compile(r'\{"type":"row","data":\{"value":(.*)\}\}')
# With a backslash in front it is a character of a cell.
CELL_BORDER = re.compile(r"(?<!\\)\|")
HEARTBEAT = '{"type":"heartbeat","data":{}}'
END = '{"type":"end","data":{}}'

DECISION = ("decision", "what Everlog does", "why", "shown by")

# Made from the code, and tested with it.
GENERATED = {"functions.md"}

PAGES = sorted(
    path.name for path in (REPOSITORY / FOLDER).glob("*.md") if path.name not in GENERATED
)


class Outcome(NamedTuple):
    """What comes of a query: its rows, and what is said of an error."""

    rows: list[str]
    error: str


class Example(NamedTuple):
    """A query of a page, with what the page says comes of it."""

    query: str
    outcome: Outcome
    line: int


def examples(page: str) -> list[Example]:
    """Return the queries of a page, in order."""
    blocks = code_blocks(page)
    found = []
    for index, block in enumerate(blocks):
        if block.language == "eventql":
            outcome = Outcome([], "")
            for after in blocks[index + 1 : index + 3]:
                if after.language == "json" and outcome == ([], ""):
                    outcome = outcome._replace(rows=rows_of(after.text))
                elif after.language == "text" and ERROR.match(after.text):
                    outcome = outcome._replace(error=after.text.strip())
                else:
                    break
            assert outcome != ([], ""), f"line {block.line}: no outcome"
            error = "" if outcome.error == NO_ROW else outcome.error
            found.append(Example(block.text, outcome._replace(error=error), block.line))
    return found


def rows_of(text: str) -> list[str]:
    """Return the rows of a block: one a line, or one over all of its lines."""
    if text.startswith("{\n"):
        return [msgspec.json.format(text, indent=-1)]
    return text.splitlines()


def asked(server: RunningServer, start: str, body: object) -> str:
    """Return what a request is answered with."""
    headers = {"Authorization": f"Bearer {DOCUMENTED_TOKEN}"}
    answer = ask(server.port, Message(start, headers, json.dumps(body), 0), lines=None)
    assert answer.start == "HTTP/1.1 200 OK", answer.body
    return answer.body


def run(server: RunningServer, query: str) -> Outcome:
    answer = asked(server, "QUERY /api/v2/data/run-eventql-query", {"query": query})
    *items, last = answer.splitlines()
    rows = [match[1] for item in items if (match := ROW.fullmatch(item))]
    assert len(rows) == sum(item != HEARTBEAT for item in items), answer
    return Outcome(rows, "" if last == END else error_text(json.loads(last)["data"]))


def error_text(error: dict[str, Any]) -> str:
    """Return an error as the pages show it: the code, and below it everything that is wrong."""
    code = error["code"].rpartition("/")[2]
    return "\n".join([code, *error["details"].get("errors", [error["description"]])])


def given_events() -> list[dict[str, Any]]:
    section = read_page(START).partition(f"{GIVEN_HEADING}\n")[2]
    found: list[dict[str, Any]] = json.loads(code_blocks(section)[0].text)
    return found


@contextmanager
def server_with_events() -> Iterator[RunningServer]:
    with running_server(environment={"EVERLOG_API_TOKEN": DOCUMENTED_TOKEN}) as server:
        written = asked(server, "POST /api/v2/data/write-events", {"events": given_events()})
        assert written.endswith(f"{END}\n")
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """Run a server with the events of the examples; nothing may be written to it."""
    with server_with_events() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_query_of_a_page_has_the_outcome_that_the_page_shows(
    server: RunningServer, name: str
) -> None:
    for example in examples(read_page(f"{FOLDER}/{name}")):
        actual = run(server, example.query)

        where = f"the query in line {example.line}"
        assert comparable(actual) == comparable(example.outcome), where


def comparable(outcome: Outcome) -> tuple[str, str]:
    return with_placeholders("\n".join(outcome.rows)), outcome.error


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_expression_of_a_table_has_the_value_that_the_page_shows(
    server: RunningServer, name: str
) -> None:
    for expression, shown in expressions(read_page(f"{FOLDER}/{name}")):
        assert value_shown(run(server, query_of(expression))) == shown, expression


def expressions(page: str) -> Iterator[tuple[str, str]]:
    """Yield the expressions of a page's tables, each with what the page says it is."""
    for expression, shown in table(page, "expression", "value"):
        yield code_in(expression), shown


def query_of(expression: str) -> str:
    return f"FROM e IN events WHERE e.id == '0' PROJECT INTO {expression}"


def value_shown(outcome: Outcome) -> str:
    """Return what a table says of the single row of a query, or of its error."""
    if outcome.error:
        return outcome.error.partition("\n")[0].removeprefix("query-")
    [row] = outcome.rows
    return f"`{row}`"


def table(page: str, *header: str) -> Iterator[list[str]]:
    """Yield the rows of all tables of a page that have this header."""
    is_within = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in CELL_BORDER.split(line[1:-1])]
        if not line.startswith("|"):
            is_within = False
        elif cells == list(header):
            is_within = True
        elif is_within and set(line) != set("|-"):
            yield cells


def code_in(cell: str) -> str:
    """Return the only code in a cell, which may hold an accent itself."""
    [code] = re.findall(r"`+ ?(.+?) ?`+", cell)
    return code


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_request_of_a_page_is_answered_as_the_page_shows(name: str) -> None:
    requests = exchanges(read_page(f"{FOLDER}/{name}"))
    if requests:
        with server_with_events() as server:
            for request, shown in requests:
                check_answer(ask(server.port, request, lines=None), shown)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_with_examples_says_what_they_are_about(name: str) -> None:
    page = read_page(f"{FOLDER}/{name}")
    has_examples = bool(examples(page) or [*expressions(page)] or exchanges(page))

    assert has_examples == ("#the-events-of-the-examples" in page)


def test_the_operators_are_those_of_the_language_the_tightest_first() -> None:
    rows = [
        re.findall(r"`([^`]+)`", cell)
        for cell, *_ in table(read_page(SYNTAX), "operators", "operands", "result")
    ]
    binary = [{operator.value for operator in level} for level in VALUE_LEVELS]
    connectives = [{operator.value} for operator in reversed(CONNECTIVES)]

    assert [set(row) for row in rows] == [
        {"."},
        {"AS"},
        {"+", "-"},
        *binary,
        {"NOT"},
        *connectives,
    ]


def test_the_reserved_words_are_those_of_the_lexer() -> None:
    words = [kind.value for kind in RESERVED_WORDS]
    blocks = [block.text.split() for block in code_blocks(read_page(SYNTAX))]

    assert sorted(words) in blocks


def test_the_table_of_conversions_is_that_of_the_language() -> None:
    header = ["from", *(target.value for target in CONVERSION_TARGETS)]
    rows = [*table(read_page(f"{FOLDER}/types.md"), *header)]

    assert [kind for kind, *_ in rows] == [kind.value for kind in Kind]
    for kind, *cells in rows:
        for target, cell in zip(CONVERSION_TARGETS, cells, strict=True):
            is_possible = Kind(kind) in convertible_to(target)
            assert cell == ("yes" if is_possible else "-"), (kind, target)


def test_the_fields_of_events_are_those_of_the_language() -> None:
    rows = [*table(read_page(f"{FOLDER}/sources.md"), "field", "kind", "")]

    documented = {name.strip("`"): kind for name, kind, *_ in rows}
    assert documented == {name: words_of(kinds) for name, kinds in EVENT_FIELDS.items()}


def words_of(kinds: frozenset[Kind]) -> str:
    names = sorted((kind.value for kind in kinds), key=lambda name: name == Kind.NULL)
    return " or ".join(names)


# Whatever stands in the column EventQL fits into one of these, or is a query of its own.
FRAMES = (
    "FROM e IN events PROJECT INTO {}",
    "FROM e IN events WHERE {} PROJECT INTO e",
    "FROM e IN events {}",
    "FROM e IN events {} PROJECT INTO e",
    "FROM e IN events {} PROJECT INTO COUNT()",
    "{} PROJECT INTO COUNT()",
)


def test_what_stands_for_sql_is_eventql() -> None:
    fragments = [
        fragment
        for _, cell, _ in table(read_page(START), "SQL", "EventQL", "")
        for fragment in re.findall(r"`([^`]+)`", cell)
    ]

    assert len(fragments) > len(FRAMES)
    for fragment in fragments:
        assert any(is_query(frame.format(fragment)) for frame in FRAMES), fragment


def is_query(text: str) -> bool:
    try:
        prepare(text)
    except QueryMalformedError:
        return False
    return True


def test_every_decision_is_shown_by_what_it_says() -> None:
    page = read_page(f"{FOLDER}/decisions.md")
    rows = [*table(page, *DECISION), *table(page, "extension", *DECISION[1:])]

    assert len(rows) > 0
    for decision, *_, shown in rows:
        evidence = re.findall(r"`([^`]+)` in \[[^]]+\]\(\.\./\.\./([^)]+)\)", shown)
        assert evidence, decision
        for text, path in evidence:
            assert text in read_page(path), (decision, text)


def test_every_file_of_the_language_has_a_place_on_the_page_about_its_stages() -> None:
    page = read_page("docs/internals/eventql-pipeline.md")
    files = {path.name for path in (REPOSITORY / "src/everlog/eventql").iterdir() if path.is_file()}

    assert {name for name in files if f"`{name}`" not in page} == {"__init__.py"}
