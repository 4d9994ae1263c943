"""One directory has one server, even while that is being killed; the next may follow at once."""

import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from everlog.exit_codes import EXIT_DATA_DIRECTORY
from tests.support.history_checker import find_violations
from tests.support.planted_bugs import Bug
from tests.support.rack_server import Plan, entry_point
from tests.support.server import RunningServer, running_server, starting_server, wait_until
from tests.support.workload import Workload, read_log

KILLS = 4
RIVALS = 3


def has_decided(server: RunningServer) -> bool:
    """Tell whether a server has come to serve, or to its end."""
    return bool(server.urls) or server.process.poll() is not None


def check_refused(rival: RunningServer, owner: RunningServer) -> None:
    wait_until(lambda: has_decided(rival))
    assert rival.wait() == EXIT_DATA_DIRECTORY
    last = rival.log[-1]
    assert last["level"] == "fatal"
    assert f"in use by another process (process id {owner.pid})" in last["message"]


def find_rival(directory: Path, *, bug: Bug | None = None) -> Sequence[str]:
    """Return whether a second server comes to serve the directory of a running one."""
    with (
        running_server(data_directory=directory),
        starting_server(data_directory=directory, entry_point=entry_point(Plan(bug=bug))) as rival,
    ):
        wait_until(lambda: has_decided(rival))
        return ["two servers serve one directory"] if rival.urls else []


@pytest.mark.slow
def test_a_second_server_is_refused_and_does_not_disturb_the_first(tmp_path: Path) -> None:
    work = Workload(5)
    with running_server(data_directory=tmp_path / "data") as owner:
        work.start(owner.url)
        for _ in range(2):
            with starting_server(data_directory=owner.data_directory) as rival:
                check_refused(rival, owner)
        work.wait_for_writes(20, gone=lambda: False)
        work.stop_writing()
        assert find_violations(work.history, read_log(owner.url)) == []
        assert owner.stop() == 0
        work.wait_for_end()


@pytest.mark.slow
def test_of_many_that_follow_a_killed_server_one_serves_and_finds_everything(
    tmp_path: Path,
) -> None:
    rng = random.Random(6)
    work = Workload(6)
    directory = tmp_path / "data"
    with ExitStack() as stack:
        owner = stack.enter_context(running_server(data_directory=directory))
        for _ in range(KILLS):
            work.start(owner.url)
            rivals = [
                stack.enter_context(starting_server(data_directory=directory))
                for _ in range(RIVALS)
            ]
            # They are on their way while the first one is working, and then is killed.
            work.wait_for_writes(rng.randrange(100), gone=lambda: False)
            owner.kill()
            work.wait_for_end()
            for rival in rivals:
                wait_until(lambda rival=rival: has_decided(rival))
            serving = [rival for rival in rivals if rival.process.poll() is None]
            codes = {rival.wait() for rival in rivals if rival not in serving}
            assert codes <= {EXIT_DATA_DIRECTORY}
            assert len(serving) <= 1
            # All of them may have come too early.
            owner = (
                serving[0]
                if serving
                else stack.enter_context(running_server(data_directory=directory))
            )
            assert find_violations(work.history, read_log(owner.url)) == []


@pytest.mark.slow
def test_two_servers_on_one_directory_are_noticed(tmp_path: Path) -> None:
    assert find_rival(tmp_path / "sound") == []
    assert find_rival(tmp_path / "shared", bug=Bug.SHARES_THE_DIRECTORY) != []
