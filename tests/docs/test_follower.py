"""The page about followers: its commands run, and what it says of numbers is so."""

from pathlib import Path

import pytest

from everlog.service.mirroring import following
from tests.docs.test_backup import run_page
from tests.support.api import Connection
from tests.support.api import an_event as a_candidate
from tests.support.backups import an_event, lines_of
from tests.support.exchanges import DOCUMENTED_TOKEN
from tests.support.followed import TOKEN, running_followed
from tests.support.pages import DOCUMENTED_ADDRESS, read_page
from tests.support.server import running_server, wait_until

PAGE = "docs/operating/follower.md"

SOURCE_ADDRESS = "127.0.0.1:3001"


@pytest.mark.slow
def test_every_command_of_the_page_prints_what_it_shows(tmp_path: Path) -> None:
    token_file = tmp_path / "source-token"
    token_file.write_text(DOCUMENTED_TOKEN)
    environment = {"EVERLOG_API_TOKEN": DOCUMENTED_TOKEN}
    with running_server(environment=environment) as source:
        flags = (f"--follow={source.url}", f"--follow-token-file={token_file}")
        with running_server(*flags, environment=environment) as follower:
            names = {
                SOURCE_ADDRESS: f"127.0.0.1:{source.port}",
                DOCUMENTED_ADDRESS: f"127.0.0.1:{follower.port}",
            }
            counts = run_page(read_page(PAGE), directory=tmp_path, names=names)

    assert counts == (3, 3)


def test_the_times_of_the_page_are_those_of_the_code() -> None:
    page = read_page(PAGE)

    assert (following._SCHEMAS_SECONDS, following._SCHEMAS_IDLE_SECONDS) == (1.0, 5.0)
    assert "more than a second old, and else every five seconds" in page
    assert following._HEAD_SECONDS == 5.0
    assert "it is asked every five seconds which event is its latest" in page
    assert following._PROGRESS_SECONDS == 10.0
    assert "the log says every ten seconds how far it is" in page
    assert (following._PAUSE_SECONDS_MIN, following._PAUSE_SECONDS_MAX) == (0.1, 10.0)
    assert "after a tenth of a second, then ever more seldom, every ten seconds at last" in page
    assert following._RETRY_SECONDS == 1.0
    assert "is tried again each second" in page


@pytest.mark.slow
def test_a_store_moves_here_without_a_pause(tmp_path: Path) -> None:
    assert "## Without a pause" in read_page("docs/migrating.md")
    token_file, directory = tmp_path / "token", tmp_path / "data"
    token_file.write_text(TOKEN)
    with running_followed() as original:
        original.write(an_event(), an_event())
        flags = (f"--follow={original.url}", f"--follow-token-file={token_file}")
        with running_server(*flags, data_directory=directory) as follower:
            original.write(an_event('{"n":2}'))
            with Connection(follower.url) as connection:
                moved = lines_of(original.events)
                wait_until(lambda: connection.v1("backup").body == moved)
            follower.stop()
        with (
            running_server(data_directory=directory) as everlog,
            Connection(everlog.url) as connection,
        ):
            assert connection.v1("write-events", {"events": [a_candidate()]}).status == 200
            assert connection.v1("backup").body.startswith(moved)
