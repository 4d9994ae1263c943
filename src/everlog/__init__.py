"""Everlog: an open-source event store behind the HTTP API of EventSourcingDB.

One immutable, totally ordered, hash-chained log of CloudEvents: opened as a directory (`open`), or
reached over HTTP (`connect`).
The package has no import-time effects, and loads what a name needs when it is first used; `everlog`
on a command line, or `python -m everlog`, is `everlog.cli`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from everlog._version import __version__

if TYPE_CHECKING:
    from everlog.domain.errors import (
        BusyError,
        DataDirectoryError,
        DirectoryLockedError,
        EverlogError,
        NoCheckpointError,
        RefusedError,
        SettingsError,
    )
    from everlog.library.asynchronous import (
        AsyncEvents,
        AsyncFollowing,
        AsyncRows,
        AsyncStore,
        aconnect,
        aopen,
    )
    from everlog.library.errors import (
        FrameError,
        StoreClosedError,
        UnauthorizedError,
        UnreachableError,
        VerificationError,
    )
    from everlog.library.opening import connect, open  # noqa: A004 - as that of dbm and shelve
    from everlog.library.outcome import OutcomeUnknownError
    from everlog.library.store import Events, Following, Rows, Store, Verification
    from everlog.library.values import (
        Bound,
        Event,
        EventType,
        FromLatestEvent,
        IsEventQlQueryTrue,
        IsSubjectOnEventId,
        IsSubjectPopulated,
        IsSubjectPristine,
        JsonText,
        NewEvent,
        Precondition,
    )

# Where each name is found that is loaded when it is first used.
_ASYNCHRONOUS = "everlog.library.asynchronous"
_ERRORS = "everlog.domain.errors"
_LIBRARY_ERRORS = "everlog.library.errors"
_OPENING = "everlog.library.opening"
_STORE = "everlog.library.store"
_VALUES = "everlog.library.values"
_PLACES = {
    "AsyncEvents": _ASYNCHRONOUS,
    "AsyncFollowing": _ASYNCHRONOUS,
    "AsyncRows": _ASYNCHRONOUS,
    "AsyncStore": _ASYNCHRONOUS,
    "aconnect": _ASYNCHRONOUS,
    "aopen": _ASYNCHRONOUS,
    "BusyError": _ERRORS,
    "DataDirectoryError": _ERRORS,
    "DirectoryLockedError": _ERRORS,
    "EverlogError": _ERRORS,
    "NoCheckpointError": _ERRORS,
    "RefusedError": _ERRORS,
    "SettingsError": _ERRORS,
    "FrameError": _LIBRARY_ERRORS,
    "StoreClosedError": _LIBRARY_ERRORS,
    "UnauthorizedError": _LIBRARY_ERRORS,
    "UnreachableError": _LIBRARY_ERRORS,
    "VerificationError": _LIBRARY_ERRORS,
    "OutcomeUnknownError": "everlog.library.outcome",
    "connect": _OPENING,
    "open": _OPENING,
    "Events": _STORE,
    "Following": _STORE,
    "Rows": _STORE,
    "Store": _STORE,
    "Verification": _STORE,
    "Bound": _VALUES,
    "Event": _VALUES,
    "EventType": _VALUES,
    "FromLatestEvent": _VALUES,
    "IsEventQlQueryTrue": _VALUES,
    "IsSubjectOnEventId": _VALUES,
    "IsSubjectPopulated": _VALUES,
    "IsSubjectPristine": _VALUES,
    "JsonText": _VALUES,
    "NewEvent": _VALUES,
    "Precondition": _VALUES,
}

__all__ = [
    "AsyncEvents",
    "AsyncFollowing",
    "AsyncRows",
    "AsyncStore",
    "Bound",
    "BusyError",
    "DataDirectoryError",
    "DirectoryLockedError",
    "Event",
    "EventType",
    "Events",
    "EverlogError",
    "Following",
    "FrameError",
    "FromLatestEvent",
    "IsEventQlQueryTrue",
    "IsSubjectOnEventId",
    "IsSubjectPopulated",
    "IsSubjectPristine",
    "JsonText",
    "NewEvent",
    "NoCheckpointError",
    "OutcomeUnknownError",
    "Precondition",
    "RefusedError",
    "Rows",
    "SettingsError",
    "Store",
    "StoreClosedError",
    "UnauthorizedError",
    "UnreachableError",
    "Verification",
    "VerificationError",
    "__version__",
    "aconnect",
    "aopen",
    "connect",
    "open",
]


def __getattr__(name: str) -> Any:
    """Load a name when it is first used."""
    place = _PLACES.get(name)
    if place is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    found = globals()[name] = getattr(import_module(place), name)
    return found


def __dir__() -> list[str]:
    """List all names, loaded or not."""
    return sorted(__all__)
