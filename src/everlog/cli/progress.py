"""How far a command is, in one line on standard error.

It is written again and again, and gone at the end. It is not shown where nobody looks, nor at once:
most work is quick.
"""

import shutil
import sys
import time
from collections.abc import Callable
from typing import Final

import click

_SHOWN_AFTER_SECONDS: Final = 0.5
_SHOWN_EVERY_SECONDS: Final = 0.25


class Progress:
    """The line; whoever prints anything else clears it first."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count the time."""
        self._clock: Final = clock
        self.is_watched: Final = _is_watched()
        self._started: Final = clock()
        self._due = self._started + _SHOWN_AFTER_SECONDS
        self._is_shown = False

    @property
    def seconds(self) -> float:
        """How long it has taken until now."""
        return self._clock() - self._started

    def tell(self, describe: Callable[[float], str]) -> None:
        """Show how far it is if that is due; the text is made of the seconds so far."""
        if self.is_watched and self._clock() >= self._due:
            self._due = self._clock() + _SHOWN_EVERY_SECONDS
            self._is_shown = True
            text = describe(self.seconds)[: shutil.get_terminal_size().columns - 1]
            _show(f"\r{text}\033[K")

    def clear(self) -> None:
        """Make room for something else."""
        if self._is_shown:
            self._is_shown = False
            _show("\r\033[K")


def describe_events(done: int, total: int, seconds: float) -> str:
    """Return how far the reading of events is, how fast it is, and how long it will take."""
    rate = done / max(seconds, 1e-9)
    seconds_left = max(0, total - done) / max(rate, 1e-9)
    return (
        f"{min(1.0, done / max(1, total)):.0%} of {total:,} events, "
        f"{rate:,.0f} events/s, {describe_seconds(seconds_left)} left"
    )


def describe_seconds(seconds: float) -> str:
    """Return a duration as people read it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _show(text: str) -> None:
    click.echo(text, nl=False, err=True)
