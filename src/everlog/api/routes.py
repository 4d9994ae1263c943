"""The whole surface of the server on one screen.

Each route names its method, path, endpoint, and what its request and answer look like; the
dispatcher and the OpenAPI document are made from this table and nothing else.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from everlog.api import look_v1, look_v2
from everlog.api.audit_endpoints import AuditEndpoints
from everlog.api.endpoints import FORMS, Endpoints, health
from everlog.api.look import Look
from everlog.api.proof_endpoints import TILE_PREFIX, ProofEndpoints
from everlog.api.requests import v1 as v1_requests
from everlog.api.requests import v2 as v2_requests
from everlog.api.services import Services
from everlog.api.subject_endpoints import SubjectEndpoints
from everlog.api.transfer_endpoints import RECHAIN, TransferEndpoints
from everlog.domain.limits import (
    REQUEST_BODY_SIZE_MAX,
    SCHEMA_SIZE_MAX,
    SMALL_REQUEST_BODY_SIZE_MAX,
)
from everlog.eventql.limits import QUERY_LENGTH_MAX
from everlog.http import Exchange, Request
from everlog.monitoring.tally import EndpointName

Handle = Callable[[Services, Request, Exchange], None]

_SMALL: Final = SMALL_REQUEST_BODY_SIZE_MAX
# Around the schema itself there is little: the event type, and space between tokens.
_SCHEMA: Final = 2 * SCHEMA_SIZE_MAX
# A character of a query takes six bytes at most, as an escape of JSON.
_QUERY: Final = 8 * QUERY_LENGTH_MAX


class Answer(Enum):
    """What an endpoint answers with; the OpenAPI document describes each."""

    API_EVENT = "an event of the API itself"
    EVENTS = "the events as stored"
    EVENT_STREAM = "events, one a line"
    OBSERVATION = "events, one a line, without end"
    ROW_STREAM = "the rows of a query, one a line"
    SUBJECT_STREAM = "subjects, one a line"
    CHILD_SUBJECTS = "some of the subjects directly below one, with counts"
    EVENT_TYPE_STREAM = "event types, one a line"
    EVENT_TYPE = "an event type"
    REGISTRATION = "an event of the API itself, once the schema is in force"
    SCHEMA_CHECK = "how many stored events match a schema"
    BACKUP = "event schemas and events, one a line, for a restore"
    RESTORATION = "an event of the API itself, once the store has what was sent"
    READ_ONLY_MODE = "an event of the API itself, once all writes that had begun are answered"
    HEALTH = "how well the server is"
    DIAGNOSTICS = "what the server is"
    VERIFICATION = "what is not as it was written"
    AUDIT = "the last event that is proven, for the next audit"
    CHECKPOINT = "what was signed last, as a signed note"
    INCLUSION_PROOF = "that an event is in the tree of a size"
    CONSISTENCY_PROOF = "that one tree is the beginning of another one"
    TILE = "hashes of the tree, 32 bytes each"


class Route(NamedTuple):
    """One endpoint of the API.

    A path may end in names in braces: what stands in their place is for its endpoint to read.
    """

    version: Look
    method: str
    path: str
    handle: Handle
    answer: Answer
    body: type[msgspec.Struct] = v1_requests.Nothing
    # None where it may have any size, and consists of lines.
    body_size_max: int | None = _SMALL
    # Whether it may be asked without the token.
    is_open: bool = False
    # Whether it is answered while a backup is being restored.
    is_unlocked: bool = False
    # What `format` in the query may be, the default first.
    formats: tuple[str, ...] = ()
    # What else the query may say, and whether it must.
    parameters: tuple[tuple[str, bool], ...] = ()


def name_of(route: Route) -> EndpointName:
    """Return what tells a route from the others."""
    return EndpointName(route.method, route.path)


V1: Final = look_v1.LOOK
V2: Final = look_v2.LOOK

v1 = Endpoints(V1)
v2 = Endpoints(V2)
v1_transfer = TransferEndpoints(V1)
v2_transfer = TransferEndpoints(V2)
v1_audits = AuditEndpoints(V1)
v2_audits = AuditEndpoints(V2)
subjects = SubjectEndpoints(V2)
proofs = ProofEndpoints(V2)

_FORMATS: Final = tuple(FORMS)
_RECHAIN: Final = ((RECHAIN, False),)

_V1_DATA: Final = "/api/v1"
_V2_SYSTEM: Final = "/api/v2/system"
_V2_MANAGEMENT: Final = "/api/v2/management"
_V2_DATA: Final = "/api/v2/data"
_V2_LOG: Final = "/api/v2/log"

# fmt: off
ROUTES: Final = (
    Route(V1, "GET", f"{_V1_DATA}/ping", v1.ping, Answer.API_EVENT, is_open=True,
          is_unlocked=True),
    Route(V1, "POST", f"{_V1_DATA}/verify-api-token", v1.verify_api_token, Answer.API_EVENT),
    Route(V1, "POST", f"{_V1_DATA}/write-events", v1.write_events, Answer.EVENTS,
          v1_requests.WriteEvents, REQUEST_BODY_SIZE_MAX),
    Route(V1, "POST", f"{_V1_DATA}/read-events", v1.read_events, Answer.EVENT_STREAM,
          v1_requests.ReadEvents),
    Route(V1, "POST", f"{_V1_DATA}/observe-events", v1.observe_events, Answer.OBSERVATION,
          v1_requests.ObserveEvents),
    Route(V1, "POST", f"{_V1_DATA}/run-eventql-query", v1.run_eventql_query, Answer.ROW_STREAM,
          v1_requests.RunEventQlQuery, _QUERY),
    Route(V1, "POST", f"{_V1_DATA}/read-subjects", v1.read_subjects, Answer.SUBJECT_STREAM,
          v1_requests.ReadSubjects),
    Route(V1, "POST", f"{_V1_DATA}/read-event-types", v1.read_event_types,
          Answer.EVENT_TYPE_STREAM),
    Route(V1, "POST", f"{_V1_DATA}/read-event-type", v1.read_event_type, Answer.EVENT_TYPE,
          v1_requests.ReadEventType),
    Route(V1, "POST", f"{_V1_DATA}/register-event-schema", v1.register_event_schema,
          Answer.REGISTRATION, v1_requests.RegisterEventSchema, _SCHEMA),
    Route(V1, "POST", f"{_V1_DATA}/put-into-read-only-mode", v1.put_into_read_only_mode,
          Answer.READ_ONLY_MODE),
    Route(V1, "POST", f"{_V1_DATA}/backup", v1_transfer.backup, Answer.BACKUP),
    Route(V1, "POST", f"{_V1_DATA}/restore", v1_transfer.restore, Answer.RESTORATION,
          body_size_max=None, parameters=_RECHAIN),
    Route(V1, "GET", f"{_V1_DATA}/health", health, Answer.HEALTH, is_unlocked=True,
          formats=_FORMATS),
    Route(V1, "POST", f"{_V1_DATA}/verify-store", v1_audits.verify_store, Answer.VERIFICATION),
    Route(V1, "POST", f"{_V1_DATA}/audit-history", v1_audits.audit_history, Answer.AUDIT,
          v1_requests.AuditHistory),
    Route(V1, "GET", f"{_V1_DATA}/diagnostics", v1.diagnostics, Answer.DIAGNOSTICS),

    Route(V2, "GET", f"{_V2_SYSTEM}/ping", v2.ping, Answer.API_EVENT, is_open=True,
          is_unlocked=True),
    Route(V2, "POST", f"{_V2_SYSTEM}/verify-token", v2.verify_token, Answer.API_EVENT,
          v2_requests.Nothing),
    Route(V2, "POST", f"{_V2_DATA}/write-events", v2.write_events, Answer.EVENTS,
          v2_requests.WriteEvents, REQUEST_BODY_SIZE_MAX),
    Route(V2, "QUERY", f"{_V2_DATA}/read-events", v2.read_events, Answer.EVENT_STREAM,
          v2_requests.ReadEvents),
    Route(V2, "QUERY", f"{_V2_DATA}/observe-events", v2.observe_events, Answer.OBSERVATION,
          v2_requests.ObserveEvents),
    Route(V2, "QUERY", f"{_V2_DATA}/run-eventql-query", v2.run_eventql_query, Answer.ROW_STREAM,
          v2_requests.RunEventQlQuery, _QUERY),
    Route(V2, "QUERY", f"{_V2_DATA}/read-subjects", v2.read_subjects, Answer.SUBJECT_STREAM,
          v2_requests.ReadSubjects),
    Route(V2, "QUERY", f"{_V2_DATA}/read-child-subjects", subjects.read_child_subjects,
          Answer.CHILD_SUBJECTS, v2_requests.ReadChildSubjects),
    Route(V2, "QUERY", f"{_V2_DATA}/read-event-types", v2.read_event_types,
          Answer.EVENT_TYPE_STREAM, v2_requests.Nothing),
    Route(V2, "QUERY", f"{_V2_DATA}/read-event-type", v2.read_event_type, Answer.EVENT_TYPE,
          v2_requests.ReadEventType),
    Route(V2, "POST", f"{_V2_DATA}/register-event-schema", v2.register_event_schema,
          Answer.REGISTRATION, v2_requests.RegisterEventSchema, _SCHEMA),
    Route(V2, "QUERY", f"{_V2_DATA}/check-event-schema", v2.check_event_schema,
          Answer.SCHEMA_CHECK, v2_requests.RegisterEventSchema, _SCHEMA),
    Route(V2, "POST", f"{_V2_SYSTEM}/put-into-read-only-mode", v2.put_into_read_only_mode,
          Answer.READ_ONLY_MODE, v2_requests.Nothing),
    Route(V2, "POST", f"{_V2_MANAGEMENT}/backup", v2_transfer.backup, Answer.BACKUP,
          v2_requests.Backup),
    Route(V2, "POST", f"{_V2_MANAGEMENT}/restore", v2_transfer.restore, Answer.RESTORATION,
          body_size_max=None, parameters=_RECHAIN),
    Route(V2, "GET", f"{_V2_SYSTEM}/health", health, Answer.HEALTH, is_unlocked=True,
          formats=_FORMATS),
    Route(V2, "POST", f"{_V2_MANAGEMENT}/verify-store", v2_audits.verify_store,
          Answer.VERIFICATION, v2_requests.Nothing),
    Route(V2, "POST", f"{_V2_MANAGEMENT}/audit-history", v2_audits.audit_history, Answer.AUDIT,
          v2_requests.AuditHistory),
    Route(V2, "GET", f"{_V2_SYSTEM}/diagnostics", v2.diagnostics, Answer.DIAGNOSTICS),

    Route(V2, "GET", f"{_V2_LOG}/checkpoint", proofs.checkpoint, Answer.CHECKPOINT),
    Route(V2, "GET", f"{_V2_LOG}/inclusion-proof", proofs.inclusion_proof,
          Answer.INCLUSION_PROOF, parameters=(("event", True), ("size", False))),
    Route(V2, "GET", f"{_V2_LOG}/consistency-proof", proofs.consistency_proof,
          Answer.CONSISTENCY_PROOF, parameters=(("from", True), ("to", False))),
    Route(V2, "GET", TILE_PREFIX + "{level}/{index}", proofs.tile, Answer.TILE),
)
# fmt: on

# The document in the version that tools know, and in the one that has words for all of it.
OPENAPI_PATH: Final = "/.well-known/openapi"
OPENAPI_3_2_PATH: Final = "/.well-known/openapi-3.2"
