"""The plug-in gives a test a store or a server of its own, and loads nothing before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import sys

def test_nothing_is_loaded_before():
    assert "everlog.library.store" not in sys.modules

def write(store):
    import everlog
    event = everlog.NewEvent("https://a.example", "/a", "com.example.happened", {})
    assert [each.id for each in store.write([event])] == ["0"]

def test_a_store(everlog_store):
    write(everlog_store)

def test_a_new_store(everlog_store):
    write(everlog_store)

def test_a_server_that_fails(everlog_server):
    import everlog
    assert everlog_server.token not in repr(everlog_server)
    with everlog.connect(everlog_server.url, token=everlog_server.token) as store:
        write(store)
    assert False
"""


@pytest.mark.slow
def test_stores_and_servers_are_new_for_each_test(tmp_path: Path) -> None:
    (tmp_path / "test_user.py").write_text(TESTS)
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "everlog.testing.plugin", "test_user.py"],
        cwd=tmp_path,
        env=os.environ | plugins,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )

    assert "1 failed, 3 passed" in done.stdout, done.stdout
    # The end of the server's log.
    assert '"message":"stopped"' in done.stdout
