"""The table of event types, in what no engine shows."""

from everlog.storage.engine import Head
from everlog.storage.log.index import EventTypeTable


def test_a_type_that_was_numbered_for_an_unpublished_schema_is_not_there() -> None:
    table = EventTypeTable()
    table.number("io.everlog.one")

    assert list(table.visible(Head(event_type_count=1))) == []
    assert table.find("io.everlog.one", Head(event_type_count=1)) is None
