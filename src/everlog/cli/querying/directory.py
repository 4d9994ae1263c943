"""Rows from a data directory, whether a server has it open or not."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

import msgspec

from everlog.credentials.signing_key import load_signing_key
from everlog.domain.errors import CorruptLogError, DataDirectoryError
from everlog.domain.signature import sign
from everlog.eventql.planning.plan import EventScan
from everlog.eventql.query import EvaluationContext, QueryLimits, execute, prepare, scans_of
from everlog.service.querying.log import HeadLog, to_storage_scan
from everlog.storage.log import ReadOnlyLog
from everlog.storage.log.reading import positions_of


class _Id(msgspec.Struct, gc=False):
    id: str
    # Looked at so that an event without them is not taken for one.
    subject: str
    type: str


class _Line(msgspec.Struct, gc=False):
    payload: _Id


_decode_lines: Final[Callable[[bytes], list[_Line]]] = msgspec.json.Decoder(_Line).decode_lines


class DirectoryLog:
    """The newest durable head of a data directory: `eventql.planning.plan.Log`.

    Opening reads no event that the index knows. So what a query is given is looked at here: each
    event stands in its place, or is named. Whether it is what was written, an audit tells.
    """

    def __init__(self, reader: ReadOnlyLog, on_read: Callable[[int], None]) -> None:
        """Look at nothing beyond the present head; `on_read` is told of events as they are read."""
        self._reader: Final = reader
        self._head: Final = reader.head
        self._on_read: Final = on_read
        # What the index alone answers.
        log = HeadLog(reader, reader.head)
        self.count: Final = log.count
        self.count_by_event_type: Final = log.count_by_event_type
        self.subjects: Final = log.subjects
        self.event_types: Final = log.event_types

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        """Yield blocks of whole stored lines, in the scan's order.

        Raises:
            CorruptLogError: An event does not stand in its place.
        """
        selected = to_storage_scan(scan, self._reader, self._head)
        found = positions_of(self._reader.locate(selected, self._head))
        positions = chain.from_iterable(array.tolist() for array in found)
        for block in self._reader.scan(selected, self._head):
            self._on_read(self._check(block, positions))
            yield block
        # A file that has become shorter since it was opened gives less, and no error.
        for position in positions:
            raise self._out_of_place(position)

    def _check(self, block: bytes, positions: Iterator[int]) -> int:
        """Check that lines are the next events of a scan, and return how many they are."""
        try:
            ids = [line.payload.id for line in _decode_lines(block)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            ids = []
        expected = [*islice(positions, len(ids) or block.count(b"\n") + 1)]
        if ids != [*map(str, expected)]:
            raise self._out_of_place(_first_wrong(block.split(b"\n"), expected))
        return len(ids)

    def _out_of_place(self, position: int) -> CorruptLogError:
        file = self._reader.path_of(position)
        message = (
            f"event {position} in {file.parent.name}/{file.name} is not as it was written; "
            "'everlog audit' tells all that is wrong"
        )
        return CorruptLogError(message, position=position)


def _first_wrong(lines: Sequence[bytes], positions: Sequence[int]) -> int:
    """Return the position of the first line that is not the event in this place."""
    for line, position in zip(lines, positions, strict=False):
        try:
            if msgspec.json.decode(line, type=_Line).payload.id != str(position):
                return position
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return position
    # Only the block as a whole is not what its lines are.
    return positions[0]


def query_directory(
    directory: Path,
    text: str,
    *,
    signing_key_file: Path | None,
    on_read: Callable[[int, int], None],
) -> Iterator[list[bytes]]:
    """Yield the rows of a query as JSON texts, in chunks.

    `on_read` is told how many events were read so far, and how many there are to be read.

    Raises:
        SettingsError: The signing key cannot be used.
        DataDirectoryError: The directory cannot be read, or is damaged.
        QueryMalformedError, QueryUnevaluableError, QueryLimitError: The query has no answer.
    """
    key = load_signing_key(signing_key_file)
    plan = prepare(text)
    context = EvaluationContext(
        now=time.time_ns(),
        random=random.random,
        sign=None if key is None else lambda hash_: sign(key, hash_),
        limits=QueryLimits(),
    )
    done = total = 0

    def count(events: int) -> None:
        nonlocal done
        done += events
        # A source that is joined may be read more than once.
        on_read(done, max(done, total))

    try:
        with ReadOnlyLog.open(directory) as reader:
            log = DirectoryLog(reader, count)
            total = sum(map(log.count, scans_of(plan)))
            yield from execute(plan, log, context)
    except DataDirectoryError:
        raise
    except (msgspec.MsgspecError, ValueError) as error:
        # Reading does not look at every member of every event; a query did.
        raise CorruptLogError(
            f"an event is not as it was written ({error}); 'everlog audit' tells all that is wrong",
            position=None,
        ) from error
    except OSError as error:
        raise DataDirectoryError(f"{directory} cannot be read: {error.strerror}") from error
