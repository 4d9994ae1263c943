"""Terminals for commands under test."""

import fcntl
import os
import pty
import struct
import termios


class Terminal:
    """A terminal of some width, and what is shown on it."""

    def __init__(self, *, columns: int) -> None:
        self._reading, self.file = pty.openpty()
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, size)

    def close_for_writing(self) -> None:
        """Leave writing to the processes that have it."""
        os.close(self.file)

    def type(self, text: str) -> None:
        """Type a text, as a person does."""
        os.write(self._reading, text.encode())

    def read_until(self, text: str) -> str:
        """Return what is shown up to some text."""
        shown = ""
        while text not in shown:
            part = os.read(self._reading, 65_536).decode()
            assert part
            shown += part
        return shown

    def read_all(self) -> str:
        """Return all that is shown until nobody can write any more."""
        parts = []
        try:
            while part := os.read(self._reading, 65_536):
                parts.append(part)
        except OSError:
            # As Linux says that nobody writes any more.
            pass
        os.close(self._reading)
        return b"".join(parts).decode().replace("\r\n", "\n")
