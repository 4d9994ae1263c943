"""Printing rows on standard output, and how far it is on standard error.

Rows are printed as they come; a table's rows wait for each other, but not for long. Whoever reads
them may stop at any time, which is no error.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Final, TypeVar

import click

from everlog.cli.faults import describe_error, exit_code_of
from everlog.cli.forms import (
    CsvWriter,
    JsonWriter,
    NdjsonWriter,
    PlanWriter,
    RowFormError,
    TableWriter,
    Writer,
)
from everlog.cli.progress import Progress, describe_seconds
from everlog.domain.errors import EverlogError
from everlog.exit_codes import EXIT_OK, EXIT_OUTPUT_CLOSED
from everlog.process import give_up_output
from everlog.texts import is_coloured, to_printable, to_printable_json

FORMATS: Final = ("table", "ndjson", "json", "csv")

# Rows that wait for others to stand in a table with them wait no longer than that.
_WAITING_SECONDS_MAX: Final = 0.5

_Command = TypeVar("_Command", bound=Callable[..., Any])


def format_option(command: _Command) -> _Command:
    """Give a command the option that says how rows are printed."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(FORMATS),
        help="How rows are printed.  [default: table on a terminal, else ndjson]",
    )(command)


def print_rows(
    rows: Iterator[Sequence[bytes]],
    form: str | None,
    progress: Progress,
    *,
    text: str = "",
    is_explain: bool = False,
    columns: Sequence[str] | None = None,
    table_columns: Sequence[str] | None = None,
    is_live: bool = False,
    noun: str = "row",
) -> int:
    """Print rows, which are JSON texts, and return the exit code.

    Without a form it is a table on a terminal, and NDJSON elsewhere. What a terminal would obey is
    shown as escapes there; whatever else reads the rows gets them as they are.
    `text` is that of a query, for what is wrong with it. `columns` are those of CSV, and
    `table_columns` those of a table, where not the rows say which there are. Where they are live,
    no row waits for others.
    """
    output = _open_output()
    is_terminal = output.isatty()
    form = form or ("table" if is_terminal else "ndjson")
    writer = _writer(
        form,
        is_explain=is_explain,
        width=shutil.get_terminal_size().columns if is_terminal else None,
        has_colours=is_terminal and is_coloured(output.fileno()),
        columns=columns,
        table_columns=table_columns,
    )
    if is_terminal:
        rows = ([*map(to_printable_json, chunk)] for chunk in rows)
    try:
        count, error = _copy(rows, writer, output, progress, is_live=is_live)
    except BrokenPipeError:
        give_up_output()
        progress.clear()
        return EXIT_OUTPUT_CLOSED
    progress.clear()
    if error is not None:
        click.echo(describe_error(error, text), err=True)
        return exit_code_of(error)
    if form == "table" and not isinstance(writer, PlanWriter):
        counted = count_things(count, noun)
        click.echo(f"({counted}, {describe_seconds(progress.seconds)})", err=True)
    return EXIT_OK


def _open_output() -> BinaryIO:
    if sys.stdout is None:
        # Nobody reads, as if it had been closed later.
        sys.exit(EXIT_OUTPUT_CLOSED)
    return sys.stdout.buffer


def _writer(
    form: str,
    *,
    is_explain: bool,
    width: int | None,
    has_colours: bool,
    columns: Sequence[str] | None,
    table_columns: Sequence[str] | None,
) -> Writer:
    match form:
        case "ndjson":
            return NdjsonWriter()
        case "json":
            return JsonWriter()
        case "csv":
            return CsvWriter(str if width is None else to_printable, columns=columns)
        case _ if is_explain:
            return PlanWriter()
        case _:
            return TableWriter(width_max=width, columns=table_columns, has_colours=has_colours)


def _copy(
    rows: Iterator[Sequence[bytes]],
    writer: Writer,
    output: BinaryIO,
    progress: Progress,
    *,
    is_live: bool,
) -> tuple[int, EverlogError | None]:
    """Print rows as they come; return how many there are, and why there are no more."""
    count = 0
    printed_at = progress.seconds

    def show(text: bytes) -> None:
        nonlocal printed_at
        if text:
            printed_at = progress.seconds
            progress.clear()
            _write(output, text)

    try:
        for chunk in rows:
            show(writer.add(chunk))
            count += len(chunk)
            if is_live or progress.seconds > printed_at + _WAITING_SECONDS_MAX:
                show(writer.flush())
        show(writer.finish())
    except RowFormError as error:
        show(error.before)
        return count, error
    except EverlogError as error:
        show(writer.flush())
        return count, error
    return count, None


def _write(output: BinaryIO, text: bytes) -> None:
    try:
        output.write(text)
        output.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"standard output cannot be written: {error.strerror}"
        raise click.ClickException(message) from error


def describe_rows(count: int, seconds: float) -> str:
    """Return how many rows there are so far."""
    return f"{count_things(count, 'row')}, {describe_seconds(seconds)}"


def count_things(count: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
