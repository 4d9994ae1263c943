"""The page about commands: examples run, its tables are those of the commands; and the manual."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import click
import pytest

from everlog import exit_codes
from everlog.cli.completion import SHELLS
from everlog.cli.contexts import KEYS
from everlog.cli.main import COMMANDS
from tests.support.exchanges import DOCUMENTED_TOKEN, ask, messages
from tests.support.pages import (
    DOCUMENTED_ADDRESS,
    Block,
    code_blocks,
    read_page,
    run_script,
    with_placeholders,
)
from tests.support.server import DEADLINE_SECONDS, clean_environment, running_server
from tests.support.sources import REPOSITORY
from tools.manual_pages import manual_pages

PAGE = "docs/operating/commands.md"

# Where `everlog` is.
PROGRAMS = Path(sys.executable).parent


def test_the_page_names_every_command_and_every_key_of_a_context() -> None:
    page = read_page(PAGE)

    for name in COMMANDS:
        assert re.search(rf"`(everlog )?{name}`", page), name
    for key in KEYS:
        assert f"`{key}`" in page


def test_the_table_of_exit_codes_has_all_of_them() -> None:
    table = read_page(PAGE).partition("| exit code | meaning |\n")[2]
    codes = {value for name, value in vars(exit_codes).items() if name.startswith("EXIT_")}

    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes


@pytest.mark.slow
def test_every_example_prints_what_the_page_shows(tmp_path: Path) -> None:
    given, _ = messages(read_page("docs/api/README.md").partition("## The events of the ex")[2])
    exports, compared = "", 0
    with running_server(environment={"EVERLOG_API_TOKEN": DOCUMENTED_TOKEN}) as server:
        ask(server.port, given, lines=None)
        for block, following in pairwise([*code_blocks(read_page(PAGE)), Block("", "", 0)]):
            if block.language != "sh":
                continue
            # What goes to standard error is shown too.
            script = f"exec 2>&1\n{exports}{block.text}"
            script = script.replace(DOCUMENTED_ADDRESS, f"127.0.0.1:{server.port}")
            # The counting of what was written does not wait for the next program of a pipe.
            output = run_script(["bash", "-eu"], script, directory=tmp_path, path=PROGRAMS)
            exports += "".join(re.findall(r"^export .*\n", block.text, re.MULTILINE))
            shown, expected = with_placeholders(output), with_placeholders(following.text)
            assert sorted(shown.splitlines()) == sorted(expected.splitlines()), block.line
            compared += 1
    assert compared == 3


def test_the_pages_of_the_manual_are_those_of_the_commands() -> None:
    written = {path.name: path.read_text() for path in (REPOSITORY / "man").glob("*.1")}

    # `python -m tools.manual_pages` writes them.
    assert written == dict(manual_pages())
    assert {f"everlog-{name}.1" for name in COMMANDS} <= written.keys()


# What makes or prints something: it does so, or says why not.
WITHOUT_CODES = {"completion", "generate", "version"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_examples_and_exit_codes(name: str) -> None:
    command = COMMANDS[name].load()

    parts = {name: command}
    if isinstance(command, click.Group):
        parts = {f"{name} {part}": each for part, each in command.commands.items()}
    for called, part in parts.items():
        assert re.search(rf"^ +(\(.*)?everlog {called}\b", part.help or "", re.MULTILINE), called
        assert ("Exit codes:\n  0 " in (part.help or "")) or name in WITHOUT_CODES, called


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_by_what_the_script_asks(shell: str) -> None:
    everlog = str(PROGRAMS / "everlog")
    script = subprocess.run(
        [everlog, "completion", shell], capture_output=True, encoding="utf-8", check=True
    ).stdout
    assert f"_EVERLOG_COMPLETE={shell}_complete" in script

    completed = subprocess.run(
        [everlog],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=DEADLINE_SECONDS,
        env={
            **clean_environment(),
            "_EVERLOG_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": "everlog su",
            "COMP_CWORD": "su" if shell == "fish" else "1",
        },
    ).stdout
    assert "subjects" in completed
    assert "version" not in completed
