"""The files of the repository as values that tests can judge.

Files that git ignores are not there; files that are new and not yet added are.
What is left to others: what is right or wrong about them (`tidy`).
"""

import ast
import fnmatch
import functools
import io
import subprocess
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# Written by programs or kept byte by byte: nobody reads them line by line.
GENERATED = (
    "requirements/*.lock",
    "tests/formats/*",
    "*.ndjson",
    "*.pem",
    "*.svg",
    "*.png",
    "*/openapi.json",
    "*/openapi-3.2.json",
    "deploy/grafana/*.json",
    "*.cdx.json",
    "*/package-lock.json",
    "src/everlog/ui/browser/vendor/*",
)


@dataclass(frozen=True)
class Source:
    """One text file: its path from the root of the repository, and its text."""

    path: str
    text: str

    @functools.cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def is_python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def is_product(self) -> bool:
        return self.is_python and self.path.startswith("src/")

    @property
    def is_markdown(self) -> bool:
        return self.path.endswith(".md")

    @property
    def module(self) -> str:
        """The dotted name under which a file below `src` is imported."""
        name = self.path.removeprefix("src/").removesuffix(".py").replace("/", ".")
        return name.removesuffix(".__init__")

    def at(self, line: int, message: str) -> str:
        """Word a finding in the way that editors turn into a link."""
        return f"{self.path}:{line}: {message}"

    def comments(self) -> Iterator[tuple[int, str]]:
        """Yield each comment with the number of its line."""
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


@functools.cache
def repository_sources() -> tuple[Source, ...]:
    """Read every text file of the repository that people write."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    paths = sorted(set(listed.stdout.split("\0")) - {""})
    return tuple(
        Source(path, (REPOSITORY / path).read_text(encoding="utf-8"))
        for path in paths
        # A file that was deleted is listed until the deletion is committed.
        if (REPOSITORY / path).is_file() and not is_generated(path)
    )


def is_generated(path: str) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in GENERATED)
