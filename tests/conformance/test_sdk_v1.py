"""The SDK 1.9.x, which knows version 1 of the API and of the hash only, does all it can."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.balanced_cluster import Front
from tests.support.server import DEADLINE_SECONDS, TOKEN

CHECKS_FILE = Path(__file__).with_name("sdk_v1_checks.py")

NAMES = re.findall(r"^async def (check_\w+)", CHECKS_FILE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def results(
    sdk_v1_directory: Path, server: Front, signing_server: tuple[Front, str]
) -> dict[str, str | None]:
    """Run all checks at once, in a process that has the older SDK."""
    signing, key = signing_server
    done = subprocess.run(
        [sys.executable, CHECKS_FILE, server.url, TOKEN, signing.url, key],
        env=os.environ | {"PYTHONPATH": str(sdk_v1_directory)},
        capture_output=True,
        timeout=DEADLINE_SECONDS * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    results: dict[str, str | None] = json.loads(done.stdout)
    return results


@pytest.mark.parametrize("name", NAMES)
def test_the_older_sdk(results: dict[str, str | None], name: str) -> None:
    failure = results[name]
    if failure is not None:
        pytest.fail(failure, pytrace=False)
