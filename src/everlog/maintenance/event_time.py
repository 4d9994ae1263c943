"""Event times as an audit sees them: text that is checked, and compared without arithmetic."""

import re
from datetime import datetime
from functools import lru_cache
from typing import Final

_PATTERN: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{0,8}[1-9]))?Z"
)


def parse_event_time(text: str) -> tuple[str, str] | None:
    """Return the second and its fraction, in a form that sorts; None if the text is no time."""
    match = _PATTERN.fullmatch(text)
    if match is None or not _is_second(match[1]):
        return None
    # Whole seconds come from other databases only.
    return match[1], (match[2] or "").ljust(9, "0")


# Events that follow each other mostly share their second.
@lru_cache(maxsize=64)
def _is_second(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
