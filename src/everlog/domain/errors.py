"""The errors that a client or an operator is told of, grouped by when they can occur.

`RefusedError` is the world asking for something that the rules forbid: it carries one of the
documented codes, a sentence for a person, and details that locate the fault.
The other classes are about starting up and about the store itself.
What is left to others: which HTTP status or envelope a code becomes (api); what is wrong with the
text of a query (eventql); and what neighbours tell each other, which stands where it is raised.
"""

from enum import StrEnum
from typing import Any, Final


class Code(StrEnum):
    """The documented reasons for a refusal; the value is the slug of its public error code.

    Source: compatibility specification, section 3.
    """

    # What a reader asks for.
    SUBJECT_MISSING = "subject-missing"
    SUBJECT_MALFORMED = "subject-malformed"
    ORDER_UNKNOWN = "order-unknown"
    EVENT_ID_MISSING = "event-id-missing"
    EVENT_ID_MALFORMED = "event-id-malformed"
    BOUND_TYPE_MISSING = "bound-type-missing"
    BOUND_TYPE_UNKNOWN = "bound-type-unknown"
    RANGE_UNSATISFIABLE = "range-unsatisfiable"
    FROM_LATEST_EVENT_INCOMPLETE = "from-latest-event-incomplete"
    IF_EVENT_IS_MISSING_UNKNOWN = "if-event-is-missing-unknown"
    SELECTION_CONFLICTING = "selection-conflicting"
    EVENT_TYPE_UNKNOWN = "event-type-unknown"

    # What a writer offers.
    EVENTS_MISSING = "events-missing"
    EVENT_TYPE_MISSING = "event-type-missing"
    EVENT_TYPE_MALFORMED = "event-type-malformed"
    SOURCE_MISSING = "source-missing"
    SOURCE_MALFORMED = "source-malformed"
    DATA_MISSING = "data-missing"
    DATA_MALFORMED = "data-malformed"
    TRACEPARENT_MALFORMED = "traceparent-malformed"
    TRACESTATE_MALFORMED = "tracestate-malformed"
    TRACESTATE_WITHOUT_TRACEPARENT = "tracestate-without-traceparent"
    EVENT_TOO_LARGE = "event-too-large"
    PRECONDITION_TYPE_MISSING = "precondition-type-missing"
    PRECONDITION_UNKNOWN = "precondition-unknown"
    PAYLOAD_MISSING = "payload-missing"
    PRECONDITION_VIOLATED = "precondition-violated"

    # Event schemas.
    EVENT_SCHEMA_MISSING = "event-schema-missing"
    EVENT_SCHEMA_MALFORMED = "event-schema-malformed"
    EVENT_SCHEMA_NOT_OBJECT = "event-schema-not-object"
    EVENT_SCHEMA_ALREADY_REGISTERED = "event-schema-already-registered"
    EVENT_SCHEMA_VIOLATED = "event-schema-violated"

    # Queries.
    QUERY_MISSING = "query-missing"
    QUERY_MALFORMED = "query-malformed"
    QUERY_UNEVALUABLE = "query-unevaluable"
    QUERY_NOT_BOOLEAN = "query-not-boolean"

    # Backups, and what is restored from them.
    BACKUP_FAILED = "backup-failed"
    LAST_BACKED_UP_EVENT_MISSING = "last-backed-up-event-missing"
    LAST_BACKED_UP_EVENT_UNKNOWN = "last-backed-up-event-unknown"
    LAST_BACKED_UP_EVENT_MISMATCHED = "last-backed-up-event-mismatched"
    BACKUP_MALFORMED = "backup-malformed"
    BACKUP_INCOMPLETE = "backup-incomplete"
    BACKUP_FORMAT_UNKNOWN = "backup-format-unknown"
    BACKUP_UNREADABLE = "backup-unreadable"
    FULL_BACKUP_MISSING = "full-backup-missing"
    BACKUP_INCREMENT_DISCONNECTED = "backup-increment-disconnected"
    STORE_NOT_EMPTY = "store-not-empty"
    EVENT_CHAIN_BROKEN = "event-chain-broken"
    EVENT_HASH_MISSING = "event-hash-missing"
    EVENT_HASH_MALFORMED = "event-hash-malformed"
    EVENT_HASH_VERSION_UNKNOWN = "event-hash-version-unknown"

    # Audits.
    LAST_AUDITED_EVENT_MISSING = "last-audited-event-missing"
    LAST_AUDITED_EVENT_UNKNOWN = "last-audited-event-unknown"
    LAST_AUDITED_EVENT_MISMATCHED = "last-audited-event-mismatched"
    AUDIT_FAILED = "audit-failed"

    # The state that the server or its disk is in.
    RESTORE_IN_PROGRESS = "restore-in-progress"
    DISK_FULL = "disk-full"
    STORE_FAILED = "store-failed"
    READ_FAILED = "read-failed"
    STORE_READ_ONLY = "store-read-only"
    READ_ONLY_MODE_ALREADY_ENABLED = "read-only-mode-already-enabled"
    SERVER_SHUTTING_DOWN = "server-shutting-down"


class EverlogError(Exception):
    """The root of all errors raised on purpose. Each can be pickled, and copied."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell how it is made again: as it is, since what a class asks for is not in `args`."""
        return _make_again, (type(self), self.args), vars(self)


def _make_again(kind: type[EverlogError], args: tuple[object, ...]) -> EverlogError:
    error = kind.__new__(kind)
    error.args = args
    return error


class RefusedError(EverlogError):
    """A request that the rules forbid; nothing was stored.

    `details` uses the wire's names (`field`, `eventIndex`, `preconditionIndex`, `eventId`, ...),
    since it is shown to the client as it is.
    """

    def __init__(self, code: Code, message: str, **details: object) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.details: Final = details


class StateConflictError(RefusedError):
    """A request that is right in itself, but not for the state that the log is in."""


class SettingsError(EverlogError):
    """A flag, file or key given at start-up cannot be used; the message says what to change."""


# When opening a data directory.


class DataDirectoryError(EverlogError):
    """The data directory cannot be used as it is; the message says what to do."""


class DirectoryLockedError(DataDirectoryError):
    """Another process has the data directory open."""


class UnknownFormatError(DataDirectoryError):
    """The data directory was written in a format that this version does not know."""


class DivergedError(DataDirectoryError):
    """What a data directory mirrors has other events than it has; the message says from where on.

    Raised also while a server runs, when what comes does not continue its log.
    """


class CorruptLogError(DataDirectoryError):
    """Stored data inside the durable part of the log is damaged.

    `position` is that of the first event that cannot be trusted, None where no event is
    concerned (the schemas file, say).
    """

    def __init__(self, message: str, *, position: int | None) -> None:
        super().__init__(message)
        self.position: Final = position


# When observing, querying, auditing or judging.


class BusyError(EverlogError):
    """There is as much of something as there may be; asking again later may succeed."""


class TooManyObserversError(BusyError):
    """There are as many observers as there may be."""


class TooManyQueriesError(BusyError):
    """As many queries are running as may run at a time."""


class TooManyAuditsError(BusyError):
    """As many audits are running as may run at a time."""


class TooMuchUnjudgedError(BusyError):
    """As much data waits for being judged against schemas as may wait at a time."""


# When reading.


class ReadFailedError(RefusedError, OSError):
    """The disk does not give what is stored on it; nothing was changed, and a retry may succeed.

    `reason` is what the system says.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(Code.READ_FAILED, f"reading the data directory failed: {reason}")
        self.strerror = reason

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell how it is made again: what the system says is no member of Python's."""
        return _make_again, (type(self), self.args), {**vars(self), "strerror": self.strerror}


# When proving.


class NoCheckpointError(EverlogError):
    """There is no checkpoint to give; the message says why."""


# When committing.


class DiskBusyError(BusyError):
    """The disk has not answered for long, or too much waits for it; nothing was stored."""


class JournalUnreachableError(BusyError):
    """The journal that nodes share does not answer; nothing was stored, nor will be.

    `reason` says why, for an operator, and holds no secret: neither a password nor an event.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("the journal cannot be reached: nothing was stored; try again later")
        self.reason: Final = reason


class CatchingUpError(BusyError):
    """The node does not have all events yet that the journal has; asking again will succeed."""

    def __init__(self) -> None:
        super().__init__("the node catches up with its journal: try again later")


class DiskFullError(EverlogError):
    """There is no room for a write; nothing was stored, and a later write may succeed."""


class StoreFailedError(EverlogError):
    """The disk broke its promise; no write is accepted until a restart, reads go on."""
