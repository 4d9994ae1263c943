"""Make `.venv` hold exactly what the lock files say, and say what to do where that fails.

Guarantees: every package is installed by its hash, nothing is left over from an older lock, and
a second run with nothing changed does nothing.
Uses the standard library only, and no syntax newer than Python 3.6, so that an interpreter that
is too old still gets as far as saying so.
What is left to others: system packages (`system_packages.py`), making the locks (`make lock`).
"""

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
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
ENVIRONMENT = ROOT / ".venv"
ENVIRONMENT_PYTHON = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / "setup-stamp"
PROJECT_FILE = ROOT / "pyproject.toml"
DEVELOPMENT_LOCK = ROOT / "requirements" / "development.lock"
SDK_V1_LOCK = ROOT / "requirements" / "sdk-v1.lock"

# Both major versions of the client SDK have the same import name, so that the older one lives in
# a folder of its own, and its tests run in a process of their own.
SDK_V1_DIRECTORY = ENVIRONMENT / "sdk-v1"

# A witness for checkpoints, which tests start. What it asks for is Python 3.12, but 3.11 runs it.
WITNESS_LOCK = ROOT / "requirements" / "witness.lock"
WITNESS_DIRECTORY = ENVIRONMENT / "witness"

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
        "|Network is unreachable|Connection aborted|ProxyError|SSLError|HTTP error 5",
        "the package registry cannot be reached",
        "Check the network, then run it again. Behind a proxy, or with a registry of your own, "
        "set HTTPS_PROXY, PIP_INDEX_URL or PIP_CERT as pip documents them.",
    ),
    Cause(
        "DO NOT MATCH THE HASHES",
        "a package is not the one that the lock names",
        "Do not install it by other means. Run `pip cache purge` and try again; if it stays so, "
        "the registry that you use serves something else.",
    ),
    Cause(
        "No matching distribution found",
        "a package is not to be had for this Python on this platform",
        "Try another Python, for example: make setup PYTHON=python3.11\n"
        "With a registry of your own, see that it has the package.",
    ),
    Cause(
        "No space left on device",
        "the disk is full",
        "Make room (the environment takes 0.4 GB), then run it again.",
    ),
)


def main() -> None:
    """Bring `.venv` up to date, or exit with a message."""
    try:
        with exclusive_access():
            prepare_environment()
    except SetupError as error:
        sys.exit(f"make setup: {error}")


@contextlib.contextmanager
def exclusive_access() -> Iterator[None]:
    """Let a second setup of the same checkout wait until the first is done."""
    with PROJECT_FILE.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def prepare_environment() -> None:
    """Build the environment, unless the stamp says that it is as wanted."""
    wanted = fingerprint()
    # The interpreter is a link, which leads nowhere when its target was upgraded away.
    if ENVIRONMENT_PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return
    require_modules()
    announce("building .venv from the lock; the first time takes a minute")
    create_environment()
    install("--require-hashes", f"--requirement={DEVELOPMENT_LOCK}")
    install("--require-hashes", f"--requirement={SDK_V1_LOCK}", f"--target={SDK_V1_DIRECTORY}")
    install(
        "--require-hashes",
        "--ignore-requires-python",
        f"--requirement={WITNESS_LOCK}",
        f"--target={WITNESS_DIRECTORY}",
    )
    install("--no-build-isolation", f"--editable={ROOT}")
    STAMP.write_text(wanted)
    announce("done")


def fingerprint() -> str:
    """Digest everything that the environment is made from."""
    project = tomllib.loads(PROJECT_FILE.read_text())
    # The settings of tools change often, and need no new environment.
    relevant = [project["build-system"], project["project"], project["tool"]["hatch"]]
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode())
    for path in (DEVELOPMENT_LOCK, SDK_V1_LOCK, WITNESS_LOCK, Path(__file__)):
        digest.update(path.read_bytes())
    digest.update(f"{sys.version} {real_python()} {ROOT}".encode())
    return digest.hexdigest()


def real_python() -> str:
    """Return the interpreter behind the link that a virtual environment has in its place.

    With `.venv` activated, `python3` is that link, and building starts with removing it.
    """
    return os.path.realpath(sys.executable)


def require_modules() -> None:
    """Check for the modules that make an environment."""
    for name, purpose in NEEDED_MODULES.items():
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise SetupError(
                f"{sys.executable} has no module '{name}', which {purpose}.\n"
                f"On Debian and Ubuntu: apt-get install python{sys.version_info[0]}."
                f"{sys.version_info[1]}-venv\n"
                "Or name another Python, for example: make setup PYTHON=/usr/local/bin/python3"
            ) from error


def create_environment() -> None:
    """Make an environment that holds nothing but pip."""
    command = [real_python(), "-m", "venv", "--clear", str(ENVIRONMENT)]
    output = run(command)
    if output is not None:
        raise SetupError(
            f"could not create {ENVIRONMENT}; its folder must be writable, and pip must be part of "
            f"{sys.executable}.\n{output}"
        )


def install(*arguments: str) -> None:
    """Install what the arguments name, and nothing that they do not name."""
    pip = [str(ENVIRONMENT_PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    output = run([*pip, "install", "--quiet", "--no-deps", *arguments])
    if output is not None:
        raise SetupError(explanation(output))


def run(command: list[str]) -> str | None:
    """Run a command, and return what it wrote if it failed."""
    finished = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False
    )
    return None if finished.returncode == 0 else finished.stdout.strip()


def explanation(output: str) -> str:
    """Word what pip's output means for the person who ran it."""
    for cause in CAUSES:
        if re.search(cause.pattern, output):
            return f"{cause.meaning}.\n{cause.advice}\nWhat pip wrote:\n{output}"
    return f"pip failed.\nWhat it wrote:\n{output}"


def announce(message: str) -> None:
    print(f"make setup: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
