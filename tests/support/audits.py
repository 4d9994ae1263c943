"""Audits in tests: their findings and their summary, told apart."""

from pathlib import Path

from everlog.maintenance.audit import audit
from everlog.maintenance.findings import Finding, Summary, Weight


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
