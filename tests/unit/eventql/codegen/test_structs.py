import json
from typing import Any

import msgspec
import pytest

from everlog.eventql.codegen.generated import Code, GeneratedModule
from everlog.eventql.codegen.structs import EventStructs, Path, unreadable_field
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.values import EvaluationError
from everlog.eventql.types import ANY
from tests.support.eventql.executing import a_context
from tests.support.eventql.logs import a_line


def decoded(structs: EventStructs, path: Path, line: bytes, *, as_text: bool) -> Any:
    """Return what generated code finds at a path of a line's event."""
    module = GeneratedModule()
    code = structs.text_code if as_text else structs.value_code
    event = module.constant(structs.decode_line(line).f0)
    name = module.expression_function("", Code(code(module, event, path, Span(0, 1)), ANY))
    return module.finish().bind(a_context())[name]()


def check_values(data: str, expected: dict[Path, object]) -> None:
    """Check what is found at each path, if all of them are used at once, and one by one."""
    line = a_line(0, data)
    together = EventStructs(values=expected, texts=())
    for path, value in expected.items():
        for structs in (together, EventStructs(values=[path], texts=())):
            found = decoded(structs, path, line, as_text=False)
            assert (type(found), found) == (type(value), value)


def test_fields_are_found_wherever_they_are() -> None:
    check_values(
        '{"a":1,"b":{"c":"x","d":{"e":[1,{"f":2}]}}}',
        {
            ("id",): "0",
            ("type",): "com.example.written",
            ("traceparent",): None,
            ("data", "a"): 1,
            ("data", "b", "c"): "x",
            ("data", "b", "d", "e"): [1, {"f": 2}],
            ("data", "b", "d"): {"e": [1, {"f": 2}]},
            ("data", "b", "missing"): None,
            ("data", "missing", "deeper"): None,
        },
    )


def test_a_record_and_what_is_in_it_are_found_together() -> None:
    check_values(
        '{"a":{"b":{"c":1}}}', {("data",): {"a": {"b": {"c": 1}}}, ("data", "a", "b", "c"): 1}
    )


@pytest.mark.parametrize("other", ['"x"', "1", "1.5", "true", "null", "[]", '[{"b":1}]'])
def test_below_what_is_no_record_everything_is_null(other: str) -> None:
    check_values(f'{{"a":{other},"z":7}}', {("data", "a", "b"): None, ("data", "z"): 7})


@pytest.mark.parametrize(
    "key",
    ["first-name", "", " ", 'with "quotes"', "back\\slash", "new\nline", "\u00e9", "f0", "\x00"],
)
def test_a_key_may_be_any_text(key: str) -> None:
    check_values(
        json.dumps({"in": {key: {"x": 1}}}),
        {("data", "in", key, "x"): 1, ("data", "in", key): {"x": 1}},
    )


def test_a_path_may_be_as_deep_as_data() -> None:
    path = ("a",) * 120
    data: object = 1
    for name in path:
        data = {name: data}

    check_values(json.dumps(data), {("data", *path): 1, ("data", *path, "b"): None})


@pytest.mark.parametrize(
    "number, value",
    [
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", 2.0**63),
        ("-9223372036854775809", -(2.0**63)),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
        ("1.0", 1.0),
        ("1e2", 100.0),
        ("-0", 0),
    ],
)
def test_integers_beyond_64_bits_are_floats(number: str, value: float) -> None:
    check_values(f'{{"a":{number},"b":{{"c":{number}}}}}', {("data", "a"): value})
    check_values(
        f'{{"a":{number},"b":{{"c":{number}}},"d":"x"}}',
        {("data", "b", "c"): value, ("data", "a"): value, ("data", "d"): "x", ("data", "e"): None},
    )


def test_a_line_that_is_decoded_slowly_is_decoded_the_same() -> None:
    lines = [a_line(0, '{"a":1,"b":{"c":2}}'), a_line(1, '{"a":9223372036854775808,"b":5}')]
    structs = EventStructs(
        values=[("id",), ("data", "a"), ("data", "b", "c")], texts=[("data", "d", "e")]
    )

    for line, struct in zip(lines, structs.decode(b"".join(lines)), strict=True):
        assert struct == structs.decode_line(line)


@pytest.mark.parametrize(
    "stored, written",
    [
        ('{"b":1.0,"c":[ 1 ]}', b'{"b":1.0,"c":[ 1 ]}'),
        ("[1.0]", b"[1.0]"),
        (r'"\u00e9\n"', rb'"\u00e9\n"'),
        ("true", b"true"),
        ("null", b"null"),
        ("12.50", b"12.5"),
        ("2.0", b"2"),
        ("-7", b"-7"),
    ],
)
def test_texts_are_written_as_they_are_stored_but_for_numbers(stored: str, written: bytes) -> None:
    line = a_line(0, f'{{"a":{stored}}}')
    path = ("data", "a")
    structs = EventStructs(values=(), texts=[path])

    assert msgspec.json.encode(decoded(structs, path, line, as_text=True)) == written


def test_a_text_that_is_missing_is_null() -> None:
    for data in ("{}", '{"a":1}', '{"a":null}'):
        path = ("data", "a", "b")
        found = decoded(EventStructs(values=(), texts=[path]), path, a_line(0, data), as_text=True)

        assert msgspec.json.encode(found) == b"null"


def test_what_is_a_value_anyway_is_written_from_it() -> None:
    line = a_line(0, '{"a":{"b":2.0}}')
    structs = EventStructs(values=[("data", "a")], texts=())

    for path, written in ((("data", "a"), b'{"b":2}'), (("data", "a", "b"), b"2")):
        assert msgspec.json.encode(decoded(structs, path, line, as_text=True)) == written


def test_strings_of_events_are_their_own_texts() -> None:
    structs = EventStructs(values=[("type",)], texts=[("id",)])

    assert decoded(structs, ("id",), a_line(7, {}), as_text=True) == "7"


HUGE = "9" * 400


def test_reading_a_number_beyond_float64_fails_and_nothing_else_does() -> None:
    line = a_line(
        0, f'{{"a":{HUGE},"b":{{"c":-{HUGE},"d":2}},"e":18446744073709551616,"f":["x",1]}}'
    )
    failing = [("data", "a"), ("data", "b", "c")]
    expected = {("data", "b", "d"): 2, ("data", "e"): 2.0**64, ("data", "f"): ["x", 1]}
    structs = EventStructs(values=[*failing, *expected], texts=())

    for path, value in expected.items():
        assert decoded(structs, path, line, as_text=False) == value
    for path in failing:
        for as_text in (False, True):
            with pytest.raises(AttributeError) as caught:
                decoded(structs, path, line, as_text=as_text)
            meaning = unreadable_field(caught.value)
            assert isinstance(meaning, EvaluationError)
            assert str(meaning) == "a number is beyond the range of FLOAT64"
            assert meaning.__traceback__ is caught.value.__traceback__


def test_below_a_number_beyond_float64_everything_is_null() -> None:
    check_values(f'{{"a":{HUGE}}}', {("data", "a", "x"): None})


def test_other_attributes_that_are_missing_are_no_fields() -> None:
    structs = EventStructs(values=[("id",)], texts=())
    event = structs.decode_line(a_line(0, {})).f0

    for owner in (event, 1):
        with pytest.raises(AttributeError) as caught:
            _ = owner.no_such_field
        assert unreadable_field(caught.value) is None


def test_the_lines_around_such_a_number_are_decoded_as_ever() -> None:
    lines = [a_line(number, f'{{"a":{text}}}') for number, text in enumerate(("1", HUGE, "3"))]
    structs = EventStructs(values=[("data", "a")], texts=())
    expected = [structs.decode_line(line) for line in lines[::2]]

    first, _, third = structs.decode(b"".join(lines))

    assert [first, third] == expected
