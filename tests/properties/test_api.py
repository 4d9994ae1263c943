"""Whatever a body holds, reading it ends in a struct or a refusal, never in a bug."""

import contextlib
import json
from functools import partial
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from everlog.api.bodies import (
    MalformedRequestError,
    parse_observe,
    parse_read,
    preconditions_of,
    read_leniently,
    read_strictly,
)
from everlog.api.requests import v1, v2
from everlog.domain.chain import HashVersion
from everlog.domain.errors import RefusedError
from everlog.service.write import parse_candidates

NAMES = sorted(
    {
        field.encode_name
        for body in (*vars(v1).values(), *vars(v2).values())
        if isinstance(body, type) and issubclass(body, msgspec.Struct)
        for field in msgspec.structs.fields(body)
    }
)

names = st.sampled_from(NAMES) | st.sampled_from(NAMES).map(str.upper) | st.text(max_size=3)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=20,
)
bodies = st.binary(max_size=50) | values.map(json.dumps).map(str.encode)


def parse_write(body: v1.WriteEvents | v2.WriteEvents, *, hash_version: HashVersion) -> None:
    parse_candidates(body.events or (), hash_version=hash_version)
    preconditions_of(body)


PARSERS: tuple[tuple[Any, Any, Any], ...] = (
    (v1.WriteEvents, read_leniently, partial(parse_write, hash_version=HashVersion.V1)),
    (v1.ReadEvents, read_leniently, parse_read),
    (v1.ObserveEvents, read_leniently, parse_observe),
    (v2.WriteEvents, read_strictly, partial(parse_write, hash_version=HashVersion.V2)),
    (v2.ReadEvents, read_strictly, parse_read),
    (v2.ObserveEvents, read_strictly, parse_observe),
)
DECODERS = [(msgspec.json.Decoder(body), read, parse) for body, read, parse in PARSERS]


@given(bodies)
@example(b'{"X":')
@example(b'{"events":[{"source":"a","subject":"/a","type":"aa.b.c","data":{}}]}')
def test_every_body_is_read_or_refused(body: bytes) -> None:
    for decoder, read, parse in DECODERS:
        with contextlib.suppress(MalformedRequestError, RefusedError):
            parse(read(decoder, body))


@given(st.dictionaries(names, values, max_size=4))
def test_what_version_2_takes_version_1_takes_in_any_case(members: dict[str, Any]) -> None:
    body = json.dumps(members).encode()
    decoder = msgspec.json.Decoder(v1.ReadEvents)
    try:
        exact = read_strictly(decoder, body)
    except MalformedRequestError:
        return

    shouted = json.dumps({name.upper(): value for name, value in members.items()}).encode()

    assert read_leniently(decoder, body) == exact
    assert read_leniently(decoder, shouted) == exact
