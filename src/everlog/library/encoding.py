"""Data as an application has it becomes JSON, or is refused: nothing is stored in its place."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Final

import msgspec

from everlog.domain.errors import Code, RefusedError
from everlog.domain.json_text import NOT_JSON
from everlog.domain.limits import REQUEST_BODY_SIZE_MAX
from everlog.library.values import JsonObject, JsonText, NewEvent

_MESSAGE: Final = "malformed event data"


def _encode_other(value: object) -> Any:
    if isinstance(value, JsonText):
        # Nothing that is no JSON comes between the events of a write.
        msgspec.json.decode(value.text)
        return msgspec.Raw(value.text)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    message = f"objects of type {type(value).__name__} are no JSON"
    raise TypeError(message)


_encode: Final = msgspec.json.Encoder(enc_hook=_encode_other).encode


def encode_data(data: JsonObject) -> bytes:
    """Return data as JSON.

    Raises:
        RefusedError: It has something that is no JSON, such as NaN or half a surrogate pair.
    """
    try:
        text = _encode(data)
    except (TypeError, ValueError, *NOT_JSON) as error:
        raise _malformed(str(error)) from error
    # The encoder writes null for what is no number.
    if b"null" in text and _has_no_number(data):
        raise _malformed("NaN and infinity are no JSON")
    return text


def encode_events(events: Iterable[NewEvent]) -> list[tuple[NewEvent, msgspec.Raw]]:
    """Return events with their data as JSON.

    Raises:
        RefusedError: The data of one is none, and the details say of which; or all of it together
            is more than any server takes.
    """
    encoded: list[tuple[NewEvent, msgspec.Raw]] = []
    size = 0
    for event in events:
        try:
            data = encode_data(event.data)
            encoded.append((event, msgspec.Raw(data)))
            size += len(data)
        except RefusedError as error:
            index = len(encoded)
            raise RefusedError(
                error.code, error.message, field=f"events[{index}].data", eventIndex=index
            ) from error
    check_size(size)
    return encoded


def check_size(size: int) -> None:
    """Refuse a write of so many bytes if no server takes it: it would end the connection.

    Raises:
        RefusedError: It is too large.
    """
    if size > REQUEST_BODY_SIZE_MAX:
        raise RefusedError(
            Code.EVENT_TOO_LARGE,
            f"the write is too large: it may have {REQUEST_BODY_SIZE_MAX} bytes, this one has "
            f"{size}: write less at a time",
            field="events",
            limit=REQUEST_BODY_SIZE_MAX,
        )


def _has_no_number(value: object) -> bool:
    match value:
        case float():
            return not isfinite(value)
        case str() | bytes() | bytearray() | JsonText():
            return False
        case Mapping():
            return any(map(_has_no_number, value.values()))
        case Sequence() | set() | frozenset():
            return any(map(_has_no_number, value))
        case _:
            return _has_no_number_inside(value)


def _has_no_number_inside(value: object) -> bool:
    """Look into what the encoder takes for an object: structs and dataclasses."""
    fields: Iterable[str] = getattr(value, "__struct_fields__", ())
    fields = fields or getattr(value, "__dataclass_fields__", ())
    return any(_has_no_number(getattr(value, name, None)) for name in fields)


def _malformed(reason: str) -> RefusedError:
    return RefusedError(Code.DATA_MALFORMED, f"{_MESSAGE}: {reason}", field="data")
