"""Frames of zstd: each stands alone, and what is torn or damaged is told apart."""

import sys
from collections.abc import Iterator

import click
import pytest

from everlog.cli.backing_up import compression
from everlog.cli.backing_up.compression import (
    MAGIC,
    CompressionError,
    TornFrameError,
    check_is_installed,
    compress,
    decompress,
    decompress_frames,
)

PARTS = [b"a" * 3_000_000, b"b\n", bytes(range(256)) * 40]
FRAMES = [compress(part) for part in PARTS]
WHOLE = b"".join(FRAMES)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 100, 1_000_000])
def test_frames_are_read_in_any_pieces(size: int) -> None:
    assert WHOLE.startswith(MAGIC)

    found = list(decompress_frames(pieces(WHOLE, size)))

    assert b"".join(data for _, data in found) == b"".join(PARTS)
    # However much a few bytes grow to.
    assert max(len(data) for _, data in found) <= 1024 * 1024
    ends = [len(b"".join(FRAMES[:count])) for count in range(4)]
    assert sorted({whole_size for whole_size, _ in found} | {0}) == ends


@pytest.mark.parametrize("missing", [1, len(FRAMES[2]) - 1])
def test_a_torn_frame_is_told(missing: int) -> None:
    found: list[tuple[int, bytes]] = []

    with pytest.raises(TornFrameError, match="in the middle of a frame"):
        found.extend(decompress_frames(pieces(WHOLE[:-missing], 1000)))

    # Nothing is lost of what came before.
    assert found[-1][0] == len(FRAMES[0] + FRAMES[1])
    assert b"".join(PARTS).startswith(b"".join(data for _, data in found))


def test_damage_is_told() -> None:
    damaged = bytearray(WHOLE)
    damaged[-10] ^= 1

    with pytest.raises(CompressionError):
        list(decompress([bytes(damaged)]))
    with pytest.raises(CompressionError):
        list(decompress([WHOLE + b"something else"]))


def test_who_has_no_zstd_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check_is_installed()
    module = "compression" if sys.version_info >= (3, 14) else "backports"
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(click.UsageError, match=r"pip install 'everlog\[zstd\]'"):
        compression.compress(b"")
