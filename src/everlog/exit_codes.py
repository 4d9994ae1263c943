"""The exit codes that commands share; a page and `--help` say what to do about each."""

from typing import Final

EXIT_OK: Final = 0
EXIT_UNEXPECTED: Final = 1
EXIT_SETTINGS: Final = 2
EXIT_DATA_DIRECTORY: Final = 3
EXIT_DAMAGED: Final = 4
EXIT_CANNOT_LISTEN: Final = 5
