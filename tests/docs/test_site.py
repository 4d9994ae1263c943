"""The pages as a site: it is whole, leads nowhere else, and finds what is looked for."""

import json
import os
import posixpath
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.pages import INSTALLING_SECONDS, read_page
from tests.support.sources import REPOSITORY
from tools import docs_site

# A picture of the page's own, or the first of it.
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src")}


class Links(HTMLParser):
    """What a page of the site leads to, what it loads, and which places it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            if (tag, name) in LOADED and value:
                self.loaded.append(value)
            if tag == "a" and name == "href" and value:
                self.targets.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does, elsewhere."""
    directory = tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=INSTALLING_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Links]:
    """Return every page of the site by its path."""
    return {path.relative_to(site).as_posix(): Links(path) for path in site.rglob("*.html")}


def test_make_docs_builds_it_and_takes_no_warning() -> None:
    assert "\t.venv/bin/mkdocs build --strict\n" in read_page("Makefile")


@pytest.mark.slow
def test_every_page_of_the_documentation_is_there_and_in_the_navigation(site: Path) -> None:
    places = [docs_site.place_of(path) for path in docs_site.docs_pages()]
    assert len(places) > 80

    addresses = {re.sub(r"(README|index)?\.md$", "", place).rstrip("/") for place in places}
    home = (site / "index.html").read_text(encoding="utf-8")
    navigation = {link.strip("/.") for link in re.findall(r'<a href="([^"#]*)"', home)}
    for address in addresses:
        assert (site / address / "index.html").is_file()
    assert not {address for address in addresses if address not in navigation}


@pytest.mark.slow
def test_every_link_leads_to_a_place_of_the_site(site: Path, pages: dict[str, Links]) -> None:
    dead = []
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or page == "404.html":
                continue
            path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path)))
            if not parts.path:
                path = page
            elif not posixpath.splitext(path)[1] or (site / path).is_dir():
                path = posixpath.normpath(posixpath.join(path, "index.html"))
            anchor = unquote(parts.fragment)
            if (path not in pages and not (site / path).is_file()) or (
                anchor and path in pages and anchor not in pages[path].places
            ):
                dead.append(f"{page}: {target}")
    assert not dead


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(pages: dict[str, Links]) -> None:
    fetched = {link for links in pages.values() for link in links.loaded if "//" in link}

    assert len(pages) > 100
    assert not fetched


@pytest.mark.slow
def test_what_pages_link_to_outside_of_docs_is_shown(site: Path) -> None:
    for path, text in (
        ("SECURITY.md", "Reporting a vulnerability"),
        ("src/everlog/eventql/language/grammar.ebnf", "PROJECT"),
        ("tests/conformance", "test_sdk_v1.py"),
    ):
        place = docs_site.place_of(path).removesuffix(".md")
        page = (site / place / "index.html").read_text(encoding="utf-8")
        assert text in page, path


@pytest.mark.slow
def test_the_search_finds_pages_and_not_sources(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}

    assert {"start/", "eventql/syntax/", "api/write-events/", "repository/SECURITY/"} <= found
    assert not {place for place in found if place.startswith("repository/tests/")}


@pytest.mark.slow
def test_the_search_puts_pages_about_the_inside_behind_all_others(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    boosts = {entry["location"].partition("#")[0]: entry.get("boost", 1) for entry in index["docs"]}

    assert {boosts["api/write-events/"], boosts["repository/SECURITY/"]} == {1}
    assert boosts["architecture/"] < 1
    assert boosts["adr/0001-compatibility-target/"] < 1


@pytest.mark.slow
def test_pages_have_the_style_of_the_repository(site: Path, pages: dict[str, Links]) -> None:
    assert (site / docs_site.STYLE_PLACE).read_bytes() == docs_site.STYLE_FILE.read_bytes()
    for path, page in pages.items():
        loaded = {
            posixpath.normpath(posixpath.join(posixpath.dirname(path), each))
            for each in page.loaded
        }
        assert docs_site.STYLE_PLACE in loaded or path == "404.html", path


@pytest.mark.parametrize(
    "written, read",
    [
        ("1. One:\n\n   ```sh\n   x\n   ```\n", "1. One:\n\n    ```sh\n    x\n    ```\n"),
        ("```text\n   as it is\n```\n", "```text\n   as it is\n```\n"),
        ("| `a \\| b` | c \\| d |\n", "| `a | b` | c \\| d |\n"),
        ("```text\n| `a \\| b` |\n```\n", "```text\n| `a \\| b` |\n```\n"),
        ("- One.\n  Two.\n", "- One.\n  Two.\n"),
    ],
    ids=["numbered", "code", "bar", "bar in a block", "bullet"],
)
def test_what_a_forge_takes_is_written_as_the_site_reads_it(written: str, read: str) -> None:
    assert docs_site.in_dialect(written) == read
