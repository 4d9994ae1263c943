"""What the processes that judge, and those who ask them, say to each other.

Both directions are messages: length (4 bytes, little endian), content (MessagePack). A server or a
restore sends a job; the process answers with how far it has come, and with one message that ends
it. Both sides are the same release on the same machine, so that nothing here has a version.
What a job's end means is here too, since it is the same for all who ask.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from everlog.domain.errors import Code, RefusedError
from everlog.domain.limits import SCHEMA_MEMORY_SIZE_MAX, SCHEMA_SECONDS_MAX

# So many characters of data are judged by a process in one job, so that others have their turn.
_PART_LENGTH_MAX: Final = 64 * 1024

_WITHIN: Final = (
    f"within {SCHEMA_SECONDS_MAX:g} s of processor time "
    f"and {SCHEMA_MEMORY_SIZE_MAX // (1024 * 1024)} MiB of memory"
)
_UNJUDGEABLE: Final = f"it cannot be judged {_WITHIN}"
_UNEXPLAINED: Final = f"it does not match, and why cannot be found out {_WITHIN}"

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


_UNCOMPILABLE: Final = Refused(
    Code.EVENT_SCHEMA_MALFORMED,
    f"malformed event schema: it cannot be compiled {_WITHIN}",
    {"field": "schema", "limit": SCHEMA_SECONDS_MAX},
)


def parts_of(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield texts in parts, one for each job, each with the index of its first."""
    first, part, length = 0, list[str](), 0
    for index, text in enumerate(texts):
        if part and length + len(text) > _PART_LENGTH_MAX:
            yield first, part
            first, part, length = index, [], 0
        part.append(text)
        length += len(text)
    if part:
        yield first, part


def outcome_of(messages: Sequence[Message], *, is_registered: bool) -> tuple[int, str] | None:
    """Return the index of the first data of a job that does not match, and why; None if all do.

    Given is all that was said about the job.

    Raises:
        RefusedError: The schema, which is not registered, is none.
    """
    end = messages[-1]
    if isinstance(end, Failed):
        raise RuntimeError(end.error)  # noqa: TRY004 - a bug, and not of the caller's
    mismatch = next((said for said in messages if isinstance(said, Mismatched)), None)
    if mismatch is not None:
        reason = end.reason if isinstance(end, Judged) else None
        return mismatch.index, reason or _UNEXPLAINED
    if isinstance(end, Judged):
        return None
    if is_registered or Compiled() in messages:
        return 0, _UNJUDGEABLE
    refused = end if isinstance(end, Refused) else _UNCOMPILABLE
    raise RefusedError(Code(refused.code), refused.message, **refused.details)
