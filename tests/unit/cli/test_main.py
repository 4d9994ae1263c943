"""`everlog --help` teaches, and `everlog version` says whose API it is."""

import pytest
from click.testing import CliRunner

import everlog
from everlog.cli.main import cli


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
    names = ("http-enabled", "https-enabled", "http-port", "https-port", "host", "hash-version")
    names += ("data-directory", "data-directory-temporary", "signing-key-file", "api-token")
    flags = tuple(f"--{name}" for name in names)

    check_says("run", "--help", texts=(*flags, "EVERLOG_API_TOKEN", "4  the log is damaged"))
