"""The hash chain, verified from the public rules alone: shares no code with the product.

Works on the lines that a version 1 client reads, since a hash covers the data as it was sent.
"""

import json
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

GENESIS = "0" * 64
V2_PREFIX = "esdb:hash:v2:"

# In an event as served, data stands between these members.
_DATA = re.compile(
    rb'"datacontenttype":"application/json",'
    rb'(?:"trace\w+":"(?:[^"\\]|\\.)*",)*'
    rb'"data":(\{.*\}),"predecessorhash":"[^"]*","hash":"[^"]*","signature":'
)


def data_text(line: bytes) -> bytes:
    """Return the data of an event exactly as it was served."""
    match = _DATA.search(line)
    assert match is not None
    return match[1]


def check_chain(lines: Iterable[bytes], *, event_count: int | None = None) -> list[dict[str, Any]]:
    """Check ids, times and hashes of a whole log, and return its events."""
    events: list[dict[str, Any]] = []
    predecessor, time = GENESIS, ""
    for line in lines:
        event: dict[str, Any] = json.loads(line)["payload"]
        assert event["id"] == str(len(events))
        assert event["predecessorhash"] == predecessor
        assert event["hash"] == hash_of(event, data_text(line))
        assert _padded(event["time"]) >= time
        predecessor, time = event["hash"], _padded(event["time"])
        events.append(event)
    assert event_count in {None, len(events)}
    return events


def hash_of(event: dict[str, Any], data: bytes) -> str:
    names = ("specversion", "id", "predecessorhash", "time", "source", "subject", "type")
    fields = [*(event[name] for name in names), event["datacontenttype"]]
    if event["hash"].startswith(V2_PREFIX):
        traces = [event.get("traceparent", "-"), event.get("tracestate", "-")]
        content = "\n".join([V2_PREFIX, *fields, *traces]).encode() + b"\n" + data
        return V2_PREFIX + sha256(content).hexdigest()
    digests = sha256("|".join(fields).encode()).hexdigest() + sha256(data).hexdigest()
    return sha256(digests.encode()).hexdigest()


def _padded(time: str) -> str:
    """Return a time in a form that sorts, after checking the form that it must have."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{0,8}[1-9])Z", time)
    assert match is not None, time
    return f"{match[1]}.{match[2]:0<9}"
