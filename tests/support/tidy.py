"""What every file of the repository must be, beyond what the linters know.

Each check takes one file (or all of them, where a finding needs the neighbours) and yields
every finding, so that one run of the tests tells all there is to repair.
What is left to others: layout and lint (`ruff`), types (`mypy`), imports (`import-linter`).
"""

import ast
import posixpath
import re
from collections.abc import Iterator, Sequence

from tests.support.sources import Source

LINE_LENGTH_MAX = 100
FUNCTION_LINES_MAX = 60
# What is read together stands together: a path through few files is read faster than one through
# many, and half a stage of a pipeline is harder to understand than the whole of it.
FILE_LINES_MAX = 750

# They say nothing about what a thing is or does.
BANNED_WORDS = frozenset(
    {"manager", "helper", "util", "utility", "common", "base", "misc", "info", "processor"}
    | {"managers", "helpers", "utils", "utilities", "bases", "infos", "processors"}
)

# Names that are not ours to choose.
FOREIGN_NAMES = frozenset(
    {
        "base_subject",  # The API's `baseSubject`.
        "get_extra_info",  # A method of asyncio's transports.
        "info",  # The name of a log level, to everybody who reads logs.
        "INFO",
    }
)

NOTES_TO_SELF = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
DISABLED_TESTS = frozenset({"skip", "skipif", "skipIf", "skipUnless", "importorskip", "xfail"})
MACHINE_PATHS = re.compile(r"(?<![\w.-])/(work|root|home/\w+|Users/\w+)/|\.\./shared\b")

SUPPRESSION = re.compile(r"#\s*(noqa|ruff: noqa|type: ignore|pragma: no (?:cover|branch))(.*)")
EXPLAINED = {
    "noqa": re.compile(r":\s*[A-Z]+\d+(,\s*[A-Z]+\d+)* (- |\()\w+ \w+"),
    "ruff: noqa": re.compile(r":\s*[A-Z]+\d+(,\s*[A-Z]+\d+)* (- |\()\w+ \w+"),
    "type: ignore": re.compile(r"\[[\w, -]+\]\s+# \S+ \S+"),
    "pragma: no cover": re.compile(r" - \S+ \S+"),
    "pragma: no branch": re.compile(r" - \S+ \S+"),
}

# What a page sets as code and is the path of a module, or of a folder of them.
MODULE_PATH = re.compile(r"`((?:[\w-]+/)*[\w-]+\.py|(?:[\w-]+/)+[\w-]*)`")

MARKDOWN_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^\s*(```|~~~)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def find_long_lines(source: Source) -> Iterator[str]:
    # One sentence per line is the rule of Markdown, however long the sentence.
    if source.is_markdown or source.path == "LICENSE":
        return
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_LENGTH_MAX:
            yield source.at(number, f"{len(line)} columns; at most {LINE_LENGTH_MAX}")


def find_long_files(source: Source) -> Iterator[str]:
    if source.is_python and len(source.lines) > FILE_LINES_MAX:
        yield source.at(1, f"{len(source.lines)} lines; at most {FILE_LINES_MAX}")


def find_long_functions(source: Source) -> Iterator[str]:
    for function in functions(source):
        length = lines_of(function)
        if length > FUNCTION_LINES_MAX:
            message = f"{function.name}() has {length} lines; at most {FUNCTION_LINES_MAX}"
            yield source.at(function.lineno, message)


def functions(source: Source) -> Iterator[Function]:
    if source.is_python:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def lines_of(function: Function) -> int:
    """Count the lines of a function without its docstring."""
    length = span_of(function)
    if ast.get_docstring(function, clean=False) is not None:
        length -= span_of(function.body[0])
    return length


def span_of(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def find_banned_words(source: Source) -> Iterator[str]:
    for word in banned_words_in(source.path):
        yield source.at(1, f"the file's name says '{word}'")
    if source.is_python:
        for line, name in defined_names(source.tree):
            for word in banned_words_in(name):
                yield source.at(line, f"'{name}' says '{word}'")


def banned_words_in(name: str) -> Iterator[str]:
    if name not in FOREIGN_NAMES:
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
        yield from sorted(BANNED_WORDS.intersection(word.lower() for word in words))


def defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the names that a file gives to things, not those of others that it uses."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)):
                yield node.lineno, name


def find_missing_docstrings(source: Source) -> Iterator[str]:
    if not source.is_product:
        return
    if ast.get_docstring(source.tree) is None:
        yield source.at(1, "the module has no docstring")
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            is_public = not node.name.startswith("_")
            if is_public and ast.get_docstring(node) is None:
                yield source.at(node.lineno, f"{node.name} has no docstring")


def find_foreign_letters(source: Source) -> Iterator[str]:
    if source.is_python:
        for number, line in enumerate(source.lines, 1):
            if not line.isascii():
                yield source.at(number, "not ASCII; write an escape such as \\u00e9")


def find_notes_to_self(source: Source) -> Iterator[str]:
    texts = source.comments() if source.is_python else enumerate(source.lines, 1)
    for number, text in texts:
        note = NOTES_TO_SELF.search(text)
        if note is not None:
            yield source.at(number, f"{note[0]}; do it, or write an issue")


def find_disabled_tests(source: Source) -> Iterator[str]:
    if not source.path.startswith("tests/") or not source.is_python:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr in DISABLED_TESTS:
            owner = ast.unparse(node.value)
            if owner in {"pytest", "pytest.mark", "unittest"}:
                yield source.at(node.lineno, f"{owner}.{node.attr}; a test holds, or is not there")


def find_machine_paths(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.lines, 1):
        path = MACHINE_PATHS.search(line)
        if path is not None:
            yield source.at(number, f"'{path[0]}' is on one machine only")


def find_unexplained_suppressions(source: Source) -> Iterator[str]:
    if not source.is_python:
        return
    for number, comment in source.comments():
        suppression = SUPPRESSION.search(comment)
        if suppression is not None:
            kind, rest = suppression.groups()
            if EXPLAINED[kind].match(rest) is None:
                yield source.at(number, f"'{kind}' names no code or no reason")


def find_untitled_pages(source: Source) -> Iterator[str]:
    if source.is_markdown:
        titles = [number for number, line in prose(source) if line.startswith("# ")]
        if titles != [1]:
            yield source.at(1, "a page has one title, on its first line")


def prose(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a Markdown page that stand outside of code blocks."""
    is_code = False
    for number, line in enumerate(source.lines, 1):
        if FENCE.match(line):
            is_code = not is_code
        elif not is_code:
            yield number, line


def find_dead_links(sources: Sequence[Source], paths: Sequence[str]) -> Iterator[str]:
    """Look for links to files that are not there, and to headings that no page has."""
    places = {*paths, *(posixpath.dirname(path) for path in paths)}
    anchors = {page.path: headings(page) for page in sources if page.is_markdown}
    for page in sources:
        if page.is_markdown:
            for number, link in links(page):
                target, _, anchor = link.partition("#")
                folder = posixpath.dirname(page.path)
                path = posixpath.normpath(posixpath.join(folder, target)) if target else page.path
                if path not in places:
                    yield page.at(number, f"{link} leads nowhere")
                elif anchor and path in anchors and anchor not in anchors[path]:
                    yield page.at(number, f"{link}: the page has no such heading")


def links(page: Source) -> Iterator[tuple[int, str]]:
    for number, line in prose(page):
        for link in MARKDOWN_LINK.findall(line):
            if "://" not in link and not link.startswith("mailto:"):
                yield number, link


def headings(page: Source) -> frozenset[str]:
    """Name the headings of a page as links do: lower case, hyphens for spaces, no punctuation."""
    return frozenset(
        re.sub(r"[^\w -]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
        for _, line in prose(page)
        if line.startswith("#")
    )


def find_dead_paths(page: Source, paths: Sequence[str]) -> Iterator[str]:
    """Look for modules, and folders of them, that a page names and that are not there.

    A page may leave out how a path begins: `log/disk.py` is the one below `storage`, and `disk.py`
    is it too where the folder was named before. What begins with no folder of ours is no folder.
    """
    parts = [path.removesuffix("/__init__.py").split("/") for path in paths]
    ours = {folder for first, *rest in parts for folder in (first, *rest[1:2])}
    there = {
        "/".join(names[start:stop])
        for names in parts
        for start in range(len(names))
        for stop in range(start + 1, len(names) + 1)
    }
    for number, line in prose(page):
        for path in MODULE_PATH.findall(line):
            is_ours = path.endswith(".py") or path.split("/")[0] in ours
            if is_ours and path.rstrip("/") not in there:
                yield page.at(number, f"{path} is not there")


def find_dead_modules(sources: Sequence[Source], entry_points: Sequence[str]) -> Iterator[str]:
    """Look for files of the product that nothing in the product imports."""
    product = {source.module: source for source in sources if source.is_product}
    alive = {*entry_points}
    for source in product.values():
        alive.update(imported_names(source.tree))
    # A package is alive through what it holds.
    alive.update(name.rpartition(".")[0] for name in tuple(alive))
    for module, source in product.items():
        if module not in alive and not module.endswith("__main__"):
            yield source.at(1, "nothing imports this module")


def find_misplaced_tests(paths: Sequence[str]) -> Iterator[str]:
    """Look for unit tests that mirror no file of the product.

    Tests of one file may be spread over several, each named after it with something added.
    """
    product = [
        path.removesuffix(".py").removesuffix("/__init__")
        for path in paths
        if path.startswith("src/everlog/")
    ]
    for path in paths:
        folder, name = posixpath.split(path)
        if path.startswith("tests/unit/") and name.startswith("test_"):
            stem = name.removeprefix("test_").removesuffix(".py")
            mirrored = posixpath.join("src/everlog" + folder.removeprefix("tests/unit"), stem)
            if not any(f"{mirrored}_".startswith(f"{file}_") for file in product):
                yield f"{path}:1: there is no {mirrored}.py that it could test"


def imported_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
