"""How version 1 says no: a status and one line of text.

Clients compare some of the texts literally (compatibility specification, section 1.5).
"""

from collections.abc import Mapping
from typing import Final

from everlog.api.bodies import MalformedRequestError
from everlog.api.media import text_response
from everlog.api.refusals import Failure, count_refusal
from everlog.api.services import Services
from everlog.domain.errors import (
    BusyError,
    Code,
    DiskFullError,
    RefusedError,
    StateConflictError,
    StoreFailedError,
)
from everlog.http import Exchange, Response

SHUTTING_DOWN_TEXT: Final = "server is shutting down"
OPERATION_MODE_TEXT: Final = "the current operation mode conflicts with the given request"

# Where the status does not follow from the kind of error: a fault of the request is 400, a
# conflict with the log's state 409.
_STATUSES: Final[Mapping[Code, int]] = {
    Code.EVENT_TYPE_UNKNOWN: 404,
    Code.EVENT_TOO_LARGE: 413,
    Code.STORE_FAILED: 503,
    Code.SERVER_SHUTTING_DOWN: 503,
    Code.STORE_READ_ONLY: 503,
    Code.READ_ONLY_MODE_ALREADY_ENABLED: 503,
}

_TEXTS: Final[Mapping[Code, str]] = {
    Code.PRECONDITION_VIOLATED: "state conflict: precondition failed",
    Code.EVENT_SCHEMA_VIOLATED: "schema conflict: {message}",
    Code.EVENT_SCHEMA_ALREADY_REGISTERED: "schema conflict: {message}",
    Code.SERVER_SHUTTING_DOWN: SHUTTING_DOWN_TEXT,
    Code.STORE_READ_ONLY: OPERATION_MODE_TEXT,
    Code.READ_ONLY_MODE_ALREADY_ENABLED: OPERATION_MODE_TEXT,
}


def refuse(services: Services, exchange: Exchange, error: Failure) -> None:
    """Answer a request that failed, and count it."""
    count_refusal(services, error)
    exchange.respond(failure_response(error))


def failure_response(error: Failure) -> Response:
    """Return the answer to a request that failed."""
    match error:
        case RefusedError():
            return text_response(_status(error), failure_text(error))
        case MalformedRequestError():
            return text_response(400, str(error))
        case DiskFullError():
            return text_response(503, str(error))
        case BusyError():
            return text_response(503, str(error))
        case StoreFailedError():
            # Whether the events are there after a restart is not known.
            return text_response(500, "storing failed: whether anything was stored is unknown")


def _status(error: RefusedError) -> int:
    default = 409 if isinstance(error, StateConflictError) else 400
    return _STATUSES.get(error.code, default)


def failure_text(error: RefusedError) -> str:
    """Return what clients of version 1 are told."""
    if error.code is Code.RANGE_UNSATISFIABLE and isinstance(error, StateConflictError):
        return f"state conflict: {error.message}"
    return _TEXTS.get(error.code, "{message}").replace("{message}", error.message)
