"""What the site of the documentation has beyond the pages of `docs`: a hook of MkDocs.

The pages are written for a forge, which shows each file as it is. Here
- the navigation is the list of pages in docs/README.md, and below a page with the name README
  what else is in its folder;
- what pages link to outside of `docs`, such as sources and tests, is shown in the site as well;
- the search finds pages for those who use Everlog before those about its inside.
What is left to others: how it looks (docs_site.css), and what else is checked (mkdocs.yml).
"""

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = "docs/"
CONTENTS: Final = "docs/README.md"

# Where the site has what is not in `docs`.
ELSEWHERE: Final = "repository/"

# How it looks, beside what the theme does; mkdocs.yml names the place.
STYLE_FILE: Final = ROOT / "tools" / "docs_site.css"
STYLE_PLACE: Final = "assets/everlog.css"

# What the search puts behind all others.
INSIDE: Final = ("adr/", "benchmarks/", "internals/", "architecture.md", "style.md")
INSIDE_BOOST: Final = 0.2

LINK: Final = re.compile(r"(\[[^\]]*\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
FENCED: Final = re.compile(r"^(\s*```.*?^\s*```\s*)$", re.MULTILINE | re.DOTALL)
CODE: Final = re.compile(r"`[^`\n]+`")
HEADING: Final = re.compile(r"^\*\*(.+)\*\*$")

LANGUAGES: Final = {
    ".conf": "nginx",
    ".ebnf": "ebnf",
    ".eql": "sql",
    ".py": "python",
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
}

# Which file of the repository each generated page shows, by the page's place in the site.
_shown: dict[str, str] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give the site its navigation."""
    config.nav = list(navigation())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside of `docs` that a page links to, directly or not.

    And the style.
    """
    files.append(File.generated(config, STYLE_PLACE, content=STYLE_FILE.read_text("utf-8")))
    pending = [path for path in docs_pages() for path in links_out_of(path)]
    _shown.clear()
    while pending:
        path = pending.pop()
        place = place_of(path)
        if place not in _shown:
            _shown[place] = path
            apart = InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, place, content=shown(path), inclusion=apart))
            if path.endswith(".md"):
                pending += links_out_of(path)
    return files


def on_page_markdown(markdown: str, page: Page, **_others: object) -> str:
    """Turn links into those of the site, and say how early the search finds it."""
    place = page.file.src_uri
    if place.startswith(INSIDE):
        page.meta.setdefault("search", {"boost": INSIDE_BOOST})
    path = _shown.get(place, DOCS + place)
    if not path.endswith(".md"):
        return markdown

    def moved(link: re.Match[str]) -> str:
        target = target_of(link[2], path)
        if target is None:
            return link[0]
        return link[1] + posixpath.relpath(place_of(target), posixpath.dirname(place)) + link[3]

    return outside_of_code(in_dialect(markdown), lambda part: LINK.sub(moved, part))


def in_dialect(markdown: str) -> str:
    """Write a page as MkDocs reads it, where that differs from what a forge takes.

    What belongs to an item of a numbered list is indented by four columns, not three; a bar in code
    in a table needs no backslash.
    """
    lines, is_code = [], False
    for line in markdown.splitlines(keepends=True):
        is_code ^= line.startswith("```")
        if line.startswith("   ") and not is_code:
            lines.append(f" {line}")
        elif line.startswith("|") and not is_code:
            lines.append(CODE.sub(lambda code: code[0].replace("\\|", "|"), line))
        else:
            lines.append(line)
    return "".join(lines)


def navigation() -> Iterator[dict[str, Any]]:
    """Yield the sections of the list of pages, each with its pages in their order."""
    section: list[Any] = []
    yield {"Home": place_of(CONTENTS)}
    for line in read(CONTENTS).splitlines():
        heading = HEADING.match(line)
        if heading is not None:
            section = []
            yield {heading[1]: section}
        elif line.startswith("- "):
            section += map(entry_of, pages_linked(line, CONTENTS))


def entry_of(link: tuple[str, str]) -> dict[str, Any]:
    """Return a page of the navigation; one that is its folder's first has the others below it."""
    title, path = link
    title = title[0].upper() + title[1:]
    if not path.startswith(DOCS) or posixpath.basename(path) != "README.md":
        return {title: place_of(path)}
    folder = posixpath.dirname(path)
    # In the order in which that page tells of them, and whatever it does not tell of.
    told = [page for _, page in pages_linked(read(path), path)]
    others = dict.fromkeys(page for page in [*told, *docs_pages()] if page.startswith(f"{folder}/"))
    listed = {page for _, page in pages_linked(read(CONTENTS), CONTENTS)}
    below = [{name_of(page): place_of(page)} for page in others if page not in listed]
    return {title: [place_of(path), *below]}


def pages_linked(text: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield the text and the page of each link to a page."""
    for link in LINK.finditer(text):
        target = target_of(link[2], path)
        if target is not None and target.endswith(".md"):
            yield link[1][1:-2], target


def name_of(page: str) -> str:
    """Return what a page calls itself."""
    return read(page).splitlines()[0].removeprefix("# ").replace("`", "")


def links_out_of(path: str) -> list[str]:
    """Return what a page links to outside of `docs`."""
    found: list[str] = []

    def look(part: str) -> str:
        targets = (target_of(link[2], path) for link in LINK.finditer(part))
        found.extend(target for target in targets if target and not target.startswith(DOCS))
        return part

    outside_of_code(read(path), look)
    return found


def target_of(link: str, path: str) -> str | None:
    """Return the file or folder of the repository that a link of a page leads to, if it does."""
    if "://" in link or link.startswith("mailto:"):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return target if (ROOT / target).exists() else None


def place_of(path: str) -> str:
    """Return where the site has a file or folder of the repository."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    return ELSEWHERE + (path if path.endswith(".md") else f"{path}.md")


def shown(path: str) -> str:
    """Return a page that shows a file or folder; the search is for pages only."""
    if path.endswith(".md"):
        return read(path)
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n"
    if (ROOT / path).is_dir():
        names = sorted(item.name for item in (ROOT / path).iterdir())
        return head + "".join(f"- `{name}`\n" for name in names if not name.startswith("__"))
    language = LANGUAGES.get(posixpath.splitext(path)[1], "text")
    # Longer than any fence in a file.
    return f"{head}``````{language}\n{read(path)}\n``````\n"


def docs_pages() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / DOCS).rglob("*.md"))


def outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    """Change what stands outside of blocks of code."""
    parts = FENCED.split(markdown)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
