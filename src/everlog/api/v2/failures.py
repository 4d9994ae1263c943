"""How version 2 says no: status 200 and an error item with a code, a sentence and details.

Only what is wrong with the request as such (not JSON, not of the right shape) and what the
server cannot vouch for has another status and one line of text
(compatibility specification, section 1.2).
"""

from typing import Final

import msgspec

from everlog.api.bodies import MalformedRequestError
from everlog.api.media import NDJSON, text_response
from everlog.api.refusals import Failure, count_refusal
from everlog.api.services import Services
from everlog.domain.errors import (
    BusyError,
    Code,
    DiskFullError,
    RefusedError,
    StoreFailedError,
)
from everlog.http import Exchange, Response

CODE_PREFIX: Final = "https://docs.eventsourcingdb.io/errors/"


class ErrorData(msgspec.Struct, frozen=True):
    """Why a request was refused; `details` locate the fault."""

    code: str
    description: str
    details: dict[str, object]


class ErrorItem(msgspec.Struct, frozen=True, tag="error"):
    """An error, alone or as the last item of a stream."""

    data: ErrorData


def refuse(services: Services, exchange: Exchange, error: Failure) -> None:
    """Answer a request that failed, and count it."""
    count_refusal(services, error)
    exchange.respond(failure_response(error))


def failure_response(error: Failure) -> Response:
    """Return the answer to a request that failed."""
    match error:
        case RefusedError():
            return Response(200, error_item(error.code, error.message, error.details), NDJSON)
        case MalformedRequestError():
            return text_response(400, str(error))
        case DiskFullError():
            return Response(200, error_item(Code.DISK_FULL, str(error), {}), NDJSON)
        case BusyError():
            return text_response(503, str(error))
        case StoreFailedError():
            # An error item would say that nothing was stored, which nobody knows.
            return text_response(500, "storing failed: whether anything was stored is unknown")


def error_item(code: Code, description: str, details: dict[str, object]) -> bytes:
    """Return the line of an error."""
    data = ErrorData(CODE_PREFIX + code.value, description, details)
    return msgspec.json.encode(ErrorItem(data)) + b"\n"
