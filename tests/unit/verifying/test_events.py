"""The hash of an event is recomputed from the text that a client gets, in whatever wrapping."""

import gzip
import json
import re
from io import BytesIO
from typing import Any

import pytest

from everlog.verifying.errors import VerificationError
from everlog.verifying.events import EVENT_SIZE_MAX, Event, find_event
from tests.support.chain import V2_PREFIX, hash_of
from tests.support.provable_log import ProvableLog, an_event, with_data
from tests.support.sources import REPOSITORY

DATA = '{"title":"\\u003cb\\u003e2001 \u2013 A Space Odyssey","price":1.50,"big":1e999,"n":1.0}'
PLAIN = an_event(0, DATA, version=1)
TRACED_V1 = an_event(0, DATA, version=1, traced=True)
TRACED_V2 = an_event(0, DATA, version=2, traced=True)

VECTORS = (REPOSITORY / "tests/fixtures/hash-vectors.ndjson").read_bytes()


def read(content: str | bytes, event_id: str = "0") -> Event:
    return find_event(BytesIO(content.encode() if isinstance(content, str) else content), event_id)


def backup_line(event: str, member: str = "payload") -> str:
    """Return the line of a backup: without the members that are not covered, the hash beside it."""
    members: dict[str, Any] = json.loads(event)
    hash_ = members.pop("hash")
    text = with_data(members | {"hash": ""}, DATA).replace(',"hash":"","signature":null', "")
    return f'{{"type":"event","{member}":{{"event":{text},"hash":"{hash_}"}}}}\n'


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN + "\n",
        f'{{"type":"event","payload":{PLAIN}}}  \n',
        f'{{"type":"event","data":{PLAIN}}}\n',
        backup_line(PLAIN),
        backup_line(PLAIN, "data"),
        PLAIN.replace('","', '",\n  "'),
    ],
    ids=["alone", "with a line feed", "v1", "v2", "backup of v1", "backup of v2", "laid out anew"],
)
def test_an_event_is_found_in_every_wrapping(content: str) -> None:
    event = read(content)

    assert (event.id, event.position, event.hash_version) == ("0", 0, 1)
    assert event.hash == json.loads(PLAIN)["hash"]
    assert event.uncovered == ()


def test_the_vendors_vectors_verify() -> None:
    for number in range(5):
        event = read(VECTORS, str(number))
        assert event.position == number


def test_data_that_was_laid_out_anew_is_still_the_data() -> None:
    laid_out = with_data(json.loads(PLAIN), DATA.replace(",", ", \n\t").replace("{", "{ "))

    assert read(laid_out).hash == json.loads(PLAIN)["hash"]
    # What another program writes for the same number is another text.
    with pytest.raises(VerificationError, match="was written anew in another form"):
        read(PLAIN.replace("1.50", "1.5"))


def test_space_within_strings_is_data() -> None:
    text = an_event(0, '{"a":" \\" b , c ","d":""}', version=2)

    assert read(text).hash_version == 2
    with pytest.raises(VerificationError, match="does not have the hash that it says"):
        read(text.replace(" b , c ", " b ,c "))


def test_an_event_is_found_among_many_lines_of_any_kind() -> None:
    log = ProvableLog.of(12)
    lines = ['{"type":"heartbeat","payload":{}}', '{"type":"schema","payload":{"eventType":"a"}}']
    lines += [f'{{"type":"event","payload":{text}}}' for text in log.events]
    content = "\n".join([*lines, '{"type":"end","data":{}}', ""])

    for number in range(12):
        assert read(content, str(number)).hash == log.hashes[number]
    with pytest.raises(VerificationError, match=r"it has no event with the ID '12'$"):
        read(content, "12")


def test_another_event_than_the_one_asked_for_is_named() -> None:
    with pytest.raises(
        VerificationError, match="no event with the ID '7', but one with the ID '0'"
    ):
        read(PLAIN, "7")
    with pytest.raises(VerificationError, match="with the ID '0', and not '7'"):
        read(PLAIN.replace('","', '",\n"'), "7")


def test_what_a_hash_does_not_cover_is_told() -> None:
    assert read(TRACED_V1).uncovered == ("traceparent", "tracestate")
    assert read(TRACED_V2).uncovered == ()
    signed = PLAIN.replace('"signature":null', '"signature":"esdb:signature:v1:00"')
    assert read(signed).uncovered == ("signature",)
    # A client that shows what is missing as null.
    assert read(PLAIN.replace('"data"', '"traceparent":null,"data"')).uncovered == ()


MEMBERS = json.loads(PLAIN)
NO_HASH = "does not have the hash that it says"


@pytest.mark.parametrize("name", sorted(MEMBERS.keys() - {"id", "hash", "signature", "data"}))
@pytest.mark.parametrize("version", [1, 2])
def test_every_member_is_covered(name: str, version: int) -> None:
    members = json.loads(an_event(0, DATA, version=version))

    with pytest.raises(VerificationError, match=NO_HASH):
        read(with_data(members | {name: members[name] + "1"}, DATA))
    without = re.sub(f'"{name}":"[^"]*",', "", with_data(members, DATA))
    with pytest.raises(VerificationError, match=f"no member '{name}'|it has no event"):
        read(without)


@pytest.mark.parametrize(
    "text, reason",
    [
        (TRACED_V2.replace("a=1", "a=2"), NO_HASH),
        (TRACED_V2.replace('"tracestate":"a=1",', ""), NO_HASH),
        (TRACED_V2.replace('"a=1"', '"-"'), "'tracestate' is what no event has"),
        (TRACED_V2.replace('"a=1"', "7"), "'tracestate' of the event is no string"),
        (PLAIN.replace('"id":"0"', '"id":0'), "'id' of the event is no string"),
        (PLAIN.replace('"signature":null', '"signature":null,"paid":true'), "'paid', which no"),
        (PLAIN.replace('"data"', '"data":{},"data"'), "'data' is there twice"),
        (PLAIN.replace("/orders/0", "/orders/0\\ud800"), "is no Unicode text"),
        (PLAIN.replace("/orders/0", "/orders|0"), "'subject' has a character that no event"),
        (TRACED_V2.replace("/orders/0", "/orders\\n0"), "'subject' has a character that no event"),
        ("[" + PLAIN + "]", "it is no JSON object"),
        (f'{{"type":"event","payload":{PLAIN},"more":1}}', "it has no event"),
        ('{"type":"event","payload":7}', "it is no JSON object"),
        ("7", "it is no JSON object"),
        ("", "it is no JSON object"),
        (PLAIN[:-1], "it is no JSON object"),
        (PLAIN.replace(",", ",,", 1), "it is no JSON object"),
        (PLAIN.replace("1.50", "NaN"), "it is no JSON object: NaN is no JSON"),
        (PLAIN + PLAIN, "something stands behind its JSON object"),
        (PLAIN.replace('{"title"', '{"a":' + "[" * 100_000), "it is no JSON object"),
        (" " * (EVENT_SIZE_MAX + 1), "larger than 4194304 bytes"),
        (gzip.compress(PLAIN.encode()), "it is compressed: hand it over .* from gzip -dc"),
        (b"\x28\xb5\x2f\xfd\x00", "from zstd -dc"),
        (PLAIN.encode() + b"\xff", "it is not UTF-8 at byte"),
        (
            f'{{"type":"event","payload":{{"event":{PLAIN},"hash":"{MEMBERS["hash"]}"}}}}',
            "a hash inside, and one beside it",
        ),
    ],
    ids=range(25),
)
def test_what_cannot_be_verified_is_refused_with_the_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        read(text)


@pytest.mark.parametrize("id_", ["00", "-1", "1.0", "", "\u0661", "9" * 20])
def test_an_id_is_a_position(id_: str) -> None:
    members = MEMBERS | {"id": id_, "hash": ""}
    members["hash"] = hash_of(members, DATA.encode())

    with pytest.raises(VerificationError, match="is none: decimal, without leading zeros"):
        read(with_data(members, DATA), id_)


def test_a_hash_of_one_version_is_none_of_the_other() -> None:
    for text in (TRACED_V1, TRACED_V2):
        members = json.loads(text)
        digest = members["hash"].removeprefix(V2_PREFIX)
        other = {V2_PREFIX + digest, digest, digest.upper(), f"esdb:hash:v3:{digest}"}
        for hash_ in other - {members["hash"]}:
            with pytest.raises(VerificationError, match=NO_HASH):
                read(with_data(members | {"hash": hash_}, DATA))
