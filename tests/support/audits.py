"""Audits in tests: directories, their findings and their summary, and damage to find."""

import re
from collections.abc import Callable
from pathlib import Path

from everlog.domain.chain import HashVersion
from everlog.maintenance.audit import audit
from everlog.maintenance.findings import Finding, Kind, Summary, Weight
from tests.support.engines import kill, open_log, split_lines
from tests.support.events import (
    TRACEPARENT,
    a_candidate,
    a_schema,
    seal,
    stage,
    store,
    store_staged,
)

FIRST = f"log/{0:020}.ndjson"

# Enough for two segments, of which the first one has eight at least.
EVENT_COUNT = 12

SEGMENT_SIZE = 4_096


def fill_directory(directory: Path) -> None:
    """Make a data directory with everything that there is, after a clean stop."""
    engine = open_log(directory, segment_size_max=SEGMENT_SIZE)
    stage(engine, a_candidate("/a", traceparent=TRACEPARENT), a_candidate("/a/b"))
    stage(engine, a_candidate("/a", traceparent=TRACEPARENT, tracestate='a="\\"'))
    engine.stage_schema(a_schema("io.everlog.one"))
    store_staged(engine)
    store(engine, a_candidate("/c", data='{"t":"\u00e9 }}  \\n"}'), hash_version=HashVersion.V1)
    while engine.head.event_count < EVENT_COUNT:
        store(engine, a_candidate(f"/d/{engine.head.event_count}", "io.everlog.other"))
    engine.stage_schema(a_schema("io.everlog.two"))
    store_staged(engine)
    engine.close()
    assert len(list((directory / "log").iterdir())) == 2


def kill_while_writing(directory: Path) -> None:
    """Leave a directory as the death of its process does, with the bound of one batch ago."""
    engine = open_log(directory)
    bound = (directory / "durable").read_bytes()
    stage(engine, a_candidate("/e"), a_candidate("/f"))
    stage(engine, a_candidate("/g"))
    engine.commit(seal(engine))
    kill(engine)
    (directory / "durable").write_bytes(bound)


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
