"""The process as it was handed to us: its descriptors, its signals, and who listens to them.

Whoever starts a program may have closed descriptors, blocked signals, or send one in the first
millisecond. So this is imported before anything that takes time, and imports next to nothing.

Guarantees that nothing which is opened later becomes standard input, output or error; and that
signals interrupt nothing: a thread of their own takes them, also while the others are busy, or
stuck in a disk that does not answer.
What is left to others: what a server does when it is told to stop (`bootstrap`).
"""

# Constants have no `Final` here: importing `typing` takes longer than all the rest.
import _thread
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from everlog.exit_codes import EXIT_INTERRUPTED, EXIT_OK

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_SIGNALS = _STOP_SIGNALS | {signal.SIGHUP}

_STANDARD_DESCRIPTORS = (0, 1, 2)


def begin(*, is_server: bool) -> None:
    """Make of what was inherited what a program may rely on, before it does anything else.

    Until a server says otherwise, it ends at once and in order when it is told to stop. Any other
    command does so when it is interrupted, until `let_interrupt`.
    """
    fill_standard_descriptors()
    if is_server:
        SIGNALS.take()
    else:
        end_when_interrupted()


def end_when_interrupted() -> None:
    """End without a word when somebody presses Ctrl+C, as long as there is nothing to clean up."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))


def let_interrupt() -> None:
    """Raise KeyboardInterrupt from now on, for a command that has something to clean up."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def fill_standard_descriptors() -> None:
    """Open /dev/null where standard input, output or error was closed.

    The next file or socket would have its number, and be written to by whoever writes a message.
    """
    for number in _STANDARD_DESCRIPTORS:
        try:
            os.fstat(number)
        except OSError:
            # The lowest that is free, and those below are taken.
            file = os.open(os.devnull, os.O_RDWR)
            assert file == number
            # As every other standard descriptor, it is handed on to processes that are started.
            os.set_inheritable(file, True)  # noqa: FBT003 - it takes no keyword.


def give_up_output() -> None:
    """Lead standard output nowhere: nobody reads it, or it cannot be written.

    Python would try once more when it closes it, and complain.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class Signals:
    """Takes signals, and tells the server of them, as soon as there is one that wants to know."""

    def __init__(self) -> None:
        """Take none yet."""
        self._is_taking = False
        self._stop: Callable[[signal.Signals], None] = _end_at_once
        self._hang_up: Callable[[], None] | None = None
        self._has_hung_up = False

    def take(self) -> None:
        """Take signals from now on; to be called before there are other threads."""
        if self._is_taking:
            return
        self._is_taking = True
        for number in _SIGNALS:
            # One that was inherited as ignored would never come.
            signal.signal(number, lambda number, _: self._receive(signal.Signals(number)))
        # Who started us may have asked not to be told of children, which libraries have to know.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Every thread and process that is started inherits the mask; what else was blocked is not.
        signal.pthread_sigmask(signal.SIG_SETMASK, _SIGNALS)
        _thread.start_new_thread(self._run, ())

    def tell(
        self, *, on_stop: Callable[[signal.Signals], None], on_hangup: Callable[[], None]
    ) -> None:
        """Call these from now on, on a thread of no event loop; for a SIGHUP that came, at once."""
        self._stop = on_stop
        self._hang_up = on_hangup
        self._tell_of_hangup()

    def _run(self) -> None:
        while True:
            # For what one is to do there may be no memory; the next one is heard all the same.
            with suppress(Exception):
                self._receive(signal.Signals(signal.sigwait(_SIGNALS)))

    def _receive(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self._has_hung_up = True
            self._tell_of_hangup()
        else:
            self._stop(number)

    def _tell_of_hangup(self) -> None:
        # Two threads may both see that it came, and reading again twice harms nobody.
        if self._has_hung_up and self._hang_up is not None:
            self._has_hung_up = False
            self._hang_up()


def _end_at_once(_: signal.Signals) -> None:
    """End the process as it was asked to: there is nothing yet that could end in order."""
    os._exit(EXIT_OK)


SIGNALS = Signals()
