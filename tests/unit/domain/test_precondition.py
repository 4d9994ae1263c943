import pytest

from everlog.domain.errors import Code
from everlog.domain.precondition import (
    IsEventQlQueryTrue,
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
    Precondition,
    PreconditionPayloadText,
    PreconditionText,
    holds,
    parse_precondition,
)
from everlog.domain.subject import is_within
from tests.support.refusals import check_refused

LOG = ("/books/42", "/books/42", "/books", "/movies/7/actors")


class LogState:
    """The subjects of `LOG`, asked one event after the other."""

    def has_events(self, subject: str, *, recursive: bool) -> bool:
        return self.latest_position(subject, recursive=recursive) is not None

    def latest_position(self, subject: str, *, recursive: bool) -> int | None:
        positions = [
            position
            for position, written in enumerate(LOG)
            if written == subject or (recursive and is_within(written, subject))
        ]
        return max(positions, default=None)


def text_of(
    type_: str | None,
    *,
    subject: str | None = "/books",
    event_id: str | None = None,
    recursive: bool | None = None,
    query: str | None = None,
) -> PreconditionText:
    return PreconditionText(
        type=type_,
        payload=PreconditionPayloadText(
            subject=subject, event_id=event_id, recursive=recursive, query=query
        ),
    )


@pytest.mark.parametrize("recursive", [False, True])
def test_parses_each_type(*, recursive: bool) -> None:
    assert parse_precondition(
        text_of("isSubjectPristine", subject="/a/", recursive=recursive), index=0
    ) == IsSubjectPristine(subject="/a", recursive=recursive)
    assert parse_precondition(
        text_of("isSubjectPopulated", recursive=recursive), index=0
    ) == IsSubjectPopulated(subject="/books", recursive=recursive)
    assert parse_precondition(
        text_of("isSubjectOnEventId", event_id="007", recursive=recursive), index=0
    ) == IsSubjectOnEventId(subject="/books", event_id=7, recursive=recursive)


def test_parses_a_query_without_looking_into_it() -> None:
    text = text_of("isEventQlQueryTrue", subject=None, query="no query at all")

    assert parse_precondition(text, index=0) == IsEventQlQueryTrue(query="no query at all")


@pytest.mark.parametrize(
    "text, code, field, message",
    [
        (PreconditionText(None, None), Code.PRECONDITION_TYPE_MISSING, "type", "missing"),
        (text_of(""), Code.PRECONDITION_TYPE_MISSING, "type", "missing"),
        (PreconditionText("isFine", None), Code.PRECONDITION_UNKNOWN, "type", "'isFine'"),
        (text_of("issubjectpristine"), Code.PRECONDITION_UNKNOWN, "type", "isSubjectPristine"),
        (
            text_of("isEventQlQueryTrue", subject=None),
            Code.QUERY_MISSING,
            "payload.query",
            "the query is missing",
        ),
        (
            text_of("isEventQlQueryTrue", query="FROM e IN events PROJECT INTO true"),
            Code.PRECONDITION_UNKNOWN,
            "payload.subject",
            "'isEventQlQueryTrue' have no 'subject'",
        ),
        (
            text_of("isEventQlQueryTrue", subject=None, event_id="1", query="x"),
            Code.PRECONDITION_UNKNOWN,
            "payload.eventId",
            "'isEventQlQueryTrue' have no 'eventId'",
        ),
        (PreconditionText("isSubjectPristine", None), Code.PAYLOAD_MISSING, "payload", "missing"),
        (
            text_of("isSubjectPristine", subject=None),
            Code.SUBJECT_MISSING,
            "payload.subject",
            "missing",
        ),
        (
            text_of("isSubjectPopulated", subject="books"),
            Code.SUBJECT_MALFORMED,
            "payload.subject",
            "'books'",
        ),
        (text_of("isSubjectOnEventId"), Code.EVENT_ID_MISSING, "payload.eventId", "missing"),
        (
            text_of("isSubjectOnEventId", event_id="-1"),
            Code.EVENT_ID_MALFORMED,
            "payload.eventId",
            "'-1'",
        ),
        (
            text_of("isSubjectPristine", event_id="1"),
            Code.PRECONDITION_UNKNOWN,
            "payload.eventId",
            "'isSubjectPristine' have no 'eventId'",
        ),
        (
            text_of("isSubjectPopulated", query="x"),
            Code.PRECONDITION_UNKNOWN,
            "payload.query",
            "'isSubjectPopulated' have no 'query'",
        ),
        (
            text_of("isSubjectOnEventId", event_id="1", query="x"),
            Code.PRECONDITION_UNKNOWN,
            "payload.query",
            "'isSubjectOnEventId' have no 'query'",
        ),
        (
            text_of("isEventQlQueryTrue", subject=None, query="x", recursive=False),
            Code.PRECONDITION_UNKNOWN,
            "payload.options",
            "'isEventQlQueryTrue' have no 'options'",
        ),
    ],
)
def test_refuses_and_says_where(
    text: PreconditionText, code: Code, field: str, message: str
) -> None:
    check_refused(
        lambda: parse_precondition(text, index=3),
        code,
        message=message,
        field=f"preconditions[3].{field}",
        preconditionIndex=3,
    )


def test_keeps_the_limit_of_a_refusal() -> None:
    check_refused(
        lambda: parse_precondition(
            text_of("isSubjectOnEventId", event_id="9223372036854775808"), index=0
        ),
        Code.EVENT_ID_MALFORMED,
        field="preconditions[0].payload.eventId",
        limit="9223372036854775807",
        preconditionIndex=0,
    )


@pytest.mark.parametrize(
    "precondition, expected",
    [
        (IsSubjectPristine(subject="/books/42", recursive=False), False),
        (IsSubjectPristine(subject="/movies", recursive=False), True),
        (IsSubjectPristine(subject="/movies", recursive=True), False),
        (IsSubjectPristine(subject="/games", recursive=True), True),
        (IsSubjectPopulated(subject="/books/42", recursive=False), True),
        (IsSubjectPopulated(subject="/movies", recursive=False), False),
        (IsSubjectPopulated(subject="/movies", recursive=True), True),
        (IsSubjectPopulated(subject="/", recursive=False), False),
        (IsSubjectPopulated(subject="/", recursive=True), True),
        (IsSubjectOnEventId(subject="/books/42", event_id=1, recursive=False), True),
        (IsSubjectOnEventId(subject="/books/42", event_id=0, recursive=False), False),
        (IsSubjectOnEventId(subject="/books", event_id=2, recursive=True), True),
        (IsSubjectOnEventId(subject="/movies", event_id=3, recursive=False), False),
        (IsSubjectOnEventId(subject="/movies", event_id=3, recursive=True), True),
        (IsSubjectOnEventId(subject="/games", event_id=0, recursive=True), False),
    ],
)
def test_judges_a_precondition(precondition: Precondition, *, expected: bool) -> None:
    assert holds(precondition, LogState()) is expected
