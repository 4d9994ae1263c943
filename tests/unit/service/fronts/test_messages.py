"""What an owner tells a front is what the front's clients are told."""

import pytest

from everlog.domain.errors import (
    CatchingUpError,
    Code,
    DiskBusyError,
    DiskFullError,
    EverlogError,
    JournalUnreachableError,
    ReadFailedError,
    RefusedError,
    StateConflictError,
    StoreFailedError,
    TooManyQueriesError,
)
from everlog.domain.event import AcceptedEvent, EventCandidate
from everlog.domain.precondition import (
    IsEventQlQueryTrue,
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
)
from everlog.service.fronts.messages import (
    Intent,
    OwnerFailedError,
    decode_intents,
    decode_told,
    encode,
    outcome_of,
    tell,
)


@pytest.mark.parametrize(
    "error",
    [
        RefusedError(Code.EVENT_TOO_LARGE, "too large", field="events[0]", limit=7),
        StateConflictError(Code.PRECONDITION_VIOLATED, "violated", preconditionIndex=1),
        ReadFailedError("no"),
        DiskFullError("full"),
        StoreFailedError("broken"),
        DiskBusyError("busy"),
        JournalUnreachableError("away"),
        CatchingUpError(),
        TooManyQueriesError("many"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_says_the_same_on_the_other_side(error: EverlogError) -> None:
    [told] = decode_told(encode([tell(3, error)]))

    found = outcome_of(told)

    assert told.number == 3
    assert type(found) is type(error)
    assert str(found) == str(error)
    if isinstance(error, RefusedError):
        assert isinstance(found, RefusedError)
        assert (found.code, found.message) == (error.code, error.message)
        assert found.details == error.details


def test_a_bug_says_nothing_but_that_there_was_one() -> None:
    [told] = decode_told(encode([tell(1, ValueError("what a client sent"))]))

    assert isinstance(outcome_of(told), OwnerFailedError)


def test_events_arrive_as_they_were_stored() -> None:
    events = [
        AcceptedEvent("/x", "io.t", b'{"id":"0"}', "ab"),
        AcceptedEvent("/y", "io.t", b"{}", "c"),
    ]

    found = outcome_of(decode_told(encode([tell(1, events)]))[0])

    assert not isinstance(found, Exception)
    assert [(event.json, event.hash) for event in found] == [(b'{"id":"0"}', "ab"), (b"{}", "c")]


def test_an_intent_arrives_whole() -> None:
    intent = Intent(
        1,
        [EventCandidate("https://x", "/x", "io.t", '{"n":1}', "00-trace", None)],
        [
            IsSubjectPristine(subject="/a", recursive=True),
            IsSubjectPopulated(subject="/b", recursive=False),
            IsSubjectOnEventId(subject="/c", event_id=7, recursive=False),
            IsEventQlQueryTrue(query="FROM e IN events PROJECT INTO COUNT() == 0"),
        ],
    )

    assert decode_intents(encode([intent])) == [intent]
