"""Subjects: the paths that events are about, and how they lie above and below each other.

A subject is `/`, or segments of letters, digits, `_` and `-`, each after a slash.
A value returned by `parse_subject` is canonical: two subjects are the same exactly if their
texts are equal, since the optional trailing slash is gone.
What is left to others: which subjects exist (storage).
"""

import re
from collections.abc import Iterator
from typing import Final

from everlog.domain.errors import Code, RefusedError
from everlog.domain.limits import SUBJECT_DEPTH_MAX, SUBJECT_LENGTH_MAX

ROOT: Final = "/"

# Each character has exactly one way to match, so that matching is linear.
_match_subject = re.compile(
    r"/(?:[0-9A-Za-z_-]+(?:/[0-9A-Za-z_-]+)*/?)?",
).fullmatch


def parse_subject(text: str | None, *, field: str = "subject") -> str:
    """Return the canonical form of a subject, without a trailing slash."""
    # Nearly all are like this: too short to have too many segments, and canonical.
    if text and len(text) <= SUBJECT_DEPTH_MAX and text[-1] != "/" and _match_subject(text):
        return text
    if not text:
        raise RefusedError(Code.SUBJECT_MISSING, "the event subject is missing", field=field)
    if len(text) > SUBJECT_LENGTH_MAX:
        raise RefusedError(
            Code.SUBJECT_MALFORMED,
            f"malformed event subject: it is longer than {SUBJECT_LENGTH_MAX} characters",
            field=field,
            limit=SUBJECT_LENGTH_MAX,
        )
    if _match_subject(text) is None:
        raise RefusedError(
            Code.SUBJECT_MALFORMED,
            f"malformed event subject '{text}': subject must be an absolute, slash-separated path",
            field=field,
        )
    subject = text if text[-1] != "/" or text == ROOT else text[:-1]
    if subject.count("/") > SUBJECT_DEPTH_MAX:
        raise RefusedError(
            Code.SUBJECT_MALFORMED,
            f"malformed event subject: it has more than {SUBJECT_DEPTH_MAX} segments",
            field=field,
            limit=SUBJECT_DEPTH_MAX,
        )
    return subject


def parent(subject: str) -> str | None:
    """Return the subject directly above, None for the root."""
    if subject == ROOT:
        return None
    return subject[: subject.rindex("/")] or ROOT


def ancestors(subject: str) -> Iterator[str]:
    """Yield every subject above, the root first; the subject itself is not among them."""
    if subject == ROOT:
        return
    yield ROOT
    slash = subject.find("/", 1)
    while slash != -1:
        yield subject[:slash]
        slash = subject.find("/", slash + 1)


def is_within(subject: str, top: str) -> bool:
    """Tell whether a subject is the top itself or lies below it."""
    return top in {ROOT, subject} or subject.startswith(f"{top}/")


def sort_key(subject: str) -> str:
    """Return a key that orders subjects depth-first, siblings by their segment's characters.

    In plain text order `/a-b` comes before `/a/b`, which would tear `/a` from what lies below it.
    """
    return subject.replace("/", "\0")
