"""What makes a version of the API: how it reads bodies, how it shows things, and how it says no.

A look is a value. `endpoints` does what both versions do, in the look that it was given, and never
asks which one that is; `look_v1` and `look_v2` know nothing of each other.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from everlog.api.requests import v1, v2
from everlog.api.services import Failure, Services
from everlog.domain.errors import RefusedError
from everlog.domain.known_event import KnownEvent
from everlog.domain.schema import EventSchema
from everlog.http import Exchange, Response, Stream
from everlog.monitoring.diagnostics import Diagnostics
from everlog.service.auditing_messages import Audited
from everlog.service.querying.messages import RowForm
from everlog.service.reader import Block, Transform
from everlog.service.verify_store import Verification
from everlog.storage.engine import EventType


class Bodies(msgspec.Struct, frozen=True):
    """How the body of each endpoint is read.

    What both versions ask in the same words is returned as a struct, the rest as what it means.
    """

    nothing: Callable[[bytes], object]
    write_events: Callable[[bytes], v1.WriteEvents | v2.WriteEvents]
    read_events: Callable[[bytes], v1.ReadEvents | v2.ReadEvents]
    observe_events: Callable[[bytes], v1.ObserveEvents | v2.ObserveEvents]
    run_eventql_query: Callable[[bytes], v1.RunEventQlQuery | v2.RunEventQlQuery]
    # A subject, and whether all below it are meant too.
    read_subjects: Callable[[bytes], tuple[str, bool]]
    # The name of an event type.
    read_event_type: Callable[[bytes], str]
    register_event_schema: Callable[[bytes], EventSchema]
    # The last event that is backed up already, if one is named.
    backup: Callable[[bytes], KnownEvent | None]
    # Up to which event was audited before, None if nothing was.
    audit_history: Callable[[bytes], KnownEvent | None]
    # Refuse what stands in the place of raw JSON, which no decoder has looked at, as it would have
    # refused it; with the path of the member.
    check_raw: Callable[[msgspec.Raw, str], None]


class Envelope(msgspec.Struct, frozen=True):
    """What stands before, between and behind the events of an answer that is sent whole."""

    opening: bytes
    separator: bytes
    closing: bytes
    content_type: bytes

    def around(self, event: bytes) -> Response:
        """Return the answer that is one event."""
        return Response(200, self.opening + event + self.closing, self.content_type)


class BackupForm(msgspec.Struct, frozen=True):
    """How a backup is written down, line by line."""

    # From stored lines.
    events: Callable[[bytes], bytes]
    # From an event type and the text of its schema.
    schema: Callable[[str, str], bytes]
    # Why it could not be completed.
    error: Callable[[RefusedError], bytes]


class VerificationForm(msgspec.Struct, frozen=True):
    """How the answer to verify-store is sent, which may take long."""

    content_type: bytes
    # Sent each second before the answer, without changing what it says.
    heartbeat: bytes
    # What was found, and why there may be more, if the audit did not come to its end.
    render: Callable[[Verification, RefusedError | None], bytes]


class AuditForm(msgspec.Struct, frozen=True):
    """How the answer to audit-history is sent, which may take long."""

    content_type: bytes
    # The same; empty where the status says what came of it, and so waits for that.
    heartbeat: bytes
    render: Callable[[Audited], bytes]


class Look(msgspec.Struct, frozen=True):
    """A version of the API, as far as it differs from another."""

    name: str
    bodies: Bodies
    # Answers that are sent whole.
    api_event: Envelope
    registration: Envelope
    written: Envelope
    event_type: Callable[[EventType], bytes]
    diagnostics: Callable[[Diagnostics], bytes]
    verification: VerificationForm
    audit: AuditForm
    # The items of streams: from stored lines, from the rows of a query, and from the others.
    events: Transform
    rows: RowForm
    subjects: Callable[[Sequence[str]], bytes]
    event_types: Callable[[Sequence[EventType]], bytes]
    backup: BackupForm
    heartbeat: bytes
    error: Callable[[RefusedError], bytes]
    # Behind the last item of a stream that came to its end; nothing where streams just end.
    end: bytes
    # How lines are sent: some of a stream, or all of them at once, with their end.
    send: Callable[[Stream, Block], Awaitable[None]]
    lines: Callable[[Block], Response]
    # How it says no.
    failure: Callable[[Failure], Response]

    def refuse(self, services: Services, exchange: Exchange, error: Failure) -> None:
        """Answer a request that failed, and count it."""
        services.count_refusal(error)
        exchange.respond(self.failure(error))
