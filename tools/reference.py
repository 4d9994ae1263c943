"""Writes docs/library/reference.md, the reference of the library, from its docstrings.

    python -m tools.reference

Every public name of `everlog` is in it, with its signature as the source has it. A test sees that
the page is current.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import everlog

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "library" / "reference.md"

_INTRODUCTION: Final = """\
# The library's reference

Made from the docstrings by `python -m tools.reference`; [the guide](README.md) shows how it is used.
All names are in the package `everlog`, and are loaded when they are first used.
"""

_SECTIONS: Final = {
    "Opening": ("open", "connect", "aopen", "aconnect"),
    "Stores": ("Store", "Events", "Rows", "Following", "Verification"),
    "In event loops": ("AsyncStore", "AsyncEvents", "AsyncRows", "AsyncFollowing"),
    "Values": ("NewEvent", "Event", "EventType", "Bound", "FromLatestEvent"),
    "Preconditions": (
        *("IsSubjectPristine", "IsSubjectPopulated", "IsSubjectOnEventId"),
        *("IsEventQlQueryTrue", "Precondition"),
    ),
    "Errors": (
        *("EverlogError", "RefusedError", "BusyError", "UnreachableError"),
        *("OutcomeUnknownError", "UnauthorizedError", "VerificationError", "StoreClosedError"),
        *("DataDirectoryError", "DirectoryLockedError", "SettingsError"),
    ),
}

# What is public of a class besides names without an underscore.
_SPECIAL: Final = frozenset({"__iter__", "__next__", "__aiter__", "__anext__"})

_heads: dict[ModuleType, dict[str, str]] = {}


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(), encoding="utf-8")


def render() -> str:
    """Return the page."""
    named = [name for names in _SECTIONS.values() for name in names]
    assert sorted([*named, "__version__"]) == sorted(everlog.__all__), "a name has no section"
    parts = [_INTRODUCTION]
    for section, names in _SECTIONS.items():
        parts.append(f"## {section}\n")
        for name in names:
            parts += _describe(name)
    return "\n".join(parts)
