"""The log: which lines are written, what an unexpected error tells, and that it never raises."""

import asyncio
import errno
import io
import json
import os

import pytest

from everlog.telemetry import LEVELS, Level, Log, catch_errors_of_loop

NOON = 1_800_000_000_000_000_005


def lines_of(level: Level) -> list[dict[str, object]]:
    output = io.StringIO()
    log = Log(level=level, output=output, clock=lambda: NOON)
    for write in (log.debug, log.info, log.warning, log.error, log.fatal):
        write("hello", number=1)
    return [json.loads(line) for line in output.getvalue().splitlines()]


@pytest.mark.parametrize("level", Level)
def test_lines_below_the_level_are_left_out(level: Level) -> None:
    lines = lines_of(level)

    assert [line["level"] for line in lines] == list(LEVELS[level:])
    for line in lines:
        assert list(line) == ["time", "level", "message", "number"]
        assert line["time"] == "2027-01-15T08:00:00.000000005Z"


def raise_chained() -> None:
    try:
        {}["secret"]
    except KeyError as error:
        raise ValueError("secret") from error


def test_an_unexpected_error_tells_where_and_not_what() -> None:
    output = io.StringIO()
    log = Log(output=output)
    try:
        raise_chained()
    except ValueError as error:
        log.bug(error)

    line = json.loads(output.getvalue())
    assert line["error"] == "ValueError"
    assert "KeyError" in line["traceback"]
    assert line["traceback"].count("in raise_chained") == 2
    # The line of the source is shown, not what was raised.
    assert line["traceback"].count("secret") == line["traceback"].count('["secret"]') + 1
    assert log.bug_count == 1


def test_a_circle_of_causes_has_an_end() -> None:
    output = io.StringIO()
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first

    Log(output=output).bug(first)

    assert json.loads(output.getvalue())["traceback"].count("ValueError") < 10


class BrokenOutput(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_log_that_cannot_be_written_keeps_nobody_from_anything() -> None:
    closed = io.StringIO()
    closed.close()

    for output in (BrokenOutput(), closed):
        Log(output=output).fatal("hello")


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
    output = io.StringIO()
    loop = asyncio.new_event_loop()
    catch_errors_of_loop(Log(output=output), loop, on_step_lost=lambda: lost.append(True))

    loop.call_exception_handler({"message": "Exception in callback", "exception": error, **context})
    loop.close()

    assert lost == [True] * ends
    assert type(error).__name__ in output.getvalue()
