"""What tests of applications need: given/when/then, and stores and servers that come and go.

Names are imported when they are asked for, so that a test of a decision loads no server.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everlog.testing.specification import Given, Outcome, Specification, given

__all__ = ["Given", "Outcome", "Specification", "given"]

# In which module each of them is.
_MODULES = {
    "Given": "everlog.testing.specification",
    "Outcome": "everlog.testing.specification",
    "Specification": "everlog.testing.specification",
    "given": "everlog.testing.specification",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - as all that follows.

    return getattr(import_module(_MODULES[name]), name)
