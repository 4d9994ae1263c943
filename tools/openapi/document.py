"""Write the OpenAPI documents that the server shows, from its table of routes.

Guarantees: every route is in them, and what a body may hold is what the server decodes it with; the
same sources give the same bytes. Tests see that the documents are current.
There are two. Version 3.2 has words for all of it: the method QUERY, and the lines of a stream.
Version 3.1, which tools know, is made from it: what it has no word for stands under that word with
`x-` before it, and a stream is bytes.
"""

import re
from collections.abc import Callable, Mapping
from inspect import getdoc
from typing import Final, NamedTuple

import msgspec

from everlog._version import __version__
from everlog.api.answers import HEALTH, JSON, NDJSON, OCTETS, TEXT
from everlog.api.openapi import DOCUMENTS
from everlog.api.routes import OPENAPI_3_2_PATH, OPENAPI_PATH, ROUTES, Answer, Route
from everlog.domain.errors import Code
from everlog.domain.limits import EVENT_SIZE_MAX
from everlog.monitoring.openmetrics import MEDIA_TYPE as OPENMETRICS
from tools.openapi.schemas import REQUIRED, Json, build_schemas, reference

# The newest, which the others are made from.
OPENAPI_VERSION: Final = "3.2.0"

# What an older version has no word for stands there under the word with this before it. Names that
# begin with `x-oai-` are registered for that, and refused by openapi-generator for being so.
EXTENSION_PREFIX: Final = "x-"

_DESCRIPTION: Final = f"""\
One append-only, hash-chained log of CloudEvents, behind versions 1 and 2 of the API of \
EventSourcingDB.

Version 1 answers refusals with a status and one line of plain text. Version 2 answers them with \
status 200 and an item of type `error`; only what is wrong with the request as such, and what the \
server cannot vouch for, has another status and plain text.

Answers of type `application/x-ndjson` are lines of JSON, and `itemSchema` describes one of \
them. OpenAPI 3.1 knows neither that nor the method QUERY (RFC 10008): in that version they \
stand under `{EXTENSION_PREFIX}itemSchema` and `{EXTENSION_PREFIX}query`, where tools pass them \
over, and a stream is described as bytes.

An event may hold {EVENT_SIZE_MAX} bytes: the UTF-8 bytes of its source, subject, type, data \
(without space between tokens), traceparent and tracestate together."""


class Content(NamedTuple):
    """One form of an answer; of a stream, every kind of line."""

    media_type: bytes
    schemas: tuple[str, ...]
    is_array: bool = False


# What an endpoint of a version answers with when all is well, and what else comes with status 200.
ANSWERS: Final[Mapping[tuple[str, Answer], tuple[Content, ...]]] = {
    ("v1", Answer.API_EVENT): (Content(JSON, ("ApiEvent",)),),
    ("v1", Answer.EVENTS): (Content(JSON, ("Event",), is_array=True),),
    ("v1", Answer.EVENT_STREAM): (Content(NDJSON, ("V1EventItem",)),),
    ("v1", Answer.OBSERVATION): (
        Content(NDJSON, ("V1EventItem", "V1HeartbeatItem", "V1StreamErrorItem")),
    ),
    ("v1", Answer.ROW_STREAM): (
        Content(NDJSON, ("V1RowItem", "V1HeartbeatItem", "V1StreamErrorItem")),
    ),
    ("v1", Answer.SUBJECT_STREAM): (Content(NDJSON, ("V1SubjectItem",)),),
    ("v1", Answer.EVENT_TYPE_STREAM): (Content(NDJSON, ("V1EventTypeItem",)),),
    ("v1", Answer.EVENT_TYPE): (Content(JSON, ("V1EventTypeEntry",)),),
    ("v1", Answer.REGISTRATION): (Content(JSON, ("ApiEvent",)),),
    ("v1", Answer.BACKUP): (
        Content(NDJSON, ("V1BackupSchemaItem", "V1BackupEventItem", "V1BackupErrorItem")),
    ),
    ("v1", Answer.RESTORATION): (Content(JSON, ("ApiEvent",)),),
    ("v1", Answer.READ_ONLY_MODE): (Content(JSON, ("ApiEvent",)),),
    ("v1", Answer.HEALTH): (Content(HEALTH, ("Health",)), Content(OPENMETRICS, ("Metrics",))),
    ("v1", Answer.DIAGNOSTICS): (Content(JSON, ("Diagnostics",)),),
    ("v1", Answer.VERIFICATION): (Content(JSON, ("Verification",)),),
    ("v1", Answer.AUDIT): (Content(JSON, ("V1LatestEvent",)),),
    ("v2", Answer.API_EVENT): (Content(JSON, ("V2ApiEventItem",)),),
    ("v2", Answer.EVENTS): (Content(NDJSON, ("V2EventItem", "V2EndItem", "V2ErrorItem")),),
    ("v2", Answer.EVENT_STREAM): (Content(NDJSON, ("V2EventItem", "V2EndItem", "V2ErrorItem")),),
    ("v2", Answer.OBSERVATION): (
        Content(NDJSON, ("V2EventItem", "V2HeartbeatItem", "V2ErrorItem")),
    ),
    ("v2", Answer.ROW_STREAM): (
        Content(NDJSON, ("V2RowItem", "V2HeartbeatItem", "V2EndItem", "V2ErrorItem")),
    ),
    ("v2", Answer.SUBJECT_STREAM): (
        Content(NDJSON, ("V2SubjectItem", "V2EndItem", "V2ErrorItem")),
    ),
    ("v2", Answer.CHILD_SUBJECTS): (
        Content(JSON, ("V2ChildSubjectsAnswer",)),
        Content(NDJSON, ("V2ErrorItem",)),
    ),
    ("v2", Answer.EVENT_TYPE_STREAM): (Content(NDJSON, ("V2EventTypeItem", "V2EndItem")),),
    ("v2", Answer.EVENT_TYPE): (
        Content(JSON, ("V2EventTypeItem",)),
        Content(NDJSON, ("V2ErrorItem",)),
    ),
    ("v2", Answer.REGISTRATION): (Content(NDJSON, ("V2ApiEventItem", "V2EndItem", "V2ErrorItem")),),
    ("v2", Answer.SCHEMA_CHECK): (
        Content(JSON, ("CheckedSchema",)),
        Content(NDJSON, ("V2ErrorItem",)),
    ),
    ("v2", Answer.BACKUP): (
        Content(NDJSON, ("V2BackupSchemaItem", "V2BackupEventItem", "V2EndItem", "V2ErrorItem")),
    ),
    ("v2", Answer.RESTORATION): (
        Content(JSON, ("V2ApiEventItem",)),
        Content(NDJSON, ("V2ErrorItem",)),
    ),
    ("v2", Answer.READ_ONLY_MODE): (
        Content(JSON, ("V2ApiEventItem",)),
        Content(NDJSON, ("V2ErrorItem",)),
    ),
    ("v2", Answer.HEALTH): (Content(HEALTH, ("Health",)), Content(OPENMETRICS, ("Metrics",))),
    ("v2", Answer.DIAGNOSTICS): (Content(JSON, ("V2DiagnosticsItem",)),),
    ("v2", Answer.CHECKPOINT): (Content(TEXT, ("Checkpoint",)),),
    ("v2", Answer.INCLUSION_PROOF): (
        Content(JSON, ("InclusionProof",)),
        Content(NDJSON, ("V2ErrorItem",)),
    ),
    ("v2", Answer.CONSISTENCY_PROOF): (
        Content(JSON, ("ConsistencyProof",)),
        Content(NDJSON, ("V2ErrorItem",)),
    ),
    ("v2", Answer.TILE): (Content(OCTETS, ("Tile",)),),
    ("v2", Answer.VERIFICATION): (
        Content(NDJSON, ("V2VerificationItem", "V2HeartbeatItem", "V2EndItem", "V2ErrorItem")),
    ),
    ("v2", Answer.AUDIT): (
        Content(NDJSON, ("V2AuditItem", "V2HeartbeatItem", "V2EndItem", "V2ErrorItem")),
    ),
}

# What is restored, by either version.
_BACKUP: Final = Content(
    NDJSON,
    (
        "V1BackupSchemaItem",
        "V1BackupEventItem",
        "V2BackupSchemaItem",
        "V2BackupEventItem",
        "V2EndItem",
    ),
)

# What is less in one version than the endpoint of both says.
SUMMARIES: Final[Mapping[tuple[str, Answer], str]] = {
    ("v1", Answer.SUBJECT_STREAM): "Stream a subject and all below it",
    ("v1", Answer.BACKUP): "Stream all event schemas and events of this moment",
}

# Status by status: the name of its description in the document, and the description.
TEXT_ANSWERS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("BadRequest", "The request is not HTTP, not JSON, or not what the endpoint takes."),
    401: ("Unauthorized", "The token is missing or wrong; looked at before anything else."),
    404: ("NotFound", "There is no such event type."),
    408: ("RequestTimeout", "The request took too long to arrive."),
    409: ("Conflict", "The request is right in itself, but not for the state of the log."),
    413: ("ContentTooLarge", "The body, an event or the write is too large."),
    429: ("TooManyRequests", "Too many failed attempts, or the rate limit; Retry-After says more."),
    431: ("HeadTooLarge", "The head of the request is too large, or has too many headers."),
    500: ("InternalError", "Something failed: whether anything was stored is unknown."),
    503: ("Unavailable", "The server cannot do this now; nothing was stored."),
}

_EVERYWHERE: Final = (400, 408, 413, 431, 500, 503)
_OTHER_TEXT: Final = ("Other", "Anything else that HTTP knows: 405, 414, 415, 417, 501, 505.")

_STATUSES_OF_V1: Final[Mapping[Answer, tuple[int, ...]]] = {
    Answer.EVENTS: (409,),
    Answer.EVENT_STREAM: (409,),
    Answer.EVENT_TYPE: (404,),
    Answer.REGISTRATION: (409,),
    Answer.RESTORATION: (409,),
    Answer.AUDIT: (409,),
}

_SUBJECT: Final = (Code.SUBJECT_MISSING, Code.SUBJECT_MALFORMED)
_EVENT_TYPE: Final = (Code.EVENT_TYPE_MISSING, Code.EVENT_TYPE_MALFORMED)
_EVENT_ID: Final = (Code.EVENT_ID_MISSING, Code.EVENT_ID_MALFORMED)
_STORING: Final = (
    Code.DISK_FULL,
    Code.STORE_FAILED,
    Code.READ_FAILED,
    Code.STORE_READ_ONLY,
    Code.SERVER_SHUTTING_DOWN,
)
_SELECTION: Final = (
    *_SUBJECT,
    *_EVENT_ID,
    Code.BOUND_TYPE_MISSING,
    Code.BOUND_TYPE_UNKNOWN,
    Code.FROM_LATEST_EVENT_INCOMPLETE,
    Code.EVENT_TYPE_MALFORMED,
    Code.IF_EVENT_IS_MISSING_UNKNOWN,
    Code.SELECTION_CONFLICTING,
)

# The error codes of version 2, by endpoint.
CODES: Final[Mapping[str, tuple[Code, ...]]] = {
    "ping": (),
    "verify_token": (),
    "write_events": (
        Code.EVENTS_MISSING,
        Code.EVENT_TOO_LARGE,
        Code.SOURCE_MISSING,
        Code.SOURCE_MALFORMED,
        *_SUBJECT,
        *_EVENT_TYPE,
        Code.DATA_MISSING,
        Code.DATA_MALFORMED,
        Code.TRACEPARENT_MALFORMED,
        Code.TRACESTATE_MALFORMED,
        Code.TRACESTATE_WITHOUT_TRACEPARENT,
        Code.PRECONDITION_TYPE_MISSING,
        Code.PRECONDITION_UNKNOWN,
        Code.PAYLOAD_MISSING,
        *_EVENT_ID,
        Code.PRECONDITION_VIOLATED,
        Code.QUERY_MISSING,
        Code.QUERY_MALFORMED,
        Code.QUERY_UNEVALUABLE,
        Code.QUERY_NOT_BOOLEAN,
        Code.EVENT_SCHEMA_VIOLATED,
        *_STORING,
    ),
    "read_events": (
        *_SELECTION,
        Code.ORDER_UNKNOWN,
        Code.RANGE_UNSATISFIABLE,
        Code.READ_FAILED,
    ),
    "observe_events": (*_SELECTION, Code.READ_FAILED, Code.SERVER_SHUTTING_DOWN),
    "run_eventql_query": (
        Code.QUERY_MISSING,
        Code.QUERY_MALFORMED,
        Code.QUERY_UNEVALUABLE,
        Code.READ_FAILED,
        Code.SERVER_SHUTTING_DOWN,
    ),
    "read_subjects": _SUBJECT,
    "read_child_subjects": _SUBJECT,
    "read_event_types": (),
    "read_event_type": (*_EVENT_TYPE, Code.EVENT_TYPE_UNKNOWN),
    "register_event_schema": (
        *_EVENT_TYPE,
        Code.EVENT_SCHEMA_MISSING,
        Code.EVENT_SCHEMA_MALFORMED,
        Code.EVENT_SCHEMA_NOT_OBJECT,
        Code.EVENT_SCHEMA_ALREADY_REGISTERED,
        Code.EVENT_SCHEMA_VIOLATED,
        *_STORING,
    ),
    "check_event_schema": (
        *_EVENT_TYPE,
        Code.EVENT_SCHEMA_MISSING,
        Code.EVENT_SCHEMA_MALFORMED,
        Code.EVENT_SCHEMA_NOT_OBJECT,
        Code.EVENT_SCHEMA_ALREADY_REGISTERED,
        Code.EVENT_SCHEMA_VIOLATED,
        Code.READ_FAILED,
    ),
    "backup": (
        Code.LAST_BACKED_UP_EVENT_MISSING,
        Code.EVENT_ID_MALFORMED,
        Code.EVENT_HASH_MALFORMED,
        Code.LAST_BACKED_UP_EVENT_UNKNOWN,
        Code.LAST_BACKED_UP_EVENT_MISMATCHED,
        Code.BACKUP_FAILED,
        Code.READ_FAILED,
        Code.SERVER_SHUTTING_DOWN,
    ),
    "restore": (
        Code.STORE_NOT_EMPTY,
        Code.BACKUP_UNREADABLE,
        Code.BACKUP_FORMAT_UNKNOWN,
        Code.BACKUP_MALFORMED,
        Code.BACKUP_INCOMPLETE,
        Code.FULL_BACKUP_MISSING,
        Code.BACKUP_INCREMENT_DISCONNECTED,
        Code.EVENT_CHAIN_BROKEN,
        Code.EVENT_HASH_MISSING,
        Code.EVENT_HASH_MALFORMED,
        Code.EVENT_HASH_VERSION_UNKNOWN,
        Code.EVENT_TOO_LARGE,
        Code.DATA_MALFORMED,
        Code.EVENT_TYPE_MALFORMED,
        Code.EVENT_SCHEMA_MALFORMED,
        Code.EVENT_SCHEMA_NOT_OBJECT,
        Code.EVENT_SCHEMA_VIOLATED,
        Code.RESTORE_IN_PROGRESS,
        Code.DISK_FULL,
        Code.STORE_FAILED,
        Code.STORE_READ_ONLY,
        Code.SERVER_SHUTTING_DOWN,
    ),
    "put_into_read_only_mode": (Code.READ_ONLY_MODE_ALREADY_ENABLED,),
    "verify_store": (Code.AUDIT_FAILED, Code.SERVER_SHUTTING_DOWN),
    "audit_history": (
        Code.LAST_AUDITED_EVENT_MISSING,
        Code.EVENT_ID_MALFORMED,
        Code.EVENT_HASH_MALFORMED,
        Code.LAST_AUDITED_EVENT_UNKNOWN,
        Code.LAST_AUDITED_EVENT_MISMATCHED,
        Code.EVENT_CHAIN_BROKEN,
        Code.AUDIT_FAILED,
        Code.SERVER_SHUTTING_DOWN,
    ),
    "health": (),
    "diagnostics": (),
    "checkpoint": (),
    "inclusion_proof": (*_EVENT_ID, Code.RANGE_UNSATISFIABLE, Code.READ_FAILED, Code.DISK_FULL),
    "consistency_proof": (Code.RANGE_UNSATISFIABLE, Code.READ_FAILED, Code.DISK_FULL),
    "tile": (),
}


def render_documents() -> dict[str, bytes]:
    """Return each document, by its path, as it is committed: so that a change can be read."""
    newest = build_document(ROUTES)
    return {
        path: msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
        for path, document in (
            (OPENAPI_PATH, adapt_to_3_1(newest)),
            (OPENAPI_3_2_PATH, newest),
        )
    }


def adapt_to_3_1(newest: Json) -> Json:
    """Return what a document of version 3.2 says in the words of version 3.1."""
    adapted = _adapt(newest)
    assert isinstance(adapted, dict)
    return {**adapted, "openapi": "3.1.0"}


def _adapt(value: object) -> object:
    if isinstance(value, list):
        return [_adapt(member) for member in value]
    if not isinstance(value, dict):
        return value
    adapted = {name: _adapt(member) for name, member in value.items()}
    if "itemSchema" in adapted:
        return {"schema": _LINES, EXTENSION_PREFIX + "itemSchema": adapted["itemSchema"]}
    return {
        EXTENSION_PREFIX + name if name == "query" and _is_operation(member) else name: member
        for name, member in adapted.items()
    }


def _is_operation(value: object) -> bool:
    return isinstance(value, dict) and "operationId" in value


# What clients made by a generator get is read line by line by their users.
_LINES: Final[Json] = {
    "type": "string",
    "format": "binary",
    "description": "Lines of JSON.",
}


def build_document(routes: tuple[Route, ...]) -> Json:
    """Return the OpenAPI document of a table of routes."""
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Everlog",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": {
            **{route.path: {route.method.lower(): _operation(route)} for route in routes},
            OPENAPI_PATH: {"get": _own_operation("openapi", "Describe the API")},
            OPENAPI_3_2_PATH: {
                "get": _own_operation("openapi-3-2", "Describe the API in OpenAPI 3.2"),
            },
        },
        "components": {
            "schemas": build_schemas(),
            "responses": {
                name: {"description": description, "content": {TEXT.decode(): _TEXT_CONTENT}}
                for name, description in (*TEXT_ANSWERS.values(), _OTHER_TEXT)
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The one token that the server was started with.",
                }
            },
        },
    }


# The one document that comes with another status than 200.
_FAILING: Final = {
    "description": "The server fails at something, or cannot say because it is stopping.",
    "content": {
        HEALTH.decode(): {"schema": reference("Health")},
        TEXT.decode(): {"schema": {"type": "string"}},
    },
}

_TEXT_CONTENT: Final = {"schema": {"type": "string", "description": "One line of text."}}


def _operation(route: Route) -> Json:
    name = route.handle.__name__.replace("_", "-")
    operation: Json = {
        "operationId": f"{name}-{route.version.name}",
        "tags": [route.version.name],
        "summary": SUMMARIES.get((route.version.name, route.answer)) or _summary(route.handle),
    }
    if route.is_open:
        operation["security"] = []
    parameters = [
        *([_format_parameter(route.formats)] if route.formats else []),
        *(_path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)),
        *(_query_parameter(name, is_required=required) for name, required in route.parameters),
    ]
    if parameters:
        operation["parameters"] = parameters
    description = _description(route)
    if description:
        operation["description"] = description
    if route.method != "GET":
        operation["requestBody"] = _request_body(route)
    operation["responses"] = {
        "200": {
            "description": f"{route.answer.value[0].upper()}{route.answer.value[1:]}.",
            "content": {
                content.media_type.decode(): _describe(content)
                for content in ANSWERS[route.version.name, route.answer]
            },
        },
        **{str(status): _text_answer(TEXT_ANSWERS[status][0]) for status in _statuses(route)},
        "default": _text_answer(_OTHER_TEXT[0]),
    }
    if route.answer is Answer.HEALTH:
        operation["responses"]["503"] = _FAILING
    return operation


def _format_parameter(formats: tuple[str, ...]) -> Json:
    return {
        "name": "format",
        "in": "query",
        "description": "The form of the answer.",
        "schema": {"type": "string", "enum": list(formats), "default": formats[0]},
    }


# Of the query and the path, what each parameter is.
PARAMETERS: Final[Mapping[str, Json]] = {
    "rechain": {
        "description": (
            "Whether ids and hashes are given anew where the chain of the backup is not whole."
        ),
        "schema": {"type": "boolean", "default": False},
    },
    "event": {
        "description": "The id of an event.",
        "schema": reference("EventId"),
    },
    "size": {
        "description": "The size of the tree; by default that of the latest checkpoint.",
        "schema": reference("TreeSize"),
    },
    "from": {
        "description": "The size of the earlier tree.",
        "schema": reference("TreeSize"),
    },
    "to": {
        "description": "That of the later one; by default that of the latest checkpoint.",
        "schema": reference("TreeSize"),
    },
    "level": {
        "description": "Of the tile: 0 for leaves, 1 for the nodes 8 levels above, and so on.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 63},
    },
    "index": {
        "description": (
            "Which tile of the level, in groups of three digits, all but the last one after an x; "
            "with `.p/` and a width behind it where the tile is not full."
        ),
        "schema": {
            "type": "string",
            "pattern": r"^(x\d{3}/)*\d{3}(\.p/[1-9]\d{0,2})?$",
            "examples": ["000.p/2", "x001/234"],
        },
    },
}


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, **PARAMETERS[name]}


def _query_parameter(name: str, *, is_required: bool) -> Json:
    return {"name": name, "in": "query", "required": is_required, **PARAMETERS[name]}


def _summary(handle: Callable[..., None]) -> str:
    documentation = getdoc(handle)
    assert documentation is not None  # every endpoint has a sentence
    return documentation.splitlines()[0].rstrip(".")


def _description(route: Route) -> str:
    sentences = []
    if route.body_size_max is None:
        sentences.append("The body may have any size: it is read as it arrives.")
    elif route.method != "GET":
        sentences.append(f"The body may hold {route.body_size_max} bytes.")
    if route.version.name == "v2" and CODES[route.handle.__name__]:
        codes = ", ".join(f"`{code.value}`" for code in CODES[route.handle.__name__])
        sentences.append(f"Error codes: {codes}.")
    return " ".join(sentences)


def _request_body(route: Route) -> Json:
    if route.answer is Answer.RESTORATION:
        return {
            "required": True,
            "content": {
                _BACKUP.media_type.decode(): _describe(_BACKUP),
                # Nobody looks at the type of a body, and generators know this one.
                OCTETS.decode(): {"schema": _LINES},
            },
        }
    name = route.version.name.upper() + route.body.__name__
    return {
        "required": name in REQUIRED,
        "content": {JSON.decode(): {"schema": reference(name)}},
    }


def _describe(content: Content) -> Json:
    references = [reference(name) for name in content.schemas]
    schema = references[0] if len(references) == 1 else {"oneOf": references}
    if content.media_type == NDJSON:
        return {"itemSchema": schema}
    return {"schema": {"type": "array", "items": schema} if content.is_array else schema}


def _statuses(route: Route) -> list[int]:
    statuses = {*_EVERYWHERE}
    if not route.is_open:
        statuses.update((401, 429))
    if route.version.name == "v1":
        statuses.update(_STATUSES_OF_V1.get(route.answer, ()))
    return sorted(statuses)


def _text_answer(name: str) -> Json:
    return {"$ref": f"#/components/responses/{name}"}


def _own_operation(name: str, summary: str) -> Json:
    return {
        "operationId": name,
        "summary": summary,
        "security": [],
        "responses": {
            "200": {
                "description": "This document.",
                "content": {JSON.decode(): {"schema": {"type": "object"}}},
            },
            "default": _text_answer(_OTHER_TEXT[0]),
        },
    }


if __name__ == "__main__":
    for name, rendered in render_documents().items():
        DOCUMENTS[name].write_bytes(rendered)
