"""What every reader can read, and why a text is not like that."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everlog.domain.json_text import (
    NOT_JSON,
    explain_failure,
    find_fault,
    find_repeated_name,
    is_nested_deeper,
)
from everlog.domain.limits import JSON_NAME_SIZE_MAX, JSON_NESTING_MAX, JSON_NUMBER_LENGTH_MAX

# The largest double, and half a step more, which is the first number that becomes infinity.
LARGEST = 2**1024 - 2**971
FIRST_BEYOND = 2**1024 - 2**970


def fault_of(number: str) -> str | None:
    """Return what is wrong with a number that stands somewhere in a text."""
    fault = find_fault(b'{"a":["%b",%b,1]}' % (b"x" * (len(number) % 7), number.encode()))
    return None if fault is None else fault.reason


@pytest.mark.parametrize(
    "number",
    [
        "0",
        "-0",
        "-0.0",
        str(2**53 + 1),
        str(-(2**64)),
        "1" + "0" * 308,
        str(LARGEST),
        str(-LARGEST),
        str(FIRST_BEYOND - 1),
        "0." + "3" * (JSON_NUMBER_LENGTH_MAX - 2),
        # It underflows, and is zero to everybody.
        "1e-400",
        "0." + "0" * 500 + "1",
        "0e999999999999999999999",
        # However it is written: the value is what counts.
        "1" + "0" * 400 + "e-200",
        "0." + "0" * 400 + "1e500",
    ],
)
def test_a_number_within_the_range_of_a_double_is_readable(number: str) -> None:
    assert fault_of(number) is None


@pytest.mark.parametrize(
    "number",
    [
        "1" + "0" * 309,
        "-1" + "0" * 309,
        str(FIRST_BEYOND),
        str(-FIRST_BEYOND),
        "9" * 309,
        "9" * 1_000,
        "1" + "0" * 309 + ".5",
    ],
)
def test_a_number_beyond_it_is_not_and_is_named(number: str) -> None:
    assert fault_of(number) == f"the number {number[:40]}... is beyond the range of a double"


@pytest.mark.parametrize(
    "longest", ["0." + "3" * 998, "1e" + "0" * 998, "1" * 300 + "." + "0" * 699, "1E-" + "0" * 997]
)
def test_a_number_has_no_more_characters_than_readers_take(longest: str) -> None:
    assert len(longest) == JSON_NUMBER_LENGTH_MAX

    assert fault_of(longest) is None
    assert fault_of(longest + "0") == f"the number {longest[:40]}... has more than 1000 characters"


@given(st.integers(0, 700), st.integers(300, 320), st.integers(0, 700))
def test_a_huge_integer_is_seen_wherever_it_is(before: int, length: int, after: int) -> None:
    digits = "9" * length
    text = json.dumps({"a": "x" * before, "b": "?", "c": "y" * after}, separators=(",", ":"))

    fault = find_fault(text.replace('"?"', digits).encode())

    assert (fault is not None) == (length > 308)
    assert find_fault(text.replace("?", digits).encode()) is None


@pytest.mark.parametrize("letter, size", [("n", 1), ("\u00fc", 2), ("\U0001f600", 4)])
@pytest.mark.parametrize("form", ["{%s:1}", '{"a":[0,{%s:{}}],"b":1}', '{"\\"":1,%s:"\\""}'])
def test_names_are_only_so_large(form: str, letter: str, size: int) -> None:
    longest = letter * (JSON_NAME_SIZE_MAX // size)
    for ensure_ascii in (False, True):
        for name in (longest, longest[:-1]):
            assert find_fault((form % json.dumps(name, ensure_ascii=ensure_ascii)).encode()) is None
        fault = find_fault((form % json.dumps(longest + "!", ensure_ascii=ensure_ascii)).encode())
        assert fault is not None
        assert fault == (f"the name '{letter * 40}...' has more than 32768 bytes", 32_768)


def test_a_large_name_is_seen_behind_escapes_and_a_large_string_is_no_name() -> None:
    name = '"' * (JSON_NAME_SIZE_MAX + 1)

    assert find_fault(json.dumps({name: 1}).encode()) is not None
    assert find_fault(json.dumps({"a": [name], "b": "x" * 70_000}).encode()) is None


@pytest.mark.parametrize("levels", [1, JSON_NESTING_MAX, JSON_NESTING_MAX + 1, 400])
@pytest.mark.parametrize("brackets", [('{"a":', "}"), ("[", "]"), ('[{"a":[', "]}]")])
def test_levels_are_arrays_and_objects_within_each_other(
    levels: int, brackets: tuple[str, str]
) -> None:
    opening, closing = brackets
    count = opening.count("[") + opening.count("{")
    text = f"{opening * levels}1{closing * levels}".encode()

    assert not is_nested_deeper(text, levels * count)
    assert is_nested_deeper(text, levels * count - 1)


def test_brackets_in_strings_are_no_levels() -> None:
    text = json.dumps({'"[[': ["]\\\\", '\\"[{' * 200, {"}": "{"}]}).encode()

    assert not is_nested_deeper(text, 3)
    assert is_nested_deeper(text, 2)


names = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"\\""', '"\\u0022"', '"\\u0022:"', '"\\\\"'])
texts = st.recursive(
    names | st.sampled_from(["1", "1e5", "null", '"\\":"', '"x\\u0022:y"', '"\\\\u0022"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(names, inner), max_size=4).map(
            lambda pairs: f"{{{','.join(f'{name}:{item}' for name, item in pairs)}}}"
        )
    ),
    max_leaves=12,
)


@example('{"a":1,"a":2}')
@example('{"a":1,"\\u0061":2}')
@example('{"a":{"b":1,"b":2},"c":"\\u0022\\u0022\\u0022\\u0022"}')
@example('{"a":[{"b":1}],"a":"\\u0022\\u0022"}')
@given(texts)
def test_a_repeated_name_is_found_exactly_where_there_is_one(text: str) -> None:
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for name, value in pairs:
            if name in members:
                repeated.append(name)
            members[name] = value
        return members

    json.loads(text, object_pairs_hook=note)
    fault = find_repeated_name(text.encode(), msgspec.json.decode(text))

    assert (fault is None) == (not repeated)
    if fault is not None:
        assert fault.reason in [
            f"the member '{name}' comes twice in an object" for name in repeated
        ]


@pytest.mark.parametrize(
    "raw, reason",
    [
        (b"\xef\xbb\xbf{}", "it begins with a byte order mark (U+FEFF), which JSON does not have"),
        ("{}".encode("utf-16"), "it is UTF-16 or UTF-32, and JSON is UTF-8"),
        (b"\xfe\xff\0{\0}", "it is UTF-16 or UTF-32, and JSON is UTF-8"),
        (b"\x1f\x8b\x08\0", "it is compressed with gzip, and has to be sent as it is"),
        (b"{\0}", "it has a NUL byte (byte 1)"),
        (b'{"a":"\0"}', "it has a NUL byte (byte 6)"),
        (b"{}\0", "it has a NUL byte (byte 2)"),
        (
            b'{"a":\xef\xbb\xbf1}',
            "it has a byte order mark (U+FEFF) between its tokens (byte 5)",
        ),
        (b'{"a":"\xfc"}', "it is not valid UTF-8 - at `$.a`"),
        (b'{"a":[1,{"b":"\xfc"}]}', "it is not valid UTF-8 - at `$.a[1].b`"),
        (b'{"a":{"\xfc":1}}', "it is not valid UTF-8 - at `$.a`"),
        (b'{"a":"\xed\xa0\x80"}', "it is not valid UTF-8 - at `$.a`"),
        (b'{"a":"\\ud800"}', "it has half of a surrogate pair - at `$.a`"),
        (b'{"a":["\\ud800x"]}', "it has half of a surrogate pair - at `$.a[0]`"),
        (b'{"a":"\\ud800\\u0041"}', "it has half of a surrogate pair - at `$.a`"),
        (b'{"a":"\\udc00"}', "it has half of a surrogate pair - at `$.a`"),
        (b'{"' + b"n" * 50 + b'\\ud800":1}', "it has half of a surrogate pair - at `$`"),
        (b'{"a":1', "it ends too early"),
        (b'{"a":1e400}', "the number 1e400 is beyond the range of a double"),
        (b'{"a":-1e400}', "the number -1e400 is beyond the range of a double"),
        (b'{"a":[0.1e311]}', "the number 0.1e311 is beyond the range of a double"),
        # Deeper than the decoder of any Python goes: how deep that is depends on its version.
        (b"[" * 10**6 + b"]" * 10**6, f"it is nested deeper than {JSON_NESTING_MAX} levels"),
        (b'{"a":1,}', "it is not JSON: trailing comma in object (byte 7)"),
    ],
)
def test_the_true_cause_is_told(raw: bytes, reason: str) -> None:
    with pytest.raises(NOT_JSON) as raised:
        msgspec.json.decode(raw)

    assert explain_failure(raw, raised.value).reason == reason


@pytest.mark.parametrize(
    "raw, reason",
    [
        (b'{"a":"\xfc"}', "it is not valid UTF-8"),
        (b'{"a":1e400}', "a number is beyond the range of a double"),
        (
            b'{"a":"\\ud800"}',
            "it ends too early, or half of a surrogate pair stands at the end of a string",
        ),
    ],
)
def test_in_a_large_text_nobody_looks_for_the_place(raw: bytes, reason: str) -> None:
    large = b'{"z":"' + b"x" * 300_000 + b'",' + raw[1:]
    with pytest.raises(NOT_JSON) as raised:
        msgspec.json.decode(large)

    assert explain_failure(large, raised.value).reason == reason
