"""What a backup holds: counted, and checked to be a chain."""

import pytest

from everlog.domain.errors import Code, RefusedError
from everlog.transfer.contents import BackupContents, Place
from tests.support.backups import an_event, chained, lines_of, schema_line

CHAIN = chained([an_event(f'{{"n":{number}}}') for number in range(6)], version=2)
SCHEMA = schema_line("io.x.y", '{"type":"object","properties":{}}')


def place(position: int) -> Place:
    return Place(str(position), CHAIN[position][1])


def test_a_backup_is_counted() -> None:
    contents = BackupContents(None)
    assert (contents.event_count, contents.first, contents.last) == (0, None, None)

    assert contents.add(SCHEMA + lines_of(CHAIN[:2])) == SCHEMA + lines_of(CHAIN[:2])
    assert contents.add(lines_of(CHAIN[2:])) == lines_of(CHAIN[2:])

    assert (contents.event_count, contents.schema_count) == (6, 1)
    assert (contents.first, contents.last) == (place(0), place(5))


def test_a_schema_is_written_once() -> None:
    contents = BackupContents(None)
    contents.add(SCHEMA + lines_of(CHAIN[:2]))
    other = schema_line("io.x.z", '{"type":"object","properties":{}}')

    assert contents.add(b"\n" + SCHEMA + other + lines_of(CHAIN[2:])) == other + lines_of(CHAIN[2:])

    assert contents.schema_count == 2


def test_an_increment_begins_behind_an_event() -> None:
    contents = BackupContents(place(3))
    assert contents.last == place(3)

    contents.add(lines_of(CHAIN[4:]))

    assert (contents.event_count, contents.first, contents.last) == (2, place(4), place(5))


@pytest.mark.parametrize(
    "after, lines, text",
    [
        (None, lines_of(CHAIN[1:]), "event 1 is not what follows"),
        (place(2), lines_of(CHAIN[2:]), "event 2 is not what follows: its id is '2'"),
        (Place("2", "0" * 64), lines_of(CHAIN[3:]), "event 3 is not what follows: its predecessor"),
        (
            None,
            lines_of(CHAIN).replace(b'"n":3', b'"n":4'),
            "event 3 is not what follows: its hash",
        ),
    ],
)
def test_what_does_not_follow_is_refused(after: Place | None, lines: bytes, text: str) -> None:
    with pytest.raises(RefusedError, match=text) as caught:
        BackupContents(after).add(lines)

    assert caught.value.code in {Code.EVENT_CHAIN_BROKEN, Code.FULL_BACKUP_MISSING}


def test_what_was_stored_once_is_backed_up_whatever_the_rules_are() -> None:
    chain = chained([an_event('{"a":1,"a":2}'), an_event("[]"), an_event(subject="nothing")])

    assert BackupContents(None).add(lines_of(chain)) == lines_of(chain)
