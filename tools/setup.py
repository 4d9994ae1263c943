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
import pathlib
import subprocess
import sys

# Compared before the first definition: older versions cannot evaluate the annotations below.
if sys.version_info < (3, 11):  # noqa: UP036 - the check is for those that break the promise.
    sys.exit(
        "Everlog needs Python 3.11 or newer, but {} is Python {}.\n"
        "Install a newer one, then name it: make setup PYTHON=python3.11".format(
            sys.executable, ".".join(map(str, sys.version_info[:3]))
        )
    )

import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "setup-stamp"
PROJECT_FILE = ROOT / "pyproject.toml"
DEVELOPMENT_LOCK = ROOT / "requirements" / "development.lock"
SDK_V1_LOCK = ROOT / "requirements" / "sdk-v1.lock"

# Both major versions of the client SDK have the same import name, so that the older one lives in
# a folder of its own, and its tests run in a process of their own.
SDK_V1_DIRECTORY = ENVIRONMENT / "sdk-v1"


class SetupError(Exception):
    """What keeps the environment from being made, with what to do about it."""


def main() -> None:
    """Bring `.venv` up to date, or exit with a message."""
    try:
        with exclusive_access():
            prepare_environment()
    except SetupError as error:
        sys.exit("make setup: {}".format(error))


@contextlib.contextmanager
def exclusive_access():
    """Keep a second setup of the same checkout waiting until this one is done."""
    with PROJECT_FILE.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def prepare_environment() -> None:
    """Rebuild the environment, unless the stamp says that it is as wanted."""
    wanted = fingerprint()
    if STAMP.is_file() and STAMP.read_text() == wanted and is_usable(environment_python()):
        return
    require_modules()
    print("make setup: building .venv from the lock (a minute when run for the first time)")
    create_environment()
    install("--requirement", str(DEVELOPMENT_LOCK), "--require-hashes")
    install("--requirement", str(SDK_V1_LOCK), "--require-hashes", "--target", str(SDK_V1_DIRECTORY))
    install("--editable", str(ROOT), "--no-build-isolation")
    STAMP.write_text(wanted)


def fingerprint() -> str:
    """Digest everything that the environment is made from."""
    project = tomllib.loads(PROJECT_FILE.read_text())
    # Settings of the tools change often and need no new environment.
    relevant = [project["build-system"], project["project"], project["tool"]["hatch"]]
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode())
    for path in (DEVELOPMENT_LOCK, SDK_V1_LOCK, pathlib.Path(__file__)):
        digest.update(path.read_bytes())
    digest.update("{} {} {}".format(sys.version, base_python(), ROOT).encode())
    return digest.hexdigest()


def base_python() -> str:
    """Return the interpreter itself, even when called from inside a virtual environment.

    Inside of `.venv`, its own interpreter is a link that rebuilding takes away.
    """
    return os.path.realpath(sys.executable)


def environment_python() -> pathlib.Path:
    return ENVIRONMENT / "bin" / "python"


def is_usable(python: pathlib.Path) -> bool:
    # A link whose target was upgraded away is there, but leads nowhere.
    return python.exists()


def require_modules() -> None:
    """Check for the two modules that some distributions package apart from Python."""
    for name in ("venv", "ensurepip"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            version = "{}.{}".format(*sys.version_info[:2])
            raise SetupError(
                "{python} has no module '{name}', which makes virtual environments.\n"
                "On Debian or Ubuntu: apt-get install python{version}-venv\n"
                "Or name another Python: make setup PYTHON=/path/to/python3".format(
                    python=sys.executable, name=name, version=version
                )
            ) from error


def create_environment() -> None:
    """Make an empty environment with pip in it."""
    created = subprocess.run(
        [base_python(), "-m", "venv", "--clear", str(ENVIRONMENT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if created.returncode != 0:
        raise SetupError(
            "could not create {}.\n{}\n"
            "Check that the folder can be written and that the disk is not full.".format(
                ENVIRONMENT, created.stdout.strip()
            )
        )
    if subprocess.run([str(environment_python()), "-m", "pip", "--version"], stdout=subprocess.DEVNULL, check=False).returncode != 0:
        raise SetupError("no pip")


def install(*arguments: str) -> None:
    """Install with the environment's pip, which prints what it does only when it fails."""
    command = [str(environment_python()), "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--no-input", *arguments]
    installed = subprocess.run(command, check=False)
    if installed.returncode != 0:
        raise SetupError("failed")


if __name__ == "__main__":
    main()
