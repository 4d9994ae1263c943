"""The log's bytes: one endless file, kept as segments.

Offsets count from the beginning of the log, whatever segment they lie in. A segment is named
after the position of its first event. Only the last one grows; its file is allocated ahead, so
that behind the log's end it reads as zeros. A batch never spans two segments.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from everlog.domain.errors import DiskFullError
from everlog.storage.log.directory import Place
from everlog.storage.log.disk import (
    Disk,
    Folder,
    allocate,
    cut,
    open_file,
    sync,
    sync_names,
    write_all,
)
from everlog.storage.log.reading import SEGMENT_SUFFIX, Segment, SegmentFiles, find_segments

SEGMENT_SIZE_MAX: Final = 1024 * 1024 * 1024

# Growing a file inside an allocated range saves a quarter of each sync; 64 MiB is about a second
# of the fastest writing.
ALLOCATION_STEP: Final = 64 * 1024 * 1024

# The rest of what is free is left to others, and to the index: as little would be gained by taking
# it, as much is lost to them.
_FREE_SHARE: Final = 8

# What it begins with again once there is room.
_STEP_MIN: Final = 64 * 1024

_COPY_SIZE: Final = 1024 * 1024


class Segments:
    """All segments of one log, the last one for appending; `files` is for readers."""

    def __init__(
        self, folder: Folder, disk: Disk, resources: ExitStack, *, segment_size_max: int
    ) -> None:
        """Open the segments there are.

        Raises:
            CorruptLogError: A file in the folder is not a segment.
        """
        self.folder: Final = folder
        self._disk = disk
        self._resources = resources
        self._segment_size_max = segment_size_max
        self._segments: list[Segment] = []
        self.files: Final = SegmentFiles()
        offset = 0
        for first_position, name in find_segments(folder):
            file = open_file(disk, folder, name, resources)
            self._add(Segment(first_position, offset, file, name))
            offset += os.fstat(file).st_size
        # The process may have died between creating a segment and syncing its name.
        sync_names(disk, folder)
        # The end of the last segment's file, as an offset of the log.
        self._allocated = offset
        # How much to reserve the next time, if so much is free: quotas are only found by trying.
        self._step = ALLOCATION_STEP
        self._is_room_wanted = False

    def places(self, stop: int) -> Sequence[Place]:
        """Return where its files have to be, which hold the log up to an offset."""
        segments = tuple(self._segments)
        stops = (*(segment.offset for segment in segments[1:]), stop)
        return [
            # An empty one may have been created for the batch behind.
            Place(self.folder, segment.name, segment.file, max(0, end - segment.offset))
            for segment, end in zip(segments, stops, strict=False)
        ]

    def append(self, data: bytes, *, offset: int, first_position: int) -> None:
        """Write a batch at the log's end and sync it.

        Raises:
            DiskFullError: There is no room; nothing was written.
            OSError: Anything else; what the file holds behind `offset` is unknown.
        """
        if self._is_full(offset):
            self._roll(offset, first_position)
        elif self._is_room_wanted:
            self.cut(offset)
        self._allocate(self._segments[-1], offset + len(data))
        sync(self._disk, self.write(data, offset=offset))

    def has_room(self, size: int, *, offset: int) -> bool:
        """Tell whether so many bytes can be written at the log's end, and nothing else be done."""
        segments = self._segments
        return (
            len(segments) > 0
            and not self._is_room_wanted
            and offset - segments[-1].offset < self._segment_size_max
            and offset + size <= self._allocated
        )

    def write(self, data: bytes, *, offset: int) -> int:
        """Write a batch for which there is room, and return the file that has to be synced.

        Raises:
            OSError: What the file holds behind `offset` is unknown.
        """
        segment = self._segments[-1]
        write_all(self._disk, segment.file, data, offset - segment.offset)
        return segment.file

    def write_again(self, start: int, stop: int) -> None:
        """Write the bytes of a batch, the last one, once more.

        After a sync that failed, the system may show bytes as written that never reached the disk,
        and no later sync would bring them there.
        """
        segment = self._segments[-1]
        # A batch in front of an empty segment was synced before that was created.
        for offset in range(max(start, segment.offset), stop, _COPY_SIZE):
            data = self.files.read(offset, min(_COPY_SIZE, stop - offset))
            write_all(self._disk, segment.file, data, offset - segment.offset)

    def cut(self, offset: int) -> None:
        """Remove everything behind an offset that lies in or at the end of the last segment."""
        if not self._segments:
            return
        segment = self._segments[-1]
        assert segment.offset <= offset
        cut(self._disk, segment.file, offset - segment.offset)
        self._allocated = offset
        self._is_room_wanted = False

    def end_at(self, offset: int, position: int) -> None:
        """Take away what a copy has behind an offset, in front of an event, and sync the rest."""
        segments = self._segments
        while segments and (segments[-1].offset > offset or segments[-1].first_position > position):
            self.files.remove_last()
            self._disk.remove_file(self.folder, segments.pop().name)
        sync_names(self._disk, self.folder)
        for segment in segments:
            sync(self._disk, segment.file)

    def give_back(self) -> None:
        """Let the next batch give back what is reserved, since there is no room for others.

        May be called on any thread.
        """
        self._is_room_wanted = True

    def _is_full(self, offset: int) -> bool:
        """Tell whether the next batch, at this offset, needs a new segment."""
        return not self._segments or offset - self._segments[-1].offset >= self._segment_size_max

    def _roll(self, offset: int, first_position: int) -> None:
        if self._segments:
            self.cut(offset)
        name = f"{first_position:020d}{SEGMENT_SUFFIX}"
        # A crash or a full disk between here and the first batch leaves an empty segment of the
        # same name, which is taken up again.
        with ExitStack() as opening:
            file = open_file(self._disk, self.folder, name, opening)
            sync_names(self._disk, self.folder)
            # Only now: who tries again opens it again.
            self._resources.push(opening.pop_all())
        self._add(Segment(first_position, offset, file, name))
        self._allocated = offset

    def _allocate(self, segment: Segment, end: int) -> None:
        if end <= self._allocated:
            return
        free = self._disk.free_size(segment.file)
        step = min(self._step, self._segment_size_max, free // _FREE_SHARE)
        wanted = max(self._allocated + step, end)
        try:
            self._allocate_up_to(segment, wanted)
        except DiskFullError:
            # No room for the luxury of a whole step; perhaps there is for this batch.
            self._step //= 2
            if wanted == end:
                raise
            self._allocate_up_to(segment, end)
        else:
            self._step = min(ALLOCATION_STEP, max(2 * self._step, _STEP_MIN))

    def _allocate_up_to(self, segment: Segment, end: int) -> None:
        start = self._allocated
        allocate(self._disk, segment.file, start - segment.offset, end - start)
        self._allocated = end

    def _add(self, segment: Segment) -> None:
        self._segments.append(segment)
        self.files.add(segment)
