"""Large bodies: read part by part, they are what they are when they are read whole."""

import json
import random
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from everlog.api import large_bodies
from everlog.api.bodies import MalformedRequestError
from everlog.api.large_bodies import read_in_parts
from everlog.api.look_v1 import LOOK as V1
from everlog.api.look_v2 import LOOK as V2
from everlog.domain.errors import Code, RefusedError
from everlog.domain.limits import (
    EVENT_SENT_SIZE_MAX,
    EVENTS_PER_WRITE_MAX,
    PRECONDITIONS_PER_WRITE_MAX,
)

READERS = {"v1": V1.bodies.write_events, "v2": V2.bodies.write_events}

EVENT = b'{"source":"https://everlog.io","subject":"/a","type":"io.everlog.a","data":{"n":[1,2]}}'
TRICKY = rb'{"data":{"a\"],":"\\","b":["[{\\\"",{}],"c":"\u005c\\\\"},"subject":"/],[\\"}'
PRECONDITION = b'{"type":"isSubjectPristine","payload":{"subject":"/a"}}'


def as_told(read: Callable[[bytes], Any], body: bytes) -> object:
    """Return what a body is read as, with data that can be compared, or what is wrong with it."""
    try:
        found = read(body)
    except MalformedRequestError as error:
        return str(error)
    events = found.events or None
    preconditions = found.preconditions or None
    shown = [
        (event.source, event.subject, event.type, bytes(event.data) if event.data else None)
        for event in events or ()
    ]
    return shown, preconditions


@pytest.fixture(params=[(1 << 18, 1 << 16), (7, 20), (16, 1), (2, 200)])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows and parts be of any size."""
    window, part = request.param
    monkeypatch.setattr(large_bodies, "_WINDOW_SIZE", window)
    monkeypatch.setattr(large_bodies, "_PART_SIZE", part)


BODIES = (
    b'{"events":[%b]}' % EVENT,
    b'{"events":[%b]}' % b",".join([EVENT] * 5),
    b'{"events":[%b]}' % b",".join([EVENT, TRICKY, EVENT, TRICKY]),
    b' { "events" : [ %b ] , "preconditions" : [ %b ] } '
    % (b" , ".join([TRICKY] * 3), PRECONDITION),
    b'{"preconditions":[%b],"events":[%b]}' % (b",".join([PRECONDITION] * 4), EVENT),
    b'{"events":[]}',
    b'{"events":[ ],"preconditions":[\n]}',
    b"{}",
    b'{"preconditions":[]}',
)

FAULTS = (
    # At the end of what can be cut, and in the middle of it.
    b'{"events":[%b,]}' % EVENT,
    b'{"events":[%b, ]}' % EVENT,
    b'{"events":[,%b]}' % EVENT,
    b'{"events":[%b,,%b]}' % (EVENT, EVENT),
    b'{"events":[,]}',
    b'{"events":[%b}}' % EVENT,
    b'{"events":[%b' % EVENT,
    b'{"events":[%b]' % EVENT,
    b'{"events":["%b]}' % EVENT,
    b'{"events":[%b]}}' % EVENT,
    b'{"events":[%b]},' % EVENT,
    b'{"events":[%b]}{}' % EVENT,
    b'{"events":[%b]]}' % EVENT,
    b'{"events":[%b],}' % EVENT,
    b'{"events" [%b]}' % EVENT,
    b'{"events":[%b]"preconditions":[]}' % EVENT,
    b'{"events":[%b\\]}' % EVENT,
    b"[%b]" % EVENT,
    b"[[%b]]" % EVENT,
    b'"%b"' % (b"x" * 50),
    b'{"events":{"a":[%b,%b]}}' % (EVENT, EVENT),
    b'{"other":[%b,%b]}' % (EVENT, EVENT),
    b'{"events":[%b],"other":1}' % EVENT,
    b'{"events":[%b],"other":{"a":[1,2],"b":[]}}' % EVENT,
    b'{"events":"%b"}' % (b"[" * 50),
    b"]]]]",
    b"",
    b"\\\\\\",
)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("version, body", [*product(READERS, BODIES)])
def test_a_body_is_what_it_is_when_it_is_read_whole(version: str, body: bytes) -> None:
    read = READERS[version]
    expected = as_told(read, body)
    assert not isinstance(expected, str)

    assert as_told(lambda body: read_in_parts(read, body), body) == expected


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("version, body", [*product(READERS, FAULTS)])
def test_a_fault_is_found_wherever_it_is(version: str, body: bytes) -> None:
    read = READERS[version]
    assert isinstance(as_told(read, body), str)

    assert isinstance(as_told(lambda body: read_in_parts(read, body), body), str)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("index", [0, 1, 7, 19])
@pytest.mark.parametrize(
    "fault", [b'{"source":1}', b'{"other":1}', b"[]", b"7", b'{"source":"a",}', b'{"data":tru}']
)
@pytest.mark.parametrize("version", READERS)
def test_a_fault_is_told_with_its_place(version: str, fault: bytes, index: int) -> None:
    read = READERS[version]
    events = [EVENT] * 20
    events[index] = fault
    body = b'{"events": [%b]}' % b", ".join(events)

    told = as_told(lambda body: read_in_parts(read, body), body)

    assert told == as_told(read, body)
    assert isinstance(told, str)


@pytest.mark.usefixtures("sizes")
def test_leniency_is_the_same() -> None:
    read = READERS["v1"]
    body = b'{"Events":[%b,{"SOURCE":"b"}],"PreConditions":null}' % EVENT

    assert as_told(lambda body: read_in_parts(read, body), body) == as_told(read, body)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("seed", range(20))
def test_what_was_damaged_is_read_or_refused_as_it_is_whole(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(25):
        body = bytearray(chance.choice(BODIES))
        for _ in range(chance.randrange(3)):
            place = chance.randrange(len(body) + 1)
            body[place : place + chance.randrange(3)] = bytes(
                chance.choices(b'[]{},":\\ a1', k=chance.randrange(3))
            )
        read = READERS[chance.choice([*READERS])]
        whole = as_told(read, bytes(body))
        parts = as_told(lambda body, read=read: read_in_parts(read, body), bytes(body))
        if isinstance(whole, str):
            assert isinstance(parts, str), body
        elif isinstance(parts, str):
            # A member that comes twice is one too many here.
            assert body.count(b'"events"') + body.count(b'"preconditions"') > 2, (body, parts)
        else:
            assert parts == whole


COUNTS = {"events": EVENTS_PER_WRITE_MAX, "preconditions": PRECONDITIONS_PER_WRITE_MAX}


@pytest.mark.parametrize("version", READERS)
@pytest.mark.parametrize("name", COUNTS)
def test_no_more_elements_are_read_than_a_write_may_have(version: str, name: str) -> None:
    element = EVENT if name == "events" else PRECONDITION
    limit = COUNTS[name]
    for count in (limit, limit + 1, 2_000_000):
        body = b'{"%b":[%b]}' % (
            name.encode(),
            b",".join([element if count <= limit + 1 else b"{}"] * count),
        )
        started = time.process_time()
        if count == limit:
            assert len(getattr(read_in_parts(READERS[version], body), name)) == count
        else:
            with pytest.raises(RefusedError) as raised:
                read_in_parts(READERS[version], body)
            assert raised.value.details == {"field": name, "limit": limit}
            # What is behind them is not looked at.
            assert time.process_time() - started < 4


def test_an_event_that_is_sent_in_more_bytes_than_any_needs_is_refused() -> None:
    padded = EVENT[:-1] + b" " * (EVENT_SENT_SIZE_MAX - len(EVENT)) + b"}"
    assert len(padded) == EVENT_SENT_SIZE_MAX
    [_, found] = read_in_parts(READERS["v2"], b'{"events":[%b,%b]}' % (EVENT, padded)).events or ()
    assert json.loads(bytes(found.data or b"")) == {"n": [1, 2]}

    with pytest.raises(RefusedError) as raised:
        read_in_parts(READERS["v2"], b'{"events":[%b,%b  ]}' % (EVENT, padded))

    assert raised.value.code is Code.EVENT_TOO_LARGE
    assert raised.value.details == {
        "field": "events[1]",
        "eventIndex": 1,
        "limit": EVENT_SENT_SIZE_MAX,
    }


HUGE = 8_000_000


@pytest.mark.parametrize(
    "body, message",
    [
        (b'{"preconditions":[{"type":"%b"}]}' % (b"x" * HUGE), "$.preconditions[0]"),
        (b'{"events":[]%b}' % (b" " * HUGE), "besides events and preconditions"),
        (b'{"%b":[]}' % (b"x" * HUGE), "too long"),
        (b'"%b"' % (b"x" * HUGE), "besides events and preconditions"),
        (b'{"events":{%b}}' % (b"," * HUGE), "Expected `array"),
        (b"[%b]" % (b"[]," * HUGE), "Expected `object"),
        (b"{%b}" % (b'"events":[],' * (HUGE // 12)), "too many members"),
        (b"{%b}" % (b'"events":null,' * (HUGE // 12)), "too many members"),
        (b"]" * HUGE, "too many members"),
        (b'{"events":[%b' % (b"[" * HUGE), "ends too early"),
        (b'{"events":[%b' % (b"\\" * HUGE), "ends too early"),
    ],
)
@pytest.mark.parametrize("version", READERS)
def test_whatever_is_sent_no_step_takes_long(version: str, body: bytes, message: str) -> None:
    steps: list[float] = []

    def read(part: bytes) -> Any:
        # Not a claim about speed: nothing large is read whole.
        steps.append(len(part))
        return READERS[version](part)

    with pytest.raises(MalformedRequestError) as raised:
        read_in_parts(read, body)

    assert message in str(raised.value)
    assert max(steps, default=0) <= 2 * EVENT_SENT_SIZE_MAX
