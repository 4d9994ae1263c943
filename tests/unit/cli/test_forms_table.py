"""Tables: what fits is aligned, what does not is shortened or stands below each other."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.cli import forms
from everlog.cli.forms import WINDOW_ROWS, TableWriter, width_of


def written(rows: list[Any], *, width: int | None = None) -> str:
    writer = TableWriter(width_max=width)
    encoded = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    return (writer.add(encoded) + writer.finish()).decode()


def check_table(rows: list[Any], *expected: str, width: int | None = None) -> None:
    """Check the lines of a table."""
    assert written(rows, width=width).splitlines() == [*expected]


def test_numbers_stand_at_the_right_and_texts_at_the_left() -> None:
    check_table(
        [{"id": "0", "n": 1, "x": 2.5}, {"id": "10", "n": -100, "x": 1e30}],
        "id |    n |     x",
        "---+------+------",
        "0  |    1 |   2.5",
        "10 | -100 | 1e+30",
    )


def test_null_missing_members_and_strings_that_look_like_them_differ() -> None:
    check_table(
        [{"a": None, "b": ""}, {"a": "null"}, {"a": True, "b": "true"}, {"a": "x", "b": "0"}],
        "a      | b",
        "-------+-------",
        'null   | ""',
        '"null" |',
        'true   | "true"',
        "x      | 0",
    )


def test_nested_values_are_json_and_what_is_no_record_has_one_column() -> None:
    check_table([[1, {"a": None}], 5], "value", "-" * 16, '[1, {"a": null}]', " " * 15 + "5")


def test_members_that_come_later_are_appended() -> None:
    check_table(
        [{"a": 1}, {"b": 2, "a": 3}, 4],
        "a | b | value",
        "--+---+------",
        "1 |   |",
        "3 | 2 |",
        "  |   |     4",
    )


def test_wide_letters_are_counted_as_they_are_shown() -> None:
    check_table(
        [{"t": "\u65e5\u672c", "n": 1}, {"t": "cafe\u0301", "n": 2}],
        "t    | n",
        "-----+--",
        "\u65e5\u672c | 1",
        "cafe\u0301 | 2",
    )


def test_what_a_terminal_would_obey_is_shown() -> None:
    check_table([{"\x1b[1m": "\x1b]0;x\x07"}], "\\x1b[1m", "------------", "\\x1b]0;x\\x07")


def test_the_widest_columns_are_shortened_to_the_width() -> None:
    check_table(
        [{"id": 1, "text": "x" * 50, "more": "y" * 30, "s": "short"}],
        "id | text     | more     | s",
        "---+----------+----------+------",
        " 1 | xxxxxxx\u2026 | yyyyyyy\u2026 | short",
        width=32,
    )


def test_columns_that_cannot_stand_side_by_side_stand_below_each_other() -> None:
    check_table(
        [{"first": "x" * 50, "second": 2, "third": None, "4": "y" * 20}, 7],
        "-[ row 1 ]-",
        "first  | xxxxxxxxxx\u2026",
        "second | 2",
        "third  | null",
        "4      | yyyyyyyyyy\u2026",
        "-[ row 2 ]-",
        "value | 7",
        width=20,
    )


def test_a_name_takes_half_of_the_width_at_most() -> None:
    check_table(
        [{"n" * 30: "x" * 30, "m" * 30: 1}],
        "-[ row 1 ]-",
        "nnnnnnn\u2026 | xxxx\u2026",
        "mmmmmmm\u2026 | 1",
        width=16,
    )


def test_records_that_are_dictionaries_stand_below_each_other() -> None:
    lines = written([{f"key-{number}": number} for number in range(150)]).splitlines()

    assert lines[:2] == ["-[ row 1 ]-", "key-0 | 0"]
    assert lines[-2:] == ["-[ row 150 ]-", "key-149 | 149"]


def test_rows_are_printed_by_the_window_and_the_header_again_where_columns_change() -> None:
    writer = TableWriter(width_max=None)
    row = b'{"a":1}'

    first = writer.add([row] * (WINDOW_ROWS + 1)).decode()
    second = writer.flush().decode()
    third = (writer.add([b'{"a":1000}']) + writer.flush()).decode()
    fourth = (writer.add([row]) + writer.finish()).decode()

    assert first == "a\n-\n" + "1\n" * WINDOW_ROWS
    assert second == "1\n"
    assert third == "\n   a\n----\n1000\n"
    assert fourth == "   1\n"
    assert writer.flush() == b""


def test_large_rows_do_not_wait_for_many_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_WINDOW_SIZE_MAX", 1_000)

    assert TableWriter(width_max=None).add([b'"%b"' % (b"x" * 400)] * 3).count(b"\n") == 5


def test_no_row_is_no_table() -> None:
    check_table([])


VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=3)


@given(st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4)), st.integers(12, 60))
def test_no_line_is_wider_than_the_screen(rows: list[dict[str, Any]], width: int) -> None:
    lines = written(rows, width=width).splitlines()

    assert all(line.isprintable() and width_of(line) <= width for line in lines)
    assert len(lines) >= len(rows)
