"""Files for what was made: from their first moment for their owner only, and replacing nothing."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from everlog.domain.errors import SettingsError

_FILE_MODE: Final = 0o600


class Pair(NamedTuple):
    """A secret and what belongs to it in public, both as PEM."""

    private: bytes
    public: bytes


def write_new_files(contents: Mapping[Path, bytes]) -> None:
    """Write files that must not be there yet: all of them, or none.

    Raises:
        SettingsError: One is there, or cannot be written.
    """
    written: list[Path] = []
    try:
        for path, content in contents.items():
            # O_EXCL does not follow a symbolic link either.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
            written.append(path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
    except OSError as error:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise _refused(Path(error.filename or written[-1]), error) from error


def _refused(path: Path, error: OSError) -> SettingsError:
    if isinstance(error, FileExistsError):
        return SettingsError(f"{path} exists already, and nothing is replaced: name another file")
    return SettingsError(f"{path} cannot be written: {error.strerror}")
