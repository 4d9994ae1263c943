"""The exit codes of all commands; a page and `--help` say what to do about each."""

# Without `Final`, for which `process` has no time.
EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_SETTINGS = 2
EXIT_DATA_DIRECTORY = 3
EXIT_DAMAGED = 4
EXIT_CANNOT_LISTEN = 5
EXIT_MALFORMED = 6
EXIT_UNEVALUABLE = 7
# The server cannot be asked, does not take the token, or did not answer to the end.
EXIT_SERVER = 8
# The rules, or the state of the store, forbid what was asked; nothing of it was stored.
EXIT_REFUSED = 9
# A write may have been stored, or not: its answer was lost.
EXIT_OUTCOME_UNKNOWN = 10

# As shells say it of processes that a signal ended: by Ctrl+C, and because nobody reads on.
EXIT_INTERRUPTED = 130
EXIT_OUTPUT_CLOSED = 141
