"""`everlog read` and `everlog observe`: the events of a subject, and those to come."""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from everlog.cli.faults import told
from everlog.cli.printing import count_things, format_option, print_rows
from everlog.cli.progress import Progress, describe_events, describe_seconds
from everlog.cli.stores import StoreChoice, store_options
from everlog.domain.errors import EverlogError
from everlog.texts import to_printable

if TYPE_CHECKING:
    from everlog.library.store import Events, Store
    from everlog.library.values import Bound, Event

_Command = TypeVar("_Command", bound=Callable[..., Any])

# In the order in which an event has them; each may be missing in the first one.
COLUMNS: Final = (
    "specversion",
    "id",
    "time",
    "source",
    "subject",
    "type",
    "datacontenttype",
    "traceparent",
    "tracestate",
    "data",
    "predecessorhash",
    "hash",
    "signature",
)

# What a person looks for.
TABLE_COLUMNS: Final = ("id", "time", "subject", "type", "data")

_READ_HELP: Final = """Read the events of a subject.

SUBJECT is a path, / if it is left out; with --recursive, all below it belongs to it. Events are
read as of the moment in which the command begins. A table shows the most important members; NDJSON,
JSON and CSV have all of them, and data byte by byte as it is stored.

\b
Examples:
  everlog read / --recursive
  everlog read /books/42 --order antichronological --limit 1
  everlog read / --recursive --after 1041 --format csv > new.csv
  everlog read /books --recursive | jq -r .data.title

\b
Exit codes:
  0  all events were printed, if there are any
  1  anything unexpected
  2  a flag is wrong or missing
  3  the data directory cannot be read, or it is none
  4  the data directory is damaged, or with --verify an event is not what was written
  8  the server cannot be asked, refuses the token, or did not answer to the end
  9  what is asked is not as it must be
"""

_OBSERVE_HELP: Final = """Show the events of a subject, and those to come.

It begins with what is stored, or behind an event with --after, or with --new-only at the end, and
goes on until it is interrupted. Where the server goes away it waits, tries again, and goes on
behind the last event that it has shown.

\b
Examples:
  everlog observe / --recursive
  everlog observe /books --recursive --new-only | jq --unbuffered .type
  everlog observe / --recursive --after 1041 --limit 10

\b
Exit codes:
  0  as many events came as --limit says
  1  anything unexpected
  2  a flag is wrong or missing
  3  the data directory cannot be read, or it is none
  4  the data directory is damaged, or with --verify an event is not what was written
  8  the server cannot be asked at the beginning, or refuses the token
  9  what is asked is not as it must be
"""


class Selection(NamedTuple):
    """Which events are meant, as the options of commands say it."""

    subject: str
    recursive: bool
    order: str
    lower_bound: "Bound | None"
    upper_bound: "Bound | None"

    def read(self, store: "Store", *, verify: bool = False) -> "Events":
        """Return the events of a store that are meant."""
        return store.read(
            self.subject,
            recursive=self.recursive,
            order=self.order,  # type: ignore[arg-type] # A choice of these.
            lower_bound=self.lower_bound,
            upper_bound=self.upper_bound,
            verify=verify,
        )


def selection_options(command: _Command) -> _Command:
    """Give a command the argument and the options that say which events are meant."""
    for decorate in (
        click.option("--before", metavar="ID", help="End before the event with this id."),
        click.option("--upper-bound", metavar="ID", help="End with the event with this id."),
        click.option("--after", metavar="ID", help="Begin behind the event with this id."),
        click.option("--lower-bound", metavar="ID", help="Begin with the event with this id."),
        click.option(
            "--order",
            type=click.Choice(["chronological", "antichronological"]),
            default="chronological",
            show_default=True,
            help="Oldest first or newest first.",
        ),
        recursive_option,
        subject_argument,
    ):
        command = decorate(command)
    return command


def complete_subject(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the subjects that begin like this, for the completion of a shell."""
    from everlog.cli.completion import complete_from_store

    return complete_from_store(context, incomplete)


subject_argument: Final = click.argument("subject", default="/", shell_complete=complete_subject)

recursive_option: Final = click.option(
    "--recursive", "-r", is_flag=True, help="All that is below the subject too."
)

_verify_option: Final = click.option(
    "--verify", is_flag=True, help="Compute the hashes again, and follow the chain."
)

_limit_option: Final = click.option(
    "--limit", type=click.IntRange(0), metavar="COUNT", help="End after so many events."
)


def selection_of(
    *,
    subject: str,
    recursive: bool,
    order: str,
    lower_bound: str | None,
    after: str | None,
    upper_bound: str | None,
    before: str | None,
) -> Selection:
    """Return what the options of `selection_options` say.

    Raises:
        click.UsageError: Two of them say the same in two ways.
    """
    lower = _bound("--lower-bound", lower_bound, "--after", after)
    upper = _bound("--upper-bound", upper_bound, "--before", before)
    return Selection(subject, recursive, order, lower, upper)


def _bound(
    inclusive_flag: str, inclusive: str | None, exclusive_flag: str, exclusive: str | None
) -> "Bound | None":
    from everlog.library.values import Bound

    if inclusive is not None and exclusive is not None:
        raise click.UsageError(f"{inclusive_flag} and {exclusive_flag} exclude each other")
    if inclusive is not None:
        return Bound(inclusive, "inclusive")
    return None if exclusive is None else Bound(exclusive, "exclusive")


@click.command(help=_READ_HELP)
@selection_options
@_limit_option
@_verify_option
@format_option
@store_options
def read(
    store: StoreChoice,
    limit: int | None,
    verify: bool,  # noqa: FBT001 - click calls this with keywords.
    format_: str | None,
    **options: Any,
) -> None:
    """Print the events of a selection."""
    selection = selection_of(**options)
    progress = Progress()
    with told(progress), store.open(on_read=telling(progress)) as opened:
        rows = json_of(selection.read(opened, verify=verify).batches(), limit, progress)
        code = print_rows(
            rows, format_, progress, columns=COLUMNS, table_columns=TABLE_COLUMNS, noun="event"
        )
    sys.exit(code)


def telling(progress: Progress) -> Callable[[int, int], None]:
    """Return what tells how many of all events of a data directory have been read."""
    return lambda done, total: progress.tell(partial(describe_events, done, total))


def json_of(
    batches: "Iterator[Sequence[Event]]", limit: int | None, progress: Progress
) -> Iterator[list[bytes]]:
    """Yield events as JSON, some at a time, no more than the limit, and tell how many."""
    count = 0
    for batch in batches:
        events = batch if limit is None else batch[: limit - count]
        count += len(events)
        yield [event.to_json() for event in events]
        progress.tell(partial(_describe, count))
        if count == limit:
            return


def _describe(count: int, seconds: float) -> str:
    return f"{count_things(count, 'event')}, {describe_seconds(seconds)}"


@click.command(help=_OBSERVE_HELP)
@subject_argument
@recursive_option
@click.option("--after", metavar="ID", help="Begin behind the event with this id.")
@click.option("--new-only", is_flag=True, help="Begin with what comes from now on.")
@_limit_option
@_verify_option
@format_option
@store_options
def observe(
    store: StoreChoice,
    subject: str,
    recursive: bool,  # noqa: FBT001 - click calls this with keywords.
    after: str | None,
    new_only: bool,  # noqa: FBT001 - click calls this with keywords.
    limit: int | None,
    verify: bool,  # noqa: FBT001 - click calls this with keywords.
    format_: str | None,
) -> None:
    """Print events as they come."""
    if after is not None and new_only:
        raise click.UsageError("--after and --new-only exclude each other")
    progress = Progress()

    def tell_interruption(error: EverlogError) -> None:
        progress.clear()
        click.echo(f"Interrupted: {to_printable(str(error))}; trying again", err=True)

    with told(progress), store.open() as opened:
        if new_only:
            after = _latest(opened)
        following = opened.follow(
            subject,
            recursive=recursive,
            after=after,
            verify=verify,
            on_interruption=tell_interruption,
        )
        with following:
            rows = ([event.to_json()] for event in islice(following, limit))
            code = print_rows(
                rows,
                format_,
                progress,
                columns=COLUMNS,
                table_columns=TABLE_COLUMNS,
                is_live=True,
                noun="event",
            )
    sys.exit(code)


def _latest(store: "Store") -> str | None:
    """Return the id of the latest event of all, None where there is none."""
    events = store.read("/", recursive=True, order="antichronological")
    return next((event.id for event in events), None)
