"""Make `.bench-environment` hold what benchmarks compare Everlog with: servers, clients, plots.

Guarantees: every package is installed by its hash, from wherever pip takes packages by default, and
a second run with nothing changed does nothing. Nothing of it is needed to use or to test Everlog.
`python -m tools.bench_environment --lock` writes `benchmarks/peers.lock` anew, with the releases
that are the newest then; it needs `make lock` to have been run once.
What is left to others: programs that pip cannot install (`system_packages.py`).
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from tools.setup import explanation, real_python, run

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".bench-environment"
ENVIRONMENT_PYTHON = ENVIRONMENT / "bin" / "python"
LOCK = ROOT / "benchmarks" / "peers.lock"

_STAMP = ENVIRONMENT / "setup-stamp"
_LOCKER = ROOT / ".lock-environment" / "bin" / "uv"


def main() -> None:
    """Bring the environment up to date, or exit with a message."""
    if sys.argv[1:] == ["--lock"]:
        _lock()
    else:
        prepare()


def prepare() -> None:
    """Build the environment, unless its stamp says that it is as wanted."""
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if ENVIRONMENT_PYTHON.exists() and _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    print("Building .bench-environment; the first time takes half a minute", flush=True)
    pip = [str(ENVIRONMENT_PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    install = ["install", "--quiet", "--no-deps", "--require-hashes", f"--requirement={LOCK}"]
    for command in ([real_python(), "-m", "venv", "--clear", str(ENVIRONMENT)], [*pip, *install]):
        output = run(command)
        if output is not None:
            meaning = explanation(output, "make bench", "1 GB")
            sys.exit(f"The benchmarks' environment cannot be made: {meaning}")
    _STAMP.write_text(wanted)


def _lock() -> None:
    options = ("--quiet", "--universal", "--python-version=3.11", "--generate-hashes", "--upgrade")
    title = "python -m tools.bench_environment --lock"
    command = [str(_LOCKER), "pip", "compile", *options, f"--custom-compile-command={title}"]
    files = ["benchmarks/peers.in", f"--output-file={LOCK}"]
    subprocess.run([*command, *files], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
