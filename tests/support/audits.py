"""Audits in tests: their findings and their summary, and damage to find."""

import re
from collections.abc import Callable
from pathlib import Path

from everlog.maintenance.audit import audit
from everlog.maintenance.findings import Finding, Kind, Summary, Weight
from tests.support.engines import split_lines

FIRST = f"log/{0:020}.ndjson"

# Enough for two segments, of which the first one has eight at least.
EVENT_COUNT = 12

SEGMENT_SIZE = 4_096


def audit_of(directory: Path) -> tuple[list[Finding], Summary]:
    found = list(audit(directory, on_progress=lambda _: None))
    findings = [finding for finding in found if isinstance(finding, Finding)]
    summary = found[-1]
    assert isinstance(summary, Summary)
    flaws = [finding for finding in findings if finding.weight is not Weight.NOTICE]
    assert summary.finding_count == len(flaws)
    assert summary.notice_count == len(findings) - len(flaws)
    return findings, summary


def check_audit_is_clean(directory: Path) -> Summary:
    """Check that everything is as it was written, down to the notices."""
    findings, summary = audit_of(directory)
    assert findings == []
    return summary


def file_of(directory: Path, position: int) -> Path:
    """Return the segment that holds an event."""
    paths = sorted((directory / "log").iterdir())
    return next(path for path in reversed(paths) if int(path.stem) <= position)


def edit_line(directory: Path, position: int, edit: Callable[[bytes], bytes]) -> int:
    """Change the line of an event, and return where it begins in its file."""
    path = file_of(directory, position)
    lines = split_lines(path.read_bytes())
    index = position - int(path.stem)
    offset = sum(map(len, lines[:index]))
    lines[index] = edit(lines[index])
    path.write_bytes(b"".join(lines))
    return offset


def check_finding(
    directory: Path,
    kind: Kind,
    *,
    event_id: int | None,
    file: str,
    offset: int | None,
    meaning: str,
) -> None:
    """Check that an audit tells exactly one thing."""
    findings, summary = audit_of(directory)
    assert [(found.kind, found.event_id, found.file, found.offset) for found in findings] == [
        (kind, event_id, file, offset)
    ], findings
    assert re.search(meaning, findings[0].meaning), findings[0].meaning
    assert summary.is_ok == (findings[0].weight is Weight.NOTICE)


def check_kinds(directory: Path, *kinds: Kind) -> list[Finding]:
    findings, _ = audit_of(directory)
    assert [found.kind for found in findings] == list(kinds), findings
    return findings
