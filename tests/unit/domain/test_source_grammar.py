"""Sources against the grammar of RFC 3986, written down from its appendix A."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from everlog.domain.errors import RefusedError
from everlog.domain.source import parse_source

UNRESERVED = r"[A-Za-z0-9\-._~]"
PCT_ENCODED = r"%[0-9A-Fa-f]{2}"
SUB_DELIMS = r"[!$&'()*+,;=]"
PCHAR = rf"(?:{UNRESERVED}|{PCT_ENCODED}|{SUB_DELIMS}|[:@])"
SEGMENT, SEGMENT_NZ = rf"{PCHAR}*", rf"{PCHAR}+"
SEGMENT_NZ_NC = rf"(?:{UNRESERVED}|{PCT_ENCODED}|{SUB_DELIMS}|@)+"
PATH_ABEMPTY = rf"(?:/{SEGMENT})*"
PATH_ABSOLUTE = rf"/(?:{SEGMENT_NZ}(?:/{SEGMENT})*)?"
PATH_NOSCHEME = rf"{SEGMENT_NZ_NC}(?:/{SEGMENT})*"
PATH_ROOTLESS = rf"{SEGMENT_NZ}(?:/{SEGMENT})*"
DEC_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9][0-9]|[0-9])"
IPV4 = rf"{DEC_OCTET}(?:\.{DEC_OCTET}){{3}}"
H16 = r"[0-9A-Fa-f]{1,4}"
LS32 = rf"(?:{H16}:{H16}|{IPV4})"
IPV6 = "|".join(
    [
        rf"(?:{H16}:){{6}}{LS32}",
        rf"::(?:{H16}:){{5}}{LS32}",
        rf"(?:{H16})?::(?:{H16}:){{4}}{LS32}",
        rf"(?:(?:{H16}:){{0,1}}{H16})?::(?:{H16}:){{3}}{LS32}",
        rf"(?:(?:{H16}:){{0,2}}{H16})?::(?:{H16}:){{2}}{LS32}",
        rf"(?:(?:{H16}:){{0,3}}{H16})?::{H16}:{LS32}",
        rf"(?:(?:{H16}:){{0,4}}{H16})?::{LS32}",
        rf"(?:(?:{H16}:){{0,5}}{H16})?::{H16}",
        rf"(?:(?:{H16}:){{0,6}}{H16})?::",
    ]
)
IPV_FUTURE = rf"[vV][0-9A-Fa-f]+\.(?:{UNRESERVED}|{SUB_DELIMS}|:)+"
REG_NAME = rf"(?:{UNRESERVED}|{PCT_ENCODED}|{SUB_DELIMS})*"
HOST = rf"(?:\[(?:{IPV6}|{IPV_FUTURE})\]|{REG_NAME})"
USERINFO = rf"(?:{UNRESERVED}|{PCT_ENCODED}|{SUB_DELIMS}|:)*"
AUTHORITY = rf"(?:{USERINFO}@)?{HOST}(?::[0-9]*)?"
SCHEME = r"[A-Za-z][A-Za-z0-9+\-.]*"
TAIL = rf"(?:\?(?:{PCHAR}|[/?])*)?(?:#(?:{PCHAR}|[/?])*)?"
HIER_PART = rf"(?://{AUTHORITY}{PATH_ABEMPTY}|{PATH_ABSOLUTE}|{PATH_ROOTLESS}|)"
RELATIVE_PART = rf"(?://{AUTHORITY}{PATH_ABEMPTY}|{PATH_ABSOLUTE}|{PATH_NOSCHEME}|)"
URI_REFERENCE = re.compile(rf"(?:{SCHEME}:{HIER_PART}{TAIL}|{RELATIVE_PART}{TAIL})")

# Parts that references are made of, sound ones and others.
PIECES = (
    *("http:", "a+b-c.1:", "1a:", ":", "//", "/", "///", "?", "#", "@", "%", "%2", "%20", "%C3%BC"),
    *("h", "h.example", "user:secret@", "user@", ":0", ":65536", ":", ":" + "9" * 40, ":8a"),
    *(
        "[::1]",
        "[::]",
        "[1:2:3:4:5:6:7::]",
        "[1::2:3:4:5:6:7:8]",
        "[::ffff:192.0.2.1]",
        "[::1%25a]",
    ),
    *(
        "[1:2:3:4:5:6:192.0.2.1]",
        "[::192.0.2.01]",
        "[::256.0.0.1]",
        "[12345::]",
        "[v1.a:b]",
        "[v.a]",
    ),
    *(
        "[vF.~]",
        "[]",
        "[",
        "]",
        "a:b",
        ".",
        "..",
        "./a:b",
        "~",
        "!$&'()*+,;=",
        "a b",
        '"',
        "\\",
        "^",
    ),
)


def is_source(text: str) -> bool:
    try:
        return parse_source(text) == text
    except RefusedError:
        return False


@example("http://host:65536/")
@example("http://host:" + "0" * 40)
@example("//host:")
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
    | st.text(st.characters(max_codepoint=0x7F), min_size=1, max_size=12)
)
def test_what_is_ascii_is_a_source_exactly_if_the_standard_says_so(text: str) -> None:
    assert is_source(text) == (URI_REFERENCE.fullmatch(text) is not None)


@given(st.from_regex(URI_REFERENCE, fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_whatever_the_standard_can_say_is_a_source(text: str) -> None:
    assert text == "" or len(text) > 4_096 or is_source(text)
