"""Whatever a client sends, a parser returns or refuses, and does so in linear time."""

import contextlib
import json
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everlog.domain.data import keep_members, parse_data, sort_members
from everlog.domain.errors import RefusedError
from everlog.domain.event_type import parse_event_type
from everlog.domain.schema import compile_event_schema, find_violation
from everlog.domain.selection import parse_event_id
from everlog.domain.source import parse_source
from everlog.domain.subject import parse_subject
from everlog.domain.tracing import parse_traceparent, parse_tracestate
from tests.support.json_depth import check_readable

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

# A linear parser needs microseconds for these lengths, a quadratic one seconds.
TIME_MAX_SECONDS = 0.25


def an_event_id(text: str) -> str:
    return str(parse_event_id(text, field="id"))


def a_tracestate(text: str) -> str:
    return parse_tracestate(text, traceparent=TRACEPARENT)


parsers = pytest.mark.parametrize(
    "parse",
    [parse_subject, parse_event_type, parse_source, parse_traceparent, a_tracestate, an_event_id],
)

Parser = Callable[[str], str]

# What the grammars are made of, so that generated texts get far into them.
pieces = st.sampled_from(
    [
        *"/.-_:@?#[]%=, aZ09",
        "%41",
        "//",
        "://",
        "::1",
        "[::1]",
        "com.",
        "00-",
        "a=b",
        "\u00fc",
        "\0",
    ]
)
near_misses = st.lists(pieces, max_size=12).map("".join)


def check_returns_or_refuses(parse: Parser, text: str) -> None:
    started = time.process_time()
    try:
        value = parse(text)
    except RefusedError as refusal:
        assert refusal.message  # noqa: PT017 (either outcome is right)
    else:
        assert parse(value) == value
    assert time.process_time() - started < TIME_MAX_SECONDS


@parsers
@given(text=st.text() | near_misses)
@example(text="\ud800")
def test_a_parser_returns_or_refuses(parse: Parser, text: str) -> None:
    check_returns_or_refuses(parse, text)


@pytest.mark.slow
@parsers
@given(prefix=near_misses, pump=near_misses.filter(bool), suffix=near_misses)
def test_a_long_text_takes_no_longer_than_its_length(
    parse: Parser, prefix: str, pump: str, suffix: str
) -> None:
    for length in (1_000, 4_000, 100_000):
        check_returns_or_refuses(parse, prefix + pump * (length // len(pump)) + suffix)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
utf_8_names = st.text(st.characters(codec="utf-8"), max_size=4)
objects = st.dictionaries(utf_8_names, json_values, max_size=4)


@pytest.mark.slow
@given(objects, st.sampled_from([None, 0, 1, "\t"]), st.booleans())
def test_data_keeps_every_byte_but_the_space_between(
    value: dict[str, object],
    indent: int | str | None,
    ensure_ascii: bool,  # noqa: FBT001 (Hypothesis passes it)
) -> None:
    try:
        sent = json.dumps(value, indent=indent, ensure_ascii=ensure_ascii).encode()
        compact = json.dumps(value, separators=(",", ":"), ensure_ascii=ensure_ascii)
    except UnicodeEncodeError:
        return

    try:
        text, data = parse_data(sent)
    except RefusedError:
        assert has_lone_surrogate(compact)
        return

    assert text == compact
    assert data == json.loads(compact)


@given(objects, st.booleans())
def test_sorted_data_is_what_an_encoder_with_sorted_names_writes(
    value: dict[str, object],
    ensure_ascii: bool,  # noqa: FBT001 (Hypothesis passes it)
) -> None:
    try:
        sent = json.dumps(value, separators=(",", ":"), ensure_ascii=ensure_ascii).encode()
        text, data = parse_data(sent)
    except (UnicodeEncodeError, RefusedError):
        return

    ordered = json.dumps(value, separators=(",", ":"), ensure_ascii=ensure_ascii, sort_keys=True)
    assert sort_members(text, data) == ordered


def has_lone_surrogate(compact: str) -> bool:
    try:
        json.dumps(json.loads(compact), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def is_readable_object(raw: bytes) -> bool:
    try:
        # The most that stands around data.
        check_readable(f'{{"frames":[[{raw.decode()}]]}}')
        return isinstance(json.loads(raw), dict)
    except (AssertionError, ValueError, RecursionError):
        return False


# What JSON is made of, with what some reader stops at.
scalars = st.sampled_from(
    [
        *("1", "-0", "1e5", "1.50", "9" * 308, "9" * 309, "1e309", "1e-400", "0." + "1" * 1_000),
        *('"a"', '"\\u0022:"', '"\\"a\\":1"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\u00fc"', "null"),
    ]
)
member_names = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"\\u0022"', '"\\""', '""', '"\u00fc"'])
json_texts = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(member_names, inner), max_size=4).map(
            lambda pairs: f"{{{', '.join(f'{name} : {item}' for name, item in pairs)}}}"
        )
        | st.tuples(st.integers(55, 70), inner).map(
            lambda deep: f"{'[' * deep[0]}{deep[1]}{']' * deep[0]}"
        )
    ),
    max_leaves=10,
)


@given(
    st.binary()
    | st.text(alphabet='{}[]",:\\u0aedtrun1.- \n').map(str.encode)
    | json_texts.map(lambda text: f'{{"d":{text}}}'.encode())
)
def test_data_is_returned_and_readable_or_refused(raw: bytes) -> None:
    try:
        text, data = parse_data(raw)
        ordered = sort_members(text, data)
        assert keep_members(text, data) == text
    except RefusedError:
        # Nothing is refused that everybody could read.
        assert not is_readable_object(raw)
        return

    assert json.loads(text) == json.loads(raw) == data
    assert json.loads(ordered) == data
    assert sort_members(ordered, json.loads(ordered)) == ordered
    assert is_readable_object(text.encode())
    assert is_readable_object(ordered.encode())


@pytest.mark.parametrize(
    "pump", [b"[", b'{"a":', b"[]", b'"', b"\\", b" ", b"1", b",", b'[{"a":1}],']
)
@pytest.mark.parametrize("repetitions", [60_000, 1_000_000])
def test_long_data_takes_no_longer_than_its_length(pump: bytes, repetitions: int) -> None:
    for raw in (pump * repetitions, b'{"a":[' + pump * repetitions + b"0]}"):
        started = time.process_time()
        with contextlib.suppress(RefusedError):
            sort_members(*parse_data(raw))
        assert time.process_time() - started < 4 * TIME_MAX_SECONDS


keywords = st.sampled_from(
    [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "pattern",
        "anyOf",
        "allOf",
        "not",
        "$ref",
        "$defs",
        "$id",
        "enum",
        "const",
        "minimum",
        "maxLength",
        "format",
    ]
)
schema_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["object", "string", "#", "#/$defs/a", "a", "^a+$", "(", "http://a.example/"])
    | utf_8_names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@given(st.dictionaries(keywords, schema_values, max_size=5), objects)
def test_a_schema_compiles_or_is_refused_and_judges_any_data(
    keywords_given: dict[str, object], value: dict[str, object]
) -> None:
    schema = {"properties": {}, **keywords_given, "type": "object"}
    try:
        compiled = compile_event_schema("com.foo.bar", msgspec.json.encode(schema))
    except RefusedError:
        return

    reason = find_violation(compiled, value)

    assert reason is None or reason
