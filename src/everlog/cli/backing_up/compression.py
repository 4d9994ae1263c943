"""Compression with zstd, in frames that stand alone.

A file is a row of frames, each with whole lines in it. So what was written before something went
wrong can be read to the last frame that is whole, and be gone on with behind it.
The library is part of Python from 3.14 on, and an extra of Everlog before
(docs/adr/0030-a-backup-becomes-a-store-at-once.md).
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import click

SUFFIX: Final = ".zst"
MAGIC: Final = b"\x28\xb5\x2f\xfd"

# Level 3 of 22, which keeps up with everything else.
_LEVEL: Final = 3

# What is given back at once, whatever a few bytes may grow to.
_BLOCK_SIZE: Final = 1024 * 1024

_INSTALL_HINT: Final = (
    "zstd is not installed: run pip install 'everlog[zstd]', or use a file that is not compressed"
)


class CompressionError(Exception):
    """What is compressed is damaged."""


class TornFrameError(CompressionError):
    """What is compressed ends before its end."""


def compress(data: bytes) -> bytes:
    """Return a whole frame."""
    zstd = _zstd()
    # With a checksum, so that damage is seen where it is.
    options = {
        zstd.CompressionParameter.compression_level: _LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    compressed: bytes = zstd.compress(data, options=options)
    return compressed


def decompress(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what blocks of a compressed file hold, some of it at a time.

    Raises:
        TornFrameError: The last frame is not whole; all before it has been yielded, and some of it.
        CompressionError: It is damaged.
    """
    for _, data in decompress_frames(blocks):
        yield data


def decompress_frames(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the same, each with how many bytes of the file the whole frames so far take.

    Raises what `decompress` does.
    """
    zstd = _zstd()
    decompressor: Any = None
    size = whole_size = 0
    for block in blocks:
        size += len(block)
        rest = block
        while rest or (decompressor is not None and not decompressor.needs_input):
            decompressor = decompressor or zstd.ZstdDecompressor()
            try:
                data = decompressor.decompress(rest, _BLOCK_SIZE)
            except (zstd.ZstdError, EOFError) as error:
                raise CompressionError(str(error)) from error
            rest = b""
            if decompressor.eof:
                rest = decompressor.unused_data
                whole_size = size - len(rest)
                decompressor = None
            yield whole_size, data
    if decompressor is not None:
        raise TornFrameError("it ends in the middle of a frame")


def check_is_installed() -> None:
    """Say how to install what is missing, before anything is begun; raises UsageError."""
    _zstd()


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise click.UsageError(_INSTALL_HINT) from error
    return zstd
