"""What people type, over a directory and over a server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lending.commands import main

Say = Callable[..., str]


@pytest.fixture(params=["directory", "server"])
def say(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Say:
    """Return what types a command, and returns what is printed."""
    monkeypatch.chdir(tmp_path)
    if request.param == "server":
        server: Any = request.getfixturevalue("everlog_server")
        monkeypatch.setenv("LENDING_STORE", server.url)
        monkeypatch.setenv("EVERLOG_API_TOKEN", server.token)

    def say(*arguments: str) -> str:
        main(arguments)
        return capsys.readouterr().out

    return say


def test_a_day_at_the_library(say: Say) -> None:
    say("register", "23", "Jane Roe")
    say("acquire", "42", "Dune", "Frank Herbert")
    say("acquire", "43", "Emma", "Jane Austen")
    say("borrow", "42", "23", "--request", "a")
    say("borrow", "42", "23", "--request", "a")
    assert say("books") == (
        "42: Dune by Frank Herbert, lent to Jane Roe (loans: 1)\n"
        "43: Emma by Jane Austen, on the shelf (loans: 0)\n"
    )
    with pytest.raises(SystemExit, match="lending: 'Dune' is lent to /readers/23"):
        say("borrow", "42", "23")

    say("return", "42")
    say("remove", "43", "lost")
    assert say("books") == "42: Dune by Frank Herbert, on the shelf (loans: 1)\n"
