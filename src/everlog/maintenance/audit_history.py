"""The audit of the history: whether the chain of events is whole, from the first one to a head.

Whoever keeps the id and the hash of the last event after each audit knows at the next one that
nothing before it was exchanged, not even with hashes that fit each other. It reads the same lines
as an audit, by the same rules, but neither the index nor event schemas, and ends with the first
thing that is wrong.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import NamedTuple

from everlog.maintenance.audit import Head, Progress, compare_with_head, counting
from everlog.maintenance.audit_log import LogAudit
from everlog.maintenance.files import Folder, opened_folder
from everlog.maintenance.findings import Finding
from everlog.maintenance.segments import LOG_FOLDER, Extent, Segment, find_segments


class AuditedEvent(NamedTuple):
    """An event up to which the chain was found to be whole."""

    event_id: int
    hash: str


class OtherHash(NamedTuple):
    """What the last audited event has now in the place of the hash that it had."""

    event_id: int
    hash: str


def audit_history(
    directory: Folder,
    head: Head,
    last_audited: AuditedEvent | None,
    *,
    on_progress: Callable[[Progress], None],
) -> AuditedEvent | OtherHash | Finding | None:
    """Verify all events up to a head; return the last one, or the first thing that is wrong.

    The last audited event lies before the head. None where there is no event.

    Raises:
        DataDirectoryError: It cannot be read.
    """
    bound = head.bound
    if bound.event_count == 0:
        return None
    with ExitStack() as resources:
        segments: list[Segment] = []
        # Where the folder is missing, the log ends before its first event.
        with suppress(FileNotFoundError):
            folder = resources.enter_context(opened_folder(directory, LOG_FOLDER))
            segments, _ = find_segments(folder, Extent(bound.event_count, bound.log_size))
        log = LogAudit(segments, bound, counting(segments, on_progress))
        for found in log.walk():
            if isinstance(found, Finding):
                return found
            if last_audited is None:
                continue
            index = last_audited.event_id - found.first_position
            if 0 <= index < len(found.events) and found.events[index].hash != last_audited.hash:
                return OtherHash(last_audited.event_id, found.events[index].hash)
    assert log.event_count == bound.event_count
    return next(compare_with_head(log, head), None) or AuditedEvent(
        log.event_count - 1, log.head_hash
    )
