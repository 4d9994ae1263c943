import msgspec
import pytest

from everlog.eventql.codegen.structs import (
    event_id_of,
    event_text_of,
    event_value_of,
    lines_of,
    number_or_text,
    text_of_line,
)
from everlog.eventql.evaluation.values import DateTime
from tests.support.eventql.logs import FIRST_TIME, a_line, event_of

LINES = [a_line(position, {"n": position}) for position in range(3)]


def test_a_block_consists_of_lines() -> None:
    assert lines_of(b"".join(LINES)) == [line[:-1] for line in LINES]
    assert lines_of(b"") == []


@pytest.mark.parametrize("line", LINES)
def test_the_event_of_a_line_is_taken_as_it_is(line: bytes) -> None:
    [text] = lines_of(line)

    assert msgspec.json.decode(event_text_of(text, None)) == event_of(line)
    assert event_text_of(text, None) in line
    assert bytes(text_of_line(text, None)) == event_text_of(text, None)
    assert event_id_of(text) == event_of(line)["id"]


@pytest.mark.parametrize("line", LINES)
def test_a_signature_takes_the_place_of_null(line: bytes) -> None:
    [text] = lines_of(line)
    event = event_of(line)

    signed = msgspec.json.decode(event_text_of(text, lambda hash_: f"signed-{hash_}"))

    assert list(signed) == list(event)
    assert signed == event | {"signature": f"signed-{event['hash']}"}


def test_data_that_looks_like_an_end_is_not_signed() -> None:
    [text] = lines_of(a_line(0, {"x": ',"signature":null}', "hash": "x"}))

    signed = msgspec.json.decode(event_text_of(text, lambda _hash: "yes"))

    assert signed["data"] == {"x": ',"signature":null}', "hash": "x"}
    assert signed["signature"] == "yes"


def test_an_event_as_a_value_has_a_time_and_numbers_of_64_bits() -> None:
    [text] = lines_of(a_line(0, '{"n":[9223372036854775808]}'))

    value = event_value_of(text, None)

    assert value["time"] == DateTime(FIRST_TIME)
    assert value["data"] == {"n": [2.0**63]}
    assert type(value["data"]["n"][0]) is float
    assert value["signature"] is None


def test_only_numbers_are_written_anew() -> None:
    assert number_or_text(msgspec.Raw(b"-1.50")) == -1.5
    assert number_or_text(msgspec.Raw(b"123456789012345678901234567890")) == 1.2345678901234568e29
    assert bytes(number_or_text(msgspec.Raw(b'"1.50"'))) == b'"1.50"'
