"""What a backup holds, or what was restored, in one line for people or for programs."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from everlog.texts import to_printable, to_unicode
from everlog.transfer.contents import Place


class FileDigest(NamedTuple):
    """A file of a backup and its hexadecimal SHA-256."""

    name: str
    sha256: str


class Summary(NamedTuple):
    """What there is; `place` is where."""

    place: str
    event_count: int
    schema_count: int
    first: Place | None
    last: Place | None
    files: Sequence[FileDigest]


def render_text(summary: Summary) -> str:
    """Return it as one line for people."""
    first, last = summary.first, summary.last
    events = _count(summary.event_count, "event")
    if first is None and last is not None:
        events += f", the last one {last.id} ({last.hash})"
    elif first is not None and last is not None:
        events += f", from {first.id} ({first.hash}) to {last.id} ({last.hash})"
    schemas = _count(summary.schema_count, "event schema")
    digests = ", ".join(
        f"SHA-256 {file.sha256}"
        + (f" of {file.name}" if len(summary.files) > 1 or file.name != summary.place else "")
        for file in summary.files
    )
    parts = filter(None, (events, schemas, digests))
    return to_printable(f"{summary.place}: {'; '.join(parts)}")


def render_json(summary: Summary, **more: object) -> str:
    """Return it as one JSON object for programs."""
    first, last = summary.first, summary.last
    payload: dict[str, object] = {
        "eventCount": summary.event_count,
        "schemaCount": summary.schema_count,
        "firstEventId": None if first is None else first.id,
        "firstEventHash": None if first is None else first.hash,
        "lastEventId": None if last is None else last.id,
        "lastEventHash": None if last is None else last.hash,
        "files": [{"name": to_unicode(file.name), "sha256": file.sha256} for file in summary.files],
        **more,
    }
    return msgspec.json.encode({"type": "summary", "payload": payload}).decode()


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
