"""From where on a figure is worth a warning, or means that the server fails; each with its reason.

Nothing is refused because of them: they are what health checks say.
"""

from typing import Final

# The log grows by steps of 64 MiB and the index by up to 32: with less than both, the next step is
# taken in small pieces, and the end is near.
DISK_FREE_FAIL_BYTES: Final = 128 * 1024 * 1024
# Minutes of the fastest writing, and days of usual writing.
DISK_FREE_WARN_BYTES: Final = 1024 * 1024 * 1024
# Small disks would be below those bounds from the beginning.
DISK_FREE_FAIL_SHARE: Final = 0.02
DISK_FREE_WARN_SHARE: Final = 0.10

# A disk syncs in milliseconds. A quarter of a second is what people notice, and each write waits
# for one sync at least.
SYNC_WARN_SECONDS: Final = 0.25
# What was slow this long ago says nothing about the disk of today.
SYNC_RECENT_SECONDS: Final = 300.0

# Every writer waits for the batch that is on its way. Most clients give up after half a minute.
PENDING_WARN_SECONDS: Final = 5.0
PENDING_FAIL_SECONDS: Final = 30.0

# Enough to renew it without haste; the log warns from the same day on.
CERTIFICATE_WARN_SECONDS: Final = 30 * 24 * 3_600.0

# Of the connections, the observers and the open files that there may be.
SHARE_WARN: Final = 0.9
