import pytest

from everlog.eventql.analysis.analyzed import AggregateValue, FieldAccess, GroupKey, LogSource
from everlog.eventql.codegen.generated import GeneratedModule
from everlog.eventql.codegen.row_code import EventRows, RowEnvironment, Use
from everlog.eventql.diagnostic import Span
from everlog.eventql.types import INT, JSON, STRING

NOWHERE = Span(0, 0)


def event_rows(*uses: Use) -> EventRows:
    return EventRows(GeneratedModule(), 0, frozenset(uses), is_signed=False)


def text(*path: str) -> Use:
    return Use(path, is_text=True, is_early=False)


def value(*path: str, is_early: bool = False) -> Use:
    return Use(path, is_text=False, is_early=is_early)


def test_a_field_that_is_written_and_looked_into_is_decoded_late() -> None:
    rows = event_rows(text("data"), value("data", "n"))

    assert rows.late_structs is not None
    assert rows.needs_line
    assert not rows.needs_line_early


def test_a_field_that_is_only_written_is_decoded_once() -> None:
    rows = event_rows(text("data"), value("type"))

    assert rows.late_structs is None
    assert not rows.needs_line


def test_a_whole_event_is_taken_from_its_line() -> None:
    assert event_rows(text()).needs_line
    assert not event_rows(text()).has_fields
    assert event_rows(value(is_early=True)).needs_line_early


def test_without_a_key_no_hash_is_decoded() -> None:
    assert not event_rows(value("signature")).has_fields
    rows = EventRows(GeneratedModule(), 0, frozenset({value("signature")}), is_signed=True)
    assert rows.has_fields


def test_rows_know_their_ids_and_no_groups() -> None:
    environment = RowEnvironment(GeneratedModule(), (LogSource.EVENTS, LogSource.SUBJECTS), ())

    assert environment.is_event_id(FieldAccess(0, ("id",), STRING, NOWHERE))
    assert not environment.is_event_id(FieldAccess(0, ("data", "id"), JSON, NOWHERE))
    assert not environment.is_event_id(FieldAccess(1, ("id",), STRING, NOWHERE))
    with pytest.raises(AssertionError):
        environment.group_key(GroupKey(INT, NOWHERE))
    with pytest.raises(AssertionError):
        environment.aggregate(AggregateValue(0, INT, NOWHERE))
