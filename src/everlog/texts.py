"""Texts that others hand over, in a form that everybody can read and a terminal can be shown.

What the system hands over, such as a path, may hold bytes that are no text. What a client stored,
what a server answers and how a file is called may hold anything else: codes that move the cursor,
hide what follows or type in the user's name, and letters that turn the direction of writing. Here
they become escapes.
What is left to others: who looks at an output, a person at a terminal or a program.
"""

import os
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


def to_printable(text: str) -> str:
    """Return a text on one line, with everything that is not printed shown as an escape."""
    if text.isprintable():
        return text
    # A path may hold bytes that are no text.
    text = to_unicode(text)
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def to_printable_json(text: bytes) -> bytes:
    """Return a JSON text that means the same and has no letter that is not printed.

    Line feeds stay, and nothing else can stand between tokens that is not printed.
    """
    lines = text.decode().split("\n")
    return "\n".join(map(_to_printable_line, lines)).encode()


def _to_printable_line(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(letter if letter.isprintable() else _escape_json(letter) for letter in line)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _escape_json(letter: str) -> str:
    # JSON has escapes of 16 bits only.
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def is_coloured(descriptor: int) -> bool:
    """Tell whether what is written there may have colours: on a terminal, unless told not to.

    Source: https://no-color.org, for NO_COLOR.
    """
    is_wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return is_wanted and os.isatty(descriptor)
