"""JSON as readers meet it, with the limits that their parsers have (docs/compatibility.md)."""

import json
from math import isfinite
from typing import Any, Final

LEVELS_MAX: Final = 64
NUMBER_LENGTH_MAX: Final = 1_000
NAME_SIZE_MAX: Final = 50_000


def depth_of(text: bytes | str) -> int:
    """Return how many arrays and objects are within each other; a scalar has depth 0."""
    return _depth(json.loads(text))


def check_readable(text: str) -> None:
    """Check that no parser of an official client would stop at a line."""
    value = json.loads(text, object_pairs_hook=_members, parse_int=_number, parse_float=_number)
    assert _depth(value) <= LEVELS_MAX, text
    # No half surrogate pairs.
    json.dumps(value, ensure_ascii=False).encode()


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = [*value.values()]
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    assert len(members) == len(pairs), pairs
    assert all(len(name.encode("utf-8", "surrogatepass")) <= NAME_SIZE_MAX for name in members)
    return members


def _number(text: str) -> float:
    assert len(text) <= NUMBER_LENGTH_MAX
    number = float(text)
    assert isfinite(number), text
    return number
