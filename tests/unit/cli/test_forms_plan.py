"""Plans as text: everything that is in them, in words."""

import msgspec

from everlog.cli.forms import PlanWriter
from everlog.eventql.query import explain, prepare
from tests.support.eventql.logs import a_log

EVENTS = """\
sources:
  - source: events
    selected by index:
      event types:
        - com.example.a
        - com.example.b
      id from: 1
    order: oldest first
    events in log: 2
    events to read at most: 0
judges each row: e.data.n > 1
sorts by: e.data.n ASC
holds: all rows, to sort them
"""

SUBQUERY = """\
sources:
  - source: subquery
    sources:
      - source: events
        selected by index: everything
        order: oldest first
        events in log: 2
        events to read at most: 2
    holds: nothing
  - source: subjects
holds: all rows of each source but the first
"""


def check_text(query: str, expected: str) -> None:
    writer = PlanWriter()
    plan = explain(prepare(query), a_log(1, 2))
    written = writer.add([msgspec.json.encode(plan)])

    assert written.decode() == expected
    assert writer.flush() == writer.finish() == b""


def test_a_plan_is_indented_text() -> None:
    check_text(
        "FROM e IN events WHERE ['com.example.a', 'com.example.b'] CONTAINS e.type "
        "AND e.id AS INT > 0 AND e.data.n > 1 ORDER BY e.data.n PROJECT INTO e",
        EVENTS,
    )


def test_a_plan_within_a_plan_stands_further_in() -> None:
    check_text(
        "FROM x IN (FROM e IN events PROJECT INTO e.data) FROM s IN subjects PROJECT INTO [x, s]",
        SUBQUERY,
    )


def test_a_terminal_obeys_nothing_of_it() -> None:
    assert PlanWriter().add([b'{"sortsBy":"\\u001b[1m"}']) == b"sorts by: \\x1b[1m\n"
