"""What was heard of entries on their way to the stream."""

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from everlog.journals.nats_messages import AFTER, Heard
from everlog.service.mirroring.journal import UnknownEntryFormatError, encode_entry
from tests.support.journal_places import make_entry

ENTRIES = [make_entry(number) for number in range(3)]


def on_its_way(number: int, *, after: int | None, data: bytes | None = None) -> Msg:
    headers = {"Nats-Msg-Id": f"batch-{number}"}
    if after is not None:
        headers[AFTER] = str(after)
    content = encode_entry(ENTRIES[number % 3]) if data is None else data
    return Msg(_client=Client(), data=content, headers=headers)


def test_what_was_heard_is_believed_once_its_place_is_told() -> None:
    heard = Heard()
    heard.hear(on_its_way(0, after=0))
    heard.hear(on_its_way(1, after=4))
    assert heard.take(0) == []
    heard.place("batch-1", 7)
    heard.place("batch-0", 4)
    found = heard.take(0)
    assert [(each.place, each.entry) for each in found] == [(4, ENTRIES[0]), (7, ENTRIES[1])]
    assert heard.take(0) == []


def test_what_was_not_heard_or_lost_its_race_has_no_place() -> None:
    heard = Heard()
    heard.hear(on_its_way(0, after=0))
    heard.place("batch-1", 4)
    heard.place("", 4)
    assert heard.take(0) == []
    # Of two that wanted the same place, one is told.
    heard.hear(on_its_way(2, after=0))
    heard.place("batch-2", 4)
    assert [each.entry for each in heard.take(0)] == [ENTRIES[2]]


def test_only_the_latest_are_kept() -> None:
    heard = Heard()
    for number in range(1000):
        heard.hear(on_its_way(number, after=number))
        heard.place(f"batch-{number}", number + 1)
    assert heard.take(0) == []
    assert len(heard.take(1000 - 64)) == 64


def test_what_is_kept_has_a_size() -> None:
    heard = Heard()
    for number in range(3):
        heard.hear(on_its_way(number, after=number, data=bytes(3 * 1024 * 1024)))
        heard.place(f"batch-{number}", number + 1)
    assert [before for before in range(3) if before in heard._placed] == [2]
    heard.hear(on_its_way(7, after=9, data=bytes(5 * 1024 * 1024)))
    heard.place("batch-7", 10)
    assert heard.take(9) == []


def test_what_is_no_entry_is_refused() -> None:
    heard = Heard()
    heard.hear(on_its_way(0, after=None))
    with pytest.raises(UnknownEntryFormatError):
        heard.place("batch-0", 4)
