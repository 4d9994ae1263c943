"""A real server shows the pages where it was told to, and has nothing of them elsewhere."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog.ui.pages import load_pages
from tests.support.api import Connection
from tests.support.server import TOKEN, RunningServer, run_to_end, running_server, starting_server

PATHS = tuple(load_pages(None, None))


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server("--with-ui", "--ui-title=Orders <b>", "--ui-colour=RED") as server:
        yield server


def test_every_page_is_open_to_who_has_no_token(server: RunningServer) -> None:
    with Connection(server.url) as client:
        for path in PATHS:
            for method in ("GET", "HEAD"):
                assert client.ask(method, path, headers={}).status == 200, path


def test_no_data_is(server: RunningServer) -> None:
    with Connection(server.url) as client:
        assert client.ask("QUERY", "/api/v2/data/read-events", headers={}).status == 401
        assert client.ask("GET", "/api/v2/system/diagnostics", headers={}).status == 401


def test_the_appearance_is_there_before_anybody_has_signed_in(server: RunningServer) -> None:
    with Connection(server.url) as client:
        answer = client.ask("GET", "/appearance.json", headers={})

    assert answer.json == {"title": "Orders <b>", "colour": "#b3261e"}


def test_a_page_is_sent_once_and_compressed(server: RunningServer) -> None:
    with Connection(server.url) as client:
        first = client.ask("GET", "/vendor/codemirror.js", headers={"Accept-Encoding": "gzip"})
        assert first.headers["Content-Encoding"] == "gzip"
        again = {"Accept-Encoding": "gzip", "If-None-Match": first.headers["ETag"]}
        second = client.ask("GET", "/vendor/codemirror.js", headers=again)

    assert (second.status, second.body) == (304, b"")
    assert second.headers["Cache-Control"] == "no-cache"
    assert second.headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_is_there_to_be_looked_at_only(server: RunningServer) -> None:
    with Connection(server.url) as client:
        answer = client.ask("POST", "/", b"{}")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
        # No path leads out of what was loaded.
        for path in ("/vendor/", "/../pyproject.toml", "/%2e%2e/pages.py", "/pages.py"):
            assert client.ask("GET", path).status in {400, 404}, path


def test_the_log_says_that_it_is_on(server: RunningServer) -> None:
    line = server.wait_for_log("the management UI is on")

    messages = [each["message"] for each in server.log]
    assert line["level"] == "info"
    assert messages.index(line["message"]) < messages.index("listening")


def test_an_environment_variable_turns_it_on(tmp_path: Path) -> None:
    variables = {"EVERLOG_WITH_UI": "true", "EVERLOG_UI_TITLE": "Orders"}
    with (
        starting_server(data_directory=tmp_path / "data", environment=variables) as server,
        Connection(server.wait_for_log("listening")["url"]) as client,
    ):
        assert client.ask("GET", "/appearance.json").json == {"title": "Orders", "colour": None}


# Says at its end what was loaded of it, by the process that serves.
PROGRAM = """
import atexit, os, sys
from everlog.__main__ import main
def tell():
    names = [name for name in sys.modules if name.startswith("everlog.")]
    open(os.environ["LOADED_MODULES"], "w").write(" ".join(names))
atexit.register(tell)
main()
"""


@pytest.mark.parametrize("is_on", [False, True], ids=["off", "on"])
def test_without_it_nothing_of_it_is_there(tmp_path: Path, *, is_on: bool) -> None:
    entry_point = (sys.executable, "-c", PROGRAM)
    loaded = tmp_path / "loaded"
    with starting_server(
        f"--with-ui={str(is_on).lower()}",
        entry_point=entry_point,
        environment={"LOADED_MODULES": str(loaded)},
    ) as server:
        server.wait_for_log("listening")
        with Connection(server.url) as client:
            statuses = {client.ask("GET", path).status for path in PATHS}
            document = client.ask("GET", "/.well-known/openapi").text
        assert server.stop() == 0
    names = loaded.read_text().split()

    assert "everlog.api.application" in names
    assert statuses == ({200} if is_on else {404})
    assert any(name.startswith("everlog.ui") for name in names) == is_on
    assert any("management UI" in line["message"] for line in server.log) == is_on
    # The pages are no part of the API.
    assert "appearance" not in document


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--ui-title=a"], "--ui-title is of use with --with-ui only"),
        (["--ui-colour=red"], "--ui-colour is of use with --with-ui only"),
        (["--with-ui", "--ui-colour=pink"], "EVERLOG_UI_COLOUR'): it must be one of red, orange"),
        (["--with-ui", "--ui-title="], "EVERLOG_UI_TITLE'): it must be 1 to 64 characters"),
    ],
)
def test_what_cannot_be_shown_is_told(flags: list[str], said: str) -> None:
    ended = run_to_end("run", "--api-token", TOKEN, "--data-directory-temporary", *flags)

    assert ended.code == 2
    assert said in " ".join(ended.errors.split())
