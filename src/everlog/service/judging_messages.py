"""What a server and the processes that judge say to each other.

The frames are those of queries (`querying.messages`). The server sends a job. The process answers
with a frame of rows when the schema is compiled, and with another one, which holds its index, as
soon as data does not match. The end holds why, if some does not; a fault holds what is wrong with
the schema, and nothing where the job took too much.
"""

from collections.abc import Sequence

import msgspec


class JudgingJob(msgspec.Struct, frozen=True):
    """Data to be judged against a schema, one after the other, up to the first that is not."""

    event_type: str
    schema: str
    # Whether it has been found to be a schema before.
    is_registered: bool
    # Each the JSON text of an object.
    data: Sequence[str]


class JudgingFault(msgspec.Struct, frozen=True):
    """A `RefusedError`: what is wrong with the schema."""

    code: str
    message: str
    details: dict[str, object]
