"""Terminals for commands under test."""

import codecs
import fcntl
import os
import pty
import select
import struct
import termios
import time

from tests.support.server import DEADLINE_SECONDS


class Terminal:
    """A terminal of some width, and what is shown on it."""

    def __init__(self, *, columns: int) -> None:
        self._reading, self.file = pty.openpty()
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, size)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        # What was read, and not asked for so far.
        self._shown = ""

    def close_for_writing(self) -> None:
        """Leave writing to the processes that have it."""
        os.close(self.file)

    def type(self, text: str) -> None:
        """Type a text, as a person does."""
        os.write(self._reading, text.encode())

    def read_until(self, text: str) -> str:
        """Return what is shown up to some text; what is behind it is read next."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self._shown:
            seconds = max(0.0, deadline - time.monotonic())
            assert select.select([self._reading], [], [], seconds)[0], self._shown
            part = os.read(self._reading, 65_536)
            assert part, self._shown
            self._shown += self._decode(part)
        before, found, self._shown = self._shown.partition(text)
        return before + found

    def read_all(self) -> str:
        """Return all that is shown until nobody can write any more."""
        try:
            while part := os.read(self._reading, 65_536):
                self._shown += self._decode(part)
        except OSError:
            # As Linux says that nobody writes any more.
            pass
        os.close(self._reading)
        return self._shown.replace("\r\n", "\n")
