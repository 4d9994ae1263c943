"""`everlog audit`: whether everything in a data directory is as it was written."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec

from everlog.domain.errors import DataDirectoryError
from everlog.exit_codes import EXIT_DAMAGED, EXIT_DATA_DIRECTORY
from everlog.maintenance.audit import Progress
from everlog.maintenance.audit import audit as audit_directory
from everlog.maintenance.audit_checkpoint import KeptCheckpoint
from everlog.maintenance.findings import Finding, Summary
from everlog.texts import to_printable, to_printable_json, to_unicode

_PROGRESS_SECONDS: Final = 0.5

# Click does not fill a paragraph that begins with this character.
_HELP: Final = """Tell what in a data directory is not as it was written.

All of it is read and compared; nothing in it is changed. Beside a server that has it open that is
what was stored for good when the audit began. Each finding names the event, the file and the place.

With --checkpoint the log is compared with what a log's checkpoint said of it when it was kept.

\b
Examples:
  everlog audit --data-directory /var/lib/everlog
  everlog audit --data-directory /var/lib/everlog
    --checkpoint kept.txt --key "$(cat verifier-keys)"

\b
Exit codes:
  0  nothing was found
  1  anything unexpected
  2  a flag is wrong or missing, or a file that it names cannot be used
  3  the directory cannot be audited: it is none, or cannot be read
  4  something was found
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
    "--checkpoint",
    "checkpoints",
    type=click.Path(path_type=Path, readable=False),
    multiple=True,
    help="A checkpoint that was kept, to compare the log with; may be given several times.",
)
@click.option(
    "--key",
    "keys",
    metavar="VERIFIERKEY",
    multiple=True,
    help="A verifier key of the log, one of which has to have signed each checkpoint.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json is for programs: one object on each line, the last one a summary.",
)
def audit(
    data_directory: Path, checkpoints: tuple[Path, ...], keys: tuple[str, ...], format_: str
) -> None:
    """Print every finding, and a summary."""
    if keys and not checkpoints:
        raise click.UsageError("--key needs the --checkpoint that it is for")
    kept = _read_kept(checkpoints, keys) if checkpoints else []
    render = _render_json if format_ == "json" else _render_text
    summary: Summary | None = None
    try:
        for found in _audit(data_directory, kept):
            _clear_progress()
            click.echo(render(found, kept))
            if isinstance(found, Summary):
                summary = found
    except DataDirectoryError as error:
        _clear_progress()
        click.echo(f"Error: {to_printable(str(error))}", err=True)
        sys.exit(EXIT_DATA_DIRECTORY)
    assert summary is not None
    sys.exit(0 if summary.is_ok else EXIT_DAMAGED)


def _audit(directory: Path, kept: Sequence[KeptCheckpoint]) -> Iterator[Finding | Summary]:
    """Yield what is found; raises DataDirectoryError for whatever the system refuses to read."""
    try:
        yield from audit_directory(directory, on_progress=_progress(), checkpoints=kept)
    except OSError as error:
        path = error.filename or directory
        raise DataDirectoryError(f"{path} cannot be read: {error.strerror}") from error


def _read_kept(paths: Sequence[Path], keys: Sequence[str]) -> list[KeptCheckpoint]:
    """Return the checkpoints from files.

    Raises:
        click.UsageError: A file cannot be read, is no checkpoint, or not signed by one of the keys.
    """
    from everlog.cli.verify import in_words, read_file, read_trust
    from everlog.verifying.errors import VerificationError
    from everlog.verifying.notes import NOTE_SIZE_MAX
    from everlog.verifying.offline import check_checkpoint, read_unsigned

    trust = read_trust(keys)
    kept: list[KeptCheckpoint] = []
    for path in paths:
        content = read_file(path, NOTE_SIZE_MAX)
        try:
            if keys:
                signed = check_checkpoint(content, trust)
                kept.append(
                    KeptCheckpoint(str(path), signed.checkpoint, in_words(signed.signatures))
                )
            else:
                kept.append(KeptCheckpoint(str(path), read_unsigned(content), None))
        except VerificationError as error:
            raise click.UsageError(to_printable(f"--checkpoint {path}: {error}")) from error
    return kept


def _render_text(found: Finding | Summary, kept: Sequence[KeptCheckpoint]) -> str:
    if isinstance(found, Finding):
        return to_printable(found.text)
    counts = (
        f"{found.event_count} events, {found.log_size} bytes in {found.segment_count} segments, "
        f"{found.schema_count} event schemas, head {found.head_hash}"
    )
    summary = f"OK: {counts}" if found.is_ok else f"{found.finding_count} findings: {counts}"
    confirmed = [_in_words(one) for one in kept if one.name in found.confirmed_checkpoints]
    return "\n".join([*map(to_printable, confirmed), summary])


def _in_words(kept: KeptCheckpoint) -> str:
    """Return what is said of a checkpoint that the log is as."""
    signed = "whose signature nobody checked: no --key was given"
    if kept.signers is not None:
        signed = f"signed by {kept.signers}"
    checkpoint = kept.checkpoint
    log = f"the log {checkpoint.origin}"
    return f"{kept.name}: the first {checkpoint.size} events are those of {log}, {signed}"


def _render_json(found: Finding | Summary, kept: Sequence[KeptCheckpoint]) -> str:
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
    if kept:
        payload["checkpoints"] = [
            {
                "file": to_unicode(one.name),
                "origin": one.checkpoint.origin,
                "size": one.checkpoint.size,
                "isConfirmed": one.name in found.confirmed_checkpoints,
                "signedBy": one.signers,
            }
            for one in kept
        ]
    return to_printable_json(msgspec.json.encode({"type": "summary", "payload": payload})).decode()


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
