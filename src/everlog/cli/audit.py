"""`everlog audit`: whether everything in a data directory is as it was written."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from everlog.cli.printable import to_printable, to_printable_json
from everlog.domain.errors import DataDirectoryError
from everlog.exit_codes import EXIT_DAMAGED, EXIT_DATA_DIRECTORY
from everlog.maintenance.audit import Progress
from everlog.maintenance.audit import audit as audit_directory
from everlog.maintenance.findings import Finding, Summary
from everlog.texts import to_unicode

_PROGRESS_SECONDS: Final = 0.5

# Click does not fill a paragraph that begins with this character.
_HELP: Final = """Tell what in a data directory is not as it was written.

All of it is read and compared; nothing in it is changed. Beside a server that has it open that is
what was stored for good when the audit began. Each finding names the event, the file and the place.
The exit code is 0 if nothing was found, 4 if something was, 3 if the directory cannot be audited.

\b
Example:
  everlog audit --data-directory /var/lib/everlog
"""


@click.command(help=_HELP)
@click.option(
    "--data-directory",
    # Whether it can be read finds out who reads it.
    type=click.Path(path_type=Path, readable=False),
    envvar="EVERLOG_DATA_DIRECTORY",
    show_envvar=True,
    required=True,
    help="The directory to audit.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json is for programs: one object on each line, the last one a summary.",
)
def audit(data_directory: Path, format_: str) -> None:
    """Print every finding, and a summary."""
    render = _render_json if format_ == "json" else _render_text
    summary: Summary | None = None
    try:
        for found in _audit(data_directory):
            _clear_progress()
            click.echo(render(found))
            if isinstance(found, Summary):
                summary = found
    except DataDirectoryError as error:
        _clear_progress()
        click.echo(f"Error: {to_printable(str(error))}", err=True)
        sys.exit(EXIT_DATA_DIRECTORY)
    assert summary is not None
    sys.exit(0 if summary.is_ok else EXIT_DAMAGED)


def _audit(directory: Path) -> Iterator[Finding | Summary]:
    """Yield what is found; raises DataDirectoryError for whatever the system refuses to read."""
    try:
        yield from audit_directory(directory, on_progress=_progress())
    except OSError as error:
        path = error.filename or directory
        raise DataDirectoryError(f"{path} cannot be read: {error.strerror}") from error


def _render_text(found: Finding | Summary) -> str:
    if isinstance(found, Finding):
        return to_printable(found.text)
    counts = (
        f"{found.event_count} events, {found.log_size} bytes in {found.segment_count} segments, "
        f"{found.schema_count} event schemas, head {found.head_hash}"
    )
    return f"OK: {counts}" if found.is_ok else f"{found.finding_count} findings: {counts}"


def _render_json(found: Finding | Summary) -> str:
    payload: dict[str, object]
    if isinstance(found, Finding):
        payload = {
            "kind": found.kind,
            "weight": found.weight,
            "eventId": None if found.event_id is None else str(found.event_id),
            "file": to_unicode(found.file),
            "offset": found.offset,
            "meaning": to_unicode(found.meaning),
        }
        line = msgspec.json.encode({"type": "finding", "payload": payload})
        return to_printable_json(line).decode()
    payload = {
        "isOk": found.is_ok,
        "eventCount": found.event_count,
        "headHash": found.head_hash,
        "logSize": found.log_size,
        "segmentCount": found.segment_count,
        "schemaCount": found.schema_count,
        "findingCount": found.finding_count,
        "noticeCount": found.notice_count,
    }
    return msgspec.json.encode({"type": "summary", "payload": payload}).decode()


def _progress() -> Callable[[Progress], None]:
    if not _is_watched():
        return lambda _: None
    told_at = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal told_at
        if time.monotonic() >= told_at + _PROGRESS_SECONDS:
            told_at = time.monotonic()
            share = progress.done / max(1, progress.total)
            _show(f"\r{share:.0%} of {progress.total} bytes")

    return tell


def _clear_progress() -> None:
    if _is_watched():
        _show("\r\033[K")


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _show(text: str) -> None:
    click.echo(text, nl=False, err=True)
