"""The embedded engine: an append-only log of lines in a data directory, and an index beside it.

The log is the truth. The index (columns, subject tree, event types) is derived from it, saved in
snapshots, and rebuilt where it is missing or stale. See docs/internals/data-format.md.
"""

from everlog.storage.log.engine import LogEngine, OpeningReport
from everlog.storage.log.reader import ReadOnlyLog
from everlog.storage.log.unwritable import ReadOnlyEngine, may_write

__all__ = ["LogEngine", "OpeningReport", "ReadOnlyEngine", "ReadOnlyLog", "may_write"]
