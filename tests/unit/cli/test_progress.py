"""Progress: shown to whoever looks, not too soon and not too often."""

import sys
from functools import partial

import pytest

from everlog.cli.printing import count_things, describe_rows
from everlog.cli.progress import Progress, describe_events, describe_seconds


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_comes_after_a_while_is_renewed_now_and_then_and_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    clock = Clock()
    progress = Progress(clock=clock)
    shown = []
    for seconds in (0.0, 0.4, 0.2, 0.2, 0.1):
        clock.now += seconds
        progress.tell(lambda seconds: f"{seconds:.1f} " + "x" * 50)
        shown.append(capsys.readouterr().err)

    assert shown == ["", "", "\r0.6 " + "x" * 15 + "\x1b[K", "", "\r0.9 " + "x" * 15 + "\x1b[K"]
    progress.clear()
    progress.clear()
    assert capsys.readouterr().err == "\r\x1b[K"


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    clock.now += 10
    progress.tell(partial(describe_rows, 1))
    progress.clear()

    assert capsys.readouterr().err == ""
    assert progress.seconds == 10


def test_a_process_without_standard_error_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)

    Progress().tell(partial(describe_rows, 1))


@pytest.mark.parametrize(
    "text, expected",
    [
        (describe_events(250, 1_000, 0.5), "25% of 1,000 events, 500 events/s, 1.5 s left"),
        (describe_events(1_200, 1_000, 1.0), "100% of 1,000 events, 1,200 events/s, 0 ms left"),
        (describe_rows(1_234, 70.0), "1,234 rows, 1 min 10 s"),
        (count_things(1, "row"), "1 row"),
        (count_things(0, "row"), "0 rows"),
        (describe_seconds(0.0123), "12 ms"),
        (describe_seconds(3.21), "3.2 s"),
    ],
)
def test_figures_are_for_people(text: str, expected: str) -> None:
    assert text == expected
