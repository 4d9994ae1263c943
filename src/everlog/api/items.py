"""Items: what stored lines become on their way to a client of either version.

A stored line is a v1 item already. For v2 its beginning is exchanged; with a signing key the
`null` at its end gives way to a signature, which is computed here and never stored.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from everlog.domain.signature import SigningKey, sign
from everlog.service.reader import AS_STORED, Transform
from everlog.storage.engine import CachedBlock
from everlog.storage.line import LINE_PREFIX

V2_LINE_PREFIX: Final = b'{"type":"event","data":'

# With spaces that JSON ignores it is as long as what it stands in the place of, and differs from
# it only in the last ten bytes: two words of eight that overlap.
_V2_TAIL: Final = V2_LINE_PREFIX.ljust(len(LINE_PREFIX))[-10:]
_WORD: Final = np.dtype("<u8")
_V2_WORDS: Final = tuple(
    (len(LINE_PREFIX) - 10 + place, np.frombuffer(_V2_TAIL, _WORD, count=1, offset=place)[0])
    for place in (0, 2)
)

# Enough for the events that many observers get at the same time; a signature takes 50 times as
# long to compute as to look up.
_SIGNATURES_KEPT: Final = 4_096

_UNSIGNED: Final = b'"signature":null}'
_HASH_KEY: Final = b'"hash":"'


class EventForm:
    """How events leave the server: in which envelope, and with which signature."""

    def __init__(self, signing_key: SigningKey | None) -> None:
        """Leave signatures `null` without a key."""
        self.signing_key: Final = signing_key
        self._signature: Callable[[str], str] | None = None
        if signing_key is not None:
            key = signing_key
            self._signature = lru_cache(_SIGNATURES_KEPT)(lambda hash_: sign(key, hash_))

    @property
    def v1(self) -> Transform:
        """From stored lines to v1 items."""
        if self._signature is None:
            return AS_STORED
        return Transform(self._sign_lines, None)

    @property
    def v2(self) -> Transform:
        """From stored lines to v2 items."""
        if self._signature is None:
            return Transform(_to_v2, _overwrite_with_v2)
        return Transform(lambda lines: _to_v2(self._sign_lines(lines)), None)

    def event(self, event_json: bytes, hash_: str) -> bytes:
        """Return one event's JSON text, signed if there is a key."""
        if self._signature is None:
            return event_json
        assert event_json.endswith(_UNSIGNED)
        return b'%b"%b"}' % (event_json[: -len(b"null}")], self._signature(hash_).encode())

    def _sign_lines(self, lines: bytes) -> bytes:
        return b"".join(map(self._sign_line, lines.splitlines(keepends=True)))

    def _sign_line(self, line: bytes) -> bytes:
        assert self._signature is not None
        # Searched from the end: data may hold anything, what follows it may not.
        end = line.rindex(_UNSIGNED)
        hash_ = line[line.rindex(_HASH_KEY, 0, end) + len(_HASH_KEY) : end - len('",')].decode()
        value = end + len('"signature":')
        return b'%b"%b"%b' % (
            line[:value],
            self._signature(hash_).encode(),
            line[value + len("null") :],
        )


def _to_v2(lines: bytes) -> bytes:
    # Line feeds occur at line ends only: inside JSON they are escaped. Splitting and joining takes
    # two thirds of the time of replacing, which looks for each prefix twice.
    parts = lines.split(b"\n" + LINE_PREFIX)
    parts[0] = V2_LINE_PREFIX + parts[0][len(LINE_PREFIX) :]
    return (b"\n" + V2_LINE_PREFIX).join(parts)


def _overwrite_with_v2(block: CachedBlock) -> None:
    starts = np.asarray(block.offsets, np.uint64)
    starts = (starts - starts[0]).astype(np.intp)
    # A word at each byte, so that those of all lines are written by one call of numpy.
    count = len(block.lines) - _WORD.itemsize + 1
    words: npt.NDArray[np.uint64] = np.ndarray(count, _WORD, block.lines, strides=(1,))
    for place, word in _V2_WORDS:
        words[starts + place] = word
