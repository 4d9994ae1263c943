"""The README's first screens are true: each of its blocks runs, and prints what it shows."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import (
    DOCUMENTED_ADDRESS,
    code_blocks,
    read_page,
    run_script,
    with_placeholders,
)
from tests.support.server import RunningServer, started_process

PAGE = read_page("README.md")
INSTALL, SERVER, SESSION, SHOWN, LIBRARY, PRINTED, RUN = code_blocks(PAGE)

# Five lines start a server, and five use the library once there is something to write.
SERVER_LINES_MAX = 5
SESSION_LINES_MAX = 15
LIBRARY_LINES_MAX = 7

COMMANDS = Path(sys.executable).parent


def test_it_begins_with_installing_and_each_step_is_short() -> None:
    # What this does is tried by `make release`: in an empty environment, with a wheel.
    assert INSTALL.text == "pip install .\n"
    for tool in ("`pip install everlog`", "`uv tool install .`", "`pipx install .`"):
        assert tool in PAGE
    for block, most in (
        (SERVER, SERVER_LINES_MAX),
        (SESSION, SESSION_LINES_MAX),
        (LIBRARY, LIBRARY_LINES_MAX),
    ):
        assert len(block.text.splitlines()) <= most


def test_the_two_commands_are_there() -> None:
    makefile = read_page("Makefile")

    assert RUN.text == "make run\n"
    assert "`make test`" in PAGE
    assert "PORT ?= 3000" in makefile
    assert "tools/run_development_server.py --port $(PORT)" in makefile


def test_the_server_of_the_page_is_safe() -> None:
    # Nobody else can reach it, and nobody guesses its token.
    assert "--host 127.0.0.1 " in SERVER.text
    assert "everlog generate api-token > token\n" in SERVER.text
    assert "--api-token-file token " in SERVER.text
    assert "umask 077\n" in SERVER.text
    assert "secret" not in SERVER.text


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """Run the page's server in an empty folder, on a port that the system chooses."""
    script = f"cd {tmp_path}\n" + SERVER.text.replace("everlog run", "exec everlog run")
    variables = {"EVERLOG_HTTP_PORT": "0", "PATH": f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"}
    with started_process(["bash", "-euc", script], tmp_path / "library", variables) as server:
        server.wait_for_log("listening")
        yield server


@pytest.mark.slow
def test_the_session_prints_what_the_page_shows(server: RunningServer, tmp_path: Path) -> None:
    script = SESSION.text.replace(DOCUMENTED_ADDRESS, f"127.0.0.1:{server.port}")

    output = run_script(["bash", "-eu"], script, directory=tmp_path)
    written, read = split_answers(output)
    again = run_script(["bash", "-eu"], script, directory=tmp_path)

    assert (tmp_path / "token").stat().st_mode & 0o077 == 0
    assert with_placeholders(read) == with_placeholders(SHOWN.text)
    event, _ = read.splitlines()
    assert json.loads(written) == [json.loads(event)["payload"]]
    refusal = again.splitlines()[0]
    assert refusal == "state conflict: precondition failed"
    assert f"`{refusal}`" in PAGE


@pytest.mark.slow
def test_the_library_prints_what_the_page_shows_near_and_far(
    server: RunningServer, tmp_path: Path
) -> None:
    token = (tmp_path / "token").read_text(encoding="ascii").strip()
    far = f'everlog.connect("http://127.0.0.1:{server.port}", token="{token}")'
    assert 'everlog.connect("http://127.0.0.1:3000", token=...)' in PAGE
    assert 'everlog.open("books")' in LIBRARY.text

    for script in (LIBRARY.text, LIBRARY.text.replace('everlog.open("books")', far)):
        assert run_script([sys.executable, "-"], script, directory=tmp_path) == PRINTED.text


def split_answers(output: str) -> tuple[str, str]:
    """Tell the array of the first answer from the lines of the others."""
    _, end = json.JSONDecoder().raw_decode(output)
    return output[:end], output[end:]
