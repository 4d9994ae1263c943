"""NDJSON, JSON and CSV: whatever the rows, others can read what is written."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.cli.forms import CsvWriter, JsonWriter, NdjsonWriter, RowFormError, Writer

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def encode(rows: list[Any]) -> list[bytes]:
    return [json.dumps(row, ensure_ascii=False).encode() for row in rows]


def written(writer: Writer, *chunks: list[Any]) -> bytes:
    """Return all that a writer makes of some chunks of rows."""
    parts = [writer.add(encode(chunk)) + writer.flush() for chunk in chunks]
    return b"".join([*parts, writer.finish()])


@given(st.lists(st.lists(VALUES)))
def test_ndjson_and_json_are_the_rows(chunks: list[list[Any]]) -> None:
    rows = [row for chunk in chunks for row in chunk]

    assert [*map(json.loads, written(NdjsonWriter(), *chunks).split(b"\n")[:-1])] == rows
    assert json.loads(written(JsonWriter(), *chunks)) == rows


def test_json_has_a_row_on_each_line_and_no_end_before_the_end() -> None:
    writer = JsonWriter()

    assert writer.add([b"1", b"2"]) + writer.add([b"3"]) == b"[\n1,\n2,\n3"
    assert writer.finish() == b"\n]\n"
    assert JsonWriter().finish() == b"[]\n"


@pytest.mark.parametrize(
    "rows, expected",
    [
        ([], ""),
        ([{"a": 1, "b": "x"}, {"b": "y", "a": 2.5}], "a,b\r\n1,x\r\n2.5,y\r\n"),
        ([{"a": None, "b": ""}, {"a": True}], 'a,b\r\n,""\r\ntrue,\r\n'),
        ([{"a": 'x"y', "b": "1,2"}], 'a,b\r\n"x""y","1,2"\r\n'),
        ([{"a": "1\n2", "b": " x"}], 'a,b\r\n"1\n2"," x"\r\n'),
        ([{"a": [1, {"b": None}]}], 'a\r\n"[1, {""b"": null}]"\r\n'),
        ([1, "x", None], "value\r\n1\r\nx\r\n\r\n"),
        ([{}], "\r\n\r\n"),
    ],
)
def test_csv_is_as_rfc_4180_has_it(rows: list[Any], expected: str) -> None:
    assert written(CsvWriter(), rows).decode() == expected


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.text() | st.integers(), min_size=1)))
def test_csv_can_be_read_back(rows: list[dict[str, Any]]) -> None:
    all_members = {"a": "", "b": 0, "c": None, "d": "d"}
    rows = [all_members, *rows]
    text = written(CsvWriter(), rows[:1], rows[1:]).decode()

    read = [*csv.DictReader(io.StringIO(text, newline=""))]

    assert read == [
        {name: "" if row.get(name) is None else str(row[name]) for name in all_members}
        for row in rows
    ]


@pytest.mark.parametrize(
    "rows, name", [([{"a": 1}, {"a": 2}, {"a": 3, "b": 4}], "b"), ([{"a": 1}, {}, 2], "value")]
)
def test_csv_refuses_a_row_with_another_column_after_those_before_it(
    rows: list[Any], name: str
) -> None:
    writer = CsvWriter()

    with pytest.raises(RowFormError, match=f"row 3 has a member '{name}'.* --format ndjson") as got:
        writer.add(encode(rows))

    assert got.value.before == written(CsvWriter(), rows[:2])
