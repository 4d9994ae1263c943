"""The first five minutes are true: every command of the page runs, and prints what it shows."""

import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs.conftest import Checkout
from tests.support.pages import (
    DOCUMENTED_ADDRESS,
    Block,
    code_blocks,
    read_page,
    run_script,
    with_placeholders,
)

PAGE = "docs/start.md"

COMMANDS = {"sh": ["bash", "-eu"], "python": [sys.executable, "-"]}

ASSIGNMENT = re.compile(r"^\w+=.*$", re.MULTILINE)


@pytest.mark.slow
def test_every_command_prints_what_the_page_shows(checkout: Checkout) -> None:
    blocks = code_blocks(read_page(PAGE))
    assert blocks[0].text == "make run\n"  # what the fixture stands for
    variables = ""
    compared = 0
    for block, following in pairwise([*blocks[1:], Block("", "", 0)]):
        if block.language not in COMMANDS:
            continue
        script = (variables if block.language == "sh" else "") + block.text
        output = run_script(
            COMMANDS[block.language],
            script.replace(DOCUMENTED_ADDRESS, checkout.address),
            directory=checkout.directory,
            # Where `everlog` is.
            path=Path(sys.executable).parent,
        )
        variables += "".join(f"{line}\n" for line in ASSIGNMENT.findall(block.text))
        if following.language in {"json", "text"} and not following.text.startswith("pip "):
            assert with_placeholders(output) == with_placeholders(following.text), block.line
            compared += 1
    assert compared == 8
