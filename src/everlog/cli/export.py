"""`everlog export`: events, or the rows of a query, into a file for other programs."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from everlog.cli.faults import told
from everlog.cli.forms import CsvWriter, JsonWriter, NdjsonWriter, Writer
from everlog.cli.printing import count_things, describe_rows
from everlog.cli.progress import Progress
from everlog.cli.read import (
    COLUMNS,
    json_of,
    selection_of,
    selection_options,
    telling,
)
from everlog.cli.stores import FILE, StoreChoice, store_options
from everlog.eventql.limits import QUERY_LENGTH_MAX
from everlog.texts import to_printable

if TYPE_CHECKING:
    from everlog.library.store import Events, Rows

_HELP: Final = """Write events, or the rows of a query, to a file.

SUBJECT and the options choose events as 'everlog read' does; --query and --query-file choose rows
instead. The name says which format is meant, unless --format does: .ndjson, .json, .csv, .parquet
or .arrow (an Arrow stream); the last two need extras: pip install 'everlog[arrow,parquet]'. Until
the file is whole, it is called FILE.part. To restore a store from a file, use 'everlog backup'.

\b
Examples:
  everlog export / --recursive --output events.ndjson
  everlog export /books --recursive --after 1041 --output new.csv
  everlog export --query 'FROM e IN events PROJECT INTO { id: e.id, title: e.data.title }'
    --output titles.csv
  everlog export / --recursive --output events.parquet

\b
Exit codes:
  0  the file is whole
  1  anything unexpected; also a file that cannot be written, or a row without a place in the format
  2  a flag is wrong or missing, or the file is there already
  3  the data directory cannot be read, or it is none
  4  the data directory is damaged
  6  the query is malformed
  7  the query cannot be evaluated, or needs more than it may have
  8  the server cannot be asked, refuses the token, or did not answer to the end
  9  what is asked is not as it must be
"""

_COLUMNAR: Final = ("parquet", "arrow")
_FORMATS: Final = ("ndjson", "json", "csv", *_COLUMNAR)

_STANDARD_OUTPUT: Final = "-"


@click.command(help=_HELP)
@selection_options
@click.option("--query", "query_text", metavar="QUERY", help="The rows of an EventQL query.")
@click.option("--query-file", type=FILE, help="A file that holds the query.")
@click.option("--output", required=True, help="The file to write, or - for standard output.")
@click.option("--format", "format_", type=click.Choice(_FORMATS), help="How it is written.")
@click.option("--force", is_flag=True, help="Write the file anew where it is there already.")
@store_options
def export(
    store: StoreChoice,
    query_text: str | None,
    query_file: Path | None,
    output: str,
    format_: str | None,
    force: bool,  # noqa: FBT001 - click calls this with keywords.
    **options: Any,
) -> None:
    """Write events or rows to a file."""
    selection = selection_of(**options)
    text = _read_query(query_text, query_file)
    form = format_ or _form_of(output)
    if output != _STANDARD_OUTPUT and Path(output).exists() and not force:
        raise click.UsageError(
            f"{output} is there already: choose another name, or --force to write it anew"
        )
    progress = Progress()
    with told(progress, text or ""), store.open(on_read=telling(progress)) as opened:
        found = selection.read(opened) if text is None else opened.query(text)
        noun = "event" if text is None else "row"
        with _target(output) as path:
            if form in _COLUMNAR:
                count = _write_columns(found, form, path, progress)
            else:
                columns = COLUMNS if text is None else None
                count = _write_lines(found, form, path, columns, progress)
        progress.clear()
        shown = "standard output" if output == _STANDARD_OUTPUT else output
        click.echo(f"({to_printable(shown)}: {count_things(count, noun)})", err=True)


def _read_query(text: str | None, file: Path | None) -> str | None:
    if text is not None and file is not None:
        raise click.UsageError("--query and --query-file exclude each other")
    if file is None:
        return text
    try:
        with file.open("rb") as source:
            return source.read(4 * QUERY_LENGTH_MAX + 1).decode()
    except OSError as error:
        raise click.UsageError(f"the query cannot be read: {error}") from error
    except UnicodeError as error:
        raise click.UsageError("the query is not UTF-8") from error


def _form_of(output: str) -> str:
    suffix = Path(output).suffix.removeprefix(".")
    if output == _STANDARD_OUTPUT:
        return "ndjson"
    if suffix in _FORMATS:
        return suffix
    if suffix in {"jsonl", "jsonlines"}:
        return "ndjson"
    raise click.UsageError(f"the name of {output} says no format: add --format")


@contextmanager
def _target(output: str) -> Iterator[Path | None]:
    """Yield where to write, None for standard output; what is whole gets its name at the end."""
    if output == _STANDARD_OUTPUT:
        yield None
        return
    target = Path(output)
    draft = target.with_name(f"{target.name}.part")
    try:
        # What is exported is for its owner, until that one says otherwise.
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        try:
            yield draft
            draft.replace(target)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error


def _write_lines(
    found: "Events | Rows",
    form: str,
    path: Path | None,
    columns: Sequence[str] | None,
    progress: Progress,
) -> int:
    """Write events or rows as they come, and return how many there were."""
    makers: Mapping[str, Callable[[], Writer]] = {
        "ndjson": NdjsonWriter,
        "json": JsonWriter,
        "csv": partial(CsvWriter, columns=columns),
    }
    writer = makers[form]()
    count = 0
    with _opened(path) as file:
        for rows in _rows_of(found, progress):
            file.write(writer.add(rows))
            count += len(rows)
            progress.tell(partial(describe_rows, count))
        file.write(writer.finish())
    return count


def _write_columns(found: "Events | Rows", form: str, path: Path | None, progress: Progress) -> int:
    """Write events or rows in columns, and return how many there were."""
    try:
        from everlog.library.frames import write_arrow, write_parquet

        write = write_parquet if form == "parquet" else write_arrow
        with _opened(path) as file:
            return write(
                found, file, on_progress=lambda count: progress.tell(partial(describe_rows, count))
            )
    except ModuleNotFoundError as error:
        # Its text says which extra brings what is missing.
        raise click.UsageError(str(error)) from error


def _rows_of(found: "Events | Rows", progress: Progress) -> Iterator[Sequence[bytes]]:
    from everlog.library.store import Events

    if isinstance(found, Events):
        return json_of(found.batches(), None, progress)
    return found.batches()


@contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
