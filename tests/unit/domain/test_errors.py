import re

import pytest

from everlog.domain.errors import (
    Code,
    CorruptLogError,
    DataDirectoryError,
    DirectoryLockedError,
    DiskFullError,
    EverlogError,
    RefusedError,
    SettingsError,
    StoreFailedError,
    UnknownFormatError,
)


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
