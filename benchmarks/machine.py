"""What figures were measured on, and with what: without it they say nothing."""

import os
import platform
import subprocess
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def describe_machine(folder: Path) -> dict[str, str]:
    """Return what there is to know about the machine, the disk of a folder, and the sources."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        "processor": f"{os.cpu_count()} x {_first(Path('/proc/cpuinfo'), 'model name')}",
        "memory": f"{_memory_size() / 2**30:.0f} GiB",
        "file system": _file_system(folder),
        "system": f"{platform.system()} {platform.release()}, {platform.libc_ver()[0]} "
        f"{platform.libc_ver()[1]}",
        "Python": f"{platform.python_version()}, {_python_build()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "none: not a clone"
    changes = git("status", "--porcelain", "--", "src")
    return f"{commit}, with changes of `src`" if changes else commit


def _first(path: Path, name: str) -> str:
    lines = path.read_text().splitlines() if path.exists() else []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(found, platform.processor())


def _memory_size() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _file_system(folder: Path) -> str:
    command = ["df", "--output=fstype,source", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.split("\n")
    return " on ".join(lines[1].split()) if len(lines) > 1 else "unknown"


def _python_build() -> str:
    options = str(sysconfig.get_config_var("CONFIG_ARGS"))
    # What a distribution builds hides its options; those of most others are here.
    is_optimized = "--enable-optimizations" in options
    return "built with PGO" if is_optimized else "built without --enable-optimizations"
