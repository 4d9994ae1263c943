"""`everlog subjects`, `everlog types` and `everlog health`: what there is, and how well it is."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from everlog.cli.faults import told
from everlog.cli.printing import format_option, print_rows
from everlog.cli.progress import Progress
from everlog.cli.read import subject_argument
from everlog.cli.stores import FILE, StoreChoice, store_options
from everlog.domain.limits import SCHEMA_SIZE_MAX
from everlog.exit_codes import EXIT_UNEXPECTED
from everlog.library.values import EventType

# Names come one at a time, or some thousands.
_CHUNK_COUNT: Final = 1_000

_CODES: Final = """\b
Exit codes:
  0  all of them were printed, if there are any
  1  anything unexpected
  2  a flag is wrong or missing
  3  the data directory cannot be read, or it is none
  4  the data directory is damaged
  8  the server cannot be asked, refuses the token, or did not answer to the end
  9  what is asked is not as it must be
"""

_SUBJECTS_HELP: Final = f"""List the subjects that there are.

SUBJECT is a path, / if it is left out: it and all subjects below it are listed that have events, or
subjects with events below them.

\b
Examples:
  everlog subjects
  everlog subjects /books --format csv
  everlog subjects /books | jq -r .subject

{_CODES}"""

_TYPES_HELP: Final = f"""List the event types that there are.

Each has its name, whether there are events of it, and its JSON schema if it has one. NAME lists one
type alone. With --register-schema, a schema is registered for it first: for good, and only if all
events of the type match it.

\b
Examples:
  everlog types
  everlog types com.example.book-acquired --format ndjson | jq .schema
  everlog types com.example.book-acquired --register-schema book-acquired.json

{_CODES}"""

_HEALTH_HELP: Final = """Tell how well a store is.

A server says how well it is, check by check; of a data directory it is told whether it can be read,
how many events it has, and whether a server has it open. NDJSON and JSON have the whole document.

\b
Examples:
  everlog health
  everlog health --url https://events.example:4000 --format json | jq .status

\b
Exit codes:
  0  all is well, or somebody should look, and all requests are answered
  1  writes are refused or do not come to an end; also anything unexpected
  2  a flag is wrong or missing
  3  the data directory cannot be read, or it is none
  4  the data directory is damaged
  8  the server cannot be asked, or refuses the token
"""


@click.command(help=_SUBJECTS_HELP)
@subject_argument
@format_option
@store_options
def subjects(store: StoreChoice, subject: str, format_: str | None) -> None:
    """Print subjects."""
    progress = Progress()
    with told(progress), store.open() as opened:
        rows = _chunks({"subject": name} for name in opened.subjects(subject))
        code = print_rows(rows, format_, progress, columns=["subject"], noun="subject")
    sys.exit(code)


@click.command(help=_TYPES_HELP)
@click.argument("name", required=False)
@click.option(
    "--register-schema",
    "schema_file",
    type=FILE,
    help="A file with the JSON schema that events of the type match from now on, or - for standard "
    "input.",
)
@format_option
@store_options
def types(
    store: StoreChoice, name: str | None, schema_file: Path | None, format_: str | None
) -> None:
    """Print event types."""
    if schema_file is not None and name is None:
        raise click.UsageError("--register-schema needs the NAME of the type")
    schema = None if schema_file is None else _read_schema(schema_file)
    progress = Progress()
    with told(progress), store.open(is_writer=schema is not None) as opened:
        if name is not None and schema is not None:
            opened.register_event_schema(name, schema)
        found = opened.event_types() if name is None else iter([opened.event_type(name)])
        code = print_rows(
            _chunks(map(_to_row, found)),
            format_,
            progress,
            columns=["type", "hasEvents", "schema"],
            noun="event type",
        )
    sys.exit(code)


def _read_schema(file: Path) -> Mapping[str, Any]:
    try:
        with click.open_file(str(file), "rb") as source:
            text = source.read(SCHEMA_SIZE_MAX + 1)
    except OSError as error:
        raise click.UsageError(f"the schema cannot be read: {error}") from error
    if len(text) > SCHEMA_SIZE_MAX:
        raise click.UsageError(f"the schema has more than {SCHEMA_SIZE_MAX:,} bytes")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise click.UsageError(f"the schema is no JSON object: {error}") from error


def _to_row(found: EventType) -> object:
    return {"type": found.name, "hasEvents": found.has_events, "schema": found.schema}


@click.command(help=_HEALTH_HELP)
@format_option
@store_options
def health(store: StoreChoice, format_: str | None) -> None:
    """Print how well a store is."""
    progress = Progress()
    with told(progress), store.open() as opened:
        document = opened.health()
        is_table = format_ in {"table", "csv"} or (format_ is None and sys.stdout.isatty())
        rows = _checks(document) if is_table else iter([document])
        code = print_rows(
            _chunks(rows), format_, progress, columns=["check", "status", "value", "output"]
        )
    sys.exit(code or (EXIT_UNEXPECTED if document.get("status") == "fail" else 0))


def _checks(document: Mapping[str, Any]) -> Iterator[object]:
    """Yield a row for each check, the whole first, of whatever a server answers with."""
    yield {"check": "all", "status": document.get("status"), "value": None, "output": None}
    checks = document.get("checks")
    for name, entries in checks.items() if isinstance(checks, dict) else ():
        for entry in entries if isinstance(entries, list) else ():
            found = entry if isinstance(entry, dict) else {}
            value, unit = found.get("observedValue"), found.get("observedUnit")
            yield {
                "check": name,
                "status": found.get("status"),
                "value": value if unit is None else f"{value} {unit}",
                "output": found.get("output"),
            }


def _chunks(rows: Iterator[object]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    for row in rows:
        chunk.append(msgspec.json.encode(row))
        if len(chunk) >= _CHUNK_COUNT:
            yield chunk
            chunk = []
    yield chunk
