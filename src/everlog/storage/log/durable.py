"""The durable bound: up to where the log and the event schemas are known to be on the disk.

Written after each sync, but not synced itself: it costs one system call, survives the death of
the process exactly, and after a power loss is merely older than the truth, never newer.
Recovery may cut what lies behind it, and must refuse damage before it.
"""

import os
import struct
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from everlog.storage.log.directory import DURABLE_FILE
from everlog.storage.log.disk import Disk, open_file, write_all

_LAYOUT: Final = struct.Struct("<QQQ")
_CHECKSUM: Final = struct.Struct("<I")


class DurableBound(NamedTuple):
    """How many events, bytes of the log and bytes of event schemas are durable."""

    event_count: int = 0
    log_size: int = 0
    schemas_size: int = 0


class DurableFile:
    """The file that holds the bound."""

    def __init__(self, directory: Path, disk: Disk, resources: ExitStack) -> None:
        """Open or create the file."""
        self._disk = disk
        self._file = open_file(disk, directory / DURABLE_FILE, resources)

    def read(self) -> DurableBound:
        """Return the bound; zero where the file is new or was torn by a power loss."""
        content = os.pread(self._file, _LAYOUT.size + _CHECKSUM.size, 0)
        body, checksum = content[: _LAYOUT.size], content[_LAYOUT.size :]
        if len(checksum) < _CHECKSUM.size or _CHECKSUM.unpack(checksum)[0] != zlib.crc32(body):
            return DurableBound()
        return DurableBound(*_LAYOUT.unpack(body))

    def write(self, bound: DurableBound) -> None:
        """Move the bound; the caller has synced the log up to it."""
        body = _LAYOUT.pack(*bound)
        write_all(self._disk, self._file, body + _CHECKSUM.pack(zlib.crc32(body)), 0)

    def sync(self) -> None:
        """Make the bound itself durable."""
        self._disk.sync_data(self._file)
