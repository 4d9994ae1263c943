"""The audit of the event schemas: one line for each, with a hash of its own; and of their events.

An event has to match the schema of its type, whichever of them came first: registering one judges
all that is stored.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache
from hashlib import sha256
from typing import Final, NoReturn

import jsonschema_rs
import msgspec

from everlog.maintenance.audit_log import Block
from everlog.maintenance.findings import Finding, Kind

SCHEMAS_FILE: Final = "schemas.ndjson"


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    event_type: str
    schema: msgspec.Raw


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    payload: msgspec.Raw
    hash: str


# Of schemas that are compiled, as many as are used by turns.
_COMPILED_MAX: Final = 256

# What the engine compiles patterns within, so that one that it took is taken here, too.
_PATTERN_SIZE_MAX: Final = 256 * 1024

_decode_data: Final = msgspec.json.Decoder(dict[str, object], float_hook=float).decode


class SchemasAudit:
    """The event schemas of one directory, and what is wrong with their file."""

    def __init__(self, schemas: dict[str, bytes], findings: list[Finding]) -> None:
        """Take the JSON texts of all schemas that are as they were written, by event type."""
        self._schemas: Final = schemas
        self.findings: Final = findings
        self._compiled: Final = lru_cache(_COMPILED_MAX)(self._compile)

    @property
    def schema_count(self) -> int:
        """How many schemas there are."""
        return len(self._schemas)

    def judge(self, block: Block) -> Iterator[Finding]:
        """Yield each event that does not match the schema of its type."""
        schemas = self._schemas
        if not schemas:
            return
        for index, event in enumerate(block.events):
            if event.type not in schemas:
                continue
            validator = self._compiled(event.type)
            if validator is not None and not _matches(validator, event.data):
                yield Finding(
                    kind=Kind.SCHEMA_VIOLATED,
                    event_id=block.first_position + index,
                    file=block.segment.name,
                    offset=block.offsets[index] - block.segment.offset,
                    meaning=f"it does not match the event schema of {event.type!r}",
                )

    def _compile(self, event_type: str) -> jsonschema_rs.Validator | None:
        """Return what judges the events of a type, None where the schema cannot be compiled."""
        schema = msgspec.json.decode(self._schemas[event_type])
        try:
            return jsonschema_rs.validator_for(
                schema,
                validate_formats=False,
                retriever=_refuse_to_fetch,
                pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_SIZE_MAX),
            )
        except BaseException as error:
            if not _is_of_library(error):
                raise
            # Registered by an older version of the library: then nothing is judged by it.
            return None


def audit_schemas(content: bytes, *, durable_size: int) -> SchemasAudit:
    """Check every line of the file; what is behind the durable size may be torn."""
    findings: list[Finding] = []
    schemas: dict[str, bytes] = {}
    offset = 0
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        try:
            name, schema = read_schema_line(line, schemas.keys())
        except ValueError as error:
            if offset >= durable_size:
                findings.append(_tear(offset, len(content) - offset, str(error)))
                break
            meaning = f"the event schema in line {number} is not as it was written: {error}"
            findings.append(_finding(Kind.SCHEMA, offset, meaning))
        else:
            schemas[name] = schema
        offset += len(line)
    if len(content) < durable_size:
        meaning = f"the file has {len(content)} bytes, but {durable_size} were on the disk"
        findings.append(_finding(Kind.SCHEMAS_TOO_SHORT, len(content), meaning))
    return SchemasAudit(schemas, findings)


def read_schema_line(line: bytes, names: AbstractSet[str]) -> tuple[str, bytes]:
    """Return a line's event type, which none before it may have, and the JSON text of its schema.

    Raises:
        ValueError: It is not as it was written.
    """
    try:
        found = msgspec.json.decode(line, type=_Line)
        payload = msgspec.json.decode(found.payload, type=_Payload)
        msgspec.json.decode(payload.schema, type=dict[str, msgspec.Raw])
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
    return payload.event_type, bytes(payload.schema)


def _matches(validator: jsonschema_rs.Validator, data: msgspec.Raw) -> bool:
    try:
        return validator.is_valid(_decode_data(data))
    except BaseException as error:
        if not _is_of_library(error):
            raise
        return False


def _refuse_to_fetch(_uri: str, /) -> NoReturn:
    raise LookupError("references to other documents are not fetched")


def _is_of_library(error: BaseException) -> bool:
    """Tell whether it is that of a validator, which panics outside of `Exception`."""
    return isinstance(error, ValueError) or type(error).__name__ == "PanicException"


def _tear(offset: int, size: int, reason: str) -> Finding:
    meaning = (
        f"the last {size} bytes are an unfinished registration: {reason}; nobody was told that it "
        "succeeded, and the next opening removes it"
    )
    return _finding(Kind.TORN_TAIL, offset, meaning)


def _finding(kind: Kind, offset: int, meaning: str) -> Finding:
    return Finding(kind=kind, event_id=None, file=SCHEMAS_FILE, offset=offset, meaning=meaning)
