import copy
import pickle
import re
from collections.abc import Callable

import pytest

from everlog.domain.errors import (
    CatchingUpError,
    Code,
    CorruptLogError,
    DataDirectoryError,
    DirectoryLockedError,
    DiskFullError,
    EverlogError,
    JournalUnreachableError,
    ReadFailedError,
    RefusedError,
    SettingsError,
    StateConflictError,
    StoreFailedError,
    UnknownFormatError,
)
from everlog.eventql.diagnostic import Diagnostic, QueryUnevaluableError, Span
from everlog.library.errors import VerificationError
from everlog.library.outcome import OutcomeUnknownError
from everlog.library.values import IsSubjectPristine, NewEvent


def test_a_refusal_carries_its_code_sentence_and_details() -> None:
    error = RefusedError(Code.SUBJECT_MISSING, "the subject is missing", eventIndex=3)

    assert error.code == "subject-missing"
    assert error.message == "the subject is missing"
    assert str(error) == error.message
    assert error.details == {"eventIndex": 3}


@pytest.mark.parametrize("code", list(Code))
def test_a_code_is_named_like_its_slug(code: Code) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code.value)
    assert code.name == code.value.upper().replace("-", "_")


def test_damage_names_the_first_event_that_cannot_be_trusted() -> None:
    assert CorruptLogError("damaged", position=7).position == 7
    assert str(CorruptLogError("damaged", position=None)) == "damaged"


@pytest.mark.parametrize(
    "kind",
    [
        RefusedError,
        SettingsError,
        DataDirectoryError,
        DirectoryLockedError,
        UnknownFormatError,
        CorruptLogError,
        DiskFullError,
        StoreFailedError,
    ],
)
def test_all_errors_have_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, EverlogError)


ERRORS = (
    EverlogError("an error"),
    RefusedError(Code.SUBJECT_MISSING, "the subject is missing", eventIndex=3),
    StateConflictError(Code.PRECONDITION_VIOLATED, "precondition failed", preconditionIndex=0),
    ReadFailedError("Input/output error"),
    CorruptLogError("damaged", position=7),
    CatchingUpError(),
    JournalUnreachableError("it is away"),
    VerificationError("another hash", event_id="7"),
    OutcomeUnknownError(
        "the answer was lost",
        events=[NewEvent("https://a.example", "/a", "com.example.a", {"n": 1})],
        preconditions=[IsSubjectPristine("/a")],
        after="6",
    ),
    QueryUnevaluableError("FROM", Diagnostic("no value", Span(0, 4)), event_id="7"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))],
    ids=["copied", "deeply", "pickled"],
)
def test_an_error_goes_to_another_process_as_it_is(
    error: EverlogError, again: Callable[[EverlogError], EverlogError]
) -> None:
    found = again(error)

    assert type(found) is type(error)
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))
    assert getattr(found, "strerror", None) == getattr(error, "strerror", None)
