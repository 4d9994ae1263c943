"""An event that a client knows, as it is sent: what it must be."""

import pytest

from everlog.domain.errors import Code
from everlog.domain.known_event import KnownEvent, parse_known_event
from tests.support.refusals import check_refused

HASH = "0123456789abcdef" * 4


def parse(event_id: str | None, hash_: str | None) -> KnownEvent:
    return parse_known_event(
        event_id,
        hash_,
        missing=Code.LAST_AUDITED_EVENT_MISSING,
        id_field="the.id",
        hash_field="the.hash",
    )


@pytest.mark.parametrize("hash_", [HASH, f"esdb:hash:v2:{HASH}"])
def test_an_id_and_a_hash_of_either_version_are_an_event(hash_: str) -> None:
    assert parse("17", hash_) == KnownEvent(17, hash_)


@pytest.mark.parametrize("nothing", [None, ""])
def test_what_is_missing_is_named(nothing: str | None) -> None:
    code = Code.LAST_AUDITED_EVENT_MISSING
    check_refused(lambda: parse(nothing, HASH), code, message="'the.id'", field="the.id")
    check_refused(lambda: parse("1", nothing), code, message="'the.hash'", field="the.hash")
    check_refused(lambda: parse(nothing, nothing), code, message="'the.id'", field="the.id")


def test_an_id_that_is_none_is_named() -> None:
    check_refused(lambda: parse("one", HASH), Code.EVENT_ID_MALFORMED, field="the.id")


@pytest.mark.parametrize(
    "hash_",
    [
        HASH[:-1],
        f"{HASH}0",
        HASH.upper(),
        f"{HASH}\n",
        f" {HASH}",
        f"esdb:hash:v3:{HASH}",
        f"esdb:hash:v1:{HASH}",
        "\u0660" * 64,
    ],
)
def test_a_hash_that_is_none_is_named(hash_: str) -> None:
    check_refused(
        lambda: parse("1", hash_),
        Code.EVENT_HASH_MALFORMED,
        message="malformed event hash",
        field="the.hash",
        value=hash_,
    )


def test_of_a_long_text_the_beginning_is_quoted() -> None:
    check_refused(
        lambda: parse("1", "x" * 10_000),
        Code.EVENT_HASH_MALFORMED,
        field="the.hash",
        value="x" * 100,
    )
