"""The audit of the event schemas: one line for each, with a hash of its own."""

from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from everlog.maintenance.findings import Finding, Kind

SCHEMAS_FILE: Final = "schemas.ndjson"


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    event_type: str
    schema: dict[str, object]


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    payload: msgspec.Raw
    hash: str


class SchemasAudit(NamedTuple):
    """How many schemas there are, and what is wrong with the file."""

    schema_count: int
    findings: list[Finding]


def audit_schemas(content: bytes, *, durable_size: int) -> SchemasAudit:
    """Check every line of the file; what is behind the durable size may be torn."""
    findings: list[Finding] = []
    names: set[str] = set()
    offset = 0
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        try:
            name = read_schema_line(line, names)
        except ValueError as error:
            if offset >= durable_size:
                findings.append(_tear(offset, len(content) - offset, str(error)))
                break
            meaning = f"the event schema in line {number} is not as it was written: {error}"
            findings.append(_finding(Kind.SCHEMA, offset, meaning))
        else:
            names.add(name)
        offset += len(line)
    if len(content) < durable_size:
        meaning = f"the file has {len(content)} bytes, but {durable_size} were on the disk"
        findings.append(_finding(Kind.SCHEMAS_TOO_SHORT, len(content), meaning))
    return SchemasAudit(len(names), findings)


def read_schema_line(line: bytes, names: AbstractSet[str]) -> str:
    """Return the event type of a line, which none of the lines before it may have.

    Raises:
        ValueError: It is not as it was written.
    """
    try:
        found = msgspec.json.decode(line, type=_Line)
        payload = msgspec.json.decode(found.payload, type=_Payload)
        line.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if sha256(found.payload).hexdigest() != found.hash:
        message = "its hash is not that of its content"
        raise ValueError(message)
    if line != b'{"type":"schema","payload":%b,"hash":"%b"}\n' % (
        found.payload,
        found.hash.encode(),
    ):
        message = "it says something besides its schema, or says it in another form"
        raise ValueError(message)
    if payload.event_type in names:
        message = f"{payload.event_type!r} has a schema already"
        raise ValueError(message)
    return payload.event_type


def _tear(offset: int, size: int, reason: str) -> Finding:
    meaning = (
        f"the last {size} bytes are an unfinished registration: {reason}; nobody was told that it "
        "succeeded, and the next opening removes it"
    )
    return _finding(Kind.TORN_TAIL, offset, meaning)


def _finding(kind: Kind, offset: int, meaning: str) -> Finding:
    return Finding(kind=kind, event_id=None, file=SCHEMAS_FILE, offset=offset, meaning=meaning)
