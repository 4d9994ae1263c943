"""Events and rows in columns, as polars, pandas, DuckDB and pyarrow take them."""

import gc
import io
import json
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pa_parquet
import pytest

import everlog
from everlog.library import frames
from everlog.library.store import Events, Rows
from everlog.library.values import Event

Row = dict[str, Any]


def read_by_pandas(source: Any) -> list[Row]:
    return [plain(row) for row in pd.DataFrame.from_arrow(source).to_dict("records")]


def plain(cell: Any) -> Any:
    """Return a cell of pandas, which has its own words for nothing, and arrays for lists."""
    if hasattr(cell, "tolist"):
        cell = cell.tolist()
    if isinstance(cell, list):
        return [plain(item) for item in cell]
    if isinstance(cell, dict):
        return {name: plain(value) for name, value in cell.items()}
    return None if pd.isna(cell) else cell


def read_by_duckdb(source: Any) -> list[Row]:
    with duckdb.connect() as connection:
        connection.register("given", source)
        found = connection.sql("FROM given")
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


READERS: dict[str, Callable[[Any], list[Row]]] = {
    "pyarrow": lambda source: pa.table(source).to_pylist(),
    "polars": lambda source: pl.DataFrame(source).to_dicts(),
    "pandas": read_by_pandas,
    "duckdb": read_by_duckdb,
}

each_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


def rows_of(*values: Any, at_once: int = 1_000) -> Rows:
    """Return rows that a query could have."""
    texts = [json.dumps(value).encode() for value in values]
    return Rows(lambda: (texts[i : i + at_once] for i in range(0, len(texts), at_once)))


def event_text(position: int, **members: Any) -> bytes:
    whole = {
        "specversion": "1.0",
        "id": str(position),
        "time": "2026-11-30T12:00:00.000000001Z",
        "source": "https://library.example.com",
        "subject": "/books/42",
        "type": "com.example.book-acquired",
        "datacontenttype": "application/json",
        "data": {"title": "B\u00fccher"},
        "predecessorhash": "0" * 64,
        "hash": "1" * 64,
        "signature": None,
    }
    return json.dumps(whole | members, ensure_ascii=False).encode()


def events_of(*texts: bytes) -> Events:
    return Events(lambda: iter([[Event.from_json(text) for text in texts]]))


def types_of(source: Any) -> dict[str, str]:
    return {field.name: str(field.type) for field in pa.table(source).schema}


@each_reader
def test_events_have_a_column_for_each_member(read: Any) -> None:
    events = events_of(
        event_text(0, traceparent="00-a-b-01", tracestate="x=y"),
        event_text(9_007_199_254_740_993, signature="esdb:signature:v1:ab", data={}),
    )

    first, second = read(events)

    assert [*first] == [
        *("position", "time", "source", "subject", "type", "data", "specversion"),
        *("datacontenttype", "traceparent", "tracestate", "predecessorhash", "hash", "signature"),
    ]
    assert first["position"] == 0
    assert first["subject"] == "/books/42"
    assert first["data"] == '{"title": "B\u00fccher"}'
    assert (first["traceparent"], first["tracestate"]) == ("00-a-b-01", "x=y")
    assert first["signature"] is None
    # Beyond what a double can tell apart.
    assert second["position"] == 9_007_199_254_740_993
    assert second["signature"] == "esdb:signature:v1:ab"
    assert second["traceparent"] is None
    assert second["data"] == "{}"


@pytest.mark.parametrize(
    "text, nanoseconds",
    [
        ("2026-11-30T12:00:00.000000001Z", 1_796_040_000_000_000_001),
        ("1969-12-31T23:59:59Z", -1_000_000_000),
        ("2262-04-11T23:47:16.854775807Z", 2**63 - 1),
    ],
    ids=["today", "before 1970", "latest"],
)
def test_times_are_exact(text: str, nanoseconds: int) -> None:
    table = pa.table(events_of(event_text(0, time=text)))

    assert str(table.schema.field("time").type) == "timestamp[ns, tz=UTC]"
    assert table["time"].cast(pa.int64()).to_pylist() == [nanoseconds]


@pytest.mark.parametrize("time", ["2300-01-01T00:00:00Z", "1600-01-01T00:00:00Z", "yesterday"])
def test_a_time_that_no_column_can_hold_names_its_event(time: str) -> None:
    events = events_of(event_text(0), event_text(17, time=time))

    with pytest.raises(everlog.FrameError, match=r"^the event 17 has .* time"):
        frames.write_arrow(events, io.BytesIO())


@each_reader
def test_there_may_be_no_event(read: Any) -> None:
    assert read(events_of()) == []


def test_no_event_has_all_columns() -> None:
    assert pl.DataFrame(events_of()).schema == pl.DataFrame(events_of(event_text(0))).schema


@each_reader
@pytest.mark.parametrize(
    "values",
    [
        [{"id": 0, "name": "B\u00fccher"}, {"id": 1, "name": None}],
        [{"id": None}, {"id": None}, {"id": 2**52}],
        [{"is": True}, {"is": None}, {"is": False}] * 5,
        [{"of": {"a": 1, "b": {"c": "x"}}}, {"of": None}, {"of": {"a": 2, "b": None}}],
        [{"of": [1, 2]}, {"of": []}, {"of": [3]}],
        [{"of": [{"a": 1}, None]}, {"of": [{"a": 2}]}],
        [{"of": [["x"], []]}, {"of": [["y", "z"]]}],
    ],
    ids=["strings", "integers", "booleans", "records", "lists", "lists of records", "lists twice"],
)
def test_rows_are_what_the_query_answered(read: Any, values: list[Row]) -> None:
    assert read(rows_of(*values, at_once=2)) == values


@pytest.mark.parametrize(
    "cells, type_, found",
    [
        ([1, 2.5, None], "double", [1.0, 2.5, None]),
        ([1, True], "string", ["1", "true"]),
        ([1, "x", None, [1]], "string", ["1", '"x"', None, "[1]"]),
        ([{"a": 1}, [1]], "string", ['{"a":1}', "[1]"]),
        ([2**63], "string", ["9223372036854775808"]),
        ([{}, {}], "string", ["{}", "{}"]),
        ([None, None], "null", [None, None]),
        ([[], []], "list<item: null>", [[], []]),
        ([{"a": 1}, {"b": "x"}], "struct<a: int64, b: string>", None),
        ([{"a": 1}, {"a": "x"}], "struct<a: string>", [{"a": "1"}, {"a": '"x"'}]),
        ([[1, "x"], None], "list<item: string>", [["1", '"x"'], None]),
    ],
    ids=[
        *("numbers", "boolean too", "anything", "objects too", "large", "empty objects", "nothing"),
        *("empty lists", "other members", "mixed members", "mixed items"),
    ],
)
def test_a_column_has_the_narrowest_type_for_all_its_cells(
    cells: list[Any], type_: str, found: list[Any] | None
) -> None:
    rows = rows_of(*({"cell": cell} for cell in cells))

    assert types_of(rows) == {"cell": type_}
    if found is not None:
        assert pa.table(rows)["cell"].to_pylist() == found
    pa.table(rows).validate(full=True)


def test_a_member_that_a_row_lacks_is_null() -> None:
    rows = rows_of({"a": 1}, {"b": "x"}, None)

    assert pl.DataFrame(rows).to_dicts() == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
        {"a": None, "b": None},
    ]


@each_reader
def test_rows_that_are_no_objects_are_a_column(read: Any) -> None:
    assert read(rows_of(1, 2, None)) == [{"value": 1}, {"value": 2}, {"value": None}]


def test_rows_of_all_sorts_are_a_column_of_json() -> None:
    rows = rows_of(1, {"a": "x"})

    assert pl.DataFrame(rows).to_dicts() == [{"value": "1"}, {"value": '{"a":"x"}'}]


def test_no_row_has_no_column() -> None:
    assert pl.DataFrame(rows_of()).shape == (0, 0)
    assert pa.table(rows_of()).schema == pa.schema([])


def test_what_is_no_table_is_json() -> None:
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    wide = {f"key-{number}": number for number in range(frames.FIELDS_MAX + 1)}
    rows = rows_of({"deep": deep, "wide": wide})

    [row] = pa.table(rows).to_pylist()

    assert json.loads(row["wide"]) == wide
    assert types_of(rows)["deep"].count("list") == frames.LEVELS_MAX - 2
    assert "string" in types_of(rows)["deep"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch have three rows, and the columns be told by two batches."""
    monkeypatch.setattr(frames, "BATCH_ROWS", 3)
    monkeypatch.setattr(frames, "WINDOW_ROWS", 6)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "late, message",
    [
        ({"a": "x", "b": 1}, "row 9 of the query has a string at a, which"),
        ({"a": 1.5, "b": 1}, "row 9 of the query has a number at a, which"),
        ({"a": 2**64, "b": 1}, "row 9 of the query has an integer of more than 64 bits at a"),
        ({"a": 1, "c": 1}, "row 9 of the query has a member at c, which"),
        ({"a": 1, "r": {"z": True}}, "row 9 of the query has a member at r.z, which"),
        ({"a": 1, "l": [1, True]}, "row 9 of the query has a boolean at l[], which"),
        (17, "row 9 of the query has an integer at its top, which"),
    ],
    ids=["string", "number", "large", "member", "below", "in a list", "no object"],
)
def test_what_does_not_fit_behind_the_window_names_its_row(late: Any, message: str) -> None:
    early = {"a": 1, "b": None, "r": {"x": 1}, "l": [1]}
    rows = rows_of(*[early] * 8, late)

    with pytest.raises(everlog.FrameError) as caught:
        frames.write_arrow(rows, io.BytesIO())

    assert str(caught.value).startswith(message)
    # Whoever reads it through a library is told the same.
    with pytest.raises(pl.exceptions.ComputeError) as caught_elsewhere:
        pl.DataFrame(rows)
    assert f"FrameError: {message}" in str(caught_elsewhere.value)


@pytest.mark.usefixtures("small")
def test_what_was_null_in_the_window_may_become_anything() -> None:
    rows = rows_of(*[{"a": None, "l": []}] * 8, {"a": {"x": 1}, "l": ["y"]})

    assert types_of(rows) == {"a": "string", "l": "list<item: string>"}
    assert pa.table(rows).to_pylist()[-1] == {"a": '{"x":1}', "l": ['"y"']}


@pytest.mark.usefixtures("small")
def test_batches_are_bounded() -> None:
    reader = pa.RecordBatchReader.from_stream(rows_of(*({"a": i} for i in range(10)), at_once=4))

    assert [batch.num_rows for batch in reader] == [3, 3, 3, 1]


def test_a_batch_of_large_events_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "BATCH_BYTES", 50)
    events = events_of(*(event_text(i, data={"a": "x" * 20}) for i in range(5)))

    reader = pa.RecordBatchReader.from_stream(events)

    assert [batch.num_rows for batch in reader] == [2, 2, 1]


@pytest.mark.usefixtures("small")
def test_what_was_read_is_not_kept() -> None:
    class Batch(list[bytes]):
        """A list that can be watched."""

    watched: list[weakref.ref[Batch]] = []
    alive: list[int] = []

    def run() -> Iterator[Sequence[bytes]]:
        for _ in range(30):
            batch = Batch([b'{"a":1}'] * 3)
            watched.append(weakref.ref(batch))
            yield batch
            del batch
            gc.collect()
            alive.append(sum(ref() is not None for ref in watched))

    for _ in pa.RecordBatchReader.from_stream(Rows(run)):
        pass

    assert len(watched) == 30
    assert max(alive) <= 2


@pytest.mark.usefixtures("small")
def test_leaving_in_the_middle_ends_reading() -> None:
    ended = []

    def run() -> Iterator[Sequence[bytes]]:
        try:
            while True:
                yield [b'{"a":1}'] * 3
        finally:
            ended.append(True)

    reader = pa.RecordBatchReader.from_stream(Rows(run))
    assert next(reader).num_rows == 3
    assert not ended
    reader.close()
    del reader
    gc.collect()

    assert ended == [True]


def test_whoever_reads_again_gets_the_same_columns() -> None:
    answers = [[b'{"a":1}'], [b'{"a":"x"}']]
    rows = Rows(lambda: iter([answers.pop(0)]))
    assert types_of(rows) == {"a": "int64"}

    with pytest.raises(everlog.FrameError, match="row 1 of the query has a string at a"):
        pa.table(rows)


def test_columns_can_be_asked_for() -> None:
    rows = rows_of({"a": 1, "b": {"c": "x"}}, {"a": "two", "b": None})
    schema = pa.schema([("b", pa.string()), ("a", pa.string()), ("z", pa.float64())])

    found = pa.table(rows, schema=schema)

    assert found.schema == schema
    assert found.to_pylist() == [
        {"b": '{"c":"x"}', "a": "1", "z": None},
        {"b": None, "a": "two", "z": None},
    ]


def test_columns_of_nested_kinds_can_be_asked_for() -> None:
    rows = rows_of({"a": {"x": 1, "y": 2}, "l": [1], "t": True})
    below = pa.struct([("y", pa.int64())])
    schema = pa.schema([("a", below), ("l", pa.list_(pa.float64())), ("t", pa.bool_())])

    assert pa.table(rows, schema=schema).to_pylist() == [{"a": {"y": 2}, "l": [1.0], "t": True}]


def test_a_type_that_rows_cannot_have_is_left_to_who_asked() -> None:
    asked = pa.schema([("a", pa.int16())])

    assert pa.RecordBatchReader.from_stream(rows_of({"a": 1})).schema == pa.schema(
        [("a", pa.int64())]
    )
    assert pa.table(rows_of({"a": 1}), schema=asked).schema == asked


def test_what_goes_wrong_at_once_is_raised_as_it_is() -> None:
    def run() -> Iterator[Sequence[bytes]]:
        raise everlog.UnreachableError("nobody is there")

    with pytest.raises(everlog.UnreachableError, match="nobody is there"):
        pa.table(Rows(run))


def test_a_parquet_file_has_what_was_read(tmp_path: Path) -> None:
    told: list[int] = []
    path = tmp_path / "events.parquet"
    events = events_of(*(event_text(i) for i in range(5)))

    assert frames.write_parquet(events, path, on_progress=told.append) == 5

    assert pl.read_parquet(path).equals(pl.DataFrame(events))
    assert pa_parquet.read_metadata(path).row_group(0).column(0).compression == "ZSTD"
    assert told[-1] == 5
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.usefixtures("small")
def test_a_parquet_file_has_few_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_GROUP_ROWS", 6)
    path = tmp_path / "rows.parquet"

    frames.write_parquet(rows_of(*({"a": i} for i in range(14))), path)

    metadata = pa_parquet.read_metadata(path)
    groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert groups == [6, 6, 2]


def test_an_arrow_file_is_a_stream(tmp_path: Path) -> None:
    told: list[int] = []
    path = tmp_path / "rows.arrow"
    rows = rows_of({"a": 1}, {"a": 2})

    assert frames.write_arrow(rows, path, on_progress=told.append) == 2

    with pa_ipc.open_stream(path) as reader:
        assert reader.read_all().to_pylist() == [{"a": 1}, {"a": 2}]
    assert pl.read_ipc_stream(path).to_dicts() == [{"a": 1}, {"a": 2}]
    assert told[-1] == 2


class Pipe(io.RawIOBase):
    """A file that only takes bytes, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.taken += bytes(data)
        return len(data)


@pytest.mark.parametrize(
    "write, read",
    [(frames.write_arrow, pl.read_ipc_stream), (frames.write_parquet, pl.read_parquet)],
    ids=["arrow", "parquet"],
)
def test_a_file_without_a_place_is_written_to(write: Any, read: Any) -> None:
    pipe = Pipe()

    assert write(rows_of({"a": 1}), pipe) == 1

    assert read(io.BytesIO(pipe.taken)).to_dicts() == [{"a": 1}]
    assert not pipe.closed


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "write", [frames.write_arrow, frames.write_parquet], ids=["arrow", "parquet"]
)
def test_a_file_that_is_not_whole_takes_nobodys_place(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"from yesterday")

    with pytest.raises(everlog.FrameError, match="row 8"):
        write(rows_of(*[{"a": 1}] * 7, {"a": "x"}), path)

    assert path.read_bytes() == b"from yesterday"
    assert [*tmp_path.iterdir()] == [path]


def test_parquet_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(everlog.FrameError, match=r"^Parquet needs columns"):
        frames.write_parquet(rows_of(), tmp_path / "rows.parquet")


def test_without_nanoarrow_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoarrow", None)
    monkeypatch.delitem(sys.modules, "everlog.library.frames")

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'everlog\[arrow\]'"):
        pa.table(rows_of({"a": 1}))


def test_without_pyarrow_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'everlog\[parquet\]'"):
        frames.write_parquet(rows_of({"a": 1}), io.BytesIO())
