"""The chunked coding (RFC 9112 section 7.1), for whole bodies and for bodies that consist of lines.

Some clients take every piece that HTTP delivers for a line of its own, so that a body of lines can
be sent with one chunk for each. The chunks of a block leave in one send, and nothing waits.
A chunk size may begin with zeros: where there are many lines, all sizes have as many digits, so
that room for them is made in one go, and they are written into it in another.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

FINAL_CHUNK: Final = b"0\r\n\r\n"

# In so few bytes, a step of the interpreter for each line costs less than calling numpy.
_SMALL_SIZE: Final = 16 * 1024

# Digits of a size, and the words of as many bytes; nearly all lines need no more than four.
_WORDS: Final = ((4, np.dtype(np.uint32)), (8, np.dtype(np.uint64)))
_DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)

_END: Final = b"\r\n"

# Items of memoryviews are bytes here.
Buffer = bytes | bytearray | memoryview


def frame(data: Buffer) -> tuple[Buffer, ...]:
    """Return one chunk that holds all of the bytes, in parts; none for none, which would end it."""
    return (b"%x\r\n" % len(data), data, _END) if data else ()


def frame_lines(lines: Buffer, starts: Sequence[int] | None = None) -> tuple[Buffer, ...]:
    """Return whole lines, each with its line feed, as one chunk a line, in parts.

    `starts` says where each line begins, counted from any offset; without it they are looked for.
    """
    assert not lines or lines[-1] == ord("\n")
    if len(lines) <= _SMALL_SIZE:
        found = bytes(lines).split(b"\n")[:-1]
        return (b"".join([b"%x\r\n%b\n\r\n" % (len(line) + 1, line) for line in found]),)
    sizes = _sizes_between(starts, len(lines)) if starts is not None else _sizes(lines)
    digits, word = next(entry for entry in _WORDS if int(sizes.max()) < 16 ** entry[0])
    overhead = len(_END) + digits + len(_END)
    # The first size stands before, and the last gap holds one line break and nothing else.
    framed = bytearray(lines).replace(b"\n", b"\n" + _END + b"0" * digits + _END)
    ends = np.cumsum(sizes + overhead) - len(_END) - digits
    words: npt.NDArray[np.unsignedinteger] = np.ndarray(
        len(framed) - word.itemsize + 1, word, framed, strides=(1,)
    )
    words[ends[:-1]] = _hexadecimal(sizes[1:], digits).view(word)[:, 0]
    return b"%x\r\n" % int(sizes[0]), memoryview(framed)[: -digits - len(_END)]


def _sizes_between(starts: Sequence[int], size: int) -> npt.NDArray[np.intp]:
    """Return the size of each line by where they begin and how large all of them are."""
    begins = np.asarray(starts, np.uint64).astype(np.intp)
    return np.diff(begins, append=begins[0] + size)


def _sizes(lines: Buffer) -> npt.NDArray[np.intp]:
    """Return the size of each line."""
    found = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n"))
    return np.diff(found, prepend=-1)


def _hexadecimal(numbers: npt.NDArray[np.intp], digits: int) -> npt.NDArray[np.uint8]:
    """Return a row of so many digits for each number, as ASCII."""
    nibbles: npt.NDArray[np.intp] = (numbers[:, None] >> np.arange(4 * (digits - 1), -1, -4)) & 0xF
    return _DIGITS[nibbles]
