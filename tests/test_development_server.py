"""`make run` says where everything is, keeps the token to itself, and becomes the server."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.pages import read_page
from tests.support.sources import REPOSITORY

# Stands in for the server, and tells how it was started.
SERVER = f"""#!{sys.executable}
import json, os, sys
print(json.dumps([os.getpid(), sys.argv[1:], os.environ["EVERLOG_API_TOKEN"]]))
"""


@dataclass(frozen=True)
class Run:
    """What a person sees, and what the server was given."""

    banner: str
    is_same_process: bool
    arguments: list[str]
    token: str


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    script = tmp_path / "tools" / "run_development_server.py"
    script.parent.mkdir()
    shutil.copyfile(REPOSITORY / "tools" / "run_development_server.py", script)
    programs = tmp_path / ".run-environment" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    server = programs / "everlog"
    server.write_text(SERVER)
    server.chmod(0o755)
    return tmp_path


def run_development_server(checkout: Path, *options: str) -> Run:
    command = [".run-environment/bin/python", "tools/run_development_server.py", *options]
    with subprocess.Popen(
        command,
        cwd=checkout,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        output, banner = process.communicate()
    assert process.returncode == 0, banner
    identity, arguments, token = json.loads(output)
    return Run(banner, identity == process.pid, arguments, token)


def test_the_banner_says_where_everything_is(checkout: Path) -> None:
    banner = run_development_server(checkout, "--port", "3210").banner

    for text in (
        "http://127.0.0.1:3210",
        ".everlog/token",
        ".everlog/data-3210",
        "Ctrl-C",
        "open http://127.0.0.1:3210 in a browser",
        "curl ",
    ):
        assert text in banner


def test_the_command_in_the_banner_sends_the_token_and_a_whole_write(checkout: Path) -> None:
    banner = run_development_server(checkout).banner

    body = re.search(r"--data '(.*)'", banner)
    assert body is not None
    assert [event["subject"] for event in json.loads(body[1])["events"]] == ["/orders/1"]
    assert '"Authorization: Bearer $(cat .everlog/token)"' in banner


def test_the_token_is_random_kept_and_shown_to_nobody(checkout: Path) -> None:
    first = run_development_server(checkout)
    second = run_development_server(checkout)

    file = checkout / ".everlog" / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert first.token == second.token == file.read_text().strip()
    assert len(first.token) >= 32
    for run in (first, second):
        assert run.token not in run.banner
        assert not any(run.token in argument for argument in run.arguments)


def test_the_process_becomes_the_server_so_that_signals_reach_it(checkout: Path) -> None:
    run = run_development_server(checkout)

    assert run.is_same_process


def test_the_server_listens_on_this_machine_only_with_its_data_in_the_checkout(
    checkout: Path,
) -> None:
    run = run_development_server(checkout)

    assert run.arguments == [
        "run",
        "--host=127.0.0.1",
        "--http-enabled",
        "--http-port=3000",
        "--https-enabled=false",
        "--with-ui",
        "--ui-title=Development",
        f"--data-directory={checkout}/.everlog/data",
    ]


def test_servers_on_other_ports_have_data_of_their_own_and_the_same_token(checkout: Path) -> None:
    runs = [run_development_server(checkout, f"--port={port}") for port in (3000, 3001, 3002)]

    directories = [Path(run.arguments[-1].partition("=")[2]) for run in runs]
    assert [directory.name for directory in directories] == ["data", "data-3001", "data-3002"]
    assert {directory.parent for directory in directories} == {checkout / ".everlog"}
    assert len({run.token for run in runs}) == 1


def test_make_run_installs_what_running_needs_and_starts_the_server_with_that() -> None:
    recipe = re.search(r"^run:.*\n((?:\t.*\n)+)", read_page("Makefile"), re.MULTILINE)

    assert recipe is not None
    assert recipe[1].splitlines() == [
        "\t@$(PYTHON) tools/setup.py running",
        "\t@.run-environment/bin/python tools/run_development_server.py --port $(PORT)",
    ]
