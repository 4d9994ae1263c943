"""Answers: stored lines become the items of either version, signed where there is a key."""

import json
from itertools import accumulate

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from everlog.api import look_v1, look_v2
from everlog.api.answers import EventForm
from everlog.domain.signature import SigningKey
from everlog.service.reader import Transform
from everlog.storage.engine import CachedBlock, Head
from everlog.storage.line import Mark, render_line
from tests.support.events import a_candidate, accept_at

V1 = look_v1.LOOK.events
V2 = look_v2.LOOK.events

# Data that looks like what the transforms search for.
TRICKY = (
    '{"hash":"x","signature":null}',
    '{"text":"\\"signature\\":null}\\n{\\"type\\":\\"event\\",\\"payload\\":"}',
    '{"type":"event","payload":{"signature":null}}',
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

EVENTS = accept_at(Head(), [a_candidate(data=data) for data in TRICKY], time=1)
# Marks are in white space, which no transform may trip over.
LINES = b"".join(map(render_line, [event.json for event in EVENTS], [Mark.EVENT, *Mark]))


def overwritten(form: Transform, lines: bytes) -> bytes:
    block = bytearray(lines)
    assert form.overwrite is not None
    sizes = map(len, lines.splitlines(keepends=True))
    offsets = [*accumulate(sizes, initial=1_000)][:-1]
    form.overwrite(CachedBlock(memoryview(block), offsets))
    return bytes(block)


def parsed(lines: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines.splitlines()]


def test_version_1_gets_stored_lines_as_they_are() -> None:
    form = EventForm(None).transform(V1)

    assert form.convert(LINES) == overwritten(form, LINES) == LINES


@pytest.mark.parametrize("lines", [LINES, LINES.splitlines(keepends=True)[1]])
def test_version_2_gets_the_same_events_in_its_own_envelopes(lines: bytes) -> None:
    form = EventForm(None).transform(V2)
    expected = [{"type": "event", "data": item["payload"]} for item in parsed(lines)]

    assert parsed(form.convert(lines)) == parsed(overwritten(form, lines)) == expected


def test_a_key_signs_every_event_and_changes_nothing_else() -> None:
    form = EventForm(SigningKey.from_pem(PEM))

    for name, transform in (("payload", form.transform(V1)), ("data", form.transform(V2))):
        # What becomes longer has no room in the place of what was shorter.
        assert transform.overwrite is None
        for item, event in zip(parsed(transform.convert(LINES)), EVENTS, strict=True):
            signed = item[name]
            assert isinstance(signed, dict)
            prefix, _, signature = str(signed["signature"]).rpartition(":")
            KEY.public_key().verify(bytes.fromhex(signature), event.hash.encode())
            assert prefix == "esdb:signature:v1"
            assert signed | {"signature": None} == json.loads(event.json)
            # The answer to a write has the same text as what is read later.
            assert json.loads(form.event(event)) == signed


def test_an_answer_without_a_key_is_the_stored_text() -> None:
    assert [*map(EventForm(None).event, EVENTS)] == [e.json for e in EVENTS]
