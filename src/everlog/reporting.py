"""What the log of a server says of what happens to its store, and of what clients do to it.

What a client sent is never said, nor what an event or a backup holds.
"""

import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from everlog.domain.errors import EverlogError, ReadFailedError, RefusedError
from everlog.http import Crowding, ServerEvents
from everlog.service.auditing import AuditFailedError, AuditReport
from everlog.service.mirroring.following import FollowingEvents
from everlog.service.mirroring.options import MirrorEvents
from everlog.service.proving.checkpoints import ProvingEvents, describe
from everlog.service.proving.witnesses import Witness, WitnessState
from everlog.service.querying.processes import (
    QueryProcessDiedError,
    QueryProcessGarbledError,
    QueryProcessLostError,
    QueryProcessUnstartableError,
)
from everlog.service.restore import RestoreEvents
from everlog.service.store import StoreEvents
from everlog.service.writing.states import Condition
from everlog.storage.log import OpeningReport
from everlog.telemetry import Log, Seldom


def store_events(
    log: Log, directory: Path, *, on_closing: Callable[[str], None] = lambda _: None
) -> StoreEvents:
    """Return what the log says of what happens to the store."""

    def snapshot_failed(error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        log.warning("a snapshot of the index failed", reason=reason)

    def snapshot_saved(event_count: int) -> None:
        log.debug("a snapshot of the index was saved", eventCount=event_count)

    def snapshots_recovered(event_count: int) -> None:
        log.info("snapshots of the index can be saved again", eventCount=event_count)

    def sync_process_lost(error: OSError | None) -> None:
        if error is None:
            message = "the process that syncs the log ended: writing goes on, slower, without it"
            log.warning(message)
        else:
            message = "the process that syncs the log cannot be started"
            log.warning(message, reason=error.strerror)

    return StoreEvents(
        opened=partial(_tell_of_opening, log, directory),
        read_failed=_telling_read_failures(log),
        query_process_lost=_telling_lost_processes(log),
        condition_changed=_telling_conditions(log),
        audit_ended=_telling_audits(log),
        audit_failed=_telling_failed_audits(log),
        snapshot_saved=snapshot_saved,
        snapshot_failed=snapshot_failed,
        snapshots_recovered=snapshots_recovered,
        sync_process_lost=sync_process_lost,
        proving=_proving_events(log),
        commit_hangs=partial(_warn_of_hanging, log),
        commit_resumed=partial(_tell_of_resuming, log),
        closing=on_closing,
        bug=log.bug,
    )


def _telling_conditions(log: Log) -> Callable[[Condition, Exception | None], None]:
    before = Condition.WRITABLE

    def tell(condition: Condition, error: Exception | None) -> None:
        nonlocal before
        # What comes of a restore, and of a journal, is said elsewhere.
        if before is Condition.DISK_FULL or condition is not Condition.WRITABLE:
            _tell_of_condition(log, condition, error)
        before = condition

    return tell


def _tell_of_opening(log: Log, directory: Path, report: OpeningReport, seconds: float) -> None:
    if directory.stat().st_mode & stat.S_IWOTH:
        log.warning("every user of this machine may write to the data directory: close it")
    if not report.is_writable:
        log.warning("the data directory cannot be written to: it is served as it is")
    if report.rebuild_reason is not None and report.event_count > 0:
        log.warning("the index was rebuilt from the log", reason=report.rebuild_reason)
    if report.is_copy:
        message = "the data directory is a copy: it was opened with the events that it has"
        count, noted = report.event_count, report.noted_event_count
        log.warning(message, eventCount=count, removedSize=report.torn_size, notedEventCount=noted)
    elif report.torn_size > 0:
        message = "an unfinished write at the end of the log was removed; it was never acknowledged"
        log.warning(message, size=report.torn_size)
    log.info(
        "the data directory is open",
        directory=str(directory),
        eventCount=report.event_count,
        replayedEventCount=report.replayed_event_count,
        tornSize=report.torn_size,
        seconds=round(seconds, 3),
    )


def _tell_of_condition(log: Log, condition: Condition, error: Exception | None) -> None:
    if error is not None and not isinstance(error.__cause__, OSError | EverlogError | None):
        assert isinstance(error.__cause__, Exception)
        log.bug(error.__cause__)
    if condition in _CONDITION_LINES:
        level, message = _CONDITION_LINES[condition]
        level(log, message, **({} if error is None else {"reason": str(error)}))


# Said once for each change: a log that grows with each refusal may lie on the same disk.
_CONDITION_LINES: Final[Mapping[Condition, tuple[Callable[..., None], str]]] = {
    Condition.WRITABLE: (Log.info, "there is room on the disk again: writes are accepted"),
    Condition.DISK_FULL: (Log.error, "the disk is full: writes are refused until there is room"),
    Condition.READ_ONLY: (
        Log.warning,
        "the store is read-only: writes are refused until a restart",
    ),
    Condition.FAILED: (
        Log.fatal,
        "the store has failed: no write is accepted until a restart",
    ),
}


def _proving_events(log: Log) -> ProvingEvents:
    """Return whom proving tells what happens, which is the log."""

    def made(size: int) -> None:
        log.debug("a checkpoint of the tree was made", size=size)

    def failed(error: Exception) -> None:
        message = "the tree cannot grow, or its checkpoint not be made: that is tried again"
        log.warning(message, reason=describe(error))

    def recovered(size: int) -> None:
        log.info("the tree grows again", size=size)

    def replaced() -> None:
        message = "the last checkpoint is not of this key and origin: it is signed anew"
        log.warning(message)

    def contradicted(reason: str) -> None:
        log.error("the log contradicts its last checkpoint: nothing is signed", reason=reason)

    def witness_changed(witness: Witness) -> None:
        level, message = _WITNESS_LINES[witness.state]
        reason = {"reason": witness.reason} if witness.reason else {}
        level(log, message, witness=witness.name, **reason)

    return ProvingEvents(
        made=made,
        failed=failed,
        recovered=recovered,
        replaced=replaced,
        contradicted=contradicted,
        witness_changed=witness_changed,
        bug=log.bug,
    )


_WITNESS_LINES: Final[Mapping[WitnessState, tuple[Callable[..., None], str]]] = {
    WitnessState.COSIGNING: (Log.info, "a witness cosigns"),
    WitnessState.FAILING: (Log.warning, "a witness does not cosign: it is asked again"),
    WitnessState.CONTRADICTING: (
        Log.error,
        "a witness saw another history of this log: it is not asked any more",
    ),
}


def _warn_of_hanging(log: Log, seconds: float) -> None:
    """Say that writes wait for the disk, and for how long."""
    message = "a commit has been waiting for the disk for long: writes are refused meanwhile"
    log.warning(message, seconds=round(seconds, 3))


def _tell_of_resuming(log: Log, seconds: float) -> None:
    """Say that they do not any more."""
    message = "the commit that waited for the disk has ended: writes are accepted"
    log.info(message, seconds=round(seconds, 3))


def mirror_events(log: Log, *, on_failed: Callable[[Exception], None]) -> MirrorEvents:
    """Return what the log says of the journal that this node shares with others."""

    def opened(identity: str, remarks: Sequence[str], event_count: int) -> None:
        log.info("the journal is open", journal=identity, eventCount=event_count)
        for remark in remarks:
            log.warning("the journal promises less than it could", reason=remark)

    def progressed(event_count: int) -> None:
        log.info("the node catches up with its journal", eventCount=event_count)

    def caught_up(event_count: int, seconds: float) -> None:
        message = "the node has what the journal has: requests are accepted"
        log.info(message, eventCount=event_count, seconds=round(seconds, 3))

    def lost(reason: str) -> None:
        message = "the journal cannot be reached: writes and current reads are refused meanwhile"
        log.warning(message, reason=reason)

    def found(seconds: float) -> None:
        log.info("the journal can be reached again", seconds=round(seconds, 3))

    def mismatched(finding: str) -> None:
        log.warning("two nodes of the cluster do not fit together", reason=finding)

    def failed(error: Exception) -> None:
        log.error("the node does not serve its journal any more", reason=str(error))
        on_failed(error)

    return MirrorEvents(
        opened=opened,
        progressed=progressed,
        caught_up=caught_up,
        lost=lost,
        found=found,
        mismatched=mismatched,
        failed=failed,
        bug=log.bug,
    )


def following_events(log: Log, source: str) -> FollowingEvents:
    """Return what the log says of the server that is followed, which is at an address."""
    is_lost = False
    tell_of_loss, tell_of_lateness = Seldom(log.warning), Seldom(log.warning)
    tell_of_connection = Seldom(log.info)

    def connected(version: str, is_marked: bool) -> None:  # noqa: FBT001 - a callback's
        message = "the source can be read again" if is_lost else "the source is followed"
        tell_of_connection(message, source=source, version=version, saysWhereWritesEnd=is_marked)

    def lost(reason: str) -> None:
        nonlocal is_lost
        is_lost = True
        tell_of_loss("the source cannot be read: that is tried again", source=source, reason=reason)

    def behind(reason: str) -> None:
        message = "the source has fewer events than are here: it is asked again until it has them"
        tell_of_lateness(message, source=source, reason=reason)

    def refused(reason: str, position: int | None) -> None:
        message = "the source is not followed any more: it does not continue what is here"
        event_id = {} if position is None else {"eventId": str(position)}
        log.error(message, source=source, reason=reason, **event_id)

    def progressed(event_count: int, source_event_count: int) -> None:
        message = "the follower catches up with its source"
        log.info(message, eventCount=event_count, sourceEventCount=source_event_count)

    def caught_up(event_count: int) -> None:
        tell_of_arrival("the follower has what its source has", eventCount=event_count)

    tell_of_arrival = Seldom(log.info)
    return FollowingEvents(
        connected=connected,
        lost=lost,
        behind=behind,
        refused=refused,
        progressed=progressed,
        caught_up=caught_up,
        bug=log.bug,
    )


def restore_events(log: Log, *, on_begin: Callable[[], None]) -> RestoreEvents:
    """Return what the log says of restores; what a backup holds is never said."""

    def began() -> None:
        on_begin()
        log.info("a backup is being restored: whatever else is asked is refused meanwhile")

    def ended(event_count: int, seconds: float) -> None:
        log.info("the backup is restored", eventCount=event_count, seconds=round(seconds, 3))

    def failed(error: Exception) -> None:
        reason = type(error).__name__
        if isinstance(error, RefusedError):
            reason = error.code.value
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        message = "the backup could not be restored: the store is empty, as before"
        log.warning(message, reason=reason)

    return RestoreEvents(began=began, ended=ended, failed=failed)


# What follows may happen as often as clients ask.


def _telling_read_failures(log: Log) -> Callable[[ReadFailedError], None]:
    """Return what says, seldom, that the disk does not give what is stored."""
    tell = Seldom(log.error)
    return lambda error: tell("reading the data directory failed", reason=error.strerror)


_LOSSES_OF_QUERY_PROCESSES: Final[Mapping[type[QueryProcessLostError], str]] = {
    QueryProcessDiedError: "the process of a query died, perhaps for lack of memory",
    QueryProcessGarbledError: "the process of a query was ended: it said what makes no sense",
    QueryProcessUnstartableError: "the process of a query cannot be started",
}


def _telling_lost_processes(log: Log) -> Callable[[QueryProcessLostError], None]:
    """Return what says, seldom, that the process of a query is gone, and how."""
    tellers = {kind: Seldom(log.warning) for kind in _LOSSES_OF_QUERY_PROCESSES}

    def tell(error: QueryProcessLostError) -> None:
        kind = type(error)
        tellers[kind](_LOSSES_OF_QUERY_PROCESSES[kind], reason=str(error))

    return tell


def _telling_audits(log: Log) -> Callable[[AuditReport], None]:
    """Return what says, seldom, how an audit ended."""
    tell, tell_of_findings = Seldom(log.info), Seldom(log.error)

    def tell_end(report: AuditReport) -> None:
        if report.error_count > 0:
            message = "an audit has found that not everything is as it was written"
            tell_of_findings(message, **report.fields)
        else:
            tell("an audit has found everything as it was written", **report.fields)

    return tell_end


def _telling_failed_audits(log: Log) -> Callable[[AuditFailedError], None]:
    """Return what says, seldom, that one did not come to its end."""
    tell = Seldom(log.warning)
    return lambda error: tell("an audit did not come to its end", reason=error.reason)


def server_events(log: Log) -> ServerEvents:
    """Return what the log says of what clients do to the server."""

    def crowded(crowding: Crowding) -> None:
        message = (
            "more clients want to be connected than may be: connections of strangers, or idle ones,"
            " are closed for those who come; where there are none, who comes is refused"
        )
        log.warning(
            message,
            connections=crowding.connections,
            address=crowding.address,
            addressConnections=crowding.address_connections,
            closed=crowding.closed,
            refused=crowding.refused,
        )

    def cut(address: str, size: int) -> None:
        message = "too much waits for clients that do not take it: those that wait longest are cut"
        log.warning(message, address=address, size=size)

    def mistaken(address: str, what: str) -> None:
        log.warning("a client speaks to the wrong port", address=address, what=what)

    return ServerEvents(crowded=crowded, cut=cut, mistaken=mistaken)
