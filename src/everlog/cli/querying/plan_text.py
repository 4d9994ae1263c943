"""Plans as indented text, for people."""

import re
from typing import Any

import msgspec

from everlog.cli.querying.text import to_printable


class PlanWriter:
    """Writes each row, which is a plan, as indented text."""

    def add(self, rows: list[bytes]) -> bytes:
        """Return the text of plans."""
        lines = [line for row in rows for line in render_plan(msgspec.json.decode(row))]
        return "".join(f"{line}\n" for line in lines).encode()

    def flush(self) -> bytes:
        """Return nothing: nothing is kept back."""
        return b""

    def finish(self) -> bytes:
        """Return nothing: the last line has its end."""
        return b""


def render_plan(plan: dict[str, Any]) -> list[str]:
    """Return a plan as lines: what belongs to something stands below it, two spaces further in."""
    lines: list[str] = []
    for name, value in plan.items():
        lines += _render_member(_words(name), value)
    return lines


def _render_member(title: str, value: Any) -> list[str]:
    match value:
        case dict() if value:
            return [f"{title}:", *_indented(render_plan(value))]
        case [dict(), *_]:
            parts = []
            for item in value:
                first, *others = render_plan(item)
                parts += [f"- {first}", *_indented(others)]
            return [f"{title}:", *_indented(parts)]
        case [_, _, *_]:
            return [f"{title}:", *_indented([f"- {to_printable(str(item))}" for item in value])]
        case [item]:
            return [f"{title}: {to_printable(str(item))}"]
        case dict():
            # No condition, in all places where there may be some.
            return [f"{title}: everything"]
        case []:
            return [f"{title}: nothing"]
        case _:
            return [f"{title}: {to_printable(str(value))}"]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _words(name: str) -> str:
    """Return the words of a name such as `eventsInLog`."""
    return re.sub(r"[A-Z]", lambda match: f" {match[0].lower()}", name)
