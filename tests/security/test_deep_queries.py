"""Queries of the deepest values, in the server and in its query processes: answered or refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from everlog.domain.limits import JSON_NESTING_MAX
from everlog.eventql.limits import VALUE_DEPTH_MAX
from tests.support.api import Connection, an_event
from tests.support.eventql.nesting import ARRAYS, RECORDS, nested_source
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.slow

# Beyond 1,000 rows a query runs in a process of its own.
EVENTS = 1_001
LEVELS = VALUE_DEPTH_MAX - JSON_NESTING_MAX - 1


def deep_data() -> Any:
    value: Any = 2.0
    for _ in range(JSON_NESTING_MAX):
        value = {"a": value}
    return value


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        with Connection(server.url) as client:
            client.write(an_event("/one", data=deep_data()))
            client.write(*(an_event("/many", data=deep_data()) for _ in range(EVENTS)))
        yield server


SHALLOW_FORMS = (
    "WHERE e == e PROJECT INTO 1",
    "WHERE [e.a] CONTAINS e.a PROJECT INTO 1",
    "ORDER BY e TOP 3 PROJECT INTO 1",
    f"PROJECT INTO e{'.a' * 140}",
)
# Their rows are deeper than every client reads.
DEEP_FORMS = (
    "PROJECT INTO e",
    "TOP 3 PROJECT INTO DISTINCT e",
    "ORDER BY e TOP 3 PROJECT INTO e",
    "GROUP BY e TOP 3 PROJECT INTO e",
    "PROJECT INTO UNIQUE(e)",
)
FORMS = (*SHALLOW_FORMS, *DEEP_FORMS)
TOO_DEEP = f"more than {VALUE_DEPTH_MAX} levels of nesting"
CONDITION = "PROJECT INTO COUNT(e == e) > 0"


def deep_query(levels: int, brackets: tuple[str, str], subject: str, clauses: str) -> str:
    source = f"(FROM e IN events WHERE e.subject == '{subject}' PROJECT INTO e)"
    return f"FROM e IN {nested_source(levels, brackets, source=source)} {clauses}"


@pytest.mark.parametrize("brackets", [ARRAYS, RECORDS], ids=["arrays", "records"])
@pytest.mark.parametrize("subject", ["/one", "/many"])
def test_the_deepest_values_are_answered(
    server: RunningServer, subject: str, brackets: tuple[str, str]
) -> None:
    with Connection(server.url) as client:
        for clauses in (*FORMS, CONDITION):
            query = deep_query(LEVELS, brackets, subject, clauses)
            [*_, last] = client.v1("run-eventql-query", {"query": query}).items
            if clauses in DEEP_FORMS:
                assert "the row has more than 62 levels" in last["payload"]["error"], clauses
            else:
                assert last["type"] == "row", (clauses, last)


@pytest.mark.parametrize("brackets", [ARRAYS, RECORDS], ids=["arrays", "records"])
def test_deeper_ones_are_refused_before_any_row(
    server: RunningServer, brackets: tuple[str, str]
) -> None:
    with Connection(server.url) as client:
        for levels in (LEVELS + 1, LEVELS + 300):
            for clauses in (*FORMS, CONDITION):
                query = deep_query(levels, brackets, "/one", clauses)
                answer = client.v2("run-eventql-query", {"query": query})
                assert answer.code == "query-malformed"
                assert TOO_DEEP in answer.text


@pytest.mark.parametrize("brackets", [ARRAYS, RECORDS], ids=["arrays", "records"])
@pytest.mark.parametrize("subject", ["/one", "/many"])
def test_preconditions_may_be_as_deep(
    server: RunningServer, subject: str, brackets: tuple[str, str]
) -> None:
    with Connection(server.url) as client:
        for levels, status in ((LEVELS, 200), (LEVELS + 1, 400)):
            query = deep_query(levels, brackets, subject, CONDITION)
            precondition = {"type": "isEventQlQueryTrue", "payload": {"query": query}}
            body = {"events": [an_event("/other")], "preconditions": [precondition]}
            answer = client.v1("write-events", body)
            assert answer.status == status, answer.text
            assert status == 200 or TOO_DEEP in answer.text
