"""What the log of a server says of disks, queries, its tree, checkpoints and witnesses."""

from collections.abc import Callable, Mapping
from typing import Final

from everlog.domain.errors import ReadFailedError
from everlog.service.auditing import AuditFailedError, AuditReport
from everlog.service.proving.checkpoints import ProvingEvents, describe
from everlog.service.proving.witnesses import Witness, WitnessState
from everlog.service.querying.processes import (
    QueryProcessDiedError,
    QueryProcessGarbledError,
    QueryProcessLostError,
    QueryProcessUnstartableError,
)
from everlog.telemetry import Log, Seldom


def proving_events(log: Log) -> ProvingEvents:
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


def warn_of_hanging(log: Log, seconds: float) -> None:
    """Say that writes wait for the disk, and for how long."""
    message = "a commit has been waiting for the disk for long: writes are refused meanwhile"
    log.warning(message, seconds=round(seconds, 3))


def tell_of_resuming(log: Log, seconds: float) -> None:
    """Say that they do not any more."""
    message = "the commit that waited for the disk has ended: writes are accepted"
    log.info(message, seconds=round(seconds, 3))


# What follows may happen as often as clients ask.


def telling_read_failures(log: Log) -> Callable[[ReadFailedError], None]:
    """Return what says, seldom, that the disk does not give what is stored."""
    tell = Seldom(log.error)
    return lambda error: tell("reading the data directory failed", reason=error.strerror)


_LOSSES_OF_QUERY_PROCESSES: Final[Mapping[type[QueryProcessLostError], str]] = {
    QueryProcessDiedError: "the process of a query died, perhaps for lack of memory",
    QueryProcessGarbledError: "the process of a query was ended: it said what makes no sense",
    QueryProcessUnstartableError: "the process of a query cannot be started",
}


def telling_lost_processes(log: Log) -> Callable[[QueryProcessLostError], None]:
    """Return what says, seldom, that the process of a query is gone, and how."""
    tellers = {kind: Seldom(log.warning) for kind in _LOSSES_OF_QUERY_PROCESSES}

    def tell(error: QueryProcessLostError) -> None:
        kind = type(error)
        tellers[kind](_LOSSES_OF_QUERY_PROCESSES[kind], reason=str(error))

    return tell


def telling_audits(log: Log) -> Callable[[AuditReport], None]:
    """Return what says, seldom, how an audit ended."""
    tell, tell_of_findings = Seldom(log.info), Seldom(log.error)

    def tell_end(report: AuditReport) -> None:
        if report.error_count > 0:
            message = "an audit has found that not everything is as it was written"
            tell_of_findings(message, **report.fields)
        else:
            tell("an audit has found everything as it was written", **report.fields)

    return tell_end


def telling_failed_audits(log: Log) -> Callable[[AuditFailedError], None]:
    """Return what says, seldom, that one did not come to its end."""
    tell = Seldom(log.warning)
    return lambda error: tell("an audit did not come to its end", reason=error.reason)
