"""Events and rows as Arrow: a stream of batches for whatever speaks the PyCapsule interface.

polars, pandas, DuckDB and pyarrow take `Events` and `Rows` as they are: `pl.DataFrame(events)`.

Guarantees that memory is bounded, however much there is: a batch has at most `BATCH_ROWS` rows, and
is full once it has `BATCH_BYTES` bytes. The columns of events are always the same. Those of rows
are what the first `WINDOW_ROWS` rows (or `WINDOW_BYTES` bytes of them) have; what comes behind and
does not fit into them is an error that says which row, and never silently something else.
What is left to others: the layout of Arrow, which is nanoarrow's, and of Parquet, which is
pyarrow's.
"""

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Protocol

import msgspec
import numpy as np

from everlog.domain.time import parse_time
from everlog.library.errors import FrameError
from everlog.library.values import Event

try:
    import nanoarrow as na
    from nanoarrow.ipc import InputStream, StreamWriter
except ModuleNotFoundError as error:
    message = "events and rows become Arrow with nanoarrow: pip install 'everlog[arrow]'"
    raise ModuleNotFoundError(message, name=error.name) from error

BATCH_ROWS: Final = 16_384
BATCH_BYTES: Final = 16 * 1024 * 1024

# What the columns of rows are told by; it is in memory at once.
WINDOW_ROWS: Final = 65_536
WINDOW_BYTES: Final = 32 * 1024 * 1024

# What has more members or levels than that is no table any more, and becomes JSON text.
FIELDS_MAX: Final = 1_000
LEVELS_MAX: Final = 16

# The column of rows that are no objects.
VALUE: Final = "value"

# Of a Parquet file, what is compressed and skipped as one.
_GROUP_ROWS: Final = 131_072
_GROUP_BYTES: Final = 64 * 1024 * 1024

_INT64_MAX: Final = 2**63 - 1

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode

StrPath = str | os.PathLike[str]


class ListOf(NamedTuple):
    """The kind of lists."""

    item: "Kind"


class Record(NamedTuple):
    """The kind of objects: the kinds of their members, in the order of their appearance."""

    fields: "Mapping[str, Kind]"
    # Whether members that it does not have are left out, instead of being an error.
    is_choice: bool = False


# What the values of a column are: one of `_TYPES`, lists, or objects.
Kind = str | ListOf | Record

# "text" holds strings as they are and anything else as JSON, "json" everything as JSON.
_TYPES: Final[Mapping[str, Any]] = {
    "null": na.null(),
    "boolean": na.bool_(),
    "integer": na.int64(),
    "number": na.float64(),
    "string": na.string(),
    "text": na.string(),
    "json": na.string(),
}

# Which values of Python a kind takes, besides None; those of the others are looked at one by one.
_CLASSES: Final[Mapping[str, frozenset[type]]] = {
    "null": frozenset(),
    "boolean": frozenset({bool}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "string": frozenset({str}),
}

_NONE: Final = type(None)

_WORDS: Final[Mapping[type, str]] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


class Frames(Protocol):
    """What can be read in batches, as often as somebody likes."""

    def arrays(self) -> Iterator[Any]:
        """Yield batches, the first of which has no rows; raises what reading raises."""


class Framed(Protocol):
    """`Events` and `Rows`."""

    def frames(self) -> Frames:
        """Return them in columns."""


class EventFrames:
    """Events in columns; `batches` reads anew each time it is called."""

    def __init__(self, batches: Callable[[], Iterator[Sequence[Event]]]) -> None:
        """Read nothing yet."""
        self._batches: Final = batches

    def arrays(self) -> Iterator[Any]:
        """Yield batches, the first of which has no rows; raises what reading raises."""
        yield _event_array([], [])
        events: list[Event] = []
        datas: list[bytes] = []
        size = 0
        for some in self._batches():
            for event in some:
                data = event.data_json
                events.append(event)
                datas.append(data)
                size += len(data)
                if len(events) >= BATCH_ROWS or size >= BATCH_BYTES:
                    yield _event_array(events, datas)
                    events, datas, size = [], [], 0
        if events:
            yield _event_array(events, datas)


class RowFrames:
    """The rows of a query in columns; `batches` runs it anew, and yields rows as JSON.

    Whoever reads more than once gets the columns of the first time, or those that were asked for.
    """

    def __init__(
        self, batches: Callable[[], Iterator[Sequence[bytes]]], kind: Kind | None = None
    ) -> None:
        """Run nothing yet."""
        self._batches: Final = batches
        self._kind = kind

    def choosing(self, kind: Kind) -> "RowFrames":
        """Return the same rows in other columns."""
        return RowFrames(self._batches, kind)

    def arrays(self) -> Iterator[Any]:
        """Yield batches, the first of which has no rows; raises what running raises."""
        batches = _decoded(self._batches())
        window: list[list[Any]] = []
        if self._kind is None:
            window, is_all = _take_window(batches)
            kind = infer(list(chain.from_iterable(window)))
            self._kind = kind if is_all else _opened(kind)
        yield _row_array(self._kind, [], 0)
        position = 0
        for rows in chain(_drained(window), (rows for rows, _ in batches)):
            yield _row_array(self._kind, rows, position)
            position += len(rows)


def _decoded(batches: Iterator[Sequence[bytes]]) -> Iterator[tuple[list[Any], int]]:
    """Yield rows, as many at a time as make a batch, and how many bytes of JSON they were."""
    rows: list[Any] = []
    size = 0
    for texts in batches:
        for text in texts:
            rows.append(_decode(text))
            size += len(text)
            if len(rows) >= BATCH_ROWS or size >= BATCH_BYTES:
                yield rows, size
                rows, size = [], 0
    if rows:
        yield rows, size


def _take_window(batches: Iterator[tuple[list[Any], int]]) -> tuple[list[list[Any]], bool]:
    """Return the batches that tell the columns, and whether there are no others."""
    window: list[list[Any]] = []
    size = 0
    for rows, row_size in batches:
        window.append(rows)
        size += row_size
        if len(window) * BATCH_ROWS >= WINDOW_ROWS or size >= WINDOW_BYTES:
            return window, False
    return window, True


def _drained(window: list[list[Any]]) -> Iterator[list[Any]]:
    """Yield the batches, none of which is kept once it was handed out."""
    window.reverse()
    while window:
        yield window.pop()


def infer(values: Sequence[Any], level: int = 1) -> Kind:
    """Return the narrowest kind that takes all values, which were decoded from JSON."""
    classes = set(map(type, values)) - {_NONE}
    if not classes:
        return "null"
    for name in ("boolean", "integer", "number", "string"):
        if classes <= _CLASSES[name]:
            is_too_large = name == "integer" and not all(map(_is_int64, values))
            return "json" if is_too_large else name
    there = [value for value in values if value is not None]
    if classes == {list} and level < LEVELS_MAX:
        return ListOf(infer(list(chain.from_iterable(there)), level + 1))
    if classes == {dict} and level < LEVELS_MAX:
        names = list(dict.fromkeys(chain.from_iterable(there)))
        if 0 < len(names) <= FIELDS_MAX:
            return Record(
                {name: infer([row.get(name) for row in there], level + 1) for name in names}
            )
    return "json"


def _is_int64(value: int | None) -> bool:
    return value is None or -_INT64_MAX <= value <= _INT64_MAX


def _opened(kind: Kind) -> Kind:
    """Return the kind for more rows than were looked at: what was not seen may be anything."""
    match kind:
        case "null":
            return "json"
        case ListOf(item):
            return ListOf(_opened(item))
        case Record(fields):
            return Record({name: _opened(field) for name, field in fields.items()})
    return kind


def _type_of(kind: Kind) -> Any:
    match kind:
        case ListOf(item):
            return na.list_(_type_of(item))
        case Record(fields):
            return na.struct({name: _type_of(field) for name, field in fields.items()})
    return _TYPES[kind]


def _kind_of(schema: Any) -> Kind | None:
    """Return the kind with the columns of a schema, None if there is none."""
    names = {
        na.Type.NULL: "null",
        na.Type.BOOL: "boolean",
        na.Type.INT64: "integer",
        na.Type.DOUBLE: "number",
        na.Type.STRING: "text",
    }
    if schema.type == na.Type.LIST:
        item = _kind_of(schema.value_type)
        return None if item is None else ListOf(item)
    if schema.type == na.Type.STRUCT:
        fields = {field.name: _kind_of(field) for field in schema.fields}
        kinds = {name: field for name, field in fields.items() if field is not None}
        return Record(kinds, is_choice=True) if len(kinds) == len(fields) else None
    return names.get(schema.type)


# The columns of events, and how each is found, but for the data.
_EVENT_COLUMNS: Final[Mapping[str, Any]] = {
    "position": na.int64(nullable=False),
    "time": na.timestamp("ns", "UTC", nullable=False),
    "source": na.string(nullable=False),
    "subject": na.string(nullable=False),
    "type": na.string(nullable=False),
    "data": na.string(nullable=False),
    "specversion": na.string(nullable=False),
    "datacontenttype": na.string(nullable=False),
    "traceparent": na.string(),
    "tracestate": na.string(),
    "predecessorhash": na.string(nullable=False),
    "hash": na.string(nullable=False),
    "signature": na.string(),
}


def _event_array(events: Sequence[Event], datas: Sequence[bytes]) -> Any:
    columns = []
    for name, kind in _EVENT_COLUMNS.items():
        if name == "position":
            cells = np.fromiter((int(event.id) for event in events), np.int64, len(events))
            columns.append(na.c_array_from_buffers(kind, len(events), [None, cells]))
        elif name == "time":
            cells = np.fromiter(map(_time_of, events), np.int64, len(events))
            columns.append(na.c_array_from_buffers(kind, len(events), [None, cells]))
        elif name == "data":
            columns.append(_string_array(kind, datas))
        else:
            texts = [getattr(event, name) for event in events]
            columns.append(_string_array(kind, [text and text.encode() for text in texts]))
    schema = na.struct(_EVENT_COLUMNS)
    return na.c_array_from_buffers(schema, len(events), [None], children=columns)


def _time_of(event: Event) -> int:
    try:
        time = parse_time(event.time)
    except ValueError as error:
        raise FrameError(f"the event {event.id} has no time that a column can hold") from error
    if not _is_int64(time):
        raise FrameError(f"the event {event.id} has a time that is not between 1677 and 2262")
    return time


def _row_array(kind: Kind, rows: Sequence[Any], position: int) -> Any:
    if not isinstance(kind, Record):
        kind, rows = Record({VALUE: kind}), [{VALUE: row} for row in rows]
        if kind.fields[VALUE] == "null" and not rows:
            # Where there is no row, nobody knows the columns.
            kind = Record({})
    return _array(kind, rows, "", range(position, position + len(rows)), is_table=True)


def _array(
    kind: Kind, values: Sequence[Any], path: str, owners: Sequence[int], *, is_table: bool = False
) -> Any:
    """Return the array of values, each of which belongs to the row with the number in `owners`."""
    count = len(values)
    buffers = [_validity(values)]
    if isinstance(kind, str):
        return _scalar_array(kind, values, path, owners, buffers)
    if isinstance(kind, ListOf):
        _check(frozenset({list}), values, path, owners)
        lengths = [0 if value is None else len(value) for value in values]
        items = [item for value in values if value is not None for item in value]
        item_owners = np.repeat(owners, lengths).tolist()
        children = [_array(kind.item, items, f"{path}[]", item_owners)]
        buffers.append(_offsets(lengths))
    else:
        _check(frozenset({dict}), values, path, owners)
        names = kind.fields.keys()
        if not kind.is_choice:
            _check_members(names, values, path, owners)
        if is_table:
            # A table has no rows that are null: all of its columns are.
            buffers = [None]
        children = [
            _array(
                field,
                [None if value is None else value.get(name) for value in values],
                f"{path}.{name}" if path else name,
                owners,
            )
            for name, field in kind.fields.items()
        ]
    return na.c_array_from_buffers(_type_of(kind), count, buffers, children=children)


def _scalar_array(
    kind: str, values: Sequence[Any], path: str, owners: Sequence[int], buffers: list[Any]
) -> Any:
    if kind in _CLASSES:
        _check(_CLASSES[kind], values, path, owners)
    if kind in {"string", "text", "json"}:
        return _string_array(_TYPES[kind], [_text_of(value, kind) for value in values])
    if kind == "boolean":
        buffers.append(np.packbits(np.array(values, bool), bitorder="little"))
    elif kind == "integer":
        place = next((at for at, value in enumerate(values) if not _is_int64(value)), None)
        if place is not None:
            raise _misfit(path, owners[place], "an integer of more than 64 bits")
        buffers.append(np.fromiter((value or 0 for value in values), np.int64, len(values)))
    elif kind == "number":
        buffers.append(np.fromiter((value or 0.0 for value in values), np.float64, len(values)))
    else:
        buffers = []
    return na.c_array_from_buffers(_TYPES[kind], len(values), buffers)


def _text_of(value: Any, kind: str) -> bytes | None:
    if value is None:
        return None
    if kind != "json" and type(value) is str:
        return value.encode()
    return _encode(value)


def _string_array(type_: Any, texts: Sequence[bytes | None]) -> Any:
    lengths = [0 if text is None else len(text) for text in texts]
    content = b"".join(text for text in texts if text is not None)
    buffers = [_validity(texts), _offsets(lengths), content]
    return na.c_array_from_buffers(type_, len(texts), buffers)


def _offsets(lengths: Sequence[int]) -> Any:
    """Return where each value begins, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)


def _validity(values: Sequence[Any]) -> Any:
    """Return a bit for each value, whether it is there; None if all are."""
    if None not in values:
        return None
    there = np.fromiter((value is not None for value in values), bool, len(values))
    return np.packbits(there, bitorder="little")


def _check(
    classes: frozenset[type], values: Sequence[Any], path: str, owners: Sequence[int]
) -> None:
    if not set(map(type, values)) <= classes | {_NONE}:
        for owner, value in zip(owners, values, strict=True):
            if value is not None and type(value) not in classes:
                raise _misfit(path, owner, _WORDS[type(value)])


def _check_members(names: Any, values: Sequence[Any], path: str, owners: Sequence[int]) -> None:
    for owner, value in zip(owners, values, strict=True):
        if value is not None and not value.keys() <= names:
            name = next(name for name in value if name not in names)
            raise _misfit(f"{path}.{name}" if path else name, owner, "a member")


def _misfit(path: str, row: int, found: str) -> FrameError:
    return FrameError(
        f"row {row + 1} of the query has {found} at {path or 'its top'}, which the columns cannot "
        f"hold: they are made of the first {WINDOW_ROWS:,} rows; let the query convert or leave "
        "out what differs, or ask with a schema"
    )


def stream(frames: Frames, requested_schema: object | None = None) -> object:
    """Return a capsule with an Arrow stream (the PyCapsule interface), which reads as it is read.

    Of rows, the columns that are requested are given, if their types are those that rows can have:
    null, bool, int64, double, string, list and struct. A string takes any value, as JSON if it is
    none; what is not requested is left out. Any other request changes nothing, as the interface
    has it.

    Raises:
        EverlogError: As reading says; later than that, it is in the text of the consumer's error.
    """
    if requested_schema is not None and isinstance(frames, RowFrames):
        kind = _kind_of(na.Schema(na.c_schema(requested_schema)))
        frames = frames if kind is None else frames.choosing(kind)
    parts = _messages(frames.arrays())
    # With it comes the first batch, so that what goes wrong until then is raised as it is.
    readable = _Readable(chain([next(parts)], parts))
    return InputStream.from_readable(readable).__arrow_c_stream__()


def _messages(arrays: Iterator[Any]) -> Iterator[bytes]:
    """Yield an Arrow stream in parts: the schema, one for each batch, and the end."""
    written = io.BytesIO()
    writer = StreamWriter.from_writable(written)
    schema = next(arrays).schema
    writer.write_stream(na.Array.from_chunks([], schema))
    for array in arrays:
        # Of the one before, or the schema: whoever waits for it waits for what may fail.
        yield _taken(written)
        writer.write_array(array)
    writer.close()
    yield _taken(written)


def _taken(written: io.BytesIO) -> bytes:
    taken = written.getvalue()
    written.seek(0)
    written.truncate()
    return taken


class _Readable:
    """Chunks of bytes as a file that is read from the beginning to the end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks: Final = chunks
        self._rest = memoryview(b"")

    def readinto(self, target: Any) -> int:
        """Fill the target with what comes next, at most, and return with how many bytes."""
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        part = self._rest[: len(target)]
        memoryview(target).cast("B")[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)


def write_arrow(
    source: Framed,
    target: StrPath | BinaryIO,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Write events or rows as an Arrow stream (IPC), and return how many.

    A path is only there once all is written, and takes the place of what was there; a file is
    written to as it is, and may be a pipe. `on_progress` is called with how many were written.

    Raises:
        FrameError: A row does not fit into the columns.
        EverlogError: As reading says.
        OSError: The file cannot be written.
    """
    count = _Count(on_progress)
    with _writing(target) as file:
        for part in _messages(count.over(source.frames().arrays())):
            file.write(part)
    return count.rows


def write_parquet(
    source: Framed,
    target: StrPath | BinaryIO,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Write events or rows as a Parquet file, compressed by zstd, and return how many.

    Everything else is as with `write_arrow`.

    Raises:
        ModuleNotFoundError: There is no pyarrow.
        FrameError: A row does not fit into the columns, or there are no columns.
        EverlogError: As reading says.
        OSError: The file cannot be written.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - not everybody has it.
        from pyarrow import parquet  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        message = "Parquet is written with pyarrow: pip install 'everlog[parquet]'"
        raise ModuleNotFoundError(message, name=error.name) from error
    count = _Count(on_progress)
    arrays = count.over(source.frames().arrays())
    schema = pa.schema(next(arrays).schema)
    if not schema:
        raise FrameError("Parquet needs columns, and without a row a query has none")
    group: list[Any] = []
    with _writing(target) as file, parquet.ParquetWriter(file, schema, compression="zstd") as out:
        for array in arrays:
            group.append(pa.record_batch(array))
            rows, size = (sum(each) for each in zip(*map(_measure, group), strict=True))
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                out.write_table(pa.Table.from_batches(group))
                group.clear()
        if group:
            out.write_table(pa.Table.from_batches(group))
    return count.rows


def _measure(batch: Any) -> tuple[int, int]:
    return batch.num_rows, batch.nbytes


class _Count:
    """How many rows there were so far, told after each batch."""

    def __init__(self, on_progress: Callable[[int], None] | None) -> None:
        self.rows = 0
        self._on_progress: Final = on_progress

    def over(self, arrays: Iterator[Any]) -> Iterator[Any]:
        """Yield the batches, and count each once it has been dealt with."""
        for array in arrays:
            yield array
            self.rows += array.length
            if self._on_progress is not None:
                self._on_progress(self.rows)


@contextmanager
def _writing(target: StrPath | BinaryIO) -> Iterator[BinaryIO]:
    """Open what is written to; a file that has a name gets it when it is whole."""
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    path = Path(target)
    draft = path.with_name(f"{path.name}.new")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
