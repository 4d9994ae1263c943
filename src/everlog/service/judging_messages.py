"""What a server and the processes that judge say to each other.

Both directions are messages: length (4 bytes, little endian), content (MessagePack). The server
sends a job; the process answers with how far it has come, and with one message that ends it. Both
sides are the same release on the same machine, so that nothing here has a version.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec

LENGTH: Final = struct.Struct("<I")


class JudgingJob(msgspec.Struct, frozen=True):
    """Data to be judged against a schema, one after the other, up to the first that is not."""

    event_type: str
    schema: str
    # Whether it has been found to be a schema before.
    is_registered: bool
    # Each the JSON text of an object.
    data: Sequence[str]


class _Message(msgspec.Struct, frozen=True, tag=True):
    """Tells by its tag what it is."""


class Compiled(_Message, frozen=True):
    """The schema is one."""


class Mismatched(_Message, frozen=True):
    """The data with this index does not match; why, is being found out."""

    index: int


class Judged(_Message, frozen=True):
    """It is done; the reason is why some data does not match, if it does not."""

    reason: str | None


class Refused(_Message, frozen=True):
    """It is done: the schema is none, and these are the parts of a `RefusedError`."""

    code: str
    message: str
    details: dict[str, Any]


class Exceeded(_Message, frozen=True):
    """It is given up: it took more than it may."""


class Failed(_Message, frozen=True):
    """It is given up: the process met a bug."""

    error: str


End = Judged | Refused | Exceeded | Failed
Message = Compiled | Mismatched | End

decode_job: Final = msgspec.msgpack.Decoder(JudgingJob).decode
decode_message: Final = msgspec.msgpack.Decoder(Message).decode


def encode(content: JudgingJob | Message) -> bytes:
    """Return what is sent."""
    encoded = msgspec.msgpack.encode(content)
    return LENGTH.pack(len(encoded)) + encoded
