"""Events as they are decoded in blocks, whatever a reader looks at; and JSON text as data."""

import pickle
from itertools import chain

import pytest

from everlog.library.errors import VerificationError
from everlog.library.values import Event, EventDecoder, JsonText

STARTS = {1: b'{"type":"event","payload":', 2: b'{"type":"event","data":'}


def event_text(number: int, data: bytes = b'{"n":1.50,"names":["a"]}') -> bytes:
    return (
        b'{"specversion":"1.0","id":"%d","time":"2026-11-23T12:00:00.5Z","source":"https://a",'
        b'"subject":"/a","type":"com.example.a","datacontenttype":"application/json","data":%s,'
        b'"predecessorhash":"%064d","hash":"%064d","signature":null}'
        % (number, data, number, number + 1)
    )


def block(version: int, *texts: bytes) -> bytes:
    return b"".join(STARTS[version] + text + b"}\n" for text in texts)


def decode(decoder: EventDecoder, lines: bytes) -> list[Event]:
    events = decoder.decode(lines)
    assert events is not None
    return events


def decoded_at_once(events: list[Event]) -> int:
    """Return how many have their data without being asked for it."""
    return sum(event._data is not None for event in events)


@pytest.mark.parametrize("version", STARTS)
def test_data_is_decoded_at_once_for_whoever_looks_at_it(version: int) -> None:
    decoder, texts = EventDecoder(version), [event_text(number) for number in range(12)]
    blocks = [block(version, *texts[start : start + 3]) for start in range(0, 12, 3)]

    first = decode(decoder, blocks[0])
    assert decoded_at_once(first) == 0
    assert first[-1].data == {"n": 1.5, "names": ["a"]}
    second = decode(decoder, blocks[1])
    # The last one tells whether the next ones are to have theirs.
    assert decoded_at_once(second) == 2
    third = decode(decoder, blocks[2])
    assert decoded_at_once(third) == 0
    assert third[0].data == third[1].data == third[2].data
    fourth = decode(decoder, blocks[3])
    assert decoded_at_once(fourth) == 2

    # What is in them does not depend on how they came.
    alone = [Event.from_json(text) for text in texts]
    assert [*first, *second, *third, *fourth] == alone
    assert [each.data for each in chain(first, second, third, fourth)] == [
        each.data for each in alone
    ]
    assert second[0] != alone[4]
    assert [each.to_json() for each in second] == texts[3:6]
    assert pickle.loads(pickle.dumps(second)) == second
    assert hash(second[0]) == hash(alone[3])


@pytest.mark.parametrize("data", [b"[1]", b"null", b"1"])
def test_data_that_cannot_be_decoded_is_told_to_whoever_looks_at_it(data: bytes) -> None:
    decoder = EventDecoder(1)
    decode(decoder, block(1, event_text(0)))[0].data  # noqa: B018 - it is looked at.

    events = decode(decoder, block(1, event_text(1, data), event_text(2)))
    assert [each.id for each in events] == ["1", "2"]
    with pytest.raises(VerificationError, match="is no event"):
        events[0].data  # noqa: B018 - as above.
    assert events[1].data["n"] == 1.5


@pytest.mark.parametrize("is_looked_at", [False, True])
@pytest.mark.parametrize(
    "line", [b'{"type":"heartbeat","payload":{}}\n', b"\n", b"nonsense\n", b'"\xff"\n']
)
def test_lines_that_are_no_events_are_left_to_the_reader(
    line: bytes, *, is_looked_at: bool
) -> None:
    decoder = EventDecoder(1)
    if is_looked_at:
        decode(decoder, block(1, event_text(0)))[0].data  # noqa: B018 - it is looked at.

    assert decoder.decode(block(1, event_text(1)) + line) is None
    assert [each.id for each in decode(decoder, block(1, event_text(2)))] == ["2"]


def test_json_text_is_a_mapping_that_keeps_its_text() -> None:
    text = JsonText('{"price": 1.50}')

    assert (text.text, dict(text), len(text), text["price"]) == (
        b'{"price": 1.50}',
        {"price": 1.5},
        1,
        1.5,
    )
    assert text == {"price": 1.5} == JsonText(b'{"price":1.5}')
    assert pickle.loads(pickle.dumps(text)).text == text.text
    assert "1.50" in repr(text)
    with pytest.raises(ValueError, match="the text is no JSON object"):
        list(JsonText("[1]"))
