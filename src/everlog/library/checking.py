"""Whether events are what was written: their hashes, and their places in the chain.

A hash proves that the content of an event was not changed, and that it names the hash of the one
before it, that nothing was exchanged between the two. Of a selection only as much is shown as is
there: which events are left out, no hash tells.
"""

from collections.abc import Callable, Sequence
from typing import Final

from everlog.domain.chain import GENESIS_HASH, HashVersion, hash_v1, hash_v2, hash_version_of
from everlog.library.errors import VerificationError
from everlog.library.values import Event

# Tells whether a signature was made for a hash.
VerifySignature = Callable[[str, str], bool]


def hash_of(event: Event) -> str:
    """Return the hash that the content of an event has, in the version that its own hash names.

    Raises:
        VerificationError: That version is not known here.
    """
    values = (
        *(event.specversion, event.id, event.predecessorhash, event.time, event.source),
        *(event.subject, event.type, event.datacontenttype),
    )
    data = event.data_json.decode()
    match hash_version_of(event.hash):
        case HashVersion.V1:
            return hash_v1(*values, data)
        case HashVersion.V2:
            return hash_v2(*values, event.traceparent, event.tracestate, data)
        case _:
            raise _wrong(event, "its hash is of a version that is not known")


class ChainCheck:
    """Looks at events as they come, each once, in one order or the other.

    `is_whole` says that nothing is selected: then no event may be missing between two others.
    """

    def __init__(
        self,
        *,
        is_whole: bool,
        is_reversed: bool = False,
        verify_signature: VerifySignature | None = None,
    ) -> None:
        """Begin with any event."""
        self._is_whole: Final = is_whole
        self._is_reversed: Final = is_reversed
        self._verify_signature: Final = verify_signature
        self._last: Event | None = None

    def check(self, events: Sequence[Event]) -> None:
        """Look at the next events.

        Raises:
            VerificationError: One is not what was written.
        """
        for event in events:
            if hash_of(event) != event.hash:
                raise _wrong(event, "its content does not have the hash that it says")
            if self._verify_signature is not None and not (
                event.signature and self._verify_signature(event.hash, event.signature)
            ):
                raise _wrong(event, "its signature is missing, or was not made by the given key")
            self._check_place(event)
            self._last = event

    def _check_place(self, event: Event) -> None:
        if not (event.id.isascii() and event.id.isdigit()):
            raise _wrong(event, "its id is no number")
        if event.id == "0" and event.predecessorhash != GENESIS_HASH:
            raise _wrong(event, "it is the first one, and names another one before it")
        if self._last is None:
            return
        earlier, later = (event, self._last) if self._is_reversed else (self._last, event)
        distance = int(later.id) - int(earlier.id)
        if distance < 1:
            raise _wrong(event, f"it does not come in order: event {self._last.id} came before it")
        if distance == 1 and later.predecessorhash != earlier.hash:
            raise _wrong(later, "it does not name the hash of the event before it")
        if self._is_whole and distance > 1:
            raise _wrong(later, f"events between it and event {earlier.id} are missing")


def _wrong(event: Event, reason: str) -> VerificationError:
    return VerificationError(
        f"event {event.id} is not what was written: {reason}", event_id=event.id
    )
