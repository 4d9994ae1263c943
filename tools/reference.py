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
from typing import Any, Final

import everlog

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "library" / "reference.md"

_INTRODUCTION: Final = """\
# The library's reference

Made from the docstrings by `python -m tools.reference`; [the guide](README.md) shows its use.
All names are in the package `everlog`, and are loaded when they are first used.
"""

ERRORS: Final = (
    *("EverlogError", "RefusedError", "BusyError", "UnreachableError", "OutcomeUnknownError"),
    *("UnauthorizedError", "VerificationError", "StoreClosedError", "DataDirectoryError"),
    *("DirectoryLockedError", "SettingsError", "NoCheckpointError", "FrameError"),
)

_SECTIONS: Final = {
    "Opening": ("open", "connect", "aopen", "aconnect"),
    "Stores": ("Store", "Events", "Rows", "Following", "Verification"),
    "In event loops": ("AsyncStore", "AsyncEvents", "AsyncRows", "AsyncFollowing"),
    "Values": ("NewEvent", "JsonText", "Event", "EventType", "Bound", "FromLatestEvent"),
    "Preconditions": (
        *("IsSubjectPristine", "IsSubjectPopulated", "IsSubjectOnEventId"),
        *("IsEventQlQueryTrue", "Precondition"),
    ),
    "Errors": ERRORS,
}

# What is public of a class besides names without an underscore.
_SPECIAL: Final = frozenset({"__iter__", "__next__", "__aiter__", "__anext__"})

_WIDTH: Final = 96


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
            parts += _describe(name, getattr(everlog, name))
    return "\n".join(parts)


def _describe(name: str, value: Any) -> Iterator[str]:
    yield f"### {name}\n"
    if inspect.isclass(value):
        yield from _describe_class(name, value)
    elif callable(value):
        original = inspect.unwrap(value)
        if original is value:
            yield _code(_signature(name, _node_of(value)))
            yield _text(value.__doc__)
        else:
            yield f"As [{original.__name__}](#{original.__name__}), to be awaited or entered.\n"
    else:
        names = " | ".join(each.__name__ for each in value.__args__)
        yield _code(f"{name} = {names}")


def _describe_class(name: str, value: type) -> Iterator[str]:
    node = _node_of(value)
    assert isinstance(node, ast.ClassDef)
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    shown = [ast.unparse(each) for each in fields if not ast.unparse(each).startswith("_")]
    parents = ", ".join(each.__name__ for each in value.__bases__ if each.__module__ != "builtins")
    parents = "" if "Struct" in parents else parents
    yield _code(f"class {name}({', '.join(shown) or parents})".replace("()", ""))
    yield _text(value.__doc__)
    twins = []
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _describe_member(name, each)
        elif isinstance(each, ast.Assign):
            twins.append(ast.unparse(each.targets[0]))
    if twins:
        awaited = [twin for twin in twins if inspect.iscoroutinefunction(getattr(value, twin))]
        iterated = [f"`{twin}`" for twin in twins if twin not in awaited]
        yield f"Awaited: {', '.join(f'`{twin}`' for twin in awaited)}.\n"
        yield f"Iterated over by `async for`: {', '.join(iterated)}.\n"


def _describe_member(owner: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    if node.name.startswith("_") and node.name not in _SPECIAL:
        return
    if node.name == "with_signature":
        # What transports use.
        return
    yield f"#### {owner}.{node.name}\n"
    decorators = {ast.unparse(each) for each in node.decorator_list}
    if "property" in decorators:
        assert node.returns is not None
        yield _code(f"{node.name}: {ast.unparse(node.returns)}")
    else:
        yield _code(_signature(node.name, node))
    yield _text(ast.get_docstring(node))


def _node_of(value: Any) -> ast.stmt:
    """Return the definition of a class or a function in its source."""
    return ast.parse(inspect.getsource(value)).body[0]


def _signature(name: str, node: ast.stmt) -> str:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    arguments = node.args
    if arguments.args and arguments.args[0].arg in {"self", "cls"}:
        del arguments.args[0]
    returns = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    prefix = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    line = f"{prefix} {name}({ast.unparse(arguments)}){returns}"
    if len(line) <= _WIDTH:
        return line
    arguments_lines = "".join(f"    {each},\n" for each in _split(ast.unparse(arguments)))
    return f"{prefix} {name}(\n{arguments_lines}){returns}"


def _split(arguments: str) -> list[str]:
    """Split arguments at the commas between them."""
    found, depth, start = [], 0, 0
    for place, letter in enumerate(arguments):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            found.append(arguments[start:place].strip())
            start = place + 1
    return [*found, arguments[start:].strip()]


def _code(text: str) -> str:
    return f"```text\n{text}\n```\n"


def _text(docstring: str | None) -> str:
    """Return a docstring as Markdown: its paragraphs, and what it raises as a list."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n".join(_paragraph(each) for each in paragraphs)


def _paragraph(text: str) -> str:
    heading, _, rest = text.partition("\n")
    if not re.fullmatch(r"Raises[^:]*:", heading):
        joined = re.sub(r"\n(?!- )\s*", " ", text)
        if text.startswith("- "):
            return joined + "\n"
        return re.sub(r"([.:]) (?=[A-Z`])", r"\1\n", joined) + "\n"
    entries = re.split(r"\n(?=    \S)", f"\n{rest}")[1:]
    items = []
    for entry in entries:
        names, _, meaning = " ".join(entry.split()).partition(": ")
        quoted = ", ".join(f"`{each}`" for each in names.split(", "))
        items.append(f"- {quoted}: {meaning}")
    return f"{heading}\n\n" + "\n".join(items) + "\n"


if __name__ == "__main__":
    main()
