"""The audit: everything in a data directory is read and compared, and nothing is changed.

It yields every finding, not only the first, and at last what it has read. The directory must not
be open in a server, and no server can open it meanwhile.
What is left to others: printing findings, and what to do about them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from everlog.domain.errors import UnknownFormatError
from everlog.maintenance.audit_checkpoint import CheckpointAudit, KeptCheckpoint
from everlog.maintenance.audit_index import INDEX_FOLDER, IndexAudit
from everlog.maintenance.audit_log import DURABLE_FILE, DurableBound, LogAudit, parse_bound
from everlog.maintenance.audit_schemas import SCHEMAS_FILE, audit_schemas
from everlog.maintenance.files import (
    Folder,
    opened_directory,
    opened_folder,
    read_whole,
    servers_locked_out,
)
from everlog.maintenance.findings import Finding, Kind, Summary, Weight
from everlog.maintenance.segments import LOG_FOLDER, find_segments

_FORMAT_FILE: Final = "everlog.json"
_FORMAT: Final = b'{"format":"everlog-data","version":1}\n'
_VERSION: Final = 1


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

    Raises:
        DirectoryLockedError: A server has the directory open.
        UnknownFormatError: It is no data directory, or of another version.
        DataDirectoryError: It cannot be read.
    """
    with opened_directory(directory) as opened, servers_locked_out(opened):
        counts = dict.fromkeys(Weight, 0)
        for found in _audit(opened, on_progress, CheckpointAudit(checkpoints)):
            if isinstance(found, Finding):
                counts[found.weight] += 1
                yield found
                continue
            notice_count = counts.pop(Weight.NOTICE)
            yield msgspec.structs.replace(
                found, finding_count=sum(counts.values()), notice_count=notice_count
            )


def _audit(
    directory: Folder, on_progress: Callable[[Progress], None], kept: CheckpointAudit
) -> Iterator[Finding | Summary]:
    with ExitStack() as resources:
        yield from _audit_files(directory, on_progress, kept, resources)


def _audit_files(
    directory: Folder,
    on_progress: Callable[[Progress], None],
    kept: CheckpointAudit,
    resources: ExitStack,
) -> Iterator[Finding | Summary]:
    yield from check_format(directory)
    bound, bound_findings = _read_bound(directory)
    yield from bound_findings
    index = IndexAudit()
    index_findings = list(index.load(_folder_in(directory, INDEX_FOLDER, resources)))
    proven = index.at_least(bound)
    schemas = audit_schemas(_read(directory, SCHEMAS_FILE), durable_size=proven.schemas_size)
    yield from schemas.findings
    yield from index_findings
    log_folder = _folder_in(directory, LOG_FOLDER, resources)
    segments, strangers = ([], []) if log_folder is None else find_segments(log_folder)
    yield from strangers
    progress = Progress(total=sum(segment.used_size for segment in segments))

    def count(size: int) -> None:
        progress.done += size
        on_progress(progress)

    log = LogAudit(segments, bound, count, proven=proven)
    for found in log.walk():
        if isinstance(found, Finding):
            yield found
        else:
            kept.add(found)
            yield from index.compare(found)
    if log.is_intact:
        yield from index.finish(log.event_count)
    yield from kept.finish(log.event_count, is_intact=log.is_intact)
    yield Summary(
        event_count=log.event_count,
        head_hash=log.head_hash,
        log_size=log.log_size,
        segment_count=len(segments),
        schema_count=schemas.schema_count,
        finding_count=0,
        notice_count=0,
        confirmed_checkpoints=(*kept.confirmed,),
    )


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


def _read_bound(directory: Folder) -> tuple[DurableBound, list[Finding]]:
    content = _read(directory, DURABLE_FILE)
    bound = parse_bound(content)
    if bound is not None:
        return bound, []
    if any(content):
        meaning = "its checksum is wrong, so that a loss of the log's end would not be noticed"
        kind = Kind.DURABLE_BOUND
    else:
        # What it is between the first opening and the first write, too.
        meaning = "there is none, so that a loss of the log's end would not be noticed"
        kind = Kind.UNCONFIRMED
    finding = Finding(kind=kind, event_id=None, file=DURABLE_FILE, offset=0, meaning=meaning)
    return DurableBound(), [finding]


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
