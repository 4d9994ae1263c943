import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.domain.chain import GENESIS_HASH, HashVersion
from everlog.domain.event import Event, EventCandidate, accept_event, is_hash_valid
from everlog.domain.tracing import parse_tracestate

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

characters = st.characters(codec="utf-8")
texts = st.text(characters, max_size=8)
values = st.dictionaries(texts, texts | st.integers() | st.none() | st.booleans(), max_size=3)
printable = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=",="),
    min_size=1,
    max_size=8,
)
tracing = st.one_of(
    st.just((None, None)),
    st.just((TRACEPARENT, None)),
    printable.map(lambda value: (TRACEPARENT, f"key={value}")),
)


@st.composite
def candidates(draw: st.DrawFn) -> EventCandidate:
    traceparent, tracestate = draw(tracing)
    if tracestate is not None:
        parse_tracestate(tracestate, traceparent=traceparent)
    return EventCandidate(
        source=draw(st.sampled_from(["https://example.com", "tag:a,2023:b", "b\u00fccher"])),
        subject=draw(st.sampled_from(["/", "/a", "/a/b"])),
        type="com.example.happened",
        data=msgspec.json.encode(draw(values)).decode(),
        traceparent=traceparent,
        tracestate=tracestate,
    )


versions = st.sampled_from(list(HashVersion))
logs = st.lists(st.tuples(candidates(), versions), min_size=1, max_size=4)


def write(log: list[tuple[EventCandidate, HashVersion]]) -> list[Event]:
    predecessor_hash = GENESIS_HASH
    events = []
    for position, (candidate, hash_version) in enumerate(log):
        accepted = accept_event(
            candidate,
            position=position,
            time="2026-11-23T12:00:00.1Z",
            predecessor_hash=predecessor_hash,
            hash_version=hash_version,
        )
        events.append(msgspec.json.decode(accepted.json, type=Event))
        predecessor_hash = accepted.hash
    return events


def published_hash(event: Event) -> str:
    """Compute a hash the slow way, from the published rule."""
    metadata = [
        event.specversion,
        event.id,
        event.predecessorhash,
        event.time,
        event.source,
        event.subject,
        event.type,
        event.datacontenttype,
    ]
    if not event.hash.startswith("esdb:"):
        of_metadata = hashlib.sha256("|".join(metadata).encode()).hexdigest()
        of_data = hashlib.sha256(bytes(event.data)).hexdigest()
        return hashlib.sha256((of_metadata + of_data).encode()).hexdigest()
    lines = ["esdb:hash:v2:", *metadata, event.traceparent or "-", event.tracestate or "-"]
    content = "\n".join(lines).encode() + b"\n" + bytes(event.data)
    return "esdb:hash:v2:" + hashlib.sha256(content).hexdigest()


@pytest.mark.slow
@given(logs)
def test_a_written_log_is_an_intact_chain_of_the_published_hashes(
    log: list[tuple[EventCandidate, HashVersion]],
) -> None:
    events = write(log)

    assert all(is_hash_valid(event) for event in events)
    assert [event.hash for event in events] == [published_hash(event) for event in events]
    assert [event.predecessorhash for event in events] == [
        GENESIS_HASH,
        *(event.hash for event in events[:-1]),
    ]


@pytest.mark.slow
@given(logs)
def test_an_event_reads_back_as_it_was_offered(
    log: list[tuple[EventCandidate, HashVersion]],
) -> None:
    read = [
        EventCandidate(
            source=event.source,
            subject=event.subject,
            type=event.type,
            data=bytes(event.data).decode(),
            traceparent=event.traceparent,
            tracestate=event.tracestate,
        )
        for event in write(log)
    ]

    assert read == [candidate for candidate, _ in log]


@given(candidates(), versions, st.data())
def test_any_change_to_what_is_hashed_is_seen(
    candidate: EventCandidate, version: HashVersion, data: st.DataObject
) -> None:
    [event] = write([(candidate, version)])
    field = data.draw(
        st.sampled_from(["id", "time", "source", "subject", "type", "predecessorhash"])
    )
    old = getattr(event, field)
    new = data.draw(st.text(alphabet="0a/.:", max_size=6).filter(lambda text: text != old))

    assert not is_hash_valid(msgspec.structs.replace(event, **{field: new}))
