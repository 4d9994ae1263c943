"""What the log of a server says of disks that hang, of its tree, checkpoints and witnesses."""

from collections.abc import Callable, Mapping
from typing import Final

from everlog.service.proving.checkpoints import ProvingEvents, describe
from everlog.service.proving.witnesses import Witness, WitnessState
from everlog.telemetry import Log


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
        message = "the last checkpoint is not of this key and origin: another history begins"
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
