"""What makes environments says what is missing, and does nothing when nothing changed."""

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from everlog._version import __version__
from tests.support import locks
from tests.support.sources import REPOSITORY
from tools import setup

SCRIPT = REPOSITORY / "tools" / "setup.py"
NODE_FILES = ("tools/ui/package.json", "tools/ui/package-lock.json")


def run_setup(
    directory: Path,
    *arguments: str,
    preparation: str = "pass",
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the setup of the checkout in the directory, on a Python that was spoilt beforehand."""
    script = directory / "tools" / "setup.py"
    program = f"import runpy, sys; {preparation}; runpy.run_path({str(script)!r}, None, '__main__')"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | (environment or {}),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def set_python_version(version: tuple[int, int]) -> str:
    return f"sys.version_info = {(*version, 0, 'final', 0)}"


def remove_module(name: str) -> str:
    return f"sys.modules[{name!r}] = None"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy all that the setup reads."""
    for name in ("pyproject.toml", "tools/setup.py", "requirements", *NODE_FILES):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copyfile
        copy(REPOSITORY / name, target)
    return tmp_path


def check_refusal(result: subprocess.CompletedProcess[str], *texts: str) -> None:
    assert result.returncode == 1
    assert result.stderr.startswith("make setup: ")
    assert "Traceback" not in result.stderr
    for text in texts:
        assert text in result.stderr


@pytest.mark.parametrize("version", [(3, 6), (3, 10)])
def test_a_python_that_is_too_old_is_told(checkout: Path, version: tuple[int, int]) -> None:
    result = run_setup(checkout, preparation=set_python_version(version))

    found = ".".join(map(str, version))
    check_refusal(result, "needs Python 3.11 or newer", f"is {found}.", "make setup PYTHON=")


def test_old_pythons_can_read_the_script() -> None:
    ast.parse(SCRIPT.read_text(encoding="ascii"), feature_version=(3, 6))


@pytest.mark.parametrize("name", ["venv", "ensurepip"])
def test_a_missing_module_is_told(checkout: Path, name: str) -> None:
    result = run_setup(checkout, preparation=remove_module(name))

    check_refusal(result, f"no module '{name}'", "apt-get install python3.", "make setup PYTHON=")


@pytest.mark.slow
def test_a_registry_that_cannot_be_reached_is_told_and_the_next_run_tries_again(
    checkout: Path,
) -> None:
    with socket.socket() as unreachable:
        # Bound but not listening: connections are refused, and nobody else gets the port.
        unreachable.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unreachable.getsockname()[1]}"
        offline = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": "",
            "PIP_INDEX_URL": address,
            "PIP_NO_CACHE_DIR": "1",
            "PIP_RETRIES": "1",
        }
        first = run_setup(checkout, environment=offline)
        second = run_setup(checkout, environment=offline)

    for result in (first, second):
        assert result.stderr.startswith("make setup: building .venv")
        check_refusal(result, "the package registry cannot be reached", "HTTPS_PROXY")


def test_nothing_is_done_when_nothing_changed(checkout: Path) -> None:
    pretend_that_it_is_set_up(checkout)

    result = run_setup(checkout, preparation=remove_module("venv"))

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "path, change",
    [
        ("requirements/development.lock", "\n"),
        ("requirements/sdk-v1.lock", "\n"),
        ("requirements/witness.lock", "\n"),
        ("pyproject.toml", "[tool.hatch.changed]\n"),
        ("tools/setup.py", "\n"),
    ],
)
def test_a_change_of_what_is_installed_builds_anew(checkout: Path, path: str, change: str) -> None:
    pretend_that_it_is_set_up(checkout)
    with (checkout / path).open("a") as file:
        file.write(change)

    result = run_setup(checkout, preparation=remove_module("venv"))

    check_refusal(result, "no module 'venv'")


@pytest.mark.parametrize(
    "path, is_for_running",
    [
        ("requirements/build.lock", True),
        ("requirements/runtime.lock", True),
        ("requirements/development.lock", False),
    ],
)
def test_what_runs_a_server_is_built_anew_by_its_own_locks(
    checkout: Path, path: str, *, is_for_running: bool
) -> None:
    pretend_that_it_is_set_up(checkout, "running")
    with (checkout / path).open("a") as file:
        file.write("\n")

    result = run_setup(checkout, "running", preparation=remove_module("venv"))

    assert (result.returncode == 1) == is_for_running
    if is_for_running:
        assert result.stderr.startswith("make run: ")
        assert "make run PYTHON=" in result.stderr


def test_a_change_of_other_settings_builds_nothing(checkout: Path) -> None:
    pretend_that_it_is_set_up(checkout)
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("[tool.other]\nis_changed = true\n")

    result = run_setup(checkout, preparation=remove_module("venv"))

    assert result.returncode == 0, result.stderr


def test_an_environment_whose_python_is_gone_is_built_anew(checkout: Path) -> None:
    pretend_that_it_is_set_up(checkout)
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(checkout / "gone")

    result = run_setup(checkout, preparation=remove_module("venv"))

    check_refusal(result, "no module 'venv'")


# What `make run` may take on the disk.
RUNNING_SIZE_MAX = 160 * 1024 * 1024


@pytest.mark.slow
def test_what_runs_a_server_is_small_and_has_what_is_locked(checkout: Path) -> None:
    for name in ("README.md", "LICENSE"):
        shutil.copyfile(REPOSITORY / name, checkout / name)
    shutil.copytree(REPOSITORY / "src", checkout / "src")

    first, second = (run_setup(checkout, "running") for _ in range(2))

    assert first.returncode == 0, first.stderr
    assert (second.returncode, second.stderr) == (0, "")
    environment = checkout / ".run-environment"
    # As `du` counts: blocks, and each file once.
    sizes = {
        (found.st_dev, found.st_ino): found.st_blocks * 512
        for found in (path.lstat() for path in environment.rglob("*"))
    }
    assert sum(sizes.values()) < RUNNING_SIZE_MAX
    program = (
        "from importlib.metadata import distributions\n"
        "for found in distributions(): print(found.name, found.version)"
    )
    listed = subprocess.check_output([environment / "bin" / "python", "-c", program], text=True)
    installed = {
        canonicalize_name(name): version
        for name, version in (line.split() for line in listed.splitlines())
    }
    assert installed.items() >= locks.locked_versions("runtime").items()
    assert not {"pip", "hatchling", "pytest"}.intersection(installed)
    everlog = [environment / "bin" / "everlog", "version"]
    assert __version__ in subprocess.check_output(everlog, text=True)


def pretend_that_it_is_set_up(checkout: Path, purpose: str = "development") -> None:
    """Leave what a setup leaves that went well, without the minute that it takes."""
    script = checkout / "tools" / "setup.py"
    program = (
        f"import runpy; setup = runpy.run_path({str(script)!r})\n"
        f"print(setup['fingerprint'](setup['ENVIRONMENTS'][{purpose!r}]), end='')"
    )
    stamp = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )
    environment = checkout / setup.ENVIRONMENTS[purpose].folder
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)
    (environment / "setup-stamp").write_text(stamp.stdout)
    # Stands for npm: it says that it was called, and what for, and leaves what npm leaves.
    npm = environment / "bin" / "npm"
    npm.write_text("#!/bin/sh\necho $PWD: npm $@ >> calls\nrm -fr node_modules\nmkdir node_modules")
    npm.chmod(0o755)
    if purpose == "development":
        assert run_setup(checkout).returncode == 0


def test_packages_for_node_are_installed_by_the_lock_of_npm_and_once(checkout: Path) -> None:
    pretend_that_it_is_set_up(checkout)
    calls = checkout / "tools" / "ui" / "calls"
    first = calls.read_text()
    assert run_setup(checkout).returncode == 0

    assert calls.read_text() == first
    assert first.startswith(f"{checkout / 'tools' / 'ui'}: npm ci --ignore-scripts ")
    for path in NODE_FILES:
        with (checkout / path).open("a") as file:
            file.write("\n")
        # The environment itself is not built anew for it.
        result = run_setup(checkout, preparation=remove_module("venv"))
        assert (result.returncode, result.stderr) == (0, "")
    assert calls.read_text() == first * 3


def test_what_npm_cannot_do_is_told_and_tried_again(checkout: Path) -> None:
    pretend_that_it_is_set_up(checkout)
    (checkout / "tools" / "ui" / "node_modules" / "setup-stamp").unlink()
    npm = checkout / ".venv" / "bin" / "npm"
    npm.write_text("#!/bin/sh\necho npm error code ENOTFOUND\nexit 1")

    for _ in range(2):
        check_refusal(
            run_setup(checkout), "registry cannot be reached", "What npm wrote", "ENOTFOUND"
        )


def test_who_only_runs_a_server_needs_no_node() -> None:
    assert setup.ENVIRONMENTS["running"].node_folder is None
    assert setup.ENVIRONMENTS["development"].node_folder == "tools/ui"


def test_the_lock_of_npm_has_hashes_and_names_no_registry() -> None:
    text = (REPOSITORY / "tools/ui/package-lock.json").read_text(encoding="utf-8")
    lock = json.loads(text)
    wanted = json.loads((REPOSITORY / "tools/ui/package.json").read_text())["devDependencies"]

    packages = {name: found for name, found in lock["packages"].items() if name}
    assert all(found["integrity"].startswith("sha512-") for found in packages.values())
    assert all(
        found["version"] == wanted[name.removeprefix("node_modules/")]
        for name, found in packages.items()
        if name.removeprefix("node_modules/") in wanted
    )
    # Exactly, so that what is asked for is what is locked.
    assert all(re.fullmatch(r"[\d.]+", version) for version in wanted.values())
    assert '"resolved"' not in text
    registry = "omit-lockfile-registry-resolved=true"
    assert registry in (REPOSITORY / "tools/ui/.npmrc").read_text().splitlines()


# Each row: what pip wrote, and what it means.
PIP_OUTPUTS = (
    (
        "WARNING: Retrying: NewConnectionError\nERROR: No matching distribution found for click",
        "the package registry cannot be reached",
    ),
    (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
        "a package is not the one that the lock names",
    ),
    (
        "ERROR: No matching distribution found for uvloop==0.23.0",
        "a package is not to be had for this Python on this platform",
    ),
    (
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        "the disk is full",
    ),
    (
        "npm error code EINTEGRITY\nnpm error sha512-a integrity checksum failed",
        "a package is not the one that the lock names",
    ),
    ("npm error code ENOSPC", "the disk is full"),
    ("error: something new", "pip failed"),
)


@pytest.mark.parametrize("output, meaning", PIP_OUTPUTS)
def test_what_pip_wrote_is_explained_and_shown(output: str, meaning: str) -> None:
    explanation = setup.explanation(output, "make setup", "1 GB")

    assert explanation.startswith(f"{meaning}.\n")
    assert explanation.endswith(output)


def test_the_lock_satisfies_what_the_project_asks_for() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    locked = locked_versions(REPOSITORY / "requirements" / "development.lock")

    for requirement in map(Requirement, wanted):
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: run `make lock`"


@pytest.mark.parametrize("name", ["development.lock", "sdk-v1.lock", "witness.lock"])
def test_a_lock_pins_hashes_and_names_no_registry(name: str) -> None:
    path = REPOSITORY / "requirements" / name
    text = path.read_text(encoding="ascii")

    pins = [line for line in text.splitlines() if re.match(r"[a-z0-9]\S*==", line)]
    assert pins
    assert all(f"{pin}\n    --hash=sha256:" in text for pin in pins)
    assert "://" not in text
    assert "--index" not in text


def locked_versions(path: Path) -> dict[str, str]:
    requirements = [
        Requirement(line.removesuffix("\\"))
        for line in path.read_text(encoding="ascii").splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    ]
    return {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
        for requirement in requirements
    }
