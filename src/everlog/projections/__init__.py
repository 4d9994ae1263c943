"""Read models: tables that are made of a log's events, and kept up to date exactly once.

    from everlog.projections import Projection

A `Projection` says what becomes of events of which type, and runs over a store, into a database:
SQLite by the standard library, or PostgreSQL by psycopg 3 (`pip install 'everlog[postgresql]'`).
"""

from everlog.projections.databases import (
    AlreadyRunningError,
    Connection,
    ConnectionFactory,
    ProjectionError,
)
from everlog.projections.projection import (
    ForeignLogError,
    Handler,
    HandlerFailedError,
    OnProgress,
    OutdatedModelError,
    Projection,
    progress_bar,
)

__all__ = [
    "AlreadyRunningError",
    "Connection",
    "ConnectionFactory",
    "ForeignLogError",
    "Handler",
    "HandlerFailedError",
    "OnProgress",
    "OutdatedModelError",
    "Projection",
    "ProjectionError",
    "progress_bar",
]
