"""`everlog --help` teaches, and `everlog version` says whose API it is."""

import click
import pytest
from click.testing import CliRunner

import everlog
from everlog.cli.main import cli
from everlog.cli.run import run


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


def test_the_help_of_run_explains_flags_and_exit_codes() -> None:
    flags = tuple(option.opts[0] for option in run.params if isinstance(option, click.Option))
    variables = tuple("EVERLOG_" + flag[2:].replace("-", "_").upper() for flag in flags)

    assert len(flags) >= 17
    check_says("run", "--help", texts=(*flags, *variables, "4  the log is damaged"))


def test_the_help_of_run_says_who_can_see_a_token_on_the_command_line() -> None:
    check_says("run", "--help", texts=("can be seen in process lists",))
