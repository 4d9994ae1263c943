import pytest

from everlog.domain.limits import JSON_NESTING_MAX
from everlog.eventql.limits import NESTING_MAX, VALUE_DEPTH_MAX
from tests.support.eventql.analyzing import analyzed, check_valid, diagnose
from tests.support.eventql.nesting import ARRAYS, RECORDS, nested_source

EVENT = 1 + JSON_NESTING_MAX
FIVE = "FROM r IN (FROM e IN subjects PROJECT INTO {a: [[[{b: e}]]]})"
MIXED = "FROM r IN (FROM e IN events PROJECT INTO {a: [[e.data]], n: e.data.n AS INT})"


@pytest.mark.parametrize(
    "query, depth",
    [
        ("FROM s IN subjects PROJECT INTO s", 0),
        ("FROM s IN subjects PROJECT INTO []", 1),
        ("FROM s IN subjects PROJECT INTO [1, {a: s}]", 2),
        ("FROM e IN events PROJECT INTO e", EVENT),
        ("FROM e IN events PROJECT INTO e.data", EVENT - 1),
        ("FROM e IN events PROJECT INTO [e.data.a.b]", EVENT - 2),
        ("FROM e IN events PROJECT INTO e.data" + ".a" * 140, 0),
        ("FROM e IN events PROJECT INTO [e.type, e == e, e.data.n + 1, LEN(e.data.t)]", 1),
        ("FROM e IN events PROJECT INTO IF(TRUE, [e.type], e.data)", EVENT - 1),
        ("FROM e IN events PROJECT INTO [UNIQUE([e]), COUNT([[e]] == e)]", EVENT + 2),
        ("FROM e IN events PROJECT INTO MAX(e.data.n)", 0),
        ("FROM e IN events GROUP BY [e.data] PROJECT INTO [[e.data]]", EVENT + 1),
        (f"{FIVE} PROJECT INTO r", 5),
        (f"{FIVE} PROJECT INTO [r.a]", 5),
        (f"{FIVE} PROJECT INTO r.a.b", 0),
        (f"{MIXED} PROJECT INTO [r]", EVENT + 3),
        (f"{MIXED} PROJECT INTO [r.n]", 1),
        (f"{FIVE} FROM f IN events PROJECT INTO [r, [f.data]]", EVENT + 1),
    ],
)
def test_the_depth_of_rows_is_known(query: str, depth: int) -> None:
    assert analyzed(query).row_depth == depth


@pytest.mark.parametrize("brackets", [ARRAYS, RECORDS], ids=["arrays", "records"])
@pytest.mark.parametrize("source, depth", [("subjects", 0), ("events", EVENT)])
def test_values_are_only_so_deep(brackets: tuple[str, str], source: str, depth: int) -> None:
    levels = VALUE_DEPTH_MAX - depth
    check_valid(f"FROM e IN {nested_source(levels, brackets, source=source)} PROJECT INTO e")
    for too_many in (levels + 1, levels + 100):
        text = f"FROM e IN {nested_source(too_many, brackets, source=source)} PROJECT INTO e"
        [diagnostic] = diagnose(text)
        assert "may have more than 192 levels of nesting" in diagnostic.message
        assert diagnostic.hint == "rows of subqueries count too, and events as 62 levels"


DEEPEST = f"FROM e IN {nested_source(VALUE_DEPTH_MAX, ARRAYS, source='subjects')}"


@pytest.mark.parametrize(
    "clauses",
    [
        "PROJECT INTO {}",
        "PROJECT INTO DISTINCT {}",
        "WHERE {} == e PROJECT INTO 1",
        "WHERE [1] CONTAINS {} PROJECT INTO 1",
        "ORDER BY {} PROJECT INTO 1",
        "GROUP BY {} PROJECT INTO 1",
        "GROUP BY 1 HAVING UNIQUE({}) == 1 PROJECT INTO 1",
        "GROUP BY 1 ORDER BY UNIQUE({}) PROJECT INTO 1",
        "PROJECT INTO UNIQUE({})",
        "PROJECT INTO COUNT({} == e) > 0",
        "PROJECT INTO IF(TRUE, 1, {})",
        "PROJECT INTO [[[ {} ]]]",
    ],
)
def test_depth_is_told_once_where_it_is_exceeded(clauses: str) -> None:
    text = f"{DEEPEST} {clauses.format('{x: e}')}"

    [diagnostic] = diagnose(text)

    assert text[diagnostic.span.start : diagnostic.span.end] == "{x: e}"
    assert diagnostic.message == ("the value of '{x: e}' may have more than 192 levels of nesting")
    check_valid(f"{DEEPEST} WHERE e == e GROUP BY e PROJECT INTO e")


def test_what_one_text_nests_around_an_event_is_never_too_deep() -> None:
    check_valid(f"FROM e IN events PROJECT INTO {'[' * NESTING_MAX}e{']' * NESTING_MAX}")


def test_what_is_too_deep_in_a_subquery_is_no_fault_of_the_query_around_it() -> None:
    text = f"FROM x IN ({DEEPEST} PROJECT INTO [e]) WHERE [x] == x.a.b PROJECT INTO [x]"

    assert len(diagnose(text)) == 1
