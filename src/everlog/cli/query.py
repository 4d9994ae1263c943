"""`everlog query`: rows for a question in EventQL, from a server or from a data directory."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from everlog.cli.faults import told
from everlog.cli.printing import describe_rows, format_option, print_rows
from everlog.cli.progress import Progress, describe_events
from everlog.cli.read import telling
from everlog.cli.stores import FILE, TOKEN_VARIABLE, StoreChoice, store_options
from everlog.eventql.diagnostic import Span
from everlog.eventql.language.parser import tokens_around
from everlog.eventql.limits import QUERY_LENGTH_MAX

if TYPE_CHECKING:
    from everlog.library.store import Store

# More is certainly too long: a letter has four bytes at most.
_QUERY_SIZE_MAX: Final = 4 * QUERY_LENGTH_MAX + 1

# Click does not fill a paragraph that begins with this character.
_HELP: Final = f"""Ask a question in EventQL, and print its rows.

QUERY is the text of the query; without it, or if it is -, standard input is read. Without it, and
with a terminal as standard input, queries are asked for one after the other, with history and
completion. A server is asked with --url, which needs the token: in the environment variable
{TOKEN_VARIABLE}, or in a file. With --data-directory no server is needed; one may have it open.
Nothing in it is changed.

\b
Examples:
  everlog query --url https://localhost:4000 'FROM e IN events TOP 10 PROJECT INTO e'
  everlog query 'FROM e IN events GROUP BY e.type
    PROJECT INTO {{ type: e.type, count: COUNT() }}'        (with EVERLOG_URL set)
  everlog query --data-directory /var/lib/everlog --format csv --file report.eventql
  everlog query                                           (asks for queries, one after the other)
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
  9  what is asked is not as it must be
"""


@click.command(help=_HELP)
@click.argument("query", required=False)
@click.option("--file", "query_file", type=FILE, help="A file that holds the query.")
@click.option("--explain", is_flag=True, help="Print how the query would be answered, and no rows.")
@format_option
@click.option(
    "--signing-key-file",
    type=FILE,
    envvar="EVERLOG_SIGNING_KEY_FILE",
    show_envvar=True,
    help="The key for signatures of events from a data directory; without it they are null.",
)
@store_options
def query(
    store: StoreChoice,
    query: str | None,
    query_file: Path | None,
    signing_key_file: Path | None,
    format_: str | None,
    explain: bool,  # noqa: FBT001 - click calls this with keywords.
) -> None:
    """Print the rows of a query, or of one after the other."""
    if query is None and query_file is None and _is_person_there():
        _run_shell(store, signing_key_file, format_)
        return
    progress = Progress()
    text = _read_text(query, query_file)
    if explain and not is_explain(text):
        text = f"EXPLAIN {text}"
    if store.directory is not None:
        # What is malformed is told before anything is read; a server tells it by itself.
        from everlog.eventql.query import prepare

        with told(progress, text):
            prepare(text)
    with (
        told(progress, text),
        store.open(signing_key_file=signing_key_file, on_read=telling(progress)) as opened,
    ):
        is_remote = store.directory is None
        code = answer(opened, text, format_, progress, is_remote=is_remote)
    sys.exit(code)


def answer(
    store: "Store", text: str, form: str | None, progress: Progress, *, is_remote: bool
) -> int:
    """Print the rows of a query, and return the exit code."""
    rows = store.query(text).batches()
    if is_remote:
        # What is read here tells by itself how far it is.
        rows = _counted(rows, progress)
    return print_rows(rows, form, progress, text=text, is_explain=is_explain(text))


def _run_shell(store: StoreChoice, signing_key_file: Path | None, form: str | None) -> None:
    from everlog.cli.shell import run_shell

    progress = Progress()

    def tell(done: int, total: int) -> None:
        progress.tell(partial(describe_events, done, total))

    def ask(text: str, form: str | None) -> int:
        nonlocal progress
        # Each query has its own time.
        progress = Progress()
        return answer(opened, text, form, progress, is_remote=store.directory is None)

    with (
        told(progress),
        store.open(signing_key_file=signing_key_file, on_read=tell) as opened,
    ):
        run_shell(opened, store.name, form, ask)


def _is_person_there() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


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


def is_explain(text: str) -> bool:
    """Tell whether a query asks for its plan."""
    first, _ = tokens_around(text, Span(0, 1))
    return first.text.upper() == "EXPLAIN"


def _counted(rows: Iterator[Sequence[bytes]], progress: Progress) -> Iterator[Sequence[bytes]]:
    """Yield the same, and tell how many there are."""
    count = 0
    for chunk in rows:
        count += len(chunk)
        yield chunk
        progress.tell(partial(describe_rows, count))
