"""What pages compute without a browser is tested in JavaScript, where it is written."""

import re
import subprocess

from tests.support.sources import REPOSITORY

NODE = REPOSITORY / ".venv" / "bin" / "node"
TESTS = REPOSITORY / "tests" / "ui" / "model"


def test_all_that_needs_no_browser_holds() -> None:
    command = [NODE, "--test", "--test-reporter=tap", *sorted(TESTS.glob("*.test.js"))]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE))
    # No test is disabled, and Node found them.
    assert int(counts["pass"]) > 0
    assert counts["pass"] == counts["tests"]
