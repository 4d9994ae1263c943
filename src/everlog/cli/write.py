"""`everlog write`: one event from the command line, or as many as standard input has, in batches.

What is refused is named by its line; all before it is stored then, and nothing behind it.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import click
import msgspec

from everlog.cli.batches import (
    BATCH_COUNT_MAX,
    Batches,
    Candidate,
    Line,
    batch_option,
    from_line_option,
    read_lines,
    say_written,
)
from everlog.cli.faults import told
from everlog.cli.printing import format_option, print_rows
from everlog.cli.progress import Progress
from everlog.cli.read import COLUMNS, TABLE_COLUMNS
from everlog.cli.stores import StoreChoice, store_options
from everlog.domain.limits import REQUEST_BODY_SIZE_MAX
from everlog.library.values import (
    IsEventQlQueryTrue,
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
    NewEvent,
    Precondition,
)

_HELP: Final = """Write events.

With --data it is one event. Without, standard input is read, or FILE: NDJSON, one event on each
line, with 'source', 'subject', 'type' and 'data', and if you like 'traceparent' and 'tracestate'.
What a line does not have is taken from the flags. Events are written in batches, each wholly or
not at all, and in their order; a batch is written, too, when no more comes for a moment.

If an event is refused, its line is named; all events before it are stored then, and none behind it:
correct it, and go on with --from-line. With a precondition everything is one batch.

The events as stored go to standard output if that is no terminal, or --format is given.

\b
Examples:
  everlog write --source https://library.example --subject /books/42
    --type com.example.book-acquired --data '{"title": "Moby Dick"}' --if-pristine /books/42
  everlog write < events.ndjson > written.ndjson
  jq -c '.books[] | {subject: "/books/\\(.id)", data: .}' books.json
    | everlog write --source https://library.example --type com.example.book-acquired

\b
Exit codes:
  0  all events are stored
  1  anything unexpected
  2  a flag is wrong or missing, or a line is no event
  3  the data directory cannot be used, or a server has it open
  4  the data directory is damaged
  8  the server cannot be asked, or refuses the token
  9  an event or a precondition is refused
  10 whether a batch was stored is not known: its answer was lost
"""


class _Candidate(Candidate, forbid_unknown_fields=True, gc=False):
    """An event and nothing else: a member that is written wrongly is not left out."""


_decode: Final = msgspec.json.Decoder(_Candidate).decode


@click.command(help=_HELP)
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--source", help="Who writes: a URI reference.")
@click.option("--subject", help="What it is about: a path.")
@click.option("--type", "type_", metavar="TYPE", help="What happened: a reverse domain name.")
@click.option("--data", help="The data of one event, a JSON object, or @FILE for a file with it.")
@click.option(
    "--if-pristine",
    multiple=True,
    metavar="SUBJECT",
    help="Write only if the subject has no event.",
)
@click.option(
    "--if-populated",
    multiple=True,
    metavar="SUBJECT",
    help="Write only if the subject has an event.",
)
@click.option(
    "--if-on-event-id",
    multiple=True,
    nargs=2,
    metavar="SUBJECT ID",
    help="Write only if the latest event of the subject has this id.",
)
@click.option(
    "--if-query",
    multiple=True,
    metavar="QUERY",
    help="Write only if the EventQL query has one row, and that is true.",
)
@batch_option
@from_line_option
@format_option
@store_options
def write(
    store: StoreChoice,
    file: str | None,
    data: str | None,
    if_pristine: Sequence[str],
    if_populated: Sequence[str],
    if_on_event_id: Sequence[tuple[str, str]],
    if_query: Sequence[str],
    batch_size: int,
    from_line: int,
    format_: str | None,
    **defaults: str | None,
) -> None:
    """Write events, and say which."""
    preconditions: list[Precondition] = [
        *map(IsSubjectPristine, if_pristine),
        *map(IsSubjectPopulated, if_populated),
        *(IsSubjectOnEventId(subject, id_) for subject, id_ in if_on_event_id),
        *map(IsEventQlQueryTrue, if_query),
    ]
    progress = Progress()
    given = {
        "source": defaults["source"],
        "subject": defaults["subject"],
        "type": defaults["type_"],
    }
    is_one = data is not None
    if is_one and file is not None:
        raise click.UsageError("--data and FILE exclude each other")
    with told(progress):
        lines = iter([Line(0, _read_data(data))]) if data is not None else _lines(file, from_line)
        with store.open(is_writer=True) as opened:
            batches = Batches(
                opened,
                progress,
                size=BATCH_COUNT_MAX if preconditions else batch_size,
                preconditions=preconditions,
            )
            parse = partial(_parse_data if is_one else _parse_line, given)
            written = batches.write(lines, parse)
            if format_ is None and sys.stdout is not None and sys.stdout.isatty():
                code = 0
                for _ in written:
                    pass
            else:
                rows = ([event.to_json() for event in events] for events in written)
                code = print_rows(
                    rows,
                    format_,
                    progress,
                    columns=COLUMNS,
                    table_columns=TABLE_COLUMNS,
                    noun="event",
                )
            say_written(batches)
    sys.exit(code)


def _lines(file: str | None, from_line: int) -> Iterator[Line | None]:
    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError(
            "there are no events: give --data, a FILE, or events on standard input, one a line"
        )
    return read_lines("-" if file is None else file, from_line)


def _read_data(text: str) -> bytes:
    if not text.startswith("@"):
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise click.UsageError("--data is not UTF-8") from error
    try:
        with click.open_file(text[1:], "rb") as source:
            return bytes(source.read(REQUEST_BODY_SIZE_MAX))
    except OSError as error:
        raise click.UsageError(f"the data cannot be read: {error}") from error


def _parse_data(given: Mapping[str, str | None], text: bytes) -> NewEvent:
    return _Candidate(data=msgspec.Raw(text)).to_event(given)


def _parse_line(given: Mapping[str, str | None], text: bytes) -> NewEvent:
    """Return the event on a line; raises ValueError if it is none."""
    if text.startswith(b"["):
        raise ValueError("it begins an array: events stand on lines of their own (jq -c '.[]')")
    return _decode(text).to_event(given)
