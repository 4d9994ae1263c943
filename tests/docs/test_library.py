"""The page about the library: its examples run, in their order, and have the types they say.

The reference beside it is the one that the docstrings make.
"""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.pages import DOCUMENTED_ADDRESS, Block, code_blocks, read_page
from tests.support.server import TOKEN, running_server
from tests.support.sources import REPOSITORY
from tools import reference

PAGE: Final = "docs/library/README.md"


def examples() -> Iterator[tuple[str, str]]:
    """Yield the programs of the page, each with what it prints."""
    blocks = [*code_blocks(read_page(PAGE)), Block("", "", 0)]
    for block, following in pairwise(blocks):
        if block.language == "python":
            yield block.text, following.text if following.language == "text" else ""


def test_the_examples_print_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "example"}
    with running_server() as server:
        monkeypatch.setenv("TOKEN", TOKEN)
        address = server.url.removeprefix("http://")
        with contextlib.ExitStack() as opened:
            for program, printed in examples():
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    exec(program.replace(DOCUMENTED_ADDRESS, address), names)
                for name in ("store", "server"):
                    if name in names:
                        opened.callback(names[name].close)
                assert output.getvalue() == printed, program


@pytest.mark.slow
def test_the_examples_are_typed(tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text("\n\n".join(text for text, _ in examples()))

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, program],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_the_reference_is_the_one_that_the_docstrings_make() -> None:
    assert reference.PAGE.read_text() == reference.render(), "run `python -m tools.reference`"


def test_the_page_names_every_error() -> None:
    page = read_page(PAGE)
    for name in reference.ERRORS:
        assert f"`{name}`" in page
