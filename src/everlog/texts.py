"""Texts that the system hands over, such as paths, in a form that everybody can read."""

import re


def to_unicode(text: str) -> str:
    """Return a text that UTF-8 can carry: in a path, bytes that are none become escapes."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("ascii", "backslashreplace").decode("ascii")


def redact_url(url: str) -> str:
    """Return scheme, hosts and path of a journal's URL, for everybody to see.

    Whoever forgot to encode a character of a password has it nowhere else: what stands before the
    last `@` is left out as a whole, and where one stands among the options, everything.
    """
    scheme, _, rest = url.partition("://")
    address, _, options = re.sub("#", "?", rest, count=1).partition("?")
    if "@" in options:
        address = "..."
    return f"{scheme}://{address.rpartition('@')[2]}"
