import pytest

from everlog.eventql.diagnostic import QueryUnevaluableError
from tests.support.eventql.executing import rows_of
from tests.support.eventql.logs import a_log


@pytest.mark.parametrize(
    "query, blamed, event_id",
    [
        ("FROM a IN events FROM b IN events PROJECT INTO 1 / b.data.n", "1 / b.data.n", "2"),
        ("FROM a IN events FROM b IN events PROJECT INTO 1 / a.data.n", "1 / a.data.n", "2"),
        (
            "FROM a IN events FROM b IN events PROJECT INTO a.data.n / b.data.n",
            "a.data.n / b.data.n",
            "0",
        ),
        (
            "FROM a IN events FROM b IN events WHERE b.id > '' AND 1 / b.data.n > 0 PROJECT INTO 1",
            "1 / b.data.n",
            "2",
        ),
        ("FROM s IN subjects FROM b IN events PROJECT INTO 1 / b.data.n", "1 / b.data.n", "2"),
        ("FROM a IN events FROM b IN events PROJECT INTO SUM(b.data.x)", "SUM(b.data.x)", "1"),
        (
            "FROM a IN events FROM b IN events GROUP BY 1 / b.data.n PROJECT INTO COUNT()",
            "1 / b.data.n",
            "2",
        ),
        (
            "FROM a IN events FROM b IN events ORDER BY 1 / b.data.n PROJECT INTO 1",
            "1 / b.data.n",
            "2",
        ),
        # Fields of subjects are of no event: the one that the first source had come to is told.
        ("FROM a IN events FROM s IN subjects PROJECT INTO s AS INT", "s AS INT", "0"),
        # A subquery with rows of its own: they are of no event any more.
        (
            "FROM x IN (FROM e IN events TOP 9 PROJECT INTO e.data.n) PROJECT INTO 1 / x",
            "1 / x",
            None,
        ),
    ],
)
def test_errors_of_products_say_whose_value_it_was(
    query: str, blamed: str, event_id: str | None
) -> None:
    log = a_log({"n": 1, "x": 1}, {"n": 2, "x": "a"}, {"n": 0, "x": 1}, block_size=250)

    with pytest.raises(QueryUnevaluableError) as caught:
        rows_of(query, log)

    span = caught.value.diagnostic.span
    assert (query[span.start : span.end], caught.value.event_id) == (blamed, event_id)
