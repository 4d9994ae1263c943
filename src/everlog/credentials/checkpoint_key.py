"""With what checkpoints are signed, read from its file."""

from pathlib import Path
from typing import Final

from everlog.credentials.given_files import read_given_file
from everlog.domain.checkpoint import CheckpointKey
from everlog.domain.errors import SettingsError

_FLAG: Final = "--checkpoint-key-file"

# No two keys are as large as that.
_FILE_SIZE_MAX: Final = 1024 * 1024


def load_checkpoint_key(path: Path) -> CheckpointKey:
    """Return the key in a file.

    Raises:
        SettingsError: The file cannot be read, or has other keys.
    """
    pem = read_given_file(_FLAG, path, size_max=_FILE_SIZE_MAX)
    try:
        return CheckpointKey.from_pem(pem)
    except SettingsError as error:
        message = f"{_FLAG} {path}: {error}"
        raise SettingsError(message) from error
