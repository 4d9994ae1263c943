import msgspec
import pytest

from everlog.domain.chain import GENESIS_HASH, HashVersion
from everlog.domain.event import (
    AcceptedEvent,
    Event,
    EventCandidate,
    accept_event,
    candidate_size,
    is_hash_valid,
)

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CANDIDATE = EventCandidate(
    source="https://library.eventsourcingdb.io",
    subject="/books/42",
    type="io.eventsourcingdb.library.book-acquired",
    data='{"title":"\\u003cb\\u003e2001 \u2013 A Space Odyssey\\u003c/b\\u003e"}',
)
TRACED = msgspec.structs.replace(CANDIDATE, traceparent=TRACEPARENT, tracestate="foo=bar")
HASH_V1 = "a3c2c9a8f2e2abce65ab7ae3c7b8556e7f78d4e725e387bb9982f71bc0e34269"
HASH_V2 = "esdb:hash:v2:8bfd11df6743b87753f1c2ea658a9fede38b02be7ce23d3b0c534780b5567fac"
HASH_V2_TRACED = "esdb:hash:v2:46f22998e84a3c72cbc4ea0ba698d61487293867a078072e457a7cbfa96698e4"


def accept(
    candidate: EventCandidate, *, hash_version: HashVersion = HashVersion.V2
) -> AcceptedEvent:
    return accept_event(
        candidate,
        position=0,
        time="2026-11-23T12:00:00.123456789Z",
        predecessor_hash=GENESIS_HASH,
        hash_version=hash_version,
    )


def read_back(accepted: AcceptedEvent) -> Event:
    return msgspec.json.decode(accepted.json, type=Event)


def test_the_text_of_an_event_has_the_documented_order() -> None:
    assert accept(CANDIDATE).json.decode() == (
        '{"specversion":"1.0","id":"0","time":"2026-11-23T12:00:00.123456789Z",'
        '"source":"https://library.eventsourcingdb.io","subject":"/books/42",'
        '"type":"io.eventsourcingdb.library.book-acquired","datacontenttype":"application/json",'
        f'"data":{CANDIDATE.data},"predecessorhash":"{GENESIS_HASH}","hash":"{HASH_V2}",'
        '"signature":null}'
    )


def test_an_accepted_event_tells_what_an_index_needs() -> None:
    accepted = accept(CANDIDATE)

    assert (accepted.subject, accepted.type) == (CANDIDATE.subject, CANDIDATE.type)


@pytest.mark.parametrize(
    "candidate, hash_version, hash_",
    [
        (CANDIDATE, HashVersion.V1, HASH_V1),
        (TRACED, HashVersion.V1, HASH_V1),
        (CANDIDATE, HashVersion.V2, HASH_V2),
        (TRACED, HashVersion.V2, HASH_V2_TRACED),
    ],
)
def test_an_event_is_hashed_and_reads_back_as_valid(
    candidate: EventCandidate, hash_version: HashVersion, hash_: str
) -> None:
    accepted = accept(candidate, hash_version=hash_version)

    event = read_back(accepted)

    assert accepted.hash == hash_
    assert event.hash == hash_
    assert is_hash_valid(event)
    assert bytes(event.data).decode() == candidate.data


@pytest.mark.parametrize(
    "traceparent, tracestate, members",
    [
        (None, None, ""),
        (TRACEPARENT, None, f'"traceparent":"{TRACEPARENT}",'),
        (
            TRACEPARENT,
            'a="\\/~',
            f'"traceparent":"{TRACEPARENT}","tracestate":"a=\\"\\\\/~",',
        ),
    ],
)
def test_tracing_fields_are_there_only_if_given(
    traceparent: str | None, tracestate: str | None, members: str
) -> None:
    candidate = msgspec.structs.replace(CANDIDATE, traceparent=traceparent, tracestate=tracestate)

    accepted = accept(candidate)

    assert f'"datacontenttype":"application/json",{members}"data":' in accepted.json.decode()
    event = read_back(accepted)
    assert (event.traceparent, event.tracestate) == (traceparent, tracestate)
    assert is_hash_valid(event)


@pytest.mark.parametrize(
    "field, value",
    [
        ("specversion", "1.1"),
        ("id", "1"),
        ("time", "2026-11-23T12:00:00.123456788Z"),
        ("source", "https://library.eventsourcingdb.org"),
        ("subject", "/books/43"),
        ("type", "io.eventsourcingdb.library.book-returned"),
        ("datacontenttype", "application/xml"),
        ("data", msgspec.Raw(b"{}")),
        ("predecessorhash", "1" + GENESIS_HASH[1:]),
        ("hash", "esdb:hash:v2:" + GENESIS_HASH),
        ("hash", GENESIS_HASH),
        ("hash", HASH_V2_TRACED.replace("v2", "v3")),
        ("traceparent", None),
        ("tracestate", "foo=baz"),
    ],
)
def test_a_changed_event_is_not_valid(field: str, value: object) -> None:
    event = read_back(accept(TRACED))

    assert not is_hash_valid(msgspec.structs.replace(event, **{field: value}))


def test_version_1_does_not_cover_tracing() -> None:
    event = read_back(accept(TRACED, hash_version=HashVersion.V1))

    assert is_hash_valid(msgspec.structs.replace(event, traceparent=None, tracestate=None))


@pytest.mark.parametrize(
    "candidate, size",
    [
        (EventCandidate(source="a", subject="/", type="a.b.c", data="{}"), 9),
        (EventCandidate(source="\u00fc", subject="/", type="a.b.c", data="{}"), 10),
        (EventCandidate(source="a", subject="/", type="a.b.c", data='{"\u00fc":0}'), 15),
        (
            EventCandidate(
                source="a", subject="/", type="a.b.c", data="{}", traceparent=TRACEPARENT
            ),
            9 + 55,
        ),
        (
            EventCandidate(
                source="a",
                subject="/",
                type="a.b.c",
                data="{}",
                traceparent=TRACEPARENT,
                tracestate="a=1",
            ),
            9 + 55 + 3,
        ),
    ],
)
def test_the_size_of_a_candidate_counts_the_bytes_of_its_values(
    candidate: EventCandidate, size: int
) -> None:
    assert candidate_size(candidate) == size
