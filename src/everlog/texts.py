"""Texts that the system hands over, such as paths, in a form that everybody can read."""


def to_unicode(text: str) -> str:
    """Return a text that UTF-8 can carry: in a path, bytes that are none become escapes."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("ascii", "backslashreplace").decode("ascii")
