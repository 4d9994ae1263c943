"""`everlog backup`: all that a store holds, from a server or from a data directory, in one file."""

import sys
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from everlog.cli.backing_up.compression import SUFFIX, CompressionError, check_is_installed
from everlog.cli.backing_up.files import STANDARD_STREAM, find_last_event
from everlog.cli.backing_up.output import FileOutput, Output, OutputError, StandardOutput
from everlog.cli.backing_up.summary import FileDigest, Summary, render_json, render_text
from everlog.cli.faults import exit_code_of
from everlog.cli.progress import Progress, describe_events
from everlog.cli.stores import TOKEN_VARIABLE, StoreChoice, store_options
from everlog.domain.errors import Code, CorruptLogError, EverlogError, RefusedError
from everlog.exit_codes import (
    EXIT_DAMAGED,
    EXIT_DATA_DIRECTORY,
    EXIT_INTERRUPTED,
    EXIT_UNEXPECTED,
)
from everlog.process import give_up_output
from everlog.texts import to_printable
from everlog.transfer.contents import BackupContents, Place

if TYPE_CHECKING:
    from everlog.library.store import Store

# Click does not fill a paragraph that begins with this character.
_HELP: Final = f"""Write all events and event schemas to a file.

A server goes on with its work meanwhile. It is asked with --url, which needs the token: in the
environment variable {TOKEN_VARIABLE}, or in a file. With --data-directory no server is needed; one
may have it open. Either way the backup is of one moment, and every hash is checked on the way.

Until it is whole, the file is called FILE.part. Where that is there from before, the same command
goes on with it. A name that ends with .zst is compressed with zstd.

\b
Examples:
  everlog backup --url https://localhost:4000 --output monday.ndjson.zst
  everlog backup --data-directory /var/lib/everlog --output monday.ndjson
  everlog backup --output tuesday.ndjson --incremental-from monday.ndjson  (with EVERLOG_URL set)
  everlog backup --output - | ssh backup.example 'cat > everlog.ndjson'

\b
Exit codes:
  0  the backup is whole and has its name; the last line says what it holds
  1  anything unexpected; also a file that cannot be written
  2  a flag is wrong or missing, or the file is there already
  3  the data directory cannot be read, or it is none, or of another store
  4  what was to be backed up, or the file to go on with, is not as it was written
  8  the server cannot be asked, refuses, or did not answer to the end
"""


_COUNT: Final = "FROM e IN events PROJECT INTO COUNT()"


# The store has not what the file ends with.
_OF_ANOTHER_STORE: Final = frozenset(
    {Code.LAST_BACKED_UP_EVENT_UNKNOWN, Code.LAST_BACKED_UP_EVENT_MISMATCHED}
)


@click.command(help=_HELP)
@click.option(
    "--output",
    required=True,
    help="The file to write, or - for standard output.",
)
@click.option(
    "--incremental-from",
    type=click.Path(path_type=Path, readable=False),
    help="A backup to go on from: only the events behind its last one are written.",
)
@click.option("--force", is_flag=True, help="Write the file anew where it is there already.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How the last line says what the backup holds; json is for programs.",
)
@store_options
def backup(
    store: StoreChoice,
    output: str,
    incremental_from: Path | None,
    force: bool,  # noqa: FBT001 - click calls this with keywords.
    format_: str,
) -> None:
    """Write a backup, and say what it holds."""
    _check_output(output, force=force)
    progress = Progress()
    try:
        after = None if incremental_from is None else _find_last(incremental_from)
        with store.open() as opened:
            summary = _back_up(opened, output, after, progress)
    except (RefusedError, CompressionError) as error:
        is_of_another = isinstance(error, RefusedError) and error.code in _OF_ANOTHER_STORE
        _end(progress, str(error), EXIT_DATA_DIRECTORY if is_of_another else EXIT_DAMAGED)
    except OutputError as error:
        _end(progress, str(error), EXIT_UNEXPECTED)
    except EverlogError as error:
        _end(progress, str(error), exit_code_of(error))
    except BrokenPipeError:
        progress.clear()
        raise
    except OSError as error:
        if output == STANDARD_STREAM:
            give_up_output()
        _end(progress, str(error), EXIT_UNEXPECTED)
    except KeyboardInterrupt:
        going_on = "" if output == STANDARD_STREAM else "; the same command goes on from here"
        _end(progress, f"interrupted{going_on}", EXIT_INTERRUPTED)
    progress.clear()
    text = render_json(summary) if format_ == "json" else render_text(summary)
    click.echo(text, err=output == STANDARD_STREAM)


def _check_output(output: str, *, force: bool) -> None:
    if output == STANDARD_STREAM:
        return
    if output.endswith(SUFFIX):
        check_is_installed()
    if Path(output).exists() and not force:
        raise click.UsageError(
            f"{output} is there already: choose another name, or --force to write it anew; "
            "--incremental-from writes what has come since to a file of its own"
        )


def _find_last(file: Path) -> Place:
    try:
        return find_last_event(str(file))
    except RefusedError as error:
        raise RefusedError(error.code, f"{file}: {error.message}", **error.details) from error


def _back_up(source: "Store", output: str, after: Place | None, progress: Progress) -> Summary:
    contents = BackupContents(after)
    with ExitStack() as resources:
        target: Output
        if output == STANDARD_STREAM:
            target = StandardOutput()
        else:
            file = FileOutput(Path(output), is_compressed=output.endswith(SUFFIX))
            target = resources.enter_context(closing(file))
            _read_draft(file, contents, progress)
        total = _count(source) if progress.is_watched else None
        if total is not None and after is not None:
            total -= int(after.id) + 1
        try:
            for lines in source.backup(after=contents.last):
                target.write(contents.add(lines))
                progress.tell(partial(_describe, contents.event_count, total))
        finally:
            target.keep()
        target.finish()
        return Summary(
            output,
            contents.event_count,
            contents.schema_count,
            contents.first,
            None if contents.event_count == 0 else contents.last,
            [FileDigest(output, target.sha256)],
        )


def _count(source: "Store") -> int | None:
    """Return how many events there are, None if the store does not say."""
    try:
        return next(iter(source.query(_COUNT)), None)
    except EverlogError:
        # What it says of the backup is what matters.
        return None


def _describe(done: int, total: int | None, seconds: float) -> str:
    """Return how far it is, as far as anybody knows."""
    if total is not None:
        return describe_events(done, total, seconds)
    return f"{done:,} events, {done / max(seconds, 1e-9):,.0f} events/s"


def _read_draft(file: FileOutput, contents: BackupContents, progress: Progress) -> None:
    """Take note of what was written before; raises CorruptLogError if that is no such backup."""
    try:
        for lines in file.read_draft():
            contents.add(lines)
            progress.tell(partial(_describe, contents.event_count, None))
    except (RefusedError, CompressionError) as error:
        message = f"{file.draft} cannot be gone on with ({error}): remove it, and try again"
        raise CorruptLogError(message, position=None) from error


def _end(progress: Progress, message: str, code: int) -> NoReturn:
    """Say what went wrong, and end."""
    progress.clear()
    click.echo(f"Error: {to_printable(message)}", err=True)
    sys.exit(code)
