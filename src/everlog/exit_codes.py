"""The exit codes that commands share; a page and `--help` say what to do about each."""

# Without `Final`, for which `process` has no time.
EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_SETTINGS = 2
EXIT_DATA_DIRECTORY = 3
EXIT_DAMAGED = 4
EXIT_CANNOT_LISTEN = 5
