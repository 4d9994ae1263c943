"""JSON as a reader meets it."""

import json
from typing import Any


def depth_of(text: bytes | str) -> int:
    """Return how many arrays and objects are within each other; a scalar has depth 0."""
    return _depth(json.loads(text))


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = [*value.values()]
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0
