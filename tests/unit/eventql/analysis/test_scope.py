import pytest

from everlog.eventql.analysis.analyzed import LogSource
from everlog.eventql.analysis.scope import UnknownFieldError, type_of_path
from everlog.eventql.types import (
    ANY,
    BOOLEAN,
    DATETIME,
    EVENT_FIELDS,
    INT,
    JSON,
    NULL,
    RECORD,
    STRING,
    Type,
)
from tests.support.eventql.analyzing import analyzed, check_type


def check_row_type(subquery: str, path: str, type_: Type) -> None:
    """Check the type of a path through the rows of a subquery."""
    text = f"FROM r IN ({subquery}) PROJECT INTO r{path}"
    assert analyzed(text).projection.type == type_


@pytest.mark.parametrize("field", EVENT_FIELDS)
def test_the_fields_of_an_event_have_their_types(field: str) -> None:
    assert type_of_path(LogSource.EVENTS, (field,)) == EVENT_FIELDS[field]


@pytest.mark.parametrize(
    "path, type_",
    [
        ("e", RECORD),
        ("e.data", RECORD),
        ("e.data.x", JSON),
        ("e.data.x.y.z", JSON),
        ("e.type.x", NULL),
        ("e.time.x.y", NULL),
        ("s", STRING),
        ("r.when", DATETIME),
        ("r.total", INT),
        ("r.event.time", DATETIME),
        ("r.event.data.x", JSON),
        ("r.missing", NULL),
        ("r.event.missing", NULL),
        ("r.total.x", NULL),
    ],
)
def test_a_path_has_a_type(path: str, type_: Type) -> None:
    check_type(path, type_)


@pytest.mark.parametrize(
    "source, path",
    [
        (LogSource.EVENTS, ("foo",)),
        (LogSource.EVENTS, ("foo", "time")),
        (LogSource.SUBJECTS, ("name",)),
        (LogSource.EVENT_TYPES, ("name", "x")),
    ],
)
def test_a_path_to_nowhere_is_refused(source: LogSource, path: tuple[str, ...]) -> None:
    with pytest.raises(UnknownFieldError):
        type_of_path(source, path)


@pytest.mark.parametrize(
    "subquery, path, type_",
    [
        ("FROM e IN events PROJECT INTO e", "", RECORD),
        ("FROM e IN events PROJECT INTO e", ".time", DATETIME),
        ("FROM e IN events PROJECT INTO e", ".foo", NULL),
        ("FROM e IN events PROJECT INTO e.data", ".x", JSON),
        ("FROM e IN events PROJECT INTO e.time", "", DATETIME),
        ("FROM e IN events PROJECT INTO e.time", ".x", NULL),
        ("FROM s IN subjects PROJECT INTO s", "", STRING),
        ("FROM s IN subjects PROJECT INTO s", ".x", NULL),
        ("FROM e IN events PROJECT INTO { a: { b: e } }", ".a.b.time", DATETIME),
        ("FROM e IN events PROJECT INTO { a: e.id == '1' }", ".a", BOOLEAN),
        ("FROM e IN events PROJECT INTO [e]", ".x", NULL),
        ("FROM e IN events PROJECT INTO IF(TRUE, e, { a: 1 })", "", RECORD),
        ("FROM e IN events PROJECT INTO IF(TRUE, e, { a: 1 })", ".a", ANY),
        ("FROM e IN events GROUP BY e.time PROJECT INTO e.time", "", DATETIME),
        ("FROM e IN events GROUP BY e PROJECT INTO { key: e }", ".key.time", DATETIME),
        ("FROM e IN events GROUP BY { t: e.time } PROJECT INTO { t: e.time }", ".t", DATETIME),
        ("FROM e IN events PROJECT INTO { n: COUNT(), u: UNIQUE(e) }", ".n", INT),
        ("FROM e IN events PROJECT INTO { n: COUNT(), u: UNIQUE(e) }", ".u", RECORD | NULL),
        ("FROM e IN events PROJECT INTO { n: COUNT(), u: UNIQUE(e) }", ".u.time", ANY),
        ("FROM r IN (FROM e IN events PROJECT INTO { a: e }) PROJECT INTO r", ".a.time", DATETIME),
        ("FROM r IN (FROM e IN events PROJECT INTO { a: e }) PROJECT INTO r.a", ".data.x", JSON),
    ],
)
def test_types_pass_through_subqueries(subquery: str, path: str, type_: Type) -> None:
    check_row_type(subquery, path, type_)
