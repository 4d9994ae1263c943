from pathlib import Path

import msgspec
import pytest

from everlog.domain.chain import GENESIS_HASH, HashVersion, hash_v1, hash_v2, hash_version_of

VECTORS = Path(__file__).resolve().parents[2] / "fixtures" / "hash-vectors.ndjson"

ZEROS = "0" * 64
TIME = "2026-11-23T12:00:00.123456789Z"
SOURCE = "https://library.eventsourcingdb.io"
TYPE = "io.eventsourcingdb.library.book-acquired"
DATA = '{"title":"\\u003cb\\u003e2001 \u2013 A Space Odyssey\\u003c/b\\u003e"}'
FIELDS = ("1.0", "0", ZEROS, TIME, SOURCE, "/books/42", TYPE, "application/json")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class VectorEvent(msgspec.Struct):
    source: str
    subject: str
    type: str
    specversion: str
    id: str
    time: str
    datacontenttype: str
    predecessorhash: str
    data: msgspec.Raw
    traceparent: str
    tracestate: str


class VectorPayload(msgspec.Struct):
    event: VectorEvent
    hash: str


class Vector(msgspec.Struct):
    type: str
    payload: VectorPayload


def official_vectors() -> list[VectorPayload]:
    lines = VECTORS.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Vector).payload for line in lines]


def test_the_official_vectors_are_all_there() -> None:
    assert [vector.event.id for vector in official_vectors()] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("vector", official_vectors(), ids=lambda vector: str(vector.event.id))
def test_version_1_agrees_with_the_official_vectors(vector: VectorPayload) -> None:
    event = vector.event

    assert vector.hash == hash_v1(
        event.specversion,
        event.id,
        event.predecessorhash,
        event.time,
        event.source,
        event.subject,
        event.type,
        event.datacontenttype,
        bytes(event.data).decode(),
    )


def test_the_official_vectors_form_a_chain() -> None:
    vectors = official_vectors()

    predecessors = [GENESIS_HASH, *(vector.hash for vector in vectors[:-1])]
    assert [vector.event.predecessorhash for vector in vectors] == predecessors


def test_version_1_agrees_with_our_own_vector() -> None:
    expected = "a3c2c9a8f2e2abce65ab7ae3c7b8556e7f78d4e725e387bb9982f71bc0e34269"

    assert hash_v1(*FIELDS, DATA) == expected


@pytest.mark.parametrize(
    "traceparent, tracestate, digest",
    [
        (None, None, "8bfd11df6743b87753f1c2ea658a9fede38b02be7ce23d3b0c534780b5567fac"),
        (
            TRACEPARENT,
            "foo=bar",
            "46f22998e84a3c72cbc4ea0ba698d61487293867a078072e457a7cbfa96698e4",
        ),
    ],
)
def test_version_2_agrees_with_our_own_vectors(
    traceparent: str | None, tracestate: str | None, digest: str
) -> None:
    assert hash_v2(*FIELDS, traceparent, tracestate, DATA) == f"esdb:hash:v2:{digest}"


@pytest.mark.parametrize(
    "hash_, version",
    [
        (GENESIS_HASH, HashVersion.V1),
        ("a3c2c9a8f2e2abce65ab7ae3c7b8556e7f78d4e725e387bb9982f71bc0e34269", HashVersion.V1),
        (f"esdb:hash:v2:{ZEROS}", HashVersion.V2),
        (f"esdb:hash:v3:{ZEROS}", None),
        ("other:", None),
    ],
)
def test_tells_versions_apart(hash_: str, version: HashVersion | None) -> None:
    assert hash_version_of(hash_) is version
