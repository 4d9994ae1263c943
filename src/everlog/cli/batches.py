"""Writing many events, a batch at a time, and saying which line is refused.

Guarantees that events are stored in their order, that each batch is stored wholly or not at all,
and that, if one event is refused, all before it are stored and none behind it. Memory is bounded by
a batch, however long the input is.
"""

import os
import select
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import click
import msgspec

from everlog.cli.faults import LineError, exit_code_of
from everlog.cli.progress import Progress
from everlog.domain.errors import BusyError, RefusedError
from everlog.domain.json_text import NOT_JSON
from everlog.domain.limits import EVENT_SENT_SIZE_MAX, EVENTS_PER_WRITE_MAX
from everlog.exit_codes import EXIT_SETTINGS
from everlog.library.outcome import OutcomeUnknownError
from everlog.library.store import Store
from everlog.library.values import Event, JsonText, NewEvent, Precondition
from everlog.texts import to_printable

BATCH_COUNT_MAX: Final = EVENTS_PER_WRITE_MAX

# A quarter of what a request may have: envelopes and escapes have room.
_BATCH_SIZE_MAX: Final = 16 * 1024 * 1024

# An event that is sent is not larger; around it stands little.
_LINE_SIZE_MAX: Final = 2 * EVENT_SENT_SIZE_MAX
_BLOCK_SIZE: Final = 256 * 1024

# A batch that is not full waits that long for the next line.
_MOMENT_SECONDS: Final = 0.2

# How long a server that is busy is asked again.
_BUSY_SECONDS_MAX: Final = 60.0
_PAUSE_SECONDS_MIN: Final = 0.1
_PAUSE_SECONDS_MAX: Final = 2.0

_ONE_BATCH: Final = f"with a precondition all events are one batch, of {BATCH_COUNT_MAX:,} at most"

batch_option: Final = click.option(
    "--batch-size",
    type=click.IntRange(1, BATCH_COUNT_MAX),
    default=1_000,
    show_default=True,
    metavar="COUNT",
    help="How many events are written at once, wholly or not at all.",
)

from_line_option: Final = click.option(
    "--from-line",
    type=click.IntRange(1),
    default=1,
    metavar="NUMBER",
    help="Leave out the lines before this one; of several files, in the first.",
)


class Candidate(msgspec.Struct, gc=False):
    """What a line says of an event; what it leaves out, flags may say."""

    source: str | None = None
    subject: str | None = None
    type: str | None = None
    # Empty where there is none.
    data: msgspec.Raw = msgspec.Raw(b"")
    traceparent: str | None = None
    tracestate: str | None = None

    def to_event(self, given: Mapping[str, str | None]) -> NewEvent:
        """Return the event; raises ValueError if neither the line nor the flags say all of it."""
        values: dict[str, str] = {}
        for name in ("source", "subject", "type"):
            value: str | None = getattr(self, name)
            value = given.get(name) if value is None else value
            if value is None:
                flag = f", and there is no --{name}" if name in given else ""
                raise ValueError(f"it has no '{name}'{flag}")
            values[name] = value
        data = bytes(self.data)
        if not data:
            raise ValueError("it has no 'data'")
        return NewEvent(
            data=JsonText(data),
            traceparent=self.traceparent,
            tracestate=self.tracestate,
            **values,
        )


class Line(NamedTuple):
    """A line of an input: its number, counted from 1, 0 if it is none, and its text."""

    number: int
    text: bytes
    # How far the input has been read, and how long it is, as far as that is known.
    read_size: int = 0
    total_size: int | None = None
    # Why it is no event, where that is known already.
    fault: str | None = None


Parse = Callable[[bytes], NewEvent]


def read_lines(name: str, from_line: int = 1) -> Iterator[Line | None]:
    """Yield the lines of a file, or of standard input for -, and None where no more comes now.

    Empty lines are left out.

    Raises:
        click.UsageError: It cannot be read.
    """
    try:
        with click.open_file(name, "rb") as file:
            yield from _read_lines(file.fileno(), from_line)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        shown = "standard input" if name == "-" else to_printable(name)
        raise click.UsageError(f"{shown} cannot be read: {error.strerror}") from error


def _read_lines(descriptor: int, from_line: int) -> Iterator[Line | None]:
    status = os.fstat(descriptor)
    total = status.st_size if stat.S_ISREG(status.st_mode) else None
    number, done, rest = 0, 0, b""
    while True:
        if total is None and not select.select([descriptor], [], [], _MOMENT_SECONDS)[0]:
            yield None
            select.select([descriptor], [], [])
        block = os.read(descriptor, _BLOCK_SIZE)
        done += len(block)
        # The last line may have no end.
        lines = (rest + block).split(b"\n") if block else [rest, b""]
        rest = lines.pop()
        for text in lines:
            number += 1
            if number >= from_line and text and not text.isspace():
                yield Line(number, text, done, total)
        if len(rest) > _LINE_SIZE_MAX:
            fault = f"it is longer than {_LINE_SIZE_MAX:,} bytes, and no event is"
            yield Line(number + 1, b"", done, total, fault)
            return
        if not block:
            return


class Batches:
    """Writes events to a store, a batch at a time; knows what it has written."""

    def __init__(
        self,
        store: Store,
        progress: Progress,
        *,
        size: int,
        preconditions: Sequence[Precondition] = (),
    ) -> None:
        """Write nothing yet. With preconditions there is one batch, and no more than that."""
        self._store: Final = store
        self._progress: Final = progress
        self._size: Final = size
        self._preconditions: Final = preconditions
        self.count = 0
        self.first_id: str | None = None
        self.last_id: str | None = None

    def write(self, lines: Iterator[Line | None], parse: Parse) -> Iterator[list[Event]]:
        """Write the events on lines, and yield each batch as it is stored.

        `parse` returns the event of a text, or raises a ValueError that says why it is none.

        Raises:
            LineError: A line is no event, or its event is refused.
            OutcomeUnknownError, UnreachableError, ...: As `Store.write`; the message says which
                lines it is about.
        """
        numbers: list[int] = []
        events: list[NewEvent] = []
        size = 0
        for line in lines:
            if line is None:
                # Whoever sends them may wait for the answer.
                if events and not self._preconditions:
                    yield from self._write(numbers, events)
                    numbers, events, size = [], [], 0
                continue
            if len(events) >= self._size or size + len(line.text) > _BATCH_SIZE_MAX:
                if self._preconditions:
                    raise self._refused(line.number, _ONE_BATCH, EXIT_SETTINGS)
                yield from self._write(numbers, events)
                numbers, events, size = [], [], 0
            try:
                event = _parse(line, parse)
            except (ValueError, *NOT_JSON) as error:
                if events and not self._preconditions:
                    yield from self._write(numbers, events)
                raise self._refused(line.number, str(error), EXIT_SETTINGS) from error
            numbers.append(line.number)
            events.append(event)
            size += len(line.text)
            self._progress.tell(partial(self._describe, line))
        if events:
            yield from self._write(numbers, events)

    def _write(self, numbers: Sequence[int], events: Sequence[NewEvent]) -> Iterator[list[Event]]:
        """Write a batch, or what is before the first event in it that is refused."""
        try:
            yield self._keep_trying(events)
        except RefusedError as error:
            index = error.details.get("eventIndex")
            if index is None and len(events) == 1:
                index = 0
            if isinstance(index, int) and 0 <= index < len(events):
                if index > 0 and not self._preconditions:
                    yield self._keep_trying(events[:index])
                message = f"{error.message} [{error.code}]"
                raise self._refused(numbers[index], message, exit_code_of(error)) from error
            if self._preconditions:
                raise
            # The server does not say which event it is.
            middle = len(events) // 2
            yield from self._write(numbers[:middle], events[:middle])
            yield from self._write(numbers[middle:], events[middle:])
        except OutcomeUnknownError as error:
            first, last = numbers[0], numbers[-1]
            if first > 0:
                error.args = (f"lines {first} to {last}: {error}; {self._stored()}",)
            raise

    def _keep_trying(self, events: Sequence[NewEvent]) -> list[Event]:
        pause, deadline = _PAUSE_SECONDS_MIN, time.monotonic() + _BUSY_SECONDS_MAX
        while True:
            try:
                written = self._store.write(events, self._preconditions)
            except BusyError:
                # Nothing was stored.
                if time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _PAUSE_SECONDS_MAX)
                continue
            self.count += len(written)
            self.first_id = self.first_id or written[0].id
            self.last_id = written[-1].id
            return written

    def _refused(self, number: int, message: str, exit_code: int) -> LineError:
        if number > 0:
            message = f"line {number}: {message}; {self._stored()}"
        return LineError(message, exit_code=exit_code)

    def _stored(self) -> str:
        if self.count == 0:
            return "nothing is stored"
        if self.count == 1:
            return "the event before it is stored"
        return f"the {self.count:,} events before it are stored"

    def _describe(self, line: Line, seconds: float) -> str:
        share = ""
        if line.total_size:
            share = f"{min(1.0, line.read_size / line.total_size):.0%}, "
        return f"{share}{self.count:,} events, {self.count / max(seconds, 1e-9):,.0f} events/s"


def _parse(line: Line, parse: Parse) -> NewEvent:
    if line.fault is not None:
        raise ValueError(line.fault)
    return parse(line.text)


def say_written(batches: Batches) -> None:
    """Say on standard error how many events were written."""
    if batches.count == 0:
        text = "wrote nothing"
    elif batches.count == 1:
        text = f"wrote 1 event, id {batches.last_id}"
    else:
        text = f"wrote {batches.count:,} events, ids {batches.first_id} to {batches.last_id}"
    click.echo(f"({text})", err=True)
