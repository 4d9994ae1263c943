"""`everlog --help` teaches, `everlog version` says whose API it is, and neither loads a server."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import everlog
from everlog.cli.main import COMMANDS, cli
from everlog.cli.run import run
from tests.support.server import DEADLINE_SECONDS, clean_environment, run_to_end


def check_says(*arguments: str, texts: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, list(arguments))

    assert result.exit_code == 0
    for text in texts:
        assert text in result.output


def test_version_says_whose_api_it_is() -> None:
    check_says("version", texts=(f"Everlog {everlog.__version__}", "EventSourcingDB 1.3", "Python"))


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_the_commands_and_how_to_start(flag: str) -> None:
    check_says(flag, texts=("run", "version", "everlog run"))


def test_the_example_in_the_help_is_for_this_machine_alone() -> None:
    output = CliRunner().invoke(cli, ["--help"]).output

    for server in output.split("everlog run ")[1:]:
        assert "--host 127.0.0.1" in server or "--https-certificate-file" in server
    assert "secret" not in output


def test_the_help_of_run_explains_flags_and_exit_codes() -> None:
    flags = tuple(option.opts[0] for option in run.params if isinstance(option, click.Option))
    variables = tuple("EVERLOG_" + flag[2:].replace("-", "_").upper() for flag in flags)

    assert len(flags) >= 17
    check_says("run", "--help", texts=(*flags, *variables, "4  the log is damaged"))


def test_the_help_of_run_says_who_can_see_a_token_on_the_command_line() -> None:
    check_says("run", "--help", texts=("can be seen in process lists",))


@pytest.mark.parametrize("typed, meant", [("raed", "read"), ("sujects", "subjects"), ("xyz", None)])
def test_a_command_that_is_mistyped_is_guessed(typed: str, meant: str | None) -> None:
    result = CliRunner().invoke(cli, [typed])

    assert result.exit_code == 2
    assert f"No such command '{typed}'." in result.output
    assert (f"Did you mean '{meant}'?" in result.output) == (meant is not None)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_of_a_command_what_it_says_of_itself(name: str) -> None:
    command = COMMANDS[name].load()

    assert command.name == name
    # However long it is.
    assert COMMANDS[name].short_help == command.get_short_help_str(sys.maxsize)


def test_the_list_shows_every_text_to_its_end() -> None:
    check_says("--help", texts=tuple(listed.short_help for listed in COMMANDS.values()))


def test_an_unknown_command_is_told() -> None:
    result = CliRunner().invoke(cli, ["serve"])

    assert result.exit_code == 2
    assert "No such command 'serve'" in result.output


def test_the_module_and_the_script_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("everlog")
    by_script = subprocess.run(
        [script, "version"], capture_output=True, encoding="utf-8", check=True
    ).stdout

    for arguments in (["version"], ["--version"]):
        ended = run_to_end(*arguments)
        assert (ended.code, ended.output, ended.errors) == (0, by_script, "")
    assert run_to_end("--help").output.startswith("Usage: everlog [OPTIONS] COMMAND")


# What only a server has, and what only some commands need.
SERVER = {"everlog.api", "everlog.bootstrap", "everlog.http", "everlog.service", "everlog.storage"}
SERVER |= {"httptools", "uvloop"}
HEAVY = {"asyncio", "cryptography", "importlib.metadata", "msgspec", "numpy", "ssl"}
HEAVY |= {"jsonschema_rs"}

VERIFIER_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"

# Leaves nothing of its own: each name is printed when the module has been loaded.
PROGRAM = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, sep="\\n", file=sys.stderr))
from everlog.cli import main
main()
"""


def loaded_modules(arguments: Sequence[str]) -> set[str]:
    """Return the modules that a command has loaded when it ends."""
    variables = clean_environment() | {"EVERLOG_API_TOKEN": "token"}
    # What measures the coverage loads modules of its own.
    variables = {name: text for name, text in variables.items() if "COVERAGE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        encoding="utf-8",
        env=variables,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return set(done.stderr.splitlines())


# Each row: a command, whatever becomes of it, and what it needs of what is heavy.
@pytest.mark.parametrize(
    "arguments, needed",
    [
        ("version", ""),
        ("--version", ""),
        ("--help", ""),
        ("version --help", ""),
        ("generate --help", ""),
        ("generate api-token", ""),
        ("generate signing-key --file=/", "cryptography"),
        ("generate certificate --help", ""),
        ("audit --help", "jsonschema_rs msgspec numpy"),
        ("audit --data-directory=/missing", "jsonschema_rs msgspec numpy"),
        ("backup --help", "msgspec ssl"),
        ("backup --url=http://127.0.0.1:1 --output=/missing/file", "msgspec ssl"),
        ("restore --help", "msgspec ssl"),
        ("diagnostics --help", ""),
        ("diagnostics --url=http://127.0.0.1:1", "msgspec ssl"),
        ("diagnostics", "importlib.metadata msgspec ssl"),
        ("journal --help", "asyncio msgspec ssl"),
        ("journal load --help", "asyncio msgspec ssl"),
        ("query --help", "msgspec ssl"),
        ("completion bash", ""),
        ("read --help", "msgspec ssl"),
        ("read / --url=http://127.0.0.1:1", "msgspec ssl"),
        ("observe --url=http://127.0.0.1:1", "msgspec ssl"),
        ("write --help", "msgspec ssl"),
        ("write --url=http://127.0.0.1:1 --data={}", "msgspec ssl"),
        ("import --help", "msgspec ssl"),
        ("export --help", "msgspec ssl"),
        ("subjects --url=http://127.0.0.1:1", "msgspec ssl"),
        ("types --help", "msgspec ssl"),
        ("health --url=http://127.0.0.1:1", "msgspec ssl"),
        ("query --url=http://127.0.0.1:1 'FROM e IN events'", "msgspec ssl"),
        ("verify --help", ""),
        (f"verify --checkpoint=/missing --key={VERIFIER_KEY}", ""),
        ("mcp --help", "msgspec ssl"),
        # The log writes the server's errors, those of the event loop included.
        ("run --help", "asyncio msgspec ssl"),
        ("run", "asyncio msgspec ssl"),
    ],
    ids=lambda text: text or "nothing",
)
def test_a_command_loads_no_server_and_only_what_it_needs(arguments: str, needed: str) -> None:
    loaded = loaded_modules(shlex.split(arguments))

    assert "everlog.cli.main" in loaded
    assert not loaded & SERVER
    assert loaded & HEAVY <= {*needed.split()}
