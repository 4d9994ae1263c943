"""With what checkpoints are signed, read from its file, and how witnesses are asked to cosign."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from everlog._version import __version__
from everlog.credentials.given_files import read_given_file
from everlog.domain.checkpoint import CheckpointKey
from everlog.domain.errors import SettingsError
from everlog.domain.note import WitnessAddress
from everlog.outgoing import post
from everlog.service.proving.checkpoints import CheckpointOptions
from everlog.service.proving.witnesses import ANSWER_SIZE_MAX, Answer

_FLAG: Final = "--checkpoint-key-file"

# No two keys are as large as that.
_FILE_SIZE_MAX: Final = 1024 * 1024

_HEADERS: Final = {
    "User-Agent": f"Everlog/{__version__}",
    "Content-Type": "text/plain; charset=utf-8",
}


def load_checkpoint_options(
    path: Path | None, origin: str | None, witnesses: Sequence[WitnessAddress]
) -> CheckpointOptions | None:
    """Return with what checkpoints are made, None without a key file.

    Raises:
        SettingsError: The file cannot be read, or has other keys.
    """
    if path is None:
        return None
    assert origin is not None
    pem = read_given_file(_FLAG, path, size_max=_FILE_SIZE_MAX)
    try:
        key = CheckpointKey.from_pem(pem)
    except SettingsError as error:
        message = f"{_FLAG} {path}: {error}"
        raise SettingsError(message) from error
    return CheckpointOptions(key=key, origin=origin, witnesses=witnesses, post=_post)


def _post(url: str, body: bytes) -> Answer:
    return Answer(*post(url, body, _HEADERS, size_max=ANSWER_SIZE_MAX))
