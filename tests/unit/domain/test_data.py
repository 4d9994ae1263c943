from collections.abc import Callable

import msgspec
import pytest

from everlog.domain.data import _find_members, check_data, keep_members, parse_data, sort_members
from everlog.domain.errors import Code, RefusedError
from everlog.domain.limits import EVENT_SIZE_MAX, JSON_NESTING_MAX
from tests.support.refusals import check_refused


@pytest.mark.parametrize(
    "raw, text",
    [
        (b"{}", "{}"),
        (b" { } ", "{}"),
        (b'{"b" : 1 , "a":\n2}', '{"b":1,"a":2}'),
        (b'{"a":1.0,"b":1e2,"c":1E+2,"d":-0.0,"e":100}', None),
        (b'{"a":123456789012345678901234567890}', None),
        (b'{"a":"\\u003cb\\u003e \\/ \\u00fc \\n \\ud83d\\ude00"}', None),
        (b'{"a":" spaces  stay "}', None),
        (b'{"a":" [ { \\" } ] "}', None),
        ('{"a":"\u00fc\u2028\U0001f600"}'.encode(), None),
        (b'{"a":null,"b":[true,false,[]]}', None),
    ],
)
def test_minifies_and_changes_nothing_else(raw: bytes, text: str | None) -> None:
    minified, data = parse_data(raw)

    assert minified == (raw.decode() if text is None else text)
    assert data == msgspec.json.decode(raw)


@pytest.mark.parametrize(
    "sent, ordered",
    [
        ("{}", None),
        ('{"a":1}', None),
        ('{"a":1,"b":2}', None),
        ('{"b":1,"a":2}', '{"a":2,"b":1}'),
        # Of a name that is the beginning of another, whatever follows: "!" comes before a quote.
        ('{"a!":1,"a ":2,"a":3}', '{"a":3,"a ":2,"a!":1}'),
        ('{"":2," ":1}', None),
        # A string that ends with a comma looks like the end of a member.
        ('{"b":"x,","a":1}', '{"a":1,"b":"x,"}'),
        ('{"b":",","a":",","c":""}', '{"a":",","b":",","c":""}'),
        ('{"a":1,"":2}', '{"":2,"a":1}'),
        # By code point, which is not the order of UTF-16.
        ('{"\U0001f600":1,"\uffee":2}', '{"\uffee":2,"\U0001f600":1}'),
        ('{"Z":1,"a":2,"_":3}', '{"Z":1,"_":3,"a":2}'),
        # Names are ordered by what they mean, and keep their escapes.
        ('{"b":1,"\\u0061":2}', '{"\\u0061":2,"b":1}'),
        ('{"a\\"b":1,"a":2}', '{"a":2,"a\\"b":1}'),
        # All objects, wherever they are; elements stay where they are.
        ('{"a":{"c":1,"b":2}}', '{"a":{"b":2,"c":1}}'),
        ('{"a":[{"c":1,"b":2},3,"x"]}', '{"a":[{"b":2,"c":1},3,"x"]}'),
        ('{"b":[[],[{}],[2,1]],"a":{}}', '{"a":{},"b":[[],[{}],[2,1]]}'),
        # Values stay as they were written.
        ('{"b":1.0,"a":1E+2}', '{"a":1E+2,"b":1.0}'),
        ('{"b":"\\u003c\\/","a":null}', '{"a":null,"b":"\\u003c\\/"}'),
        # What looks like members in a string is none.
        ('{"a":"\\":","b":"{\\"c\\":1,"}', None),
        ('{"b":"},\\"a\\":[","a":"]\\\\"}', '{"a":"]\\\\","b":"},\\"a\\":["}'),
        # Arrays of scalars, of arrays, and of objects.
        ('{"b":[1,-2.50,"x","],",null],"a":[]}', '{"a":[],"b":[1,-2.50,"x","],",null]}'),
        ('{"b":[[1,"\\"]"],[2],[[]]],"a":1}', '{"a":1,"b":[[1,"\\"]"],[2],[[]]]}'),
        ('{"a":[1,"{",{"d":[2],"c":"}"}],"b":1}', '{"a":[1,"{",{"c":"}","d":[2]}],"b":1}'),
        ('{"a":["b","a"],"b":[2,1]}', None),
    ],
)
def test_sorts_members_and_changes_nothing_else(sent: str, ordered: str | None) -> None:
    text, data = parse_data(sent.encode())

    assert sort_members(text, data) == (sent if ordered is None else ordered)


def test_an_array_of_scalars_is_taken_in_one_step() -> None:
    vector = ",".join(["0.25", '"x"'] * 1_000)

    steps = _find_members(f'{{"vector":[{vector}],"id":1}}')

    assert [step[0] for step in steps] == ["", '"vector', '"id', ""]


def test_what_is_in_order_is_not_copied() -> None:
    text, data = parse_data(b'{"a":{"b":[{"c":1,"d":2}]},"e":"f"}')

    assert sort_members(text, data) is text


@pytest.mark.parametrize(
    "sent, name",
    [
        ('{"a":1,"a":0}', "a"),
        ('{"a":1,"b":2,"a":3}', "a"),
        ('{"b":1,"a":2,"b":3}', "b"),
        ('{"a":{"b":1,"b":1}}', "b"),
        ('{"a":[1,{"b":{"c":1,"c":{}}}]}', "c"),
        ('{"a":1,"\\u0061":2}', "a"),
        ('{"a":[{"b":1}],"a":"\\u0022\\u0022","c":"\\":"}', "a"),
        ('{"\\"":1,"\\u0022":2}', '"'),
        ('{"":1,"":2}', ""),
        ('{"a":1.50,"a":2,"b":"' + "x" * 2_000 + '"}', "a"),
        ('{"' + "n" * 50 + '":1,"' + "n" * 50 + '":2}', "n" * 40 + "..."),
    ],
)
@pytest.mark.parametrize("arrange", [sort_members, keep_members])
def test_refuses_a_name_that_comes_twice(
    sent: str, name: str, arrange: Callable[[str, dict[str, object]], str]
) -> None:
    text, data = parse_data(sent.encode())

    check_refused(
        lambda: arrange(text, data),
        Code.DATA_MALFORMED,
        message=f"malformed event data: the member '{name}' comes twice in an object",
        field="data",
    )


@pytest.mark.parametrize(
    "sent",
    [
        '{"b":1,"a":{"b":2,"a":[{"b":3},{"b":4}]}}',
        '{"a":"\\u0022a\\u0022:1","b":"\\"a\\":1"}',
        '{"b":1.50,"a":1E2,"A":-0}',
    ],
)
def test_keeps_members_as_they_are(sent: str) -> None:
    assert keep_members(*parse_data(sent.encode())) == sent


def test_takes_a_raw_part_of_a_request() -> None:
    assert parse_data(msgspec.Raw(b'{"a": 1}')) == ('{"a":1}', {"a": 1})


@pytest.mark.parametrize("padding", ["", '"x":"' + "y" * 3_000 + '",'], ids=["small", "large"])
def test_what_was_hashed_elsewhere_is_checked_as_it_stands(padding: str) -> None:
    text = f'{{ {padding}"b" : 1.50, "a": "\u00fc", "c":[ {{}} ] }}'

    assert check_data(text.encode()) == text
    assert check_data(msgspec.Raw(text.encode())) == text
    deep = '{"a":' + "[" * 99 + "]" * 99 + "}"
    for bad in ("[1]", "nonsense", deep, '{"a":1e999}', '{"a":\xff}'):
        content = bad.replace("{", "{" + padding, 1).encode("latin-1")
        with pytest.raises(RefusedError) as refusal:
            check_data(content)
        assert refusal.value.code is Code.DATA_MALFORMED


def test_refuses_missing_data() -> None:
    check_refused(lambda: parse_data(None), Code.DATA_MISSING, field="data")


@pytest.mark.parametrize(
    "raw, kind",
    [
        (b"null", "null"),
        (b"true", "a boolean"),
        (b" false", "a boolean"),
        (b"1", "a number"),
        (b"-1", "a number"),
        (b'"a"', "a string"),
        (b"[]", "an array"),
        (b"[1e400]", "an array"),
    ],
)
def test_refuses_what_is_no_json_object(raw: bytes, kind: str) -> None:
    check_refused(
        lambda: parse_data(raw, field="events[0].data"),
        Code.DATA_MALFORMED,
        message=f"malformed event data: data must be a JSON object, but it is {kind}",
        field="events[0].data",
    )


@pytest.mark.parametrize(
    "raw, reason",
    [
        (b"", "it ends too early"),
        (b"{", "it ends too early"),
        (b"{}}", "trailing characters"),
        (b'{"a":1,}', "trailing comma"),
        (b"{a:1}", "expected"),
        (b'{"a":01}', "invalid number"),
        (b'{"a":NaN}', "invalid character"),
        (b'{"a":1e400}', "the number 1e400 is beyond the range of a double"),
        (b'{"a":"\xff"}', "it is not valid UTF-8 - at `$.a`"),
        (b'{"\xff":1}', "it is not valid UTF-8 - at `$`"),
        (b'{"a":"\xed\xa0\x80"}', "it is not valid UTF-8"),
        (b'{"a":"\\ud800"}', "it has half of a surrogate pair - at `$.a`"),
        (b'{"a":"\\udc00 and more"}', "it has half of a surrogate pair"),
        (b'{"a":"\n"}', "invalid character"),
        (b'{"a":"\\x"}', "invalid escape"),
        (b"\xef\xbb\xbf{}", "a byte order mark"),
        (b'{"a":"\0"}', "a NUL byte"),
    ],
)
def test_refuses_what_is_no_json(raw: bytes, reason: str) -> None:
    check_refused(
        lambda: parse_data(raw, field="events[0].data"),
        Code.DATA_MALFORMED,
        message=reason,
        field="events[0].data",
    )


@pytest.mark.parametrize("digits", [310, 1_000, 1_001, 5_000, 100_000])
def test_refuses_integers_beyond_the_range_of_a_double(digits: int) -> None:
    limit = {"limit": 1_000} if digits > 1_000 else {}

    check_refused(
        lambda: parse_data(b'{"a":%b}' % (b"1" * digits)),
        Code.DATA_MALFORMED,
        message=f"malformed event data: the number {'1' * 40}...",
        field="data",
        **limit,
    )


def check_too_deep(raw: bytes) -> None:
    check_refused(
        lambda: parse_data(raw),
        Code.DATA_MALFORMED,
        message=f"deeper than {JSON_NESTING_MAX}",
        field="data",
        limit=JSON_NESTING_MAX,
    )


def nested(depth: int) -> bytes:
    """Return an object with arrays in it, this many levels in all."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize("depth", [JSON_NESTING_MAX - 1, JSON_NESTING_MAX])
def test_accepts_nesting_up_to_the_limit(depth: int) -> None:
    assert parse_data(nested(depth))[0] == nested(depth).decode()


@pytest.mark.parametrize("depth", [JSON_NESTING_MAX + 1, 500, 10_000])
def test_refuses_nesting_above_the_limit(depth: int) -> None:
    check_too_deep(nested(depth))


def test_sees_nesting_in_a_key_that_occurs_again() -> None:
    deep = nested(JSON_NESTING_MAX)

    check_too_deep(b'{"a":' + deep + b',"a":1}')


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":[' + b",".join([b"[]"] * 1_000) + b"]}",
        b'{"a":[' + b",".join([b"{}"] * 1_000) + b"]}",
        b'{"a":"' + b"[{" * 1_000 + b'"}',
        b'{"a":"\\"' + b"[{" * 1_000 + b'\\\\"}',
    ],
)
def test_many_brackets_are_no_nesting(raw: bytes) -> None:
    assert parse_data(raw)[0] == raw.decode()


def test_refuses_data_that_no_event_could_hold() -> None:
    at_limit = b'{"a":"' + b"x" * (EVENT_SIZE_MAX - 8) + b'"}'

    assert len(parse_data(b" " + at_limit)[0]) == EVENT_SIZE_MAX
    check_refused(
        lambda: parse_data(at_limit.replace(b"x", b"xx", 1)),
        Code.EVENT_TOO_LARGE,
        message=str(EVENT_SIZE_MAX),
        field="data",
        limit=EVENT_SIZE_MAX,
    )
