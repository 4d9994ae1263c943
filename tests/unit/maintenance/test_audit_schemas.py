"""The audit of the event schemas: every changed byte is told with its line."""

from pathlib import Path

from everlog.maintenance.findings import Kind
from tests.support.audits import audit_of, check_kinds


def test_damaged_schemas_are_told_with_their_line(directory: Path) -> None:
    path = directory / "schemas.ndjson"
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    for offset, byte in enumerate(content):
        flipped = byte ^ (1, 32, 128)[offset % 3]
        path.write_bytes(content[:offset] + bytes((flipped,)) + content[offset + 1 :])
        findings, _ = audit_of(directory)
        assert findings[0].kind is Kind.SCHEMA
        assert findings[0].offset in (
            {0, start} if offset == start - 1 else {start * (offset >= start)}
        )
        assert findings[0].file == "schemas.ndjson"
    path.write_bytes(content[:-1])
    check_kinds(directory, Kind.SCHEMA, Kind.SCHEMAS_TOO_SHORT)
    path.write_bytes(content + content[:start])
    findings, summary = audit_of(directory)
    assert [found.kind for found in findings] == [Kind.TORN_TAIL]
    assert summary.schema_count == 2
