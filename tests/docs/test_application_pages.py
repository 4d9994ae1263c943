"""The pages about applications: every block is run, and prints what the page shows below it.

A block that begins with a comment that names a file is that file. Other blocks of Python are run
one after the other, as one program. Blocks of a shell are typed into one shell.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from everlog.projections import databases
from tests.support.event_list import EventList
from tests.support.pages import DOCUMENTED_ADDRESS, Block, code_blocks, read_page
from tests.support.postgresql_server import running_postgresql
from tests.support.proxy import free_port
from tests.support.server import clean_environment
from tests.support.sources import REPOSITORY

FOLDER: Final = "docs/library"

FILE_NAME: Final = re.compile(r"# (\w+\.py)\n")

# What stands between the outputs of two blocks.
SEPARATOR: Final = "\0\n"

# Some seconds, on a machine that is much slower than this.
DEADLINE_SECONDS: Final = 300.0

DURATION: Final = re.compile(r"\bin \d+\.\d\ds\b")


def blocks_of(page: str) -> list[Block]:
    return code_blocks(read_page(f"{FOLDER}/{page}"))


def write_files(blocks: Sequence[Block], directory: Path) -> list[Block]:
    """Write what is a file, and return the other blocks."""
    others = []
    for block in blocks:
        name = FILE_NAME.match(block.text) if block.language == "python" else None
        if name is None:
            others.append(block)
        else:
            assert not (directory / name[1]).exists(), f"{name[1]} is there twice"
            (directory / name[1]).write_text(block.text)
    return others


def run(command: Sequence[str | Path], directory: Path) -> str:
    """Return what a program prints, whose processes are all ended at the end."""
    # As it is where nothing else is installed: the plug-ins of these tests take long to load.
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "everlog.testing.plugin"}
    environment = clean_environment() | {"COLUMNS": "80"} | plugins
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output + errors
    return output


def check_outputs(blocks: Sequence[Block], language: str, output: str) -> None:
    """Compare what each block of a language printed with what is shown below it."""
    outputs = iter(output.split(SEPARATOR))
    for block, below in pairwise([*blocks, Block("", "", 0)]):
        if block.language == language:
            shown = below.text if below.language == "text" else ""
            printed = next(outputs)
            assert DURATION.sub("", printed) == DURATION.sub("", shown), block.line
    assert list(outputs) == [""]


def check_programs(page: str, directory: Path) -> None:
    """Run all blocks of Python that are no files, as one program."""
    others = write_files(blocks_of(page), directory)
    separate = f"print({SEPARATOR[:-1]!r}, flush=True)\n"
    program = "".join(block.text + separate for block in others if block.language == "python")
    (directory / "page.py").write_text(program)

    check_outputs(others, "python", run([sys.executable, "-W", "error", "page.py"], directory))


def check_commands(page: str, directory: Path) -> None:
    """Type all blocks of a shell, with a port that is free; nothing is installed."""
    others = write_files(blocks_of(page), directory)
    shown, actual = DOCUMENTED_ADDRESS, f"127.0.0.1:{free_port()}"
    for file in directory.glob("*.py"):
        file.write_text(file.read_text().replace(shown, actual))
    script = ""
    for block in others:
        if block.language == "sh":
            if "pip install" not in block.text:
                script += block.text
            script += "printf '\\0\\n'\n"
    script = script.replace(shown, actual)
    script = script.replace("--http-enabled", f"--http-enabled --http-port {actual.split(':')[1]}")

    check_outputs(others, "sh", run(["bash", "-eu", "-c", script], directory))


@pytest.mark.slow
@pytest.mark.parametrize("page", ["change-events.md", "read-models.md", "retry.md"])
def test_every_program_prints_what_the_page_shows(tmp_path: Path, page: str) -> None:
    check_programs(page, tmp_path)


@pytest.mark.slow
def test_an_application_is_built_by_the_page(tmp_path: Path) -> None:
    check_commands("build-an-application.md", tmp_path)


@pytest.mark.slow
def test_an_application_is_tested_by_the_page(tmp_path: Path) -> None:
    application = {"books.py", "library.py", "overview.py"}
    for block in blocks_of("build-an-application.md"):
        if (name := FILE_NAME.match(block.text)) and name[1] in application:
            (tmp_path / name[1]).write_text(block.text)

    check_commands("test-an-application.md", tmp_path)


@pytest.mark.slow
def test_the_sample_application_passes_its_own_tests(tmp_path: Path) -> None:
    sample = shutil.copytree(
        REPOSITORY / "examples" / "library",
        tmp_path / "library",
        ignore=shutil.ignore_patterns("__pycache__", ".*"),
    )

    install, commands, shown, tests = code_blocks((sample / "README.md").read_text())
    assert install.text.startswith("pip install")
    script = re.sub(r"^lending ", "python -m lending ", commands.text, flags=re.MULTILINE)
    assert run(["bash", "-eu", "-c", script], sample) == shown.text
    assert re.search(
        r"^\d+ passed in", run(["bash", "-eu", "-c", tests.text], sample), re.MULTILINE
    )


@pytest.mark.slow
def test_the_example_for_postgresql_keeps_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    [text] = [
        block.text for block in blocks_of("read-models.md") if "psycopg.connect" in block.text
    ]
    store = EventList()
    store.add(("/books/42", "com.example.book-borrowed", {"reader": "/readers/23"}))
    names: dict[str, Any] = {}
    with running_postgresql(fsync="off") as server:
        monkeypatch.setenv("DATABASE_URL", server.url)
        exec(text, names)
        names["loans"].catch_up(store, names["connect"])

        assert server.execute("SELECT * FROM loan") == [("/books/42", "/readers/23")]


def test_the_page_shows_the_table_of_positions() -> None:
    [statement] = [block for block in blocks_of("read-models.md") if block.language == "sql"]

    table, _, _ = statement.text.partition(";")
    assert table == databases._TABLE.replace(" IF NOT EXISTS", "")
