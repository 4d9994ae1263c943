"""`everlog query`: rows for a question in EventQL, from a server or from a data directory."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import click

from everlog.cli.connecting import (
    TIMEOUT_SECONDS,
    TOKEN_VARIABLE,
    ServerError,
    certificate_option,
    connect,
    find_token,
    source_of,
    token_file_option,
    url_option,
)
from everlog.cli.printing import describe_rows, print_rows
from everlog.cli.progress import Progress, describe_events
from everlog.cli.querying.faults import EXIT_INTERRUPTED
from everlog.cli.querying.server import query_server
from everlog.eventql.diagnostic import Span
from everlog.eventql.language.parser import tokens_around
from everlog.eventql.limits import QUERY_LENGTH_MAX

# More is certainly too long: a letter has four bytes at most.
_QUERY_SIZE_MAX: Final = 4 * QUERY_LENGTH_MAX + 1

# Whoever opens it says what is wrong with it, and knows the exit code.
_FILE: Final = click.Path(path_type=Path, readable=False)

# Click does not fill a paragraph that begins with this character.
_HELP: Final = f"""Ask a question in EventQL, and print its rows.

QUERY is the text of the query; without it, or if it is -, standard input is read. A server is
asked with --url, which needs the token: in the environment variable {TOKEN_VARIABLE}, or in a
file. With --data-directory no server is needed; one may have it open. Nothing in it is changed.

\b
Examples:
  everlog query --url https://localhost:4000 'FROM e IN events TOP 10 PROJECT INTO e'
  everlog query 'FROM e IN events GROUP BY e.type
    PROJECT INTO {{ type: e.type, count: COUNT() }}'        (with EVERLOG_URL set)
  everlog query --data-directory /var/lib/everlog --format csv --file report.eventql > report.csv
  everlog query --explain 'FROM e IN events WHERE e.subject == "/books/42" PROJECT INTO e.data'

\b
Exit codes:
  0  all rows were printed, if there are any
  1  anything unexpected; also a row that has no place in the format asked for
  2  a flag is wrong or missing
  3  the data directory cannot be read, or it is none
  4  the data directory is damaged
  6  the query is malformed
  7  the query cannot be evaluated, or needs more than it may have
  8  the server cannot be asked, refuses the token, or did not answer to the end
"""


@click.command(help=_HELP)
@click.argument("query", required=False)
@click.option("--file", "query_file", type=_FILE, help="A file that holds the query.")
@url_option
@token_file_option
@certificate_option
@click.option(
    "--data-directory",
    type=_FILE,
    envvar="EVERLOG_DATA_DIRECTORY",
    show_envvar=True,
    help="A data directory to read instead of asking a server.",
)
@click.option(
    "--signing-key-file",
    type=_FILE,
    envvar="EVERLOG_SIGNING_KEY_FILE",
    show_envvar=True,
    help="The key for signatures of events from a data directory; without it they are null.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "ndjson", "json", "csv"]),
    help="How rows are printed.  [default: table on a terminal, else ndjson]",
)
@click.option("--explain", is_flag=True, help="Print how the query would be answered, and no rows.")
@click.pass_context
def query(
    context: click.Context,
    query: str | None,
    query_file: Path | None,
    url: str | None,
    api_token_file: Path | None,
    https_certificate_file: Path | None,
    data_directory: Path | None,
    signing_key_file: Path | None,
    format_: str | None,
    explain: bool,  # noqa: FBT001 - click calls this with keywords.
) -> None:
    """Print the rows of a query."""
    progress = Progress()
    try:
        text = _read_text(query, query_file)
        if explain and not _is_explain(text):
            text = f"EXPLAIN {text}"
        address, directory = source_of(context, url, data_directory)
        if directory is not None:
            # A server that is asked brings what a query needs.
            from everlog.cli.querying.directory import query_directory

            rows = query_directory(
                directory,
                text,
                signing_key_file=signing_key_file,
                on_read=lambda done, total: progress.tell(partial(describe_events, done, total)),
            )
        else:
            assert address is not None
            rows = _ask(address, api_token_file, https_certificate_file, text, progress)
        code = print_rows(rows, text, format_, progress, is_explain=_is_explain(text))
    except KeyboardInterrupt:
        progress.clear()
        code = EXIT_INTERRUPTED
    sys.exit(code)


def _read_text(query: str | None, file: Path | None) -> str:
    if query is not None and file is not None:
        raise click.UsageError("QUERY and --file exclude each other")
    try:
        if query is not None and query != "-":
            # What is not UTF-8 on a command line comes as surrogates, which no encoding has.
            return query.encode().decode()
        if file is not None:
            with file.open("rb") as source:
                content = source.read(_QUERY_SIZE_MAX)
        elif query is None and (sys.stdin is None or sys.stdin.isatty()):
            raise click.UsageError("there is no query: see 'everlog query --help'")
        else:
            content = sys.stdin.buffer.read(_QUERY_SIZE_MAX)
        return content.decode()
    except OSError as error:
        raise click.UsageError(f"the query cannot be read: {error}") from error
    except UnicodeError as error:
        raise click.UsageError("the query is not UTF-8") from error


def _is_explain(text: str) -> bool:
    first, _ = tokens_around(text, Span(0, 1))
    return first.text.upper() == "EXPLAIN"


def _ask(
    url: str,
    token_file: Path | None,
    certificate_file: Path | None,
    text: str,
    progress: Progress,
) -> Iterator[list[bytes]]:
    """Yield the rows of a server, and tell how many there are."""
    try:
        token = find_token(token_file)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"the token cannot be used: {error}") from error
    count = 0
    try:
        try:
            connection = connect(url, certificate_file, timeout_seconds=TIMEOUT_SECONDS)
        except (OSError, ValueError) as error:
            raise ServerError(str(error)) from error
        for rows in query_server(connection, token, text):
            count += len(rows)
            yield rows
            progress.tell(partial(describe_rows, count))
    except ServerError as error:
        raise ServerError(f"{url} cannot be asked: {error}") from error
