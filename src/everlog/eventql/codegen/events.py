"""Events as they are stored: the parts of a line that queries take as they are.

A line is `{"type":"event","payload":{...}}` and up to two spaces. The event ends with its hash and
a signature, which is stored as null and computed on the way out.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from everlog.eventql.evaluation.datetimes import parse_event_time
from everlog.eventql.evaluation.rendering import to_json
from everlog.eventql.evaluation.values import from_json

# What may follow, and where the event stands in its line without it.
MARK: Final = b" "
EVENT_START: Final = len(b'{"type":"event","payload":')
EVENT_STOP: Final = -1

_NO_SIGNATURE: Final = b',"signature":null}'
_NUMBER_STARTS: Final = frozenset(b"-0123456789")

Sign = Callable[[str], str]


class _Identity(msgspec.Struct):
    id: str


class _IdentityLine(msgspec.Struct):
    payload: _Identity


_decode_identity: Final = msgspec.json.Decoder(_IdentityLine).decode

members_of: Final[Callable[[Any], dict[str, msgspec.Raw]]] = msgspec.json.Decoder(
    dict[str, msgspec.Raw]
).decode


def lines_of(block: bytes) -> list[bytes]:
    """Return the lines of a block without their line feeds."""
    lines = block.split(b"\n")
    assert lines[-1] == b""
    lines.pop()
    return lines


def event_id_of(line: bytes) -> str:
    """Return the id of a line's event."""
    return _decode_identity(line).payload.id


def event_text_of(line: bytes, sign: Sign | None) -> bytes:
    """Return the JSON of a line's event, signed if there is a key."""
    text = line.rstrip(MARK)[EVENT_START:EVENT_STOP]
    if sign is None or not text.endswith(_NO_SIGNATURE):
        return text
    end = len(text) - len(_NO_SIGNATURE) - 1
    hash_ = text[text.rindex(b'"', 0, end) + 1 : end].decode()
    return b'%b,"signature":"%b"}' % (text[: end + 1], sign(hash_).encode())


def text_of_line(line: bytes, sign: Sign | None) -> msgspec.Raw:
    """Return a line's event for the JSON encoder, which takes it as it is."""
    return msgspec.Raw(event_text_of(line, sign))


def event_value_of(line: bytes, sign: Sign | None) -> dict[str, Any]:
    """Return a line's event as a value: its time is a DATETIME."""
    event = from_json(msgspec.json.decode(event_text_of(line, sign)))
    event["time"] = parse_event_time(event["time"])
    value: dict[str, Any] = event
    return value


def number_or_text(raw: msgspec.Raw) -> Any:
    """Return what the JSON encoder writes for a stored text.

    That is the text itself, but for numbers: 2.0 is written as 2, wherever it comes from.
    """
    text = bytes(raw)
    if text[0] in _NUMBER_STARTS:
        return to_json(from_json(msgspec.json.decode(text)))
    return msgspec.Raw(text)
