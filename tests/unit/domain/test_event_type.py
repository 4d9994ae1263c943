import pytest

from everlog.domain.errors import Code
from everlog.domain.event_type import parse_event_type
from everlog.domain.limits import EVENT_TYPE_LENGTH_MAX
from tests.support.refusals import check_refused


@pytest.mark.parametrize(
    "text",
    [
        "io.eventsourcingdb.test",
        "com.foo.bar",
        "com.opencqrs.books-added.v1",
        "io.eventsourcingdb.library.book-acquired",
        "a-._.-",
        "11.2.3",
    ],
)
def test_accepts_reverse_domain_names(text: str) -> None:
    assert parse_event_type(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "malformed.eventType.",
        "malformed.eventType",
        "barbaz",
        "a.b.c",
        ".com.foo.bar",
        "com..foo",
        "com.foo.b\u00e4r",
        "com.foo.bar\n",
        "com.foo bar.x",
        "com.foo.bar/baz",
        "...",
    ],
)
def test_refuses_anything_else(text: str) -> None:
    check_refused(
        lambda: parse_event_type(text),
        Code.EVENT_TYPE_MALFORMED,
        message=f"malformed event type '{text}': type must be a reverse domain name",
        field="type",
    )


@pytest.mark.parametrize("text", [None, ""])
def test_refuses_a_missing_type(text: str | None) -> None:
    check_refused(lambda: parse_event_type(text, field="x"), Code.EVENT_TYPE_MISSING, field="x")


def test_limits_the_length() -> None:
    longest = "com.foo." + "a" * (EVENT_TYPE_LENGTH_MAX - 8)

    assert parse_event_type(longest[:-1]) == longest[:-1]
    assert parse_event_type(longest) == longest
    check_refused(
        lambda: parse_event_type(longest + "a"),
        Code.EVENT_TYPE_MALFORMED,
        message=str(EVENT_TYPE_LENGTH_MAX),
        field="type",
        limit=EVENT_TYPE_LENGTH_MAX,
    )
