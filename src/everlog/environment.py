"""What the processes that Everlog starts are told of its environment."""

import os
from typing import Final

# Tokens and the like are not for them.
_SECRET_PREFIXES: Final = ("EVERLOG_", "PGPASS")


def environment_without_secrets() -> dict[str, str]:
    """Return the environment of this process without what is meant for it alone."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(_SECRET_PREFIXES)
    }
