import pytest

from everlog.eventql.diagnostic import QueryMalformedError
from everlog.eventql.language.hints import most_alike
from everlog.eventql.language.parser import parse

WORDS = ("FROM", "PROJECT", "Where")


@pytest.mark.parametrize(
    "word, found",
    [
        ("from", "FROM"),
        ("PROJEKT", "PROJECT"),
        ("FORM", "FROM"),
        ("hwere", "Where"),
        ("FORK", None),
        ("MORF", None),
        ("FR", None),
        ("", None),
        ("FROM" * 11, None),
    ],
)
def test_finds_what_looks_alike(word: str, found: str | None) -> None:
    assert most_alike(word, WORDS, likeness_min=0.8) == found


def test_finds_the_most_alike_first() -> None:
    assert most_alike("where", ["there", "WHERE", "hwere"], likeness_min=0.6) == "WHERE"
    assert most_alike("where", [], likeness_min=0.1) is None


@pytest.mark.parametrize(
    "text, hint",
    [
        ("FORM e IN events PROJECT INTO e", "did you mean 'FROM'?"),
        ("FROM x IN (form e IN events PROJECT INTO e) PROJECT INTO x", "did you mean 'FROM'?"),
        ("SELECT 1", "a query begins with FROM and ends with PROJECT INTO"),
        ("'FORM'", "a query begins with FROM and ends with PROJECT INTO"),
        ("FROM e IN events PROJEKT INTO e", "did you mean 'PROJECT'?"),
        ("FROM e IN events Wehre 1 PROJECT INTO e", "did you mean 'WHERE'?"),
        ("FROM e IN events ODER BY e PROJECT INTO e", "did you mean 'ORDER'?"),
        ("FROM e IN events ORDER BY e DSC PROJECT INTO e", "did you mean 'DESC'?"),
        ("FROM e IN (FROM x IN events) PROJECT INTO 1", None),
        ("FROM e IN (FROM x IN events] PROJECT INTO 1", "the '(' at 1:11 is not closed"),
        ("FROM e IN events SAMPLE 10 PROJECT INTO e", None),
        ("FROM e IN events LIMIT 10 PROJECT INTO e", "TOP limits the number of rows: TOP 10"),
    ],
)
def test_tells_which_word_was_meant(text: str, hint: str | None) -> None:
    with pytest.raises(QueryMalformedError) as caught:
        parse(text)

    assert caught.value.diagnostics[0].hint == hint
