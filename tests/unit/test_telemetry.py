"""The log: which lines are written, what an unexpected error tells, and that it never raises."""

import asyncio
import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from everlog import telemetry
from everlog.telemetry import (
    LEVELS,
    LOG_FORMATS,
    WAITING_SIZE_MAX,
    Level,
    Log,
    Seldom,
    catch_errors_of_loop,
)
from everlog.texts import to_unicode
from tests.support.logs import KeptLog
from tests.support.terminals import Terminal

DROPPED = "lines of this log were dropped"

NOON = 1_800_000_000_000_000_005


def lines_of(level: Level) -> list[dict[str, object]]:
    kept = KeptLog(level=level, clock=lambda: NOON)
    log = kept.log
    for write in (log.debug, log.info, log.warning, log.error, log.fatal):
        write("hello", number=1)
    lines = kept.lines
    kept.close()
    return lines


@pytest.mark.parametrize("level", Level)
def test_lines_below_the_level_are_left_out(level: Level) -> None:
    lines = lines_of(level)

    assert [line["level"] for line in lines] == list(LEVELS[level:])
    for line in lines:
        assert list(line) == ["time", "level", "message", "number"]
        assert line["time"] == "2027-01-15T08:00:00.000000005Z"


FIELDS = {
    "url": "http://127.0.0.1:3000",
    "count": 3,
    "empty": "",
    "reason": "it hangs",
    "path": Path("\x1b[2J\udcff"),
    "options": {"http": True, "source": "", "key": None, "port": 0},
}

# What a person reads of these.
SHOWN = (
    "2027-01-15T08:00:00.000Z {level} a\\x1b[1mmessage  url=http://127.0.0.1:3000  count=3  "
    'empty=""  reason="it hangs"  path=\\x1b[2J\\xff  options={{"http":true,"port":0}}\n'
)


def shown_at(columns: int, **options: Any) -> str:
    """Return what a terminal shows of a line."""
    terminal = Terminal(columns=columns)
    log = Log(file=terminal.file, clock=lambda: NOON, **options)
    log.warning("a\x1b[1mmessage", **FIELDS)
    log.flush()
    terminal.close_for_writing()
    return terminal.read_all()


def test_a_terminal_shows_what_a_person_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert shown_at(80, form="auto") == SHOWN.format(level="\033[33mWARN \033[0m")

    monkeypatch.setenv("NO_COLOR", "1")
    assert shown_at(80, form="auto") == SHOWN.format(level="WARN ")
    assert shown_at(80, form="text") == SHOWN.format(level="WARN ")
    assert json.loads(shown_at(80, form="json"))["message"] == "a\x1b[1mmessage"


def test_elsewhere_text_is_what_was_asked_for_and_json_what_was_not() -> None:
    kept = {form: KeptLog(form=form, clock=lambda: NOON) for form in LOG_FORMATS}
    for each in kept.values():
        each.log.warning("a\x1b[1mmessage", **FIELDS)

    assert kept["text"].text == SHOWN.format(level="WARN ")
    assert kept["auto"].text == kept["json"].text
    assert kept["auto"].lines[0]["count"] == 3
    for each in kept.values():
        each.close()


def test_as_text_a_traceback_stands_below_its_line() -> None:
    kept = KeptLog(form="text", clock=lambda: NOON)
    try:
        raise_chained()
    except ValueError as error:
        kept.log.bug(error)

    first, *below = kept.text.splitlines()
    kept.close()
    assert first.endswith("ERROR unexpected error  error=ValueError")
    assert len(below) > 4
    assert all(line.startswith("    ") for line in below)


def raise_chained() -> None:
    try:
        {}["secret"]
    except KeyError as error:
        raise ValueError("secret") from error


def test_an_unexpected_error_tells_where_and_not_what() -> None:
    kept = KeptLog()
    try:
        raise_chained()
    except ValueError as error:
        kept.log.bug(error)

    (line,) = kept.lines
    kept.close()
    assert line["error"] == "ValueError"
    assert "KeyError" in line["traceback"]
    assert line["traceback"].count("in raise_chained") == 2
    # The line of the source is shown, not what was raised.
    assert line["traceback"].count("secret") == line["traceback"].count('["secret"]') + 1
    assert kept.log.bug_count == 1


def test_a_circle_of_causes_has_an_end() -> None:
    kept = KeptLog()
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first

    kept.log.bug(first)

    (line,) = kept.lines
    assert line["traceback"].count("ValueError") < 10
    kept.close()


def count_of(lines: Iterable[bytes]) -> tuple[list[int], list[int]]:
    """Return the numbers that came through, and how many are said to be missing each time."""
    found = [json.loads(line) for line in lines]
    gaps = [line["count"] for line in found if line["message"].startswith(DROPPED)]
    return [line["number"] for line in found if "number" in line], gaps


@pytest.mark.parametrize("is_blocking", [True, False])
def test_lines_that_nobody_takes_are_dropped_and_counted(*, is_blocking: bool) -> None:
    """The log waits for nobody, keeps no more than it says, and says what is missing in place."""
    reading, writing = os.pipe()
    os.set_blocking(writing, is_blocking)
    log = Log(file=writing)
    text = "x" * 1_000
    count = 2 * WAITING_SIZE_MAX // len(text)
    for number in range(count):
        log.info("hello", number=number, text=text)
    # As at the end of a server: it is not waited for long.
    log.flush()

    with os.fdopen(reading, "rb") as pipe:
        lines: list[bytes] = []
        seen = 0
        while seen < count:
            lines.append(next(pipe))
            seen += json.loads(lines[-1]).get("count", 1)
        os.close(writing)
    numbers, gaps = count_of(lines)
    assert gaps
    assert numbers == sorted(numbers)
    # A pipe takes 64 KiB on its own.
    assert WAITING_SIZE_MAX // 2 < len(text) * len(numbers) < 3 * WAITING_SIZE_MAX // 2


def test_how_many_lines_were_dropped_is_said_before_the_next_one() -> None:
    reading, writing = os.pipe()
    log = Log(file=writing)
    output = log._output
    with output._changed:
        # Nothing is taken meanwhile.
        log.info("hello", number=0)
        log.info("hello", text="x" * WAITING_SIZE_MAX)
        log.info("hello", text="x" * WAITING_SIZE_MAX)
        log.info("hello", number=3)

    with os.fdopen(reading, "rb") as pipe:
        lines = [next(pipe) for _ in range(3)]
        os.close(writing)
    assert [json.loads(line).get("count") for line in lines] == [None, 2, None]
    assert count_of(lines) == ([0, 3], [2])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EPIPE, errno.EBADF])
def test_a_log_that_cannot_be_written_goes_on_when_it_can(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """What was written of a line that failed stays on a line of its own."""
    kept = KeptLog()
    write, taken = os.write, [7, None, None, None]

    def fail(file: int, data: bytes) -> int:
        if taken:
            size = taken.pop(0)
            if size is None:
                raise OSError(code, os.strerror(code))
            return write(file, data[:size])
        return write(file, data)

    monkeypatch.setattr(telemetry.os, "write", fail)
    for number in range(4):
        kept.log.info("hello", number=number)
    kept.log.flush()
    torn, *lines = kept.text.splitlines()
    kept.close()

    assert torn == '{"time"'
    assert count_of(line.encode() for line in lines) == ([3], [3])


def test_a_descriptor_that_is_closed_keeps_nobody_from_anything() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)

    log = Log(file=writing)
    log.fatal("hello")
    log.flush()


def test_a_path_that_is_not_utf_8_is_shown_with_escapes() -> None:
    kept = KeptLog()
    path = os.fsdecode(b"/tmp/\xff\xc3\xa4")

    kept.log.info(path, path=Path(path), options={"directory": path, "all": [path, 1, None]})

    shown = "/tmp/\\xff\u00e4"
    (line,) = kept.lines
    assert line["message"] == line["path"] == shown
    assert line["options"] == {"directory": shown, "all": [shown, 1, None]}
    kept.close()
    # What no path has.
    assert to_unicode("\ud800") == "\\ud800"


@pytest.mark.parametrize(
    "error, context, ends",
    [
        (MemoryError(), {"handle": object()}, True),
        # The connection is cut: nobody waits for it.
        (MemoryError(), {"transport": object()}, False),
        (ValueError(), {"handle": object()}, False),
    ],
)
def test_a_step_of_the_loop_without_memory_is_told_apart(
    error: Exception, context: dict[str, object], *, ends: bool
) -> None:
    lost: list[bool] = []
    kept = KeptLog()
    loop = asyncio.new_event_loop()
    catch_errors_of_loop(kept.log, loop, on_step_lost=lambda: lost.append(True))

    loop.call_exception_handler({"message": "Exception in callback", "exception": error, **context})
    loop.close()

    assert lost == [True] * ends
    assert type(error).__name__ in kept.text
    kept.close()


def test_what_is_said_seldom_is_said_once_a_minute_and_counted() -> None:
    now = 100.0
    told: list[tuple[str, dict[str, object]]] = []
    tell = Seldom(lambda message, **fields: told.append((message, fields)), clock=lambda: now)

    for now in (100.0, 100.0, 130.0, 159.9, 160.0, 161.0, 300.0, 400.0):
        tell("something", at=now)

    assert told == [
        ("something", {"at": 100.0}),
        ("something", {"at": 160.0, "untold": 3}),
        ("something", {"at": 300.0, "untold": 1}),
        ("something", {"at": 400.0}),
    ]
