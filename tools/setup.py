"""Make an environment hold exactly what the lock files say, and say what to do if that fails.

There are two: `.venv`, with all that tests and tools need, and `.run-environment`, which is small,
with what a server needs and no more. Beside the first one are packages for Node, which is in it:
what judges the pages of the management UI, and what their libraries are made from.
Guarantees: every package is installed by its hash, nothing is left over from an older lock, and
a second run with nothing changed does nothing.
Uses the standard library only, and no syntax newer than Python 3.6, so that an interpreter that
is too old still gets as far as saying so.
What is left to others: system packages (`system_packages.py`), making the locks (`make lock`).
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Asked before the first definition: older versions cannot evaluate the annotations below.
if sys.version_info < (3, 11):  # noqa: UP036 - it is there for those that break the promise.
    sys.exit(
        f"make setup: Everlog needs Python 3.11 or newer; {sys.executable} is "
        f"{sys.version_info[0]}.{sys.version_info[1]}.\n"
        "Install a newer one and name it, for example: make setup PYTHON=python3.11"
    )

import tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECT_FILE = ROOT / "pyproject.toml"


class Lock(NamedTuple):
    """A lock in `requirements`, and the folder of an environment that it goes to if not the main.

    A folder of its own keeps two versions of a package apart: both major versions of the client
    SDK have the same import name, so that their tests run in processes of their own.
    """

    name: str
    folder: str | None = None
    options: tuple[str, ...] = ()


class Environment(NamedTuple):
    """What is made: the command that asks for it, its folder, its locks, and what it is for."""

    command: str
    folder: str
    locks: tuple[Lock, ...]
    # Packages that made it, and that nothing in it needs afterwards.
    removed: tuple[str, ...]
    time: str
    size: str
    # Where there is a lock of npm's, for the Node of this environment.
    node_folder: str | None = None

    @property
    def directory(self) -> Path:
        return ROOT / self.folder

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    @property
    def stamp(self) -> Path:
        return self.directory / "setup-stamp"


ENVIRONMENTS = {
    "development": Environment(
        command="make setup",
        folder=".venv",
        locks=(
            Lock("development"),
            Lock("sdk-v1", folder="sdk-v1"),
            # A witness for checkpoints, which tests start. What it asks for is Python 3.12, but
            # 3.11 runs it.
            Lock("witness", folder="witness", options=("--ignore-requires-python",)),
        ),
        removed=(),
        time="the first time takes a minute or two",
        size="1.8 GB",
        node_folder="tools/ui",
    ),
    "running": Environment(
        command="make run",
        folder=".run-environment",
        # What builds Everlog itself, which is small, and what it needs.
        locks=(Lock("build"), Lock("runtime")),
        removed=("pip", "setuptools", "hatchling"),
        time="the first time takes some seconds",
        size="0.2 GB",
    ),
}

# Some distributions package these apart from Python.
NEEDED_MODULES = {"venv": "makes virtual environments", "ensurepip": "puts pip into them"}


class SetupError(Exception):
    """What keeps the environment from being made, with what to do about it."""


class Cause(NamedTuple):
    """A pattern in pip's output, what it means, and what to do about it."""

    pattern: str
    meaning: str
    advice: str


# The first that matches is told: without a network pip also says "No matching distribution", and
# means it less.
CAUSES = (
    Cause(
        "NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|Connection refused"
        "|Network is unreachable|Connection aborted|ProxyError|SSLError|HTTP error 5"
        "|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT",
        "the package registry cannot be reached",
        "Check the network, then run it again. Behind a proxy, or with a registry of your own, "
        "set HTTPS_PROXY, PIP_INDEX_URL or PIP_CERT as pip documents them, or registry and cafile "
        "as npm does.",
    ),
    Cause(
        "DO NOT MATCH THE HASHES|EINTEGRITY",
        "a package is not the one that the lock names",
        "Do not install it by other means. Run `pip cache purge`, or `npm cache clean --force`, "
        "and try again; if it stays so, the registry that you use serves something else.",
    ),
    Cause(
        "No matching distribution found",
        "a package is not to be had for this Python on this platform",
        "Try another Python, for example: {command} PYTHON=python3.11\n"
        "With a registry of your own, see that it has the package.",
    ),
    Cause(
        "No space left on device|ENOSPC",
        "the disk is full",
        "Make room (the environment takes {size}), then run it again.",
    ),
)


def main() -> None:
    """Bring an environment up to date, or exit with a message."""
    parser = argparse.ArgumentParser(description="Make an environment from the lock files.")
    parser.add_argument("purpose", nargs="?", choices=ENVIRONMENTS, default="development")
    environment = ENVIRONMENTS[parser.parse_args().purpose]
    try:
        with exclusive_access():
            prepare(environment)
    except SetupError as error:
        sys.exit(f"{environment.command}: {error}")


@contextlib.contextmanager
def exclusive_access() -> Iterator[None]:
    """Let a second setup of the same checkout wait until the first is done."""
    with PROJECT_FILE.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def prepare(environment: Environment) -> None:
    """Build an environment, and what is beside it, unless their stamps say they are as wanted."""
    wanted = fingerprint(environment)
    stamp = environment.stamp
    # The interpreter is a link, which leads nowhere when its target was upgraded away.
    if not environment.python.exists() or not has_text(stamp, wanted):
        build(environment)
        stamp.write_text(wanted)
        announce(environment, "done")
    if environment.node_folder is not None:
        install_node_packages(environment, ROOT / environment.node_folder)


def build(environment: Environment) -> None:
    """Make an environment from its locks, whatever there was before."""
    require_modules(environment)
    announce(environment, f"building {environment.folder} from the lock; {environment.time}")
    create(environment)
    for lock in environment.locks:
        target = [f"--target={environment.directory / lock.folder}"] if lock.folder else []
        requirement = f"--requirement={lock_file(lock)}"
        install(environment, "--require-hashes", requirement, *target, *lock.options)
    install(environment, "--no-build-isolation", f"--editable={ROOT}")
    if environment.removed:
        pip(environment, "uninstall", "--yes", *environment.removed)


def install_node_packages(environment: Environment, folder: Path) -> None:
    """Have npm install what its lock names, by hash, unless that is there; nothing of it is run."""
    digest = hashlib.sha256(f"{sys.platform} {platform.machine()}".encode())
    for name in ("package.json", "package-lock.json"):
        digest.update((folder / name).read_bytes())
    # npm removes it with all that it has installed before, and it is there when all is.
    stamp = folder / "node_modules" / "setup-stamp"
    if has_text(stamp, digest.hexdigest()):
        return
    options = ["--ignore-scripts", "--include=dev", "--include=optional", "--no-audit", "--no-fund"]
    output = run([str(environment.directory / "bin" / "npm"), "ci", *options], folder=folder)
    if output is not None:
        raise SetupError(explanation(output, environment.command, environment.size, "npm"))
    stamp.write_text(digest.hexdigest())


def has_text(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def lock_file(lock: Lock) -> Path:
    return ROOT / "requirements" / f"{lock.name}.lock"


def fingerprint(environment: Environment) -> str:
    """Digest everything that an environment is made from."""
    project = tomllib.loads(PROJECT_FILE.read_text())
    # The settings of tools change often, and need no new environment.
    relevant = [project["build-system"], project["project"], project["tool"]["hatch"]]
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode())
    for path in (*map(lock_file, environment.locks), Path(__file__)):
        digest.update(path.read_bytes())
    digest.update(f"{sys.version} {real_python()} {ROOT}".encode())
    return digest.hexdigest()


def real_python() -> str:
    """Return the interpreter behind the link that a virtual environment has in its place.

    With `.venv` activated, `python3` is that link, and building starts with removing it.
    """
    return os.path.realpath(sys.executable)


def require_modules(environment: Environment) -> None:
    """Check for the modules that make an environment."""
    for name, purpose in NEEDED_MODULES.items():
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise SetupError(
                f"{sys.executable} has no module '{name}', which {purpose}.\n"
                f"On Debian and Ubuntu: apt-get install python{sys.version_info[0]}."
                f"{sys.version_info[1]}-venv\n"
                "Or name another Python, for example: "
                f"{environment.command} PYTHON=/usr/local/bin/python3"
            ) from error


def create(environment: Environment) -> None:
    """Make an environment that holds nothing but pip."""
    output = run([real_python(), "-m", "venv", "--clear", str(environment.directory)])
    if output is not None:
        raise SetupError(
            f"could not create {environment.directory}; its folder must be writable, and pip must "
            f"be part of {sys.executable}.\n{output}"
        )


def install(environment: Environment, *arguments: str) -> None:
    """Install what the arguments name, and nothing that they do not name."""
    pip(environment, "install", "--no-deps", *arguments)


def pip(environment: Environment, command: str, *arguments: str) -> None:
    start = [str(environment.python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    output = run([*start, command, "--quiet", *arguments])
    if output is not None:
        raise SetupError(explanation(output, environment.command, environment.size))


def run(command: list[str], folder: Path = ROOT) -> str | None:
    """Run a command in a folder, and return what it wrote if it failed."""
    finished = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        cwd=folder,
    )
    return None if finished.returncode == 0 else finished.stdout.strip()


def explanation(output: str, command: str, size: str, program: str = "pip") -> str:
    """Word what a program's output means for who ran a command that makes an environment."""
    for cause in CAUSES:
        if re.search(cause.pattern, output):
            advice = cause.advice.format(command=command, size=size)
            return f"{cause.meaning}.\n{advice}\nWhat {program} wrote:\n{output}"
    return f"{program} failed.\nWhat it wrote:\n{output}"


def announce(environment: Environment, message: str) -> None:
    print(f"{environment.command}: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
