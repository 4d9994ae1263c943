"""Texts for terminals, which obey some of what they are told to show.

What a client stored, what a server answers and how a file is called may hold anything: codes that
move the cursor, hide what follows or type in the user's name, and letters that turn the direction
of writing. Here they become escapes.
What is left to others: who looks at an output, a person at a terminal or a program.
"""

from everlog.texts import to_unicode


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
