"""The libraries that browsers are given are those that the lock names, byte by byte."""

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import REPOSITORY

TOOLS = REPOSITORY / "tools" / "ui"
VENDOR = REPOSITORY / "src" / "everlog" / "ui" / "browser" / "vendor"
NODE = REPOSITORY / ".venv" / "bin" / "node"


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


LOCK = read_json(VENDOR / "vendor.lock.json")


def check_vendored(tools: Path) -> subprocess.CompletedProcess[str]:
    """Make the libraries anew in memory, and say which of them are not what is there."""
    return subprocess.run(
        [NODE, tools / "vendor.js", "--check"], capture_output=True, encoding="utf-8", check=False
    )


def test_every_file_is_the_one_that_the_lock_has_the_digest_of() -> None:
    files = {path.name for path in VENDOR.iterdir()} - {"vendor.lock.json", "LICENSES"}

    # What is compressed is made again, and compared, below.
    assert LOCK["files"].keys() == {name for name in files if not name.endswith(".br")}
    assert {name.removesuffix(".br") for name in files} == LOCK["files"].keys()
    for name, found in LOCK["files"].items():
        digest = hashlib.sha384((VENDOR / name).read_bytes()).digest()
        assert found["integrity"] == f"sha384-{base64.b64encode(digest).decode()}", name


def test_every_package_is_one_that_npm_installs_by_its_digest() -> None:
    installed = read_json(TOOLS / "package-lock.json")["packages"]

    parts = {name for file in LOCK["files"].values() for name in file["packages"]}
    assert LOCK["packages"].keys() == parts
    for name, package in LOCK["packages"].items():
        found = installed[f"node_modules/{name}"]
        assert package == {
            "version": found["version"],
            "licence": found["license"],
            "integrity": found["integrity"],
        }


def test_every_package_comes_with_its_licence() -> None:
    text = (VENDOR / "LICENSES").read_text(encoding="utf-8")

    for name, package in LOCK["packages"].items():
        _, title, rest = text.partition(f"{name} {package['version']} ({package['licence']})\n")
        assert title, name
        words = " ".join(rest.partition("-" * 80)[0].split()).lower()
        assert {
            "MIT": "the above copyright notice and this permission notice shall be included",
            "Apache-2.0": "apache license version 2.0",
        }[package["licence"]] in words


@pytest.mark.slow
def test_the_libraries_are_what_their_packages_become() -> None:
    result = check_vendored(TOOLS)

    assert (result.returncode, result.stderr) == (0, ""), "run `make vendor`"


@pytest.mark.slow
def test_a_library_that_somebody_changed_is_noticed(tmp_path: Path) -> None:
    tools, vendor = (tmp_path / path.relative_to(REPOSITORY) for path in (TOOLS, VENDOR))
    shutil.copytree(TOOLS, tools, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(VENDOR, vendor)
    (tools / "node_modules").symlink_to(TOOLS / "node_modules")
    with (vendor / "htm.js").open("a") as file:
        file.write("//")
    (vendor / "another.js").touch()

    result = check_vendored(tools)

    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"{name} is not what 'make vendor' writes" for name in ("htm.js", "another.js")
    ]
