"""`everlog import`: files of events become new events of a store."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from everlog.cli.batches import (
    Batches,
    Candidate,
    Line,
    batch_option,
    from_line_option,
    read_lines,
    say_written,
)
from everlog.cli.faults import LineError, told
from everlog.cli.progress import Progress
from everlog.cli.read import COLUMNS
from everlog.cli.stores import StoreChoice, store_options
from everlog.domain.errors import Code, RefusedError
from everlog.domain.limits import EVENT_SENT_SIZE_MAX
from everlog.library.store import Store
from everlog.library.values import NewEvent
from everlog.texts import to_printable

_HELP: Final = """Write the events of files as new events.

Each FILE is what 'everlog export', 'everlog read', a backup, or the API gives: NDJSON, one event on
each line, as it is or in an item; or CSV with a header, whose name ends with .csv. - is standard
input. Sources, subjects, types, data and traces stay as they are; ids, times and hashes are new,
since the store goes on from where it is. Schemas that are in a file are registered first. To keep
ids, times and hashes, use 'everlog restore', which fills an empty store.

CSV has the columns source, subject and type, and either data, which is JSON, or a column data.NAME
for each member, which becomes a string; an empty field is no member. --source and --type stand for
columns that are not there.

\b
Examples:
  everlog import events.ndjson
  everlog import january.ndjson february.ndjson --data-directory library
  everlog import books.csv --source https://library.example --type com.example.book-acquired
  everlog read /books --recursive --url https://old.example | everlog import - --url $NEW

\b
Exit codes:
  0  all events are stored
  1  anything unexpected
  2  a flag is wrong or missing, or a line is no event
  3  the data directory cannot be used, or a server has it open
  4  the data directory is damaged
  8  the server cannot be asked, or refuses the token
  9  an event or a schema is refused
  10 whether a batch was stored is not known: its answer was lost
"""

# Of an item: what is about an event, a schema, or nothing that is stored.
_SCHEMAS: Final = frozenset({"schema", "eventType"})
_NOTHING: Final = frozenset({"end", "heartbeat"})

_TEXTS: Final = ("source", "subject", "type", "traceparent", "tracestate")
_MEMBER: Final = "data."


class _Found(Candidate, gc=False):
    """An item, or an event as it is: whatever of both there is."""

    payload: msgspec.Raw = msgspec.Raw(b"")


class _Wrapped(msgspec.Struct, gc=False):
    """What the item of a backup is about."""

    event: msgspec.Raw = msgspec.Raw(b"")


class _Schema(msgspec.Struct, rename="camel"):
    event_type: str
    schema: dict[str, Any] | None = None


_decode: Final = msgspec.json.Decoder(_Found).decode
_decode_wrapped: Final = msgspec.json.Decoder(_Wrapped).decode
_decode_schema: Final = msgspec.json.Decoder(_Schema).decode


@click.command(name="import", help=_HELP)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--source", help="Who writes: for events that do not say it.")
@click.option("--type", "type_", metavar="TYPE", help="What happened: for events that say nothing.")
@batch_option
@from_line_option
@store_options
def import_(
    store: StoreChoice,
    files: Sequence[str],
    source: str | None,
    type_: str | None,
    batch_size: int,
    from_line: int,
) -> None:
    """Write the events of files."""
    progress = Progress()
    with told(progress), store.open(is_writer=True) as opened:
        batches = Batches(opened, progress, size=batch_size)
        for index, name in enumerate(files):
            given = {"source": source, "type": type_}
            start = from_line if index == 0 else 1
            try:
                is_csv = name.endswith(".csv")
                lines = (_read_csv if is_csv else read_lines)(name, start)
                for _ in batches.write(_with_schemas(lines, opened), partial(_parse, given)):
                    pass
            except LineError as error:
                raise LineError(f"{name}, {error}", exit_code=error.exit_code) from error
        progress.clear()
        say_written(batches)


def _with_schemas(lines: Iterator[Line | None], store: Store) -> Iterator[Line | None]:
    """Yield the lines that are about events, and register the schemas of the others."""
    for line in lines:
        item = None if line is None or line.fault else _read_item(line.text)
        if line is None or item is None or item.type not in _SCHEMAS | _NOTHING:
            yield line
        elif item.type in _SCHEMAS:
            # What came before is written before.
            yield None
            fault = _register(_body_of(item), store)
            if fault is not None:
                yield line._replace(fault=fault)


def _read_item(text: bytes) -> "_Found | None":
    """Return an item of the API or a backup, None for an event as it is, or what is no JSON."""
    if not text.lstrip().startswith(b'{"type":'):
        return None
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _decode(text)
        return found if found.subject is None else None
    return None


def _register(body: bytes, store: Store) -> str | None:
    """Register an event schema, and return what is wrong with it."""
    try:
        found = _decode_schema(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return f"it is no event schema: {error}"
    if found.schema is None:
        return None
    try:
        store.register_event_schema(found.event_type, found.schema)
    except RefusedError as error:
        is_known = error.code == Code.EVENT_SCHEMA_ALREADY_REGISTERED
        if not is_known or store.event_type(found.event_type).schema != found.schema:
            return f"{error.message} [{error.code}]"
    return None


def _body_of(item: _Found) -> bytes:
    return bytes(item.payload) or bytes(item.data)


def _parse(given: Mapping[str, str | None], text: bytes) -> NewEvent:
    """Return the event on a line; raises ValueError if there is none."""
    found = _decode(text)
    if found.subject is None:
        # An item: its data is an event, or what a backup says of one.
        body = _body_of(found)
        if not body or found.type != "event":
            raise ValueError("it is no event")
        found = _decode(bytes(_decode_wrapped(body).event) or body)
    return found.to_event(given)


def _read_csv(name: str, from_line: int) -> Iterator[Line | None]:
    """Yield the records of a CSV file as JSON objects, with the lines that they begin on."""
    line_number, done = 1, 0
    try:
        with Path(name).open(encoding="utf-8-sig", newline="") as file:
            total = os.fstat(file.fileno()).st_size
            csv.field_size_limit(EVENT_SENT_SIZE_MAX)
            records = csv.reader(file, strict=True)
            columns = next(records, [])
            _check_columns(name, columns)
            line_number = records.line_num + 1
            for record in records:
                if record and line_number >= from_line:
                    yield _to_line(line_number, columns, record, done, total)
                done += sum(map(len, record)) + len(record)
                line_number = records.line_num + 1
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        yield Line(line_number, b"", fault=f"it is no CSV in UTF-8: {error}")


def _check_columns(name: str, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in COLUMNS and not column.startswith(_MEMBER):
            raise click.UsageError(
                f"{name} has a column '{to_printable(column)}': there are {', '.join(_TEXTS)}, "
                "data, and data.NAME"
            )
    if "data" in columns and any(column.startswith(_MEMBER) for column in columns):
        raise click.UsageError(f"{name} has both a column 'data' and columns 'data.NAME'")


def _to_line(
    number: int, columns: Sequence[str], record: Sequence[str], done: int, total: int
) -> Line:
    if len(record) != len(columns):
        fault = f"it has {len(record)} fields, and the header {len(columns)}"
        return Line(number, b"", done, total, fault)
    fields = {column: text for column, text in zip(columns, record, strict=True) if text}
    event: dict[str, object] = {name: fields[name] for name in _TEXTS if name in fields}
    if "data" in columns:
        event["data"] = msgspec.Raw(fields.get("data", "").encode() or b"{}")
    else:
        members = [column for column in fields if column.startswith(_MEMBER)]
        event["data"] = {name.removeprefix(_MEMBER): fields[name] for name in members}
    return Line(number, msgspec.json.encode(event), done, total)
