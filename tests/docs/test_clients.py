"""The page about clients: its programs for Python and curl run, and the others talk to the same.

Programs in other languages need their toolchains, so that here they are only compared.
"""

import json
import re
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.conftest import Checkout
from tests.support.pages import DOCUMENTED_ADDRESS, Block, code_blocks, read_page, run_script

PAGE: Final = "docs/clients.md"

# By the heading of each program, the language of its block.
PROGRAMS: Final = {
    "Python": "python",
    "JavaScript": "javascript",
    "Go": "go",
    "Rust": "rust",
    "Java": "java",
    ".NET": "csharp",
    "PHP": "php",
    "Elixir": "elixir",
    "curl": "sh",
}

# What each program has in common with the others.
SHARED: Final = (
    f"http://{DOCUMENTED_ADDRESS}",
    "TOKEN",
    "https://library.example",
    "/books/42",
    "com.example.book-acquired",
    "title",
    "2001: A Space Odyssey",
)

PRISTINE: Final = re.compile("is_?subject_?pristine", re.IGNORECASE)
VERIFYING: Final = re.compile("verify_?hash", re.IGNORECASE)


def program(heading: str) -> Block:
    """Return the program below a heading; commands that install something are before it."""
    _, _, below = read_page(PAGE).partition(f"\n### {heading}\n")
    section = below.partition("\n### ")[0]
    (found,) = (block for block in code_blocks(section) if block.language == PROGRAMS[heading])
    return found


def setup() -> str:
    """Return what the page does before the first program."""
    return next(block.text for block in code_blocks(read_page(PAGE)) if block.language == "sh")


def test_every_program_has_a_place() -> None:
    headings = re.findall(r"^### (.+)$", read_page(PAGE), re.MULTILINE)

    assert headings == list(PROGRAMS)


@pytest.mark.parametrize("heading", PROGRAMS)
def test_every_program_writes_the_same_event_to_the_same_server(heading: str) -> None:
    text = program(heading).text

    for shared in SHARED:
        assert shared in text
    assert PRISTINE.search(text)
    # There is nothing for it in a shell.
    assert VERIFYING.search(text) or heading == "curl"


def run_python(checkout: Checkout, exports: str = "") -> str:
    """Return what the program for Python prints."""
    command = ["bash", "-eu", "-c", f'{setup()}{exports}exec "$0" -', sys.executable]
    script = program("Python").text.replace(DOCUMENTED_ADDRESS, checkout.address)
    return run_script(command, script, directory=checkout.directory)


@pytest.mark.slow
def test_the_program_for_python_prints_what_the_page_says(checkout: Checkout) -> None:
    assert f"`{run_python(checkout).strip()}`" in read_page(PAGE)

    with pytest.raises(AssertionError, match="precondition failed"):
        run_python(checkout)


@pytest.mark.slow
def test_the_program_for_python_runs_with_the_older_sdk(
    checkout: Checkout, sdk_v1_directory: Path
) -> None:
    exports = f"export PYTHONPATH={sdk_v1_directory}\n"

    assert f"`{run_python(checkout, exports).strip()}`" in read_page(PAGE)


@pytest.mark.slow
def test_the_program_for_curl_prints_the_event_twice(checkout: Checkout) -> None:
    script = setup() + program("curl").text.replace(DOCUMENTED_ADDRESS, checkout.address)

    output = run_script(["bash", "-eu"], script, directory=checkout.directory)
    [written], end = json.JSONDecoder().raw_decode(output)
    assert json.loads(output[end:]) == {"type": "event", "payload": written}

    again = run_script(["bash", "-eu"], script, directory=checkout.directory)
    assert again.startswith("state conflict: precondition failed\n")
