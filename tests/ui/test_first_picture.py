"""What the browser needs for the first picture is asked for at once, and not one by one."""

import re
from pathlib import PurePosixPath

from playwright.sync_api import Page

from tests.support.browser import Watch
from tests.support.sources import REPOSITORY

BROWSER = REPOSITORY / "src" / "everlog" / "ui" / "browser"

# Imports that are there when a module is; those of pages are made when one is shown.
STATIC = re.compile(
    r"""^(?:import|export)\s[^;]*?from\s*["']([^"']+)["'];|^import\s*["']([^"']+)["'];""",
    re.MULTILINE,
)
VENDORED = re.compile(r"""(?:from|import)\s*["']([^"']+)["']""")
MAPPED = re.compile(r'"([^"]+)": "\./([^"]+)"')


def needed() -> set[str]:
    """Return the modules that app.js leads to."""
    index = (BROWSER / "index.html").read_text()
    mapped = dict(MAPPED.findall(index))
    found: set[str] = set()
    waiting = ["app.js"]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        text = (BROWSER / name).read_text()
        pattern = VENDORED if name.startswith("vendor/") else STATIC
        for match in pattern.findall(text):
            target = match if isinstance(match, str) else match[0] or match[1]
            waiting.append(mapped.get(target) or resolved(name, target))
    return found


def resolved(name: str, target: str) -> str:
    parts: list[str] = []
    for part in (PurePosixPath(name).parent / target).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def test_all_modules_of_the_first_picture_are_asked_for_by_its_first_file() -> None:
    index = (BROWSER / "index.html").read_text()
    preloaded = set(re.findall(r'rel="modulepreload" href="\./([^"]+)"', index))
    assert preloaded == needed() - {"app.js"}


def test_nothing_else_is_asked_for_before_somebody_signs_in(page: Page, watch: Watch) -> None:
    page.goto("./")
    page.get_by_label("API token").wait_for()
    names = {url.split("/", 3)[3].split("#")[0] for url in watch.urls}
    styles = {name for name in names if name.endswith(".css")}
    assert names - styles - {"", "icon.svg", "appearance.json"} == needed()
    # Charts, the editor and pages come when they are shown.
    assert not names & {"vendor/uplot.js", "vendor/codemirror.js", "pages/overview.js"}
