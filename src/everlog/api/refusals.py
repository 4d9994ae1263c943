"""What an endpoint may fail with on purpose, and the code under which that is counted."""

from everlog.api.bodies import MalformedRequestError
from everlog.api.services import Services
from everlog.domain.errors import (
    BusyError,
    Code,
    DiskFullError,
    RefusedError,
    StoreFailedError,
    TooManyObserversError,
)

Failure = RefusedError | MalformedRequestError | DiskFullError | StoreFailedError | BusyError

# No codes of the API: version 2 has statuses and texts for these.
MALFORMED = "malformed-request"
TOO_MANY_OBSERVERS = "too-many-observers"
TOO_MANY_QUERIES = "too-many-queries"


def count_refusal(services: Services, error: Failure) -> None:
    """Count a failure by its code."""
    services.tally.refusals[_code(error)] += 1


def _code(error: Failure) -> str:
    match error:
        case RefusedError():
            return error.code.value
        case MalformedRequestError():
            return MALFORMED
        case DiskFullError():
            return Code.DISK_FULL.value
        case TooManyObserversError():
            return TOO_MANY_OBSERVERS
        case BusyError():
            return TOO_MANY_QUERIES
        case StoreFailedError():
            return Code.STORE_FAILED.value
