"""Every file of the repository keeps the rules that no linter knows.

The rules stand in `tests/support/tidy.py`; here each is applied to the repository, and shown to
find what it is for.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.support import tidy
from tests.support.sources import REPOSITORY, Source, repository_sources

Check = Callable[[Source], Iterator[str]]

FILE_CHECKS: tuple[Check, ...] = (
    tidy.find_long_lines,
    tidy.find_long_files,
    tidy.find_long_functions,
    tidy.find_banned_words,
    tidy.find_missing_docstrings,
    tidy.find_foreign_letters,
    tidy.find_notes_to_self,
    tidy.find_disabled_tests,
    tidy.find_machine_paths,
    tidy.find_unexplained_suppressions,
    tidy.find_untitled_pages,
)

# The ways in.
ENTRY_POINTS = (
    "everlog.__main__",
    "everlog.audit_worker",
    "everlog.front_worker",
    "everlog.query_worker",
    "everlog.schema_worker",
    "everlog.sync_worker",
    "everlog.testing.plugin",  # Loaded by pytest.
)

# Who changes Everlog finds the way by them.
PAGES_OF_MODULES = (
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/internals/",
    "docs/reliability.md",
    "docs/style.md",
)


def check_nothing_found(findings: Iterator[str]) -> None:
    found = list(findings)
    if found:
        pytest.fail("\n".join([f"{len(found)} findings:", *found]), pytrace=False)


@pytest.mark.parametrize("check", FILE_CHECKS, ids=lambda check: check.__name__)
def test_no_file_of_the_repository_breaks_a_rule(check: Check) -> None:
    check_nothing_found(finding for source in repository_sources() for finding in check(source))


def test_every_link_between_pages_leads_somewhere() -> None:
    paths = [path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.rglob("*")]

    check_nothing_found(tidy.find_dead_links(repository_sources(), paths))


def test_every_module_that_a_page_about_the_inside_names_is_there() -> None:
    everything = [path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.rglob("*.*")]
    # Hidden folders hold what is installed.
    paths = [path for path in everything if not path.startswith(".")]
    # What else names modules is history, or made by a program.
    pages = [source for source in repository_sources() if source.path.startswith(PAGES_OF_MODULES)]
    assert len(pages) > 5

    check_nothing_found(found for page in pages for found in tidy.find_dead_paths(page, paths))


def test_every_module_is_imported_by_another() -> None:
    check_nothing_found(tidy.find_dead_modules(repository_sources(), ENTRY_POINTS))


def test_every_unit_test_mirrors_a_file_of_the_product() -> None:
    check_nothing_found(tidy.find_misplaced_tests([source.path for source in repository_sources()]))


# Put together here, so that this file holds none itself.
MACHINE_PATH = "/{}/ada/x".format("home")

# Each row: the check, a file that breaks its rule, and what is said about it.
BROKEN: tuple[tuple[Check, str, str, str], ...] = (
    (tidy.find_long_lines, "Makefile", "a" * 101, ":1: 101 columns"),
    (tidy.find_long_files, "src/a.py", "\n" * 751, ":1: 751 lines"),
    (tidy.find_long_functions, "a.py", "def f():\n" + " x\n" * 60, ":1: f() has 61 lines"),
    (tidy.find_banned_words, "src/util.py", "", "name says 'util'"),
    (tidy.find_banned_words, "a.py", "class EventManager: ...", "'EventManager' says 'manager'"),
    (tidy.find_banned_words, "a.py", "event_info = 1", "'event_info' says 'info'"),
    (tidy.find_banned_words, "a.py", "def f(base): ...", "'base' says 'base'"),
    (tidy.find_banned_words, "a.py", "import numpy as common", "'common' says 'common'"),
    (tidy.find_banned_words, "a.py", "self.misc = 1", "'misc' says 'misc'"),
    (tidy.find_missing_docstrings, "src/a.py", "x = 1", "the module has no docstring"),
    (tidy.find_missing_docstrings, "src/a.py", "'''A.'''\ndef f(): ...", ":2: f has no docstring"),
    (tidy.find_missing_docstrings, "src/a.py", "'''A.'''\nclass C: ...", ":2: C has no docstring"),
    (tidy.find_foreign_letters, "a.py", "# caf\u00e9", ":1: not ASCII"),
    (tidy.find_notes_to_self, "a.py", "x = 1  # TODO: later", ":1: TODO"),
    (tidy.find_notes_to_self, "a.md", "FIXME", ":1: FIXME"),
    (tidy.find_disabled_tests, "tests/a.py", "@pytest.mark.skip\ndef f(): ...", ":1: pytest.mark"),
    (tidy.find_disabled_tests, "tests/a.py", "def f():\n pytest.skip()", ":2: pytest.skip"),
    (tidy.find_machine_paths, "a.md", f"see {MACHINE_PATH}", "is on one machine only"),
    (tidy.find_unexplained_suppressions, "a.py", "x  # noqa", "'noqa' names no code"),
    (tidy.find_unexplained_suppressions, "a.py", "x  # noqa: S101", "'noqa' names no code"),
    (tidy.find_unexplained_suppressions, "a.py", "x  # type: ignore[arg-type]", "'type: ignore'"),
    (tidy.find_unexplained_suppressions, "a.py", "x  # pragma: no cover", "'pragma: no cover'"),
    (tidy.find_untitled_pages, "a.md", "## Second first", ":1: a page has one title"),
    (tidy.find_untitled_pages, "a.md", "# One\n\n# Two", ":1: a page has one title"),
)


@pytest.mark.parametrize("check, path, text, finding", BROKEN)
def test_each_check_finds_what_it_is_for(check: Check, path: str, text: str, finding: str) -> None:
    assert any(finding in found for found in check(Source(path, text)))


# Each row: the check and a file that looks broken, but is not.
SOUND: tuple[tuple[Check, str, str], ...] = (
    (tidy.find_long_functions, "a.py", "def f():\n '''" + "\n" * 80 + "'''"),
    (tidy.find_banned_words, "a.py", "database = basename(information)"),
    (tidy.find_banned_words, "a.py", "logger.info(sys.base_prefix)"),
    (tidy.find_missing_docstrings, "src/a.py", "'''A.'''\ndef _f(): ..."),
    (tidy.find_notes_to_self, "a.py", "x = 'TODO'"),
    (tidy.find_disabled_tests, "tests/a.py", "reader.skip()"),
    (
        tidy.find_machine_paths,
        "a.md",
        f"GET https://example.com{MACHINE_PATH} or tests{MACHINE_PATH}",
    ),
    (tidy.find_unexplained_suppressions, "a.py", "x  # noqa: S101 - our promise."),
    (tidy.find_unexplained_suppressions, "a.py", "x  # noqa: S101 (our promise)"),
    (tidy.find_unexplained_suppressions, "a.py", "x  # type: ignore[misc]  # It is untyped."),
    (tidy.find_untitled_pages, "a.md", "# One\n\n```sh\n# comment\n```"),
)


@pytest.mark.parametrize("check, path, text", SOUND)
def test_each_check_is_quiet_about_what_it_is_not_for(check: Check, path: str, text: str) -> None:
    check_nothing_found(check(Source(path, text)))


@pytest.mark.parametrize(
    "link, finding",
    [
        ("missing.md", "missing.md leads nowhere"),
        ("../src/missing.py", "../src/missing.py leads nowhere"),
        ("other.md#nowhere", "other.md#nowhere: the page has no such heading"),
        ("#nowhere", "#nowhere: the page has no such heading"),
    ],
)
def test_a_dead_link_is_found(link: str, finding: str) -> None:
    assert list(dead_links(link)) == [f"docs/page.md:3: {finding}"]


@pytest.mark.parametrize(
    "link",
    ["other.md", "other.md#what-it-does-not-do", "../src", "#page", "https://example.com/missing"],
)
def test_a_living_link_is_not_found(link: str) -> None:
    check_nothing_found(dead_links(link))


def dead_links(link: str) -> Iterator[str]:
    page = Source("docs/page.md", f"# Page\n\nSee [this]({link}).\n")
    other = Source("docs/other.md", "# Other\n\n## What it does *not* do\n")
    return tidy.find_dead_links([page, other], [page.path, other.path, "src/everlog/a.py", "src"])


PATHS = ("tests/api/test_log.py", "src/everlog/storage/log/__init__.py", "src/everlog/write.py")


@pytest.mark.parametrize(
    "path",
    ["gone.py", "log/gone.py", "everlog/log/__init__.py", "storage/index/", "storage/log/gone"],
)
def test_a_module_that_is_named_and_not_there_is_found(path: str) -> None:
    page = Source("docs/page.md", f"# Page\n\nSee `write.py` and `{path}`.\n")

    assert list(tidy.find_dead_paths(page, PATHS)) == [f"docs/page.md:3: {path} is not there"]


@pytest.mark.parametrize(
    "text",
    [
        "`write.py`, `everlog/write.py`, `src/everlog/write.py`",
        "`storage/log/`, `storage/log`, `log/`, `tests/api`, `test_log.py`",
        "`index/`, `index/offset`, `RTSP/1.0`, `/api/v1`, `writer`, `write(gone.py)`",
        "gone.py",
    ],
)
def test_a_module_that_is_there_or_something_else_is_not_found(text: str) -> None:
    check_nothing_found(tidy.find_dead_paths(Source("docs/page.md", f"# Page\n\n{text}\n"), PATHS))


def test_a_module_that_nothing_imports_is_found() -> None:
    sources = [
        Source("src/everlog/cli/__init__.py", "from everlog.alive import x"),
        Source("src/everlog/alive.py", "import everlog.far.away"),
        Source("src/everlog/far/__init__.py", ""),
        Source("src/everlog/far/away.py", ""),
        Source("src/everlog/dead.py", ""),
    ]

    findings = list(tidy.find_dead_modules(sources, ["everlog.cli"]))

    assert findings == ["src/everlog/dead.py:1: nothing imports this module"]


@pytest.mark.parametrize(
    "path, is_misplaced",
    [
        ("tests/unit/domain/test_event.py", False),
        ("tests/unit/domain/test_event_in_json.py", False),
        ("tests/unit/storage/test_log.py", False),
        ("tests/unit/domain/test_events.py", True),
        ("tests/unit/domain/test_sub.py", True),
        ("tests/unit/http/test_event.py", True),
        ("tests/engines/test_contract.py", False),
    ],
)
def test_a_unit_test_that_mirrors_nothing_is_found(path: str, *, is_misplaced: bool) -> None:
    names = ("domain/__init__", "domain/event", "domain/subject", "storage/log/__init__")
    product = [f"src/everlog/{name}.py" for name in names]

    assert bool(list(tidy.find_misplaced_tests([*product, path]))) == is_misplaced
