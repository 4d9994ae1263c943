"""The page about queries on the command line: examples run, tables are those of the command."""

import re
import sys
from itertools import pairwise
from pathlib import Path

import click
import pytest

from everlog import exit_codes
from everlog.cli.query import query
from tests.support.exchanges import DOCUMENTED_TOKEN, ask, messages
from tests.support.pages import (
    DOCUMENTED_ADDRESS,
    Block,
    code_blocks,
    read_page,
    run_script,
    with_placeholders,
)
from tests.support.server import running_server

PAGE = "docs/operating/query.md"

GIVEN_PAGE = "docs/api/README.md"
GIVEN_HEADING = "## The events of the examples"

# Where `everlog` is.
COMMANDS = Path(sys.executable).parent


def rows(header: str) -> list[list[str]]:
    """Return the rows of the table that begins with a header."""
    lines = read_page(PAGE).partition(f"{header}\n")[2].splitlines()[1:]
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
    assert found, header
    return found


def variable_of(option: click.Option) -> str:
    """Return the variable of an option; an older one may stand behind it."""
    variables = option.envvar or "none"
    return variables if isinstance(variables, str) else variables[0]


def test_the_table_of_flags_is_that_of_the_command() -> None:
    options = [option for option in query.params if isinstance(option, click.Option)]

    assert [
        (flag, variable)
        for flag, variable, _ in rows("| flag | environment variable | what it does |")
    ] == [(option.opts[0], variable_of(option)) for option in options]


def test_the_table_of_formats_is_that_of_the_command() -> None:
    [formats] = [option.type for option in query.params if option.opts[0] == "--format"]

    assert isinstance(formats, click.Choice)
    assert [name for name, _ in rows("| format | what it is |")] == [*formats.choices]


def test_the_table_of_exit_codes_is_that_of_the_command() -> None:
    documented = {int(code): meaning for code, meaning in rows("| exit code | meaning |")}

    assert documented.keys() <= all_codes()
    assert query.help is not None
    told = {int(code) for code in re.findall(r"^  (\d)  ", query.help, re.MULTILINE)}
    assert told == {code for code in documented if code < 128}


def all_codes() -> set[int]:
    return {value for name, value in vars(exit_codes).items() if name.startswith("EXIT_")}


@pytest.mark.slow
def test_every_example_prints_what_the_page_shows(tmp_path: Path) -> None:
    given, _ = messages(read_page(GIVEN_PAGE).partition(GIVEN_HEADING)[2])
    exports = ""
    compared = 0
    with running_server(environment={"EVERLOG_API_TOKEN": DOCUMENTED_TOKEN}) as server:
        ask(server.port, given, lines=None)
        for block, following in pairwise([*code_blocks(read_page(PAGE)), Block("", "", 0)]):
            if block.language != "sh":
                continue
            script = (exports + block.text).replace(DOCUMENTED_ADDRESS, f"127.0.0.1:{server.port}")
            output = run_script(["bash", "-eu"], script, directory=tmp_path, path=COMMANDS)
            exports += "".join(re.findall(r"^export .*\n", block.text, re.MULTILINE))
            assert following.language == "text"
            assert with_placeholders(output) == with_placeholders(following.text), block.line
            compared += 1
    assert compared == 6
