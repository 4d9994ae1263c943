"""Sources: URI references that name where an event comes from.

The grammar is that of RFC 3986, widened by the letters of other scripts as in RFC 3987, so that
a source may be written as people write it.
A source is kept as it was given: it is an opaque name here, never resolved and never normalised.
What is left to others: caching, since a writer uses the same few sources again and again.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from string import ascii_letters, digits
from typing import Final

from everlog.domain.errors import Code, RefusedError
from everlog.domain.limits import SOURCE_LENGTH_MAX

# `ucschar` of RFC 3987, section 2.2, without spaces, separators and the marks that turn the
# direction of writing (section 4.1 forbids these): none of them can be seen by a person.
_OTHER_SCRIPTS: Final = (
    "\u00a1-\u167f\u1681-\u1fff\u200b-\u200d\u2010-\u2027\u2030-\u205e\u2060-\u2065\u206a-\u2fff"
    "\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\uffef"
    + "".join(f"{chr(plane)}-{chr(plane + 0xFFFD)}" for plane in range(0x10000, 0xE0000, 0x10000))
    + "\U000e1000-\U000efffd"
)
_ASCII_OR_OTHER_SCRIPTS: Final = f"[\0-\x7f{_OTHER_SCRIPTS}]*"

_ASCII: Final = "".join(map(chr, range(0x80)))
_UNRESERVED: Final = ascii_letters + digits + "-._~"
_SUB_DELIMITERS: Final = "!$&'()*+,;="


def _part(characters: str) -> re.Pattern[str]:
    """Compile the pattern of a part made of these characters and of percent-encoded bytes.

    All that is not ASCII passes: which of it may stand there is judged for a text as a whole, since
    its many ranges take milliseconds to compile, and few sources need them.
    """
    allowed = {*_UNRESERVED, *_SUB_DELIMITERS, *characters}
    one = "[^" + re.escape("".join(letter for letter in _ASCII if letter not in allowed)) + "]"
    return re.compile(f"{one}*(?:%[0-9A-Fa-f]{{2}}{one}*)*")


# RFC 3986, appendix B, except that a colon with nothing before it is taken as an (illegal)
# scheme. Since a scheme ends at the first colon, the first segment of a relative reference
# cannot hold one. Every text matches, in linear time.
_PARTS: Final = re.compile(
    r"(?:(?P<scheme>[^:/?#]*):)?"
    r"(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?"
    r"(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_AUTHORITY: Final = re.compile(
    r"(?:(?P<user>[^@]*)@)?(?P<host>\[[^\]]*\]|[^:]*)(?::[0-9]*)?",
)
_USER: Final = _part(":")
_HOST: Final = _part("")
_FUTURE_ADDRESS: Final = re.compile(r"[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+")
_PATH: Final = _part(":@/")
_QUERY: Final = _part(":@/?")


def parse_source(text: str | None, *, field: str = "source") -> str:
    """Return the text if it is a URI reference."""
    if not text:
        raise RefusedError(Code.SOURCE_MISSING, "the event source is missing", field=field)
    if len(text) > SOURCE_LENGTH_MAX:
        raise RefusedError(
            Code.SOURCE_MALFORMED,
            f"malformed event source: it is longer than {SOURCE_LENGTH_MAX} characters",
            field=field,
            limit=SOURCE_LENGTH_MAX,
        )
    if not (_is_uri_reference(text) and _has_letters_only(text)):
        raise RefusedError(
            Code.SOURCE_MALFORMED,
            f"malformed event source '{text}': source must be a valid URI",
            field=field,
        )
    return text


def _is_uri_reference(text: str) -> bool:
    parts = _PARTS.fullmatch(text)
    assert parts is not None  # every text has parts, be they empty
    scheme, authority, path, query, fragment = parts.groups()
    return (
        (scheme is None or _SCHEME.fullmatch(scheme) is not None)
        and (authority is None or _is_authority(authority))
        and _PATH.fullmatch(path) is not None
        and (query is None or _QUERY.fullmatch(query) is not None)
        and (fragment is None or _QUERY.fullmatch(fragment) is not None)
    )


def _has_letters_only(text: str) -> bool:
    """Tell whether everything that is not ASCII is of a script that people write."""
    return text.isascii() or re.fullmatch(_ASCII_OR_OTHER_SCRIPTS, text) is not None


def _is_authority(text: str) -> bool:
    parts = _AUTHORITY.fullmatch(text)
    if parts is None:
        return False
    # A port is any number of digits, whatever TCP makes of them (RFC 3986, section 3.2.3).
    user, host = parts.groups()
    return (user is None or _USER.fullmatch(user) is not None) and (
        _is_address(host[1:-1]) if host.startswith("[") else _HOST.fullmatch(host) is not None
    )


def _is_address(text: str) -> bool:
    """Tell whether a text may stand in brackets: an IPv6 address or one of a future version."""
    if _FUTURE_ADDRESS.fullmatch(text):
        return True
    if "%" in text:
        return False  # Python knows zones (`fe80::1%eth0`), URIs do not
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
