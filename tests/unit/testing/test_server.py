"""A server for tests: started, stopped, started again, and nothing of it left."""

from pathlib import Path

import pytest

import everlog
from everlog.testing import EverlogServer

EVENT = everlog.NewEvent("https://a.example", "/a", "com.example.happened", {})


@pytest.mark.slow
def test_it_comes_and_goes_and_keeps_what_it_has_a_directory_for(tmp_path: Path) -> None:
    server = EverlogServer(tmp_path / "data")
    assert not server.is_running()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url
    for count in (1, 2):
        with server:
            assert server.is_running()
            assert server.start() is server
            assert server.token not in repr(server) + server.log
            with everlog.connect(server.url, token=server.token) as store:
                store.write([EVENT])
                assert len(list(store.read("/a"))) == count
        assert not server.is_running()
    server.stop()


@pytest.mark.slow
def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeError, match=r"did not start:\n.*file"):
        EverlogServer(tmp_path / "file").start()
    with pytest.raises(RuntimeError, match="no-such-flag"):
        EverlogServer(options=("--no-such-flag",)).start()
