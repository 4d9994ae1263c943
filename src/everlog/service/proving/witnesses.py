"""Witnesses: others who remember the latest tree of a log, and cosign one that continues it.

A checkpoint is offered by `add-checkpoint` of C2SP tlog-witness, with a consistency proof from the
size that the witness saw last. Whoever cannot be reached, or does not know the log, is asked again,
less and less often. Whoever says that it saw another history is not: that is an alarm, and stays
one until a restart.
What is left to others: how a request is sent (`Post`), and what is done with a cosignature
(`checkpoints`).
"""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple

from everlog.domain.checkpoint import Checkpoint, find_signed
from everlog.domain.note import VerifierKey, WitnessAddress
from everlog.threads import call_on_thread

# Of an answer: some cosignatures at most, one of which is of 5 kB where it is of ML-DSA-44.
ANSWER_SIZE_MAX: Final = 64 * 1024

_SIZE_TYPE: Final = "text/x.tlog.size"

# A witness that was offered a checkpoint from one size says from which one it wants it, which
# another of its clients may change meanwhile.
_OFFERS_MAX: Final = 3

# From one failure to the next try: twice as many each time.
_RETRY_SECONDS_MIN: Final = 1.0
_RETRY_SECONDS_MAX: Final = 60.0


class Answer(NamedTuple):
    """What a witness answered."""

    status: int
    content_type: str
    body: bytes


# Sends a body by POST to a URL, from a thread; raises OSError where there is no answer.
Post = Callable[[str, bytes], Answer]

# Returns the consistency proof between two sizes.
Prove = Callable[[int, int], Awaitable[list[bytes]]]


class WitnessState(StrEnum):
    """What is known of a witness."""

    UNASKED = "unasked"
    COSIGNING = "cosigning"
    # It could not be reached, or did not cosign for another reason than the next one.
    FAILING = "failing"
    # It saw another history of this log.
    CONTRADICTING = "contradicting"


class _RefusedError(Exception):
    """The witness did not cosign; whether it contradicts says the class."""


class _ContradictedError(_RefusedError):
    pass


class Witness:
    """One witness; on the event loop's thread only."""

    def __init__(
        self,
        address: WitnessAddress,
        post: Post,
        *,
        on_change: Callable[["Witness"], None],
        size: int = 0,
    ) -> None:
        """Tell `on_change` of each new state but the first."""
        self.name: Final = address.key.name
        self.key: Final = address.key
        self._url: Final = f"{address.url.rstrip('/')}/add-checkpoint"
        self._post: Final = post
        self._on_change: Final = on_change
        self.state = WitnessState.UNASKED
        # Why it is so, where somebody has to be told.
        self.reason = ""
        # How large the latest tree was that it cosigned, as far as is known.
        self.size = size
        self._retry_at = 0.0
        self._retry_seconds = _RETRY_SECONDS_MIN

    @property
    def is_due(self) -> bool:
        """Whether it may be asked now."""
        is_time = asyncio.get_running_loop().time() >= self._retry_at
        return is_time and self.state is not WitnessState.CONTRADICTING

    async def ask(self, checkpoint: Checkpoint, note: str, prove: Prove) -> str | None:
        """Return a line with its cosignature of a checkpoint; None if it gives none now."""
        try:
            line = await self._offer(checkpoint, note, prove)
        except _ContradictedError as error:
            self._change(WitnessState.CONTRADICTING, str(error))
        except _RefusedError as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(error.strerror or str(error) or type(error).__name__)
        else:
            self._retry_at, self._retry_seconds = 0.0, _RETRY_SECONDS_MIN
            self._change(WitnessState.COSIGNING, "")
            return line
        return None

    async def _offer(self, checkpoint: Checkpoint, note: str, prove: Prove) -> str:
        for _ in range(_OFFERS_MAX):
            earlier = self.size
            proof = await prove(earlier, checkpoint.size)
            lines = [f"old {earlier}\n", *(f"{b64encode(each).decode()}\n" for each in proof)]
            body = f"{''.join(lines)}\n{note}".encode()
            answer = await call_on_thread(partial(self._post, self._url, body))
            if answer.status == 200:
                line = _find_cosignature(self.key, checkpoint, answer.body)
                self.size = checkpoint.size
                return line
            if answer.status != 409:
                raise _refused(answer)
            self._take_size(checkpoint, earlier, answer)
        raise _RefusedError("it says another size of its latest tree each time it is asked")

    def _take_size(self, checkpoint: Checkpoint, earlier: int, answer: Answer) -> None:
        """Take note of the size that the witness wants a proof from."""
        text = answer.body.strip()
        size = earlier
        if answer.content_type.partition(";")[0].strip().lower() == _SIZE_TYPE:
            if not (text.isdigit() and len(text) < 20):
                raise _RefusedError("the size that it says is no number")
            size = int(text)
        if size > checkpoint.size:
            raise _ContradictedError(
                f"it cosigned a tree of {size} events, and the log has {checkpoint.size}"
            )
        if size == earlier == checkpoint.size:
            raise _ContradictedError(f"it cosigned another tree of {size} events")
        if size == earlier:
            raise _RefusedError("it refused the size that it says itself")
        self.size = size

    def _fail(self, reason: str) -> None:
        self._retry_at = asyncio.get_running_loop().time() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, _RETRY_SECONDS_MAX)
        self._change(WitnessState.FAILING, reason)

    def _change(self, state: WitnessState, reason: str) -> None:
        is_new = state is not self.state
        self.state, self.reason = state, reason
        if is_new:
            self._on_change(self)


def _find_cosignature(key: VerifierKey, checkpoint: Checkpoint, body: bytes) -> str:
    lines = [
        line
        for line in body.decode(errors="replace").splitlines(keepends=True)
        if line.startswith("\u2014 ") and line.count(" ") == 2 and line.endswith("\n")
    ]
    line = find_signed(key, checkpoint, lines)
    if line is None:
        raise _RefusedError("its answer holds no cosignature that its key made of this checkpoint")
    return line


def _refused(answer: Answer) -> _RefusedError:
    match answer.status:
        case 422:
            return _ContradictedError("it cosigned a tree that the log does not continue")
        case 404:
            return _RefusedError("it does not know the origin: tell it the log's verifier key")
        case 403:
            return _RefusedError("it does not trust the key: tell it the log's verifier key")
        case _:
            return _RefusedError(f"it answered with status {answer.status}")
