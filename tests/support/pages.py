"""Pages of the documentation as tests run them: code blocks, and what they should print.

Times and hashes differ in every run, so that pages show some of their own; comparing puts
placeholders in their places, on both sides.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.server import DEADLINE_SECONDS, clean_environment
from tests.support.sources import REPOSITORY

# Where the pages say that the development server listens.
DOCUMENTED_ADDRESS: Final = "127.0.0.1:3000"

# For a script that installs packages: a registry may be far away, and a cache empty.
INSTALLING_SECONDS: Final = 600.0

_FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_PLACEHOLDERS: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z"), "<time>"),
    (re.compile(r"(?:esdb:hash:v2:)?\b(?!0{64})[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"esdb:signature:v1:[0-9a-f]{128}"), "<signature>"),
)


class Block(NamedTuple):
    """A code block: its language, its text, and the line that it begins on."""

    language: str
    text: str
    line: int


def read_page(path: str) -> str:
    """Return a page, by its path from the root of the repository."""
    return (REPOSITORY / path).read_text(encoding="utf-8")


def code_blocks(page: str) -> list[Block]:
    """Return the code blocks of a page, in order."""
    return [
        Block(match[1], match[2], page.count("\n", 0, match.start()) + 1)
        for match in _FENCED.finditer(page)
    ]


def with_placeholders(text: str) -> str:
    """Return the text without what differs in every run.

    Space at line ends means nothing to a client: it tells recovery where a write ends.
    """
    for pattern, placeholder in _PLACEHOLDERS:
        text = pattern.sub(placeholder, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def run_script(
    command: Sequence[str],
    script: str,
    *,
    directory: Path,
    path: Path | None = None,
    seconds_max: float = DEADLINE_SECONDS,
) -> str:
    """Return what a script prints, which a command reads from its input; it must succeed."""
    environment = clean_environment()
    if path is not None:
        environment["PATH"] = os.pathsep.join([str(path), environment.get("PATH", os.defpath)])
    done = subprocess.run(
        command,
        input=script,
        cwd=directory,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=seconds_max,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
