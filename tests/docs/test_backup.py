"""The pages about backups and upgrades: commands run, tables and figures are those of the code."""

import re
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import click
import pytest

from everlog.cli.backup import backup
from everlog.cli.restore import restore
from everlog.domain.chain import GENESIS_HASH, HASH_V2_PREFIX, HashVersion
from everlog.domain.event import accept_event, candidate_size
from everlog.exit_codes import EXIT_INTERRUPTED, EXIT_OUTPUT_CLOSED
from everlog.storage.line import Mark, render_line
from everlog.transfer.backup_lines import to_backup_lines
from tests.support.engines import open_log
from tests.support.events import a_candidate, store
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

PAGE = "docs/operating/backup.md"
UPGRADE_PAGE = "docs/operating/upgrade.md"

GIVEN_PAGE = "docs/api/README.md"
GIVEN_HEADING = "## The events of the examples"

DOCUMENTED_DIRECTORY = "/var/lib/everlog"

# Where `everlog` is.
COMMANDS = Path(sys.executable).parent


def unindented(page: str) -> str:
    """Return a page whose steps stand at the margin, so that their commands are found."""
    return re.sub(r"^   ", "", page, flags=re.MULTILINE)


def run_page(page: str, *, directory: Path, names: Mapping[str, str]) -> tuple[int, int]:
    """Run the commands of a page in their order, and compare what they print with what it shows.

    Return how many there were, and how many outputs were compared.
    """
    exports = ""
    count = compared = 0
    for block, following in pairwise([*code_blocks(unindented(page)), Block("", "", 0)]):
        if block.language != "sh":
            continue
        script = exports + block.text
        for name, meaning in names.items():
            script = script.replace(name, meaning)
        output = run_script(["bash", "-eu"], script, directory=directory, path=COMMANDS)
        exports += "".join(re.findall(r"^export .*\n", block.text, re.MULTILINE))
        for name, meaning in names.items():
            output = output.replace(meaning, name)
        count += 1
        if following.language == "text":
            assert with_placeholders(output) == with_placeholders(following.text), block.line
            compared += 1
    return count, compared


@pytest.mark.slow
def test_every_command_of_the_page_prints_what_it_shows(tmp_path: Path) -> None:
    given, _ = messages(read_page(GIVEN_PAGE).partition(GIVEN_HEADING)[2])
    with running_server(
        data_directory=tmp_path / "data", environment={"EVERLOG_API_TOKEN": DOCUMENTED_TOKEN}
    ) as server:
        ask(server.port, given, lines=None)
        counts = run_page(
            read_page(PAGE),
            directory=tmp_path,
            names={
                DOCUMENTED_ADDRESS: f"127.0.0.1:{server.port}",
                DOCUMENTED_DIRECTORY: str(tmp_path / "data"),
            },
        )

    assert counts == (12, 6)


@pytest.mark.slow
def test_every_command_of_the_page_about_upgrades_works(tmp_path: Path) -> None:
    given, _ = messages(read_page(GIVEN_PAGE).partition(GIVEN_HEADING)[2])
    with running_server(
        data_directory=tmp_path / "data", environment={"EVERLOG_API_TOKEN": DOCUMENTED_TOKEN}
    ) as server:
        ask(server.port, given, lines=None)
        counts = run_page(
            read_page(UPGRADE_PAGE),
            directory=tmp_path,
            names={DOCUMENTED_DIRECTORY: str(tmp_path / "data")},
        )

    assert counts == (3, 0)


def tables(header: str) -> list[list[list[str]]]:
    """Return the rows of all tables that begin with a header."""
    found = []
    for text in read_page(PAGE).split(f"{header}\n")[1:]:
        lines = text.splitlines()[1:]
        rows = []
        for line in lines:
            if not line.startswith("|"):
                break
            rows.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
        found.append(rows)
    return found


def first_variable(option: click.Option) -> str:
    if option.envvar is None or isinstance(option.envvar, str):
        return option.envvar or "none"
    return option.envvar[0]


def test_the_tables_of_flags_are_those_of_the_commands() -> None:
    documented = tables("| flag | environment variable | what it does |")

    for command, rows in zip((backup, restore), documented, strict=True):
        options = [option for option in command.params if isinstance(option, click.Option)]
        assert [(flag, variable) for flag, variable, _ in rows] == [
            # Of several variables the others are former names.
            (option.opts[0], first_variable(option))
            for option in options
        ]


def test_the_tables_of_exit_codes_are_those_of_the_commands() -> None:
    documented = tables("| exit code | meaning |")

    for command, rows in zip((backup, restore), documented, strict=True):
        assert command.help is not None
        told = re.findall(r"^  (\d)  ", command.help, re.MULTILINE)
        signals = {str(EXIT_INTERRUPTED), str(EXIT_OUTPUT_CLOSED)}
        assert [code for code, _ in rows if code not in signals] == told


def test_the_figures_are_those_of_the_files(tmp_path: Path) -> None:
    [rows] = tables("| what | bytes | where |")
    figures = {what: text for what, text, _ in rows}
    candidate = a_candidate()
    besides = []
    for version, prefix in ((HashVersion.V1, ""), (HashVersion.V2, HASH_V2_PREFIX)):
        event = accept_event(
            candidate,
            position=1_234_567,
            time="2026-11-30T10:00:00.123456789Z",
            predecessor_hash=prefix + GENESIS_HASH,
            hash_version=version,
        )
        line = render_line(event.json, Mark.WRITE)
        besides.append(
            [len(text) - candidate_size(candidate) for text in (line, to_backup_lines(line, 1))]
        )
    (log_v1, backup_v1), (log_v2, backup_v2) = besides

    assert f"and {log_v1} to {log_v2} besides" in figures["an event in the log"]
    assert f"and {backup_v1} to {backup_v2} besides" in figures["an event in a backup"]
    engine = open_log(tmp_path)
    for _ in range(50):
        store(engine, candidate)
    engine.close()
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "index").iterdir()}
    of_events = sum(sizes[name] for name in ("offset", "subject", "type", "previous"))
    assert figures["an event in the index"] == str(of_events // 50)
