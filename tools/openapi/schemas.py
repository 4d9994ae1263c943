"""The JSON Schemas of the OpenAPI document.

Generated from the structs that decoding and encoding use, so that names and nesting cannot drift.
What a struct cannot say is added from the tables here: which members must be there, what their
values look like, and examples. Pattern and size are facts of the domain, told once more in the
words of JSON Schema; the tests compare the two.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from everlog.api import look_v1 as v1
from everlog.api import look_v2 as v2
from everlog.api.answers import CheckedSchema
from everlog.api.look_v2 import CODE_PREFIX, ErrorItem
from everlog.api.proof_endpoints import ConsistencyProof, InclusionProof
from everlog.api.requests import v1 as v1_requests
from everlog.api.requests import v2 as v2_requests
from everlog.api.subject_endpoints import ChildSubjectsAnswer
from everlog.domain.chain import GENESIS_HASH, HashVersion
from everlog.domain.errors import Code
from everlog.domain.event import Event, EventCandidate, accept_event
from everlog.domain.limits import (
    EVENT_TYPE_LENGTH_MAX,
    EVENTS_PER_WRITE_MAX,
    PRECONDITIONS_PER_WRITE_MAX,
    SOURCE_LENGTH_MAX,
    SUBJECT_LENGTH_MAX,
    TRACESTATE_LENGTH_MAX,
)
from everlog.eventql.limits import QUERY_LENGTH_MAX
from everlog.monitoring.checks import Status
from everlog.monitoring.diagnostics import Diagnostics
from everlog.monitoring.health import Health
from everlog.service.verify_store import Verification

Json = dict[str, Any]

_REFERENCE: Final = "#/components/schemas/"

_STRUCTS: Final[Mapping[str, tuple[type[msgspec.Struct], ...]]] = {
    "": (
        *(Event, Health, Diagnostics, Verification, InclusionProof, ConsistencyProof),
        CheckedSchema,
    ),
    "V1": (
        v1_requests.WriteEvents,
        v1_requests.ReadEvents,
        v1_requests.ObserveEvents,
        v1_requests.RunEventQlQuery,
        v1_requests.ReadSubjects,
        v1_requests.ReadEventType,
        v1_requests.RegisterEventSchema,
        v1_requests.AuditHistory,
        v1_requests.Nothing,
        v1.LatestEvent,
        v1.SubjectItem,
        v1.EventTypeItem,
        v1.StreamErrorItem,
    ),
    "V2": (
        v2_requests.WriteEvents,
        v2_requests.ReadEvents,
        v2_requests.ObserveEvents,
        v2_requests.RunEventQlQuery,
        v2_requests.ReadSubjects,
        v2_requests.ReadChildSubjects,
        v2_requests.ReadEventType,
        v2_requests.RegisterEventSchema,
        v2_requests.AuditHistory,
        v2_requests.Nothing,
        v2_requests.Backup,
        v2.AuditItem,
        v2.SubjectItem,
        ChildSubjectsAnswer,
        v2.EventTypeItem,
        ErrorItem,
    ),
}

# Decoding lets them pass, so that their absence is a refusal with a text or a code of its own.
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "V1WriteEvents": ("events",),
    "V1EventCandidate": ("source", "subject", "type", "data"),
    "V1Precondition": ("type", "payload"),
    "V1Bound": ("id", "type"),
    "V1FromLatestEvent": ("subject", "type", "ifEventIsMissing"),
    "V1ReadEvents": ("subject",),
    "V1ObserveEvents": ("subject",),
    "V1RunEventQlQuery": ("query",),
    "V1ReadSubjects": ("baseSubject",),
    "V1ReadEventType": ("eventType",),
    "V1RegisterEventSchema": ("eventType", "schema"),
    "V2WriteEvents": ("events",),
    "V2EventCandidate": ("source", "subject", "type", "data"),
    "V2Precondition": ("type", "payload"),
    "V2Bound": ("id", "type"),
    "V2FromLatestEvent": ("subject", "type", "ifEventIsMissing"),
    "V2ReadEvents": ("subject",),
    "V2ObserveEvents": ("subject",),
    "V2RunEventQlQuery": ("query",),
    "V2ReadSubjects": ("subject", "options"),
    "V2ReadChildSubjects": ("subject",),
    "V2ReadEventType": ("type",),
    "V2RegisterEventSchema": ("type", "schema"),
    "V2KnownEvent": ("id", "hash"),
}


def reference(name: str) -> Json:
    """Return a reference to a schema of the document."""
    return {"$ref": _REFERENCE + name}


_RECURSIVE: Final[Json] = {
    "type": "boolean",
    "description": "Whether all subjects below this one are meant too.",
}

_NULL_WITHOUT_EVENTS: Final[Json] = {
    "type": ["string", "null"],
    "description": "Null where there are no events.",
}

# By the name of the member, or by schema and member where a name means more than one thing.
MEMBERS: Final[Mapping[str, Json]] = {
    "subject": reference("SubjectPath"),
    "baseSubject": reference("SubjectPath"),
    "eventType": reference("EventTypeName"),
    "source": reference("Source"),
    "data": reference("Data"),
    "schema": reference("EventSchema"),
    "traceparent": reference("Traceparent"),
    "tracestate": reference("Tracestate"),
    "eventId": reference("EventId"),
    "id": reference("EventId"),
    "order": {
        "type": "string",
        "enum": ["chronological", "antichronological"],
        "default": "chronological",
    },
    "ifEventIsMissing": {
        "type": "string",
        "enum": ["read-nothing", "read-everything", "wait-for-event"],
        "description": "Reading takes the first two, observing the last two.",
    },
    "query": reference("Query"),
    "recursive": {**_RECURSIVE, "default": False},
    "RecursiveOptions.recursive": _RECURSIVE,
    "Precondition.type": {
        "type": "string",
        "enum": [
            "isSubjectPristine",
            "isSubjectPopulated",
            "isSubjectOnEventId",
            "isEventQlQueryTrue",
        ],
        "description": "The last one takes a query, all others a subject.",
    },
    "Bound.type": {"type": "string", "enum": ["inclusive", "exclusive"]},
    "EventCandidate.type": reference("EventTypeName"),
    "ReadOptions.types": {
        "type": "array",
        "items": reference("EventTypeName"),
        "description": "Only events of these types; an empty list is as none.",
    },
    "FromLatestEvent.type": reference("EventTypeName"),
    "ReadEventType.type": reference("EventTypeName"),
    "RegisterEventSchema.type": reference("EventTypeName"),
    "Event.type": reference("EventTypeName"),
    "Event.specversion": {"type": "string", "const": "1.0"},
    "Event.datacontenttype": {"type": "string", "const": "application/json"},
    "Event.time": reference("Time"),
    "Event.predecessorhash": reference("Hash"),
    "Event.hash": reference("Hash"),
    "Event.signature": {
        "type": ["string", "null"],
        "pattern": "^esdb:signature:v1:[0-9a-f]{128}$",
        "description": "Null unless the server has a signing key.",
    },
    "CheckedSchema.type": reference("EventTypeName"),
    "InclusionProof.event": reference("EventId"),
    "InclusionProof.hash": reference("Hash"),
    "InclusionProof.size": reference("TreeSize"),
    "InclusionProof.root": reference("TreeHash"),
    "InclusionProof.proof": reference("Proof"),
    "ConsistencyProof.from": reference("TreeSize"),
    "ConsistencyProof.to": reference("TreeSize"),
    "ConsistencyProof.fromRoot": reference("TreeHash"),
    "ConsistencyProof.toRoot": reference("TreeHash"),
    "ConsistencyProof.proof": reference("Proof"),
    "EventTypeEntry.type": reference("EventTypeName"),
    "AuditHistory.latestEventId": reference("EventId"),
    "AuditHistory.latestEventHash": reference("Hash"),
    "KnownEvent.hash": reference("Hash"),
    "LastAuditedEvent.hash": reference("Hash"),
    "LicenseSection.eventCapacity": {
        "type": ["integer", "null"],
        "description": "Always null: no number of events is too many.",
    },
    "LatestEvent.latestEventId": _NULL_WITHOUT_EVENTS,
    "LatestEvent.latestEventHash": _NULL_WITHOUT_EVENTS,
    "ErrorData.code": reference("ErrorCode"),
    "ErrorData.details": reference("ErrorDetails"),
    "Health.status": {"type": "string", "enum": [status.name.lower() for status in Status]},
    "Observation.status": {"type": "string", "enum": [status.name.lower() for status in Status]},
    "Observation.observedValue": {"type": ["number", "string", "null"]},
    "WriteEvents.events": {"minItems": 1, "maxItems": EVENTS_PER_WRITE_MAX},
    "WriteEvents.preconditions": {"maxItems": PRECONDITIONS_PER_WRITE_MAX},
}

# These are named by members, but hold schemas of their own.
_STRUCTURED: Final = (
    "AuditItem.data",
    "EventItem.data",
    "SubjectItem.data",
    "EventTypeItem.data",
    "ErrorItem.data",
)

_QUERY: Final = "FROM e IN events WHERE e.type == 'com.example.book-acquired' PROJECT INTO COUNT()"

_TOKEN: Final[Json] = {
    "type": "object",
    "description": "A token of a query; line and column begin at 1.",
    "properties": {
        "line": {"type": "integer", "minimum": 1},
        "column": {"type": "integer", "minimum": 1},
        "text": {"type": "string"},
        "type": {"type": "string"},
    },
}

VALUES: Final[Mapping[str, Json]] = {
    "Query": {
        "type": "string",
        "description": "A query in EventQL.",
        "minLength": 1,
        "maxLength": QUERY_LENGTH_MAX,
        "examples": [_QUERY],
    },
    "SubjectPath": {
        "type": "string",
        "description": "A slash-separated path; one slash at the end is dropped.",
        "pattern": "^/([0-9A-Za-z_-]+(/[0-9A-Za-z_-]+)*/?)?$",
        "maxLength": SUBJECT_LENGTH_MAX,
        "examples": ["/", "/books/42"],
    },
    "EventTypeName": {
        "type": "string",
        "description": "A reverse domain name of at least three segments.",
        "pattern": r"^[0-9A-Za-z_-]{2,}\.([0-9A-Za-z_-]+\.)+[0-9A-Za-z_-]+$",
        "maxLength": EVENT_TYPE_LENGTH_MAX,
        "examples": ["com.example.book-acquired"],
    },
    "Source": {
        "type": "string",
        "description": "A URI reference that names where the event comes from.",
        "format": "iri-reference",
        "minLength": 1,
        "maxLength": SOURCE_LENGTH_MAX,
        "examples": ["https://library.example"],
    },
    "Data": {
        "type": "object",
        "description": "What happened. Kept as it was sent, without the space between tokens.",
    },
    "EventSchema": {
        "type": "object",
        "description": "A JSON Schema (2020-12 unless `$schema` says otherwise) for objects.",
        "properties": {
            "type": {"type": "string", "const": "object"},
            "properties": {"type": "object"},
        },
        "required": ["type", "properties"],
    },
    "EventId": {
        "type": "string",
        "description": "A decimal number: the first event has 0, each later one 1 more.",
        "pattern": "^[0-9]+$",
        "examples": ["0"],
    },
    "Time": {
        "type": "string",
        "description": "RFC 3339 in UTC, with one to nine fraction digits.",
        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z$",
    },
    "Hash": {
        "type": "string",
        "description": "Version 2 has a prefix, version 1 has none.",
        "pattern": "^(esdb:hash:v2:)?[0-9a-f]{64}$",
    },
    "TreeSize": {
        "type": "integer",
        "description": "How many events a tree has: those from the first one on.",
        "minimum": 0,
    },
    "TreeHash": {
        "type": "string",
        "description": "A SHA-256 of the tree (RFC 9162 section 2.1), in base64.",
        "pattern": "^[0-9A-Za-z+/]{43}=$",
    },
    "Proof": {
        "type": "array",
        "description": "The hashes that lead to the root, in the order of RFC 9162.",
        "items": {"$ref": _REFERENCE + "TreeHash"},
    },
    "Checkpoint": {
        "type": "string",
        "description": "A signed note (C2SP signed-note): origin, size, root, and signatures.",
    },
    "Tile": {
        "type": "string",
        "description": "Hashes of the tree, 32 bytes each (C2SP tlog-tiles).",
    },
    "Traceparent": {
        "type": "string",
        "description": "W3C Trace Context, version 00.",
        "pattern": "^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$",
        "examples": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    },
    "Tracestate": {
        "type": "string",
        "description": "W3C Trace Context; only together with a traceparent.",
        "maxLength": TRACESTATE_LENGTH_MAX,
        "examples": ["vendor=value"],
    },
    "ErrorCode": {
        "type": "string",
        "enum": [CODE_PREFIX + code.value for code in Code],
    },
    "ErrorDetails": {
        "type": "object",
        "description": "Where the fault is; only what applies is there.",
        "properties": {
            "field": {"type": "string", "description": "The path of the member in the body."},
            "eventIndex": {"type": "integer", "minimum": 0},
            "preconditionIndex": {"type": "integer", "minimum": 0},
            "precondition": {
                "type": "integer",
                "minimum": 0,
                "description": "The same as preconditionIndex, of one that is violated.",
            },
            "eventId": reference("EventId"),
            "eventType": {"type": "string"},
            "eventCount": {"type": "integer", "minimum": 0},
            "line": {
                "type": "integer",
                "minimum": 1,
                "description": "The number of a line of a backup.",
            },
            "value": {"type": "string", "description": "What was sent, and is not so."},
            "limit": {"type": ["integer", "string"], "description": "The bound that was hit."},
            "startToken": _TOKEN,
            "endToken": _TOKEN,
            "errors": {
                "type": "array",
                "items": {"type": "string"},
                "description": "All that is wrong with the text of a query.",
            },
        },
        "examples": [{"precondition": 0, "preconditionIndex": 0}],
    },
    "Metrics": {"type": "string", "description": "Metrics in the text format of OpenMetrics."},
    "BackedUpEventAndHash": {
        "type": "object",
        "description": "An event as it was hashed, and that hash.",
        "properties": {"event": reference("BackedUpEvent"), "hash": reference("Hash")},
        "required": ["event", "hash"],
    },
    "BackedUpSchema": {
        "type": "object",
        "description": "The schema of an event type.",
        "properties": {
            "eventType": reference("EventTypeName"),
            "schema": reference("EventSchema"),
        },
        "required": ["eventType", "schema"],
    },
    "ApiEvent": {
        "type": "object",
        "description": "An answer in the shape of an event. It is not stored: its id says nothing.",
        "properties": {
            "specversion": {"type": "string", "const": "1.0"},
            "id": reference("EventId"),
            "time": reference("Time"),
            "source": {"type": "string"},
            "subject": {"type": "string", "description": "The path of the request."},
            "type": {"type": "string"},
            "datacontenttype": {"type": "string", "const": "application/json"},
            "data": {"type": "object"},
        },
        "required": [
            "specversion",
            "id",
            "time",
            "source",
            "subject",
            "type",
            "datacontenttype",
            "data",
        ],
    },
}

_CANDIDATE: Final[Json] = {
    "source": "https://library.example",
    "subject": "/books/42",
    "type": "com.example.book-acquired",
    "data": {"title": "2001"},
}
_WRITE: Final[Json] = {
    "events": [_CANDIDATE],
    "preconditions": [{"type": "isSubjectPristine", "payload": {"subject": "/books/42"}}],
}
_READ: Final[Json] = {"subject": "/books", "options": {"recursive": True}}
_SCHEMA: Final[Json] = {"type": "object", "properties": {"title": {"type": "string"}}}

EXAMPLES: Final[Mapping[str, Json]] = {
    "V1WriteEvents": _WRITE,
    "V1ReadEvents": _READ,
    "V1ObserveEvents": _READ,
    "V1RunEventQlQuery": {"query": _QUERY},
    "V1ReadSubjects": {"baseSubject": "/books"},
    "V1ReadEventType": {"eventType": _CANDIDATE["type"]},
    "V1RegisterEventSchema": {"eventType": _CANDIDATE["type"], "schema": _SCHEMA},
    "V1AuditHistory": {"latestEventId": "41", "latestEventHash": "0" * 64},
    "V1EventTypeItem": {
        "type": "eventType",
        "payload": {"eventType": _CANDIDATE["type"], "isPhantom": False},
    },
    "V1StreamErrorItem": {"type": "error", "payload": {"error": "server is shutting down"}},
    "V2WriteEvents": _WRITE,
    "V2ReadEvents": _READ,
    "V2ObserveEvents": _READ,
    "V2RunEventQlQuery": {"query": _QUERY},
    "V2ReadSubjects": {"subject": "/books", "options": {"recursive": True}},
    "V2ReadChildSubjects": {"subject": "/books", "options": {"prefix": "4", "limit": 100}},
    "V2ReadEventType": {"type": _CANDIDATE["type"]},
    "V2RegisterEventSchema": {"type": _CANDIDATE["type"], "schema": _SCHEMA},
    "V2Backup": {"lastBackedUpEvent": {"id": "41", "hash": GENESIS_HASH}},
    "V2AuditHistory": {"lastAuditedEvent": {"id": "41", "hash": "0" * 64}},
    "V2EventTypeItem": {
        "type": "eventType",
        "data": {"type": _CANDIDATE["type"], "hasEvents": True},
    },
    "V2ErrorItem": {
        "type": "error",
        "data": {
            "code": CODE_PREFIX + Code.PRECONDITION_VIOLATED.value,
            "description": "precondition failed: isSubjectPristine on '/books/42'",
            "details": {"precondition": 0, "preconditionIndex": 0},
        },
    },
}


# Without a type it may be any, which generators understand; a list of all types they do not.
_ANY_VALUE: Final[Json] = {"description": "The value of a projection: any JSON value."}

_ROW: Final[Mapping[str, Json]] = {
    "V1": _ANY_VALUE,
    "V2": {"type": "object", "properties": {"value": _ANY_VALUE}, "required": ["value"]},
}


def build_schemas() -> dict[str, Json]:
    """Return every schema of the document, by name."""
    schemas: dict[str, Json] = dict(VALUES)
    for version, structs in _STRUCTS.items():
        _, found = msgspec.json.schema_components(
            structs, schema_hook=_describe_anything, ref_template=f"{_REFERENCE}{version}{{name}}"
        )
        for name, schema in found.items():
            schemas[version + name] = _complete(version, name, schema)
    for version, member in (("V1", "payload"), ("V2", "data")):
        schemas[f"{version}EventItem"] = _item("event", member, reference("Event"))
        schemas[f"{version}RowItem"] = _item("row", member, _ROW[version])
        schemas[f"{version}BackupEventItem"] = _item(
            "event", member, reference("BackedUpEventAndHash")
        )
        schemas[f"{version}BackupSchemaItem"] = _item("schema", member, reference("BackedUpSchema"))
        schemas[f"{version}HeartbeatItem"] = _item("heartbeat", member, {"type": "object"})
    schemas["BackedUpEvent"] = _without(schemas["Event"], {"hash", "signature"})
    schemas["V1BackupErrorItem"] = _item("error", "payload", {"type": "string"})
    schemas["V2ApiEventItem"] = _item("event", "data", reference("ApiEvent"))
    schemas["V2DiagnosticsItem"] = _item("diagnostics", "data", reference("Diagnostics"))
    schemas["V2VerificationItem"] = _item("verification", "data", reference("Verification"))
    schemas["V2EndItem"] = _item("end", "data", {"type": "object"})
    schemas["Event"]["examples"] = [_example_event()]
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    return schemas


def _describe_anything(_type: type) -> Json:
    return {"description": "Any JSON value."}


def _complete(version: str, name: str, schema: Json) -> Json:
    """Add what the tables know to what the struct says."""
    required = REQUIRED.get(version + name, schema.get("required", ()))
    properties = {
        member: _complete_member(name, member, found, is_required=member in required)
        for member, found in schema["properties"].items()
    }
    completed = {**schema, "properties": properties, "required": list(required)}
    # The name of the struct, which both versions have: generators would take it for the schema's.
    completed.pop("title", None)
    if not name.endswith(("Item", "Entry")) and name != "Event":
        return completed
    # Clients must expect more members in answers than they know.
    completed.pop("additionalProperties", None)
    return completed


def _complete_member(name: str, member: str, found: Json, *, is_required: bool) -> Json:
    key = f"{name}.{member}"
    known = {} if key in _STRUCTURED else MEMBERS.get(key, MEMBERS.get(member, {}))
    is_nullable = {"type": "null"} in found.get("anyOf", ())
    if is_nullable:
        found = next(choice for choice in found["anyOf"] if choice != {"type": "null"})
    says_all = not known.keys().isdisjoint({"$ref", "enum", "const"})
    found = known if says_all else {**found, **known}
    # Members of answers are left out rather than null; a signature says so itself.
    if is_required or not is_nullable or name in {"Event", "EventTypeEntry"}:
        return found
    return {"anyOf": [found, {"type": "null"}], "description": "Null is the same as nothing."}


def _without(schema: Json, members: set[str]) -> Json:
    return {
        **schema,
        "properties": {
            name: found for name, found in schema["properties"].items() if name not in members
        },
        "required": [name for name in schema["required"] if name not in members],
    }


def _item(kind: str, member: str, content: Json) -> Json:
    return {
        "type": "object",
        "properties": {"type": {"type": "string", "const": kind}, member: content},
        "required": ["type", member],
    }


def _example_event() -> Json:
    candidate = {**_CANDIDATE, "data": msgspec.json.encode(_CANDIDATE["data"]).decode()}
    accepted = accept_event(
        EventCandidate(**candidate),
        position=0,
        time="2026-11-23T12:00:00.123456789Z",
        predecessor_hash=GENESIS_HASH,
        hash_version=HashVersion.V1,
    )
    event: Json = msgspec.json.decode(accepted.json)
    return event
