"""What the page about running says of flags, exit codes and logs is so."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog import bootstrap, exit_codes, front_worker, hosting, reporting, telemetry
from everlog.cli.run import run
from everlog.credentials import live
from tests.support.pages import Block, code_blocks, read_page, run_script
from tests.support.server import running_server

PAGE = "docs/operating/run.md"

# Where `everlog` is.
COMMANDS = Path(sys.executable).parent


def rows(header: str) -> dict[str, list[str]]:
    """Return the table that begins with a header, by the first cell of each row."""
    lines = read_page(PAGE).partition(f"{header}\n")[2].splitlines()[1:]
    found: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
        found[first.strip("| ")] = others
    assert found, header
    return found


def block(language: str) -> Block:
    return next(found for found in code_blocks(read_page(PAGE)) if found.language == language)


def test_the_table_of_flags_is_that_of_the_command() -> None:
    table = rows("| flag | environment variable | default | what it does |")

    documented = {
        flag.strip("`"): (variable.strip("`"), default.strip("`"))
        for flag, (variable, default, _) in table.items()
    }
    assert documented.keys() == {option.opts[0] for option in run.params}
    for option in run.params:
        variable, default = documented[option.opts[0]]
        assert variable == option.envvar
        # Where there is no default, the page says so in words.
        assert default.startswith("none") or default == str(option.default).lower()


def test_the_table_of_exit_codes_is_that_of_the_server() -> None:
    codes = {
        value
        for name, value in vars(exit_codes).items()
        if name.startswith("EXIT_") and isinstance(value, int)
    }

    documented = {int(code) for code in rows("| exit code | meaning |")}
    assert documented <= codes
    assert run.help is not None
    assert documented == {int(code) for code in re.findall(r"^  (\d)  ", run.help, re.MULTILINE)}


def test_the_table_of_messages_is_that_of_the_server() -> None:
    documented = {
        (level.strip("`"), message)
        for level, (cell, _) in rows_of_log()
        for message in re.findall(r"`([^`]+)`", cell)
    }

    assert set(logged_messages()) <= documented
    # Some are put into a variable first.
    texts = set().union(*map(texts_of, (*LOGGING, TELEMETRY)))
    for _, message in documented:
        assert message in texts


LOGGING = tuple(
    Path(module.__file__) for module in (bootstrap, front_worker, hosting, live, reporting)
)
TELEMETRY = Path(telemetry.__file__)

LEVELS = {"debug": "debug", "info": "info", "warning": "warn", "error": "error", "fatal": "fatal"}


def logged_messages() -> Iterator[tuple[str, str]]:
    """Yield the level and the text of every message that a running server logs."""
    for path in LOGGING:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Name(id="log") | ast.Attribute(attr="_log"), attr=level
                    ),
                    args=[ast.Constant(value=str(message))],
                ):
                    yield LEVELS[level], message


def texts_of(path: Path) -> set[str]:
    """Return every text in a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def rows_of_log() -> Iterator[tuple[str, list[str]]]:
    table = read_page(PAGE).partition("| level | message | meaning |\n")[2]
    for line in table.splitlines()[1:]:
        if not line.startswith("|"):
            return
        level, *others = (cell.strip() for cell in line.strip("|").split("|"))
        yield level, others


@pytest.mark.slow
def test_the_keys_made_as_the_page_says_can_be_used(tmp_path: Path) -> None:
    run_script(["bash", "-eu"], block("sh").text, directory=tmp_path, path=COMMANDS)

    with running_server(signing_key_file=tmp_path / "signing-key.pem"):
        assert (tmp_path / "verification-key.pem").read_text().startswith("-----BEGIN PUBLIC KEY")
