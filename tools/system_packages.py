"""Provide the programs that the tests start and pip cannot install.

Installs them where that needs no question (as root, with apt), and otherwise says what to install.
"""

import os
import shutil
import subprocess
import sys

# The package has the name of the program, with Debian's apt and with Homebrew.
PROGRAMS = ("curl", "nginx")

# Servers are installed where only root's PATH looks.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])


def main() -> None:
    """Install what is missing, or exit with a message."""
    missing = missing_programs()
    apt = shutil.which("apt-get")
    if missing and apt is not None and os.geteuid() == 0:
        install(missing, apt)
        missing = missing_programs()
    if missing:
        names = " ".join(missing)
        sys.exit(
            f"The tests need programs that are not installed: {names}\n"
            f"On Debian and Ubuntu: sudo apt-get install --no-install-recommends {names}\n"
            f"On macOS: brew install {names}"
        )


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None]


def install(names: list[str], apt: str) -> None:
    """Install Debian packages; what goes wrong is printed by apt, and told by what is missing."""
    print(f"Installing what the tests need: {' '.join(names)}", flush=True)
    # RUNLEVEL keeps a package from starting its server: the tests start their own.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *names]):
        command = [apt, "-qq", *arguments]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    main()
