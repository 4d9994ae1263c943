import pytest

from everlog.domain.errors import Code
from everlog.domain.limits import SOURCE_LENGTH_MAX
from everlog.domain.source import parse_source
from tests.support.refusals import check_refused


@pytest.mark.parametrize(
    "text",
    [
        "https://library.eventsourcingdb.io",
        "https://www.example.com:8080/a/b;c=1?d=e&f=/?#g/?",
        "https://user:secret@example.com",
        "https://example.com:",
        "https://example.com:65535",
        "https://example.com:00080",
        # A port is any number, whatever TCP makes of it.
        "http://h:65536/",
        "http://h:99999/",
        "http://h:" + "0" * 33,
        "http://127.0.0.1:3000",
        "http://[::1]:3000/",
        "http://[2001:db8::1]",
        "http://[::ffff:192.0.2.1]",
        "http://[v1.fe80:a]",
        "tag:foobar.com,2023:x",
        "tag:thenativeweb.io,2023:test",
        "tag://test-execution",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "mailto:someone@example.com",
        "file:///etc/hosts",
        "nimbus.overlap.at",
        "my-app",
        "/relative",
        "./a:b",
        "//authority/path",
        "?query",
        "#fragment",
        "a%20b",
        "%C3%BC",
        "a@b",
        "https://b\u00fccher.example/\u8a9e",
        "\U0001f4da",
        "a'b(c)*d!",
    ],
)
def test_accepts_uri_references(text: str) -> None:
    assert parse_source(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "://foobar",
        ":",
        "$%&/(",
        "a b",
        " a",
        "a\n",
        "a\tb",
        "\0",
        "\x7f",
        "1a:b",
        "a_b:c",
        "b\u00fccher:c",
        "%",
        "%2",
        "%zz",
        "a?%2",
        "a#%2",
        "a#b#c",
        "a[b]",
        'a"b',
        "a\\b",
        "<a>",
        "a|b",
        "a^b",
        "a`b",
        "{a}",
        "http://h:99999x/",
        "http://h:80:80/",
        "http://h:\u0661/",
        "http://a@b@c/",
        "http://a b@c/",
        "http://%zz@c/",
        "http://a%2/",
        "https://[::1",
        "https://::1]",
        "https://[::1]x",
        "https://[]",
        "https://[1:2]",
        "https://[fe80::1%25eth0]",
        "https://[v.a]",
        "https://[v1.]",
        "a\u00a0b",
        "a\u2028b",
        "a\u202eb",
        "a\u3000b",
        "a\x85b",
        f"a{chr(0xD800)}b",
        "a\ue000b",
        "a\ufffdb",
        "a\uffffb",
        "a\U0001ffffb",
    ],
)
def test_refuses_anything_else(text: str) -> None:
    check_refused(
        lambda: parse_source(text),
        Code.SOURCE_MALFORMED,
        message=f"malformed event source '{text}': source must be a valid URI",
        field="source",
    )


@pytest.mark.parametrize("text", [None, ""])
def test_refuses_a_missing_source(text: str | None) -> None:
    check_refused(lambda: parse_source(text, field="x"), Code.SOURCE_MISSING, field="x")


def test_limits_the_length() -> None:
    longest = "a" * SOURCE_LENGTH_MAX

    assert parse_source(longest[:-1]) == longest[:-1]
    assert parse_source(longest) == longest
    check_refused(
        lambda: parse_source(longest + "a"),
        Code.SOURCE_MALFORMED,
        message=str(SOURCE_LENGTH_MAX),
        field="source",
        limit=SOURCE_LENGTH_MAX,
    )
