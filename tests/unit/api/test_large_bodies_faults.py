"""What is wrong with a large body is told as of a small one, though it is read part by part."""

import gzip
import json

import pytest

from everlog.api import look_v1, look_v2
from everlog.api.bodies import MalformedRequestError
from everlog.api.large_bodies import read_in_parts
from everlog.api.look import Look

EVENT = json.dumps(
    {"source": "a", "subject": "/a", "type": "io.a.b", "data": {"text": "x" * 300}}
).encode()
EVENTS = b",".join([EVENT] * 400)
NUL = b'{"subject":"\0"}'


def last(event: bytes) -> bytes:
    """Return a body whose last event, number 400, is this one."""
    return b'{"events":[%b,%b]}' % (EVENTS, event)


FAULTS: tuple[tuple[bytes, str], ...] = (
    (
        b'{"preconditions":[{"type":"x"}],"events":[%b],"preconditions":[]}' % EVENTS,
        "the member 'preconditions' comes twice - at `$`",
    ),
    (
        b'{"events":[%b],"events":[]}' % EVENTS,
        "the member 'events' comes twice - at `$`",
    ),
    (
        last(b'{"source":"a","source":"b"}'),
        "the member 'source' comes twice - at `$.events[400]`",
    ),
    (
        b'{"events":[%b],"preconditions":[{},{"payload":{"query":"a","query":"b"}}]}' % EVENTS,
        "the member 'query' comes twice - at `$.preconditions[1].payload`",
    ),
    (last(b'{"subject":"\xfc"}'), "it is not valid UTF-8 - at `$.events[400].subject`"),
    (
        last(b'{"subject":"\\ud800"}'),
        "it has half of a surrogate pair - at `$.events[400].subject`",
    ),
    (last(NUL), f"it has a NUL byte (byte {last(NUL).index(0)})"),
    (b"\xef\xbb\xbf" + last(EVENT), "it begins with a byte order mark (U+FEFF), which JSON"),
    (last(EVENT).decode().encode("utf-16"), "it is UTF-16 or UTF-32, and JSON is UTF-8"),
    (gzip.compress(EVENTS * 100, mtime=0), "it is compressed with gzip"),
)


@pytest.mark.parametrize("look", [look_v1.LOOK, look_v2.LOOK], ids=["v1", "v2"])
@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_a_fault_is_told_with_its_place_in_the_whole(look: Look, number: int) -> None:
    body, reason = FAULTS[number]

    with pytest.raises(MalformedRequestError) as raised:
        read_in_parts(look.bodies.write_events, body)

    assert str(raised.value).startswith(f"malformed request body: {reason}")
