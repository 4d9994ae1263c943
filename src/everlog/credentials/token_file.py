"""The token file: one token, or two while one is exchanged for the other, each on a line.

Guarantees that what was read is overwritten once the digests are known.
"""

from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

from everlog.api.auth import TOKENS_MAX, ApiToken, parse_token
from everlog.domain.errors import SettingsError

# Two lines that a header could still carry.
FILE_SIZE_MAX: Final = 16 * 1024


def load_token_file(path: Path) -> tuple[ApiToken, ...]:
    """Return the tokens in a file.

    Raises:
        SettingsError: It cannot be read, or does not hold one or two tokens.
    """
    content = bytearray(FILE_SIZE_MAX + 1)
    try:
        with path.open("rb", buffering=0) as file:
            size = _fill(content, file)
        return _parse_lines(content, size)
    except OSError as error:
        raise SettingsError(f"--api-token-file {path} cannot be read: {error.strerror}") from error
    except SettingsError as error:
        raise SettingsError(f"--api-token-file {path}: {error}") from error
    finally:
        content[:] = bytes(len(content))


def _fill(content: bytearray, file: FileIO) -> int:
    """Read the file, which may be a pipe, into a buffer that can be overwritten afterwards."""
    size = 0
    with memoryview(content) as view:
        while count := file.readinto(view[size:]):
            size += count
    return size


def _parse_lines(content: bytearray, size: int) -> tuple[ApiToken, ...]:
    if size > FILE_SIZE_MAX:
        raise SettingsError(f"the file is larger than {FILE_SIZE_MAX} bytes")
    lines = tuple(_split_lines(content, size))
    if not 1 <= len(lines) <= TOKENS_MAX:
        raise SettingsError(
            f"there are {len(lines)} tokens in it, one a line; it must be one, "
            "or two while one is exchanged for the other"
        )
    return tuple(parse_token(line) for line in lines)


def _split_lines(content: bytearray, size: int) -> Iterator[memoryview]:
    """Yield the lines that are not empty, without a copy that would be left behind."""
    start = 0
    while start < size:
        end = content.find(b"\n", start, size)
        end = size if end < 0 else end
        # Editors of another system end lines with CR and LF.
        trimmed = end - 1 if end > start and content[end - 1] == ord("\r") else end
        if trimmed > start:
            yield memoryview(content)[start:trimmed]
        start = end + 1
