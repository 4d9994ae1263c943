"""Media types, and the answers that both versions give in the same form."""

from typing import Final

from everlog.http import Response

JSON: Final = b"application/json"
NDJSON: Final = b"application/x-ndjson"
HEALTH: Final = b"application/health+json"
TEXT: Final = b"text/plain; charset=utf-8"


def text_response(
    status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Response:
    """Return one line of plain text, which is the form of everything that is not 200.

    A text may quote what a client sent: what is not printable in it is escaped.
    """
    line = text if text.isprintable() else "".join(map(_escape, text))
    return Response(status, f"{line}\n".encode(), TEXT, headers)


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
