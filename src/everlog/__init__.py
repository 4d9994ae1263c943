"""Everlog: an open-source event store behind the HTTP API of EventSourcingDB.

One immutable, totally ordered, hash-chained log of CloudEvents.
The package has no import-time effects; `everlog.cli` is the way in, `python -m everlog` runs it.
"""

from everlog._version import __version__

__all__ = ["__version__"]
