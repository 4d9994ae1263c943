"""The audit: everything in a data directory is read and compared, and nothing is changed.

It yields every finding, not only the first, and at last what it has read. Where no server has the
directory open, all of it is audited, and no server can open it meanwhile. Beside a server it is
audited up to a head, which is durable and never changes; what lies behind is not looked at.
What is left to others: printing findings, and what to do about them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from everlog.domain.errors import (
    DataDirectoryError,
    DirectoryLockedError,
    UnknownFormatError,
)
from everlog.maintenance.audit_checkpoint import CheckpointAudit, KeptCheckpoint
from everlog.maintenance.audit_index import INDEX_FOLDER, IndexAudit, MemoryIndex
from everlog.maintenance.audit_log import DURABLE_FILE, DurableBound, LogAudit, parse_bound
from everlog.maintenance.audit_schemas import SCHEMAS_FILE, SchemasAudit, audit_schemas
from everlog.maintenance.copies import find_copied
from everlog.maintenance.files import (
    Folder,
    names_in,
    opened_directory,
    opened_folder,
    read_whole,
    servers_locked_out,
)
from everlog.maintenance.findings import Finding, Kind, Summary, Weight
from everlog.maintenance.segments import LOG_FOLDER, Extent, Segment, find_segments

_FORMAT_FILE: Final = "everlog.json"
_FORMAT: Final = b'{"format":"everlog-data","version":1}\n'
_VERSION: Final = 1

# What a restore has made, until it is put into its place.
_RESTORED_FOLDER: Final = "restored"


class _Format(msgspec.Struct, frozen=True):
    format: str
    version: int


class Progress(msgspec.Struct):
    """How far an audit has come, in bytes of the log; kept up to date while it runs."""

    done: int = 0
    total: int = 0


def audit(
    directory: Path,
    *,
    on_progress: Callable[[Progress], None],
    checkpoints: Sequence[KeptCheckpoint] = (),
) -> Iterator[Finding | Summary]:
    """Yield everything that is not as it was written, or as checkpoints say, and a summary.

    Where a server has the directory open, that is all that was durable when the audit began.

    Raises:
        DirectoryLockedError: A server has opened it meanwhile.
        UnknownFormatError: It is no data directory, or of another version.
        DataDirectoryError: It cannot be read.
    """
    with opened_directory(directory) as opened, ExitStack() as held:
        find_head: Callable[[], Head] | None = None
        try:
            held.enter_context(servers_locked_out(opened))
        except DirectoryLockedError:
            find_head = partial(_durable_head, opened)
        auditing = _audit(opened, find_head, on_progress, checkpoints)
        yield from _count(chain(check_format(opened), auditing))


def audit_up_to(
    directory: Folder,
    find_head: Callable[[], "Head"],
    *,
    on_progress: Callable[[Progress], None],
) -> Iterator[Finding | Summary]:
    """Yield the same of a directory that a server has open, up to a head.

    The head is asked for when the files that are exchanged meanwhile have been opened, so that it
    is not older than they are. Raises what `audit` does, and what finding the head does.
    """
    auditing = _audit(directory, find_head, on_progress, ())
    yield from _count(chain(_check_format_of_server(directory), auditing))


def _count(found: Iterator[Finding | Summary]) -> Iterator[Finding | Summary]:
    """Let the summary at the end say how many findings there are."""
    counts = dict.fromkeys(Weight, 0)
    for each in found:
        if isinstance(each, Finding):
            counts[each.weight] += 1
            yield each
            continue
        notice_count = counts.pop(Weight.NOTICE)
        yield msgspec.structs.replace(
            each, finding_count=sum(counts.values()), notice_count=notice_count
        )


def _audit(
    directory: Folder,
    find_head: Callable[[], "Head"] | None,
    on_progress: Callable[[Progress], None],
    checkpoints: Sequence[KeptCheckpoint],
) -> Iterator[Finding | Summary]:
    kept = CheckpointAudit(checkpoints)
    with ExitStack() as resources:
        yield from _audit_files(directory, find_head, on_progress, kept, resources)


def _audit_files(
    directory: Folder,
    find_head: Callable[[], "Head"] | None,
    on_progress: Callable[[Progress], None],
    kept: CheckpointAudit,
    resources: ExitStack,
) -> Iterator[Finding | Summary]:
    _check_is_in_place(directory)
    index = IndexAudit(resources)
    index_findings = list(index.load(_folder_in(directory, INDEX_FOLDER, resources)))
    head = None if find_head is None else find_head()
    content = _read(directory, SCHEMAS_FILE)
    log_folder, extent = _folder_in(directory, LOG_FOLDER, resources), None
    if head is None:
        bound, bound_findings = _read_bound(directory)
        saved = None if index_findings else index.at_least(DurableBound())
        copied = find_copied(directory, log_folder, content, bound, saved)
        if copied is not None:
            bound, extent, bound_findings = copied.bound, copied.extent, [*copied.notices]
            if not copied.is_index_used:
                index, index_findings = IndexAudit(resources), []
    else:
        bound, bound_findings = index.at_least(head.bound), [*head.findings]
        if head.memory is not None:
            index.look_at_memory(head.memory, bound.event_count)
            # A server that has not run for long has saved nothing yet.
            index_findings = [
                each for each in index_findings if each.kind is not Kind.NO_CHECKPOINT
            ]
    yield from bound_findings
    proven = index.at_least(bound)
    if head is not None:
        extent = Extent(bound.event_count, bound.log_size)
        content = content[: bound.schemas_size]
    schemas = audit_schemas(content, durable_size=proven.schemas_size)
    yield from schemas.findings
    yield from index_findings
    segments, strangers = list[Segment](), list[Finding]()
    if log_folder is not None:
        segments, strangers = find_segments(log_folder, extent)
    yield from strangers
    log = LogAudit(segments, bound, counting(segments, on_progress), proven=proven)
    yield from _walk(log, index, schemas, kept)
    if log.is_intact:
        yield from index.finish(log.event_count)
        if head is not None:
            yield from compare_with_head(log, head)
    yield from kept.finish(log.event_count, is_intact=log.is_intact)
    yield _summarize(log, segments, schemas, kept)


def _summarize(
    log: LogAudit, segments: Sequence[Segment], schemas: SchemasAudit, kept: CheckpointAudit
) -> Summary:
    return Summary(
        event_count=log.event_count,
        head_hash=log.head_hash,
        log_size=log.log_size,
        segment_count=len(segments),
        schema_count=schemas.schema_count,
        # Those who yield them count them.
        finding_count=0,
        notice_count=0,
        confirmed_checkpoints=(*kept.confirmed,),
    )


def _walk(
    log: LogAudit, index: IndexAudit, schemas: SchemasAudit, kept: CheckpointAudit
) -> Iterator[Finding]:
    """Read the log, and compare everything else with its events."""
    for found in log.walk():
        if isinstance(found, Finding):
            yield found
        else:
            kept.add(found)
            yield from index.compare(found)
            yield from schemas.judge(found)


class Head(NamedTuple):
    """Up to where a directory is audited that a server writes to: what lies behind may not stay."""

    bound: DurableBound
    # Of the last event; None where nobody says it.
    hash: str | None = None
    # The index in the memory of the server; None where it is not handed over.
    memory: MemoryIndex | None = None
    # What was noticed when it was found.
    findings: tuple[Finding, ...] = ()


def head_of_server(
    directory: Folder, bound: DurableBound, hash_: str, memory: MemoryIndex | None
) -> Head:
    """Return the head that a server has told, compared with what its directory says of it."""
    noted, findings = _read_bound_beside_server(directory)
    if not findings and noted.event_count < bound.event_count:
        meaning = (
            f"it says that {noted.event_count} events are durable, but the server has "
            f"{bound.event_count}, so that a loss of the log's end would not be noticed"
        )
        findings = [_bound_finding(Kind.UNCONFIRMED, meaning)]
    return Head(bound, hash_, memory, tuple(findings))


def compare_with_head(log: LogAudit, head: Head) -> Iterator[Finding]:
    """Yield a finding if a flawless log does not end with the event that it should."""
    if head.hash is None or head.hash == log.head_hash:
        return
    meaning = (
        f"it is as it should be, but not what was acknowledged: the server has the hash {head.hash}"
    )
    event_id = log.event_count - 1
    yield Finding(kind=Kind.HEAD, event_id=event_id, file=LOG_FOLDER, offset=None, meaning=meaning)


def counting(
    segments: Sequence[Segment], on_progress: Callable[[Progress], None]
) -> Callable[[int], None]:
    """Return whom to tell of every byte that is read."""
    progress = Progress(total=sum(segment.used_size for segment in segments))

    def count(size: int) -> None:
        progress.done += size
        on_progress(progress)

    return count


def _durable_head(directory: Folder) -> Head:
    """Return all that is durable at the moment."""
    bound, findings = _read_bound_beside_server(directory)
    meaning = (
        "a server has the directory open: what it had not stored for good when the audit began, "
        "which are the events from this one on, is not looked at"
    )
    notice = Finding(
        kind=Kind.SERVED,
        event_id=bound.event_count,
        file=DURABLE_FILE,
        offset=None,
        meaning=meaning,
    )
    return Head(bound, findings=(notice, *findings))


def check_format(directory: Folder) -> Iterator[Finding]:
    """Yield what is wrong with the file that says which format a directory has.

    Raises:
        UnknownFormatError: It is no data directory, or of another version.
        DataDirectoryError: The file cannot be read.
    """
    try:
        content = read_whole(directory, _FORMAT_FILE)
    except FileNotFoundError as error:
        message = f"{directory.path} is not a data directory of Everlog: it has no {_FORMAT_FILE}"
        raise UnknownFormatError(message) from error
    if content == _FORMAT:
        return
    meaning = "the file is damaged: the server does not start with it"
    try:
        found = msgspec.json.decode(content, type=_Format)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        meaning = f"{meaning} ({error})"
    else:
        if found.version != _VERSION:
            message = (
                f"{directory.path} has the data format {found.version}: "
                "use the version that wrote it"
            )
            raise UnknownFormatError(message)
    yield Finding(kind=Kind.FORMAT, event_id=None, file=_FORMAT_FILE, offset=None, meaning=meaning)


def _check_is_in_place(directory: Folder) -> None:
    if _RESTORED_FOLDER in names_in(directory):
        message = (
            f"{directory.path} holds a store that was restored and is not in its place yet: start "
            "a server on it once, which puts it there, and audit it then"
        )
        raise DataDirectoryError(message)


def _check_format_of_server(directory: Folder) -> Iterator[Finding]:
    """Yield the same of a directory that a server could open: what is not so has happened since."""
    try:
        yield from check_format(directory)
    except UnknownFormatError:
        meaning = "it is missing, or that of another version: the server does not start so"
        yield Finding(
            kind=Kind.FORMAT, event_id=None, file=_FORMAT_FILE, offset=None, meaning=meaning
        )


def _read_bound_beside_server(directory: Folder) -> tuple[DurableBound, list[Finding]]:
    """Return the durable bound where a server may be writing it; what stays wrong is wrong."""
    before: bytes | None = None
    while True:
        content = _read(directory, DURABLE_FILE)
        if content == before or parse_bound(content) is not None:
            return _judge_bound(content)
        before = content


def _read_bound(directory: Folder) -> tuple[DurableBound, list[Finding]]:
    return _judge_bound(_read(directory, DURABLE_FILE))


def _judge_bound(content: bytes) -> tuple[DurableBound, list[Finding]]:
    bound = parse_bound(content)
    if bound is not None:
        return bound, []
    if any(content):
        meaning = "its checksum is wrong, so that a loss of the log's end would not be noticed"
        return DurableBound(), [_bound_finding(Kind.DURABLE_BOUND, meaning)]
    # What it is between the first opening and the first write, too.
    meaning = "there is none, so that a loss of the log's end would not be noticed"
    return DurableBound(), [_bound_finding(Kind.UNCONFIRMED, meaning)]


def _bound_finding(kind: Kind, meaning: str) -> Finding:
    return Finding(kind=kind, event_id=None, file=DURABLE_FILE, offset=0, meaning=meaning)


def _folder_in(directory: Folder, name: str, resources: ExitStack) -> Folder | None:
    try:
        return resources.enter_context(opened_folder(directory, name))
    except FileNotFoundError:
        return None


def _read(directory: Folder, name: str) -> bytes:
    """Return the content of a file that may be missing, as an empty one."""
    try:
        return read_whole(directory, name)
    except FileNotFoundError:
        return b""
