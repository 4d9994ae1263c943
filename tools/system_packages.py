"""Provide the programs that tests and benchmarks start and pip cannot install.

Installs them where that needs no question (as root, with apt), and otherwise says what to install.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

# Which package has the program, with Debian's apt and with Homebrew.
PACKAGES = {"curl": "curl", "jq": "jq", "nginx": "nginx", "rsync": "rsync", "wrk": "wrk"}
# What pages of the management UI are looked at with.
PACKAGES["chromium"] = "chromium"
if sys.platform == "linux":
    # Only the program that judges units is used: nothing is started with it.
    PACKAGES["systemd-analyze"] = "systemd"
    # What Patroni agrees by, which decides who of several PostgreSQL servers is the primary.
    PACKAGES["etcd"] = "etcd-server"
    # File systems and networks for tests that may make them; without root they are not used.
    if os.geteuid() == 0:
        PACKAGES |= {"mkfs.xfs": "xfsprogs", "mkfs.btrfs": "btrfs-progs"}
        PACKAGES |= {"ip": "iproute2"}

# Servers are installed where only root's PATH looks.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])


def path_of(program: str) -> str:
    """Return where a program is that was provided."""
    return shutil.which(program, path=SEARCH_PATH) or program


def main() -> None:
    """Install what tests need and is missing, or exit with a message."""
    provide(PACKAGES)


def provide(packages: Mapping[str, str]) -> None:
    """Install those packages, by program, that are missing, or exit with a message."""
    missing = missing_packages(packages)
    apt = shutil.which("apt-get")
    if missing and apt is not None and os.geteuid() == 0:
        install(missing, apt)
        missing = missing_packages(packages)
    if missing:
        names = " ".join(missing)
        sys.exit(
            f"Programs are needed that are not installed: {names}\n"
            f"On Debian and Ubuntu: sudo apt-get install --no-install-recommends {names}\n"
            f"On macOS: brew install {names}"
        )


def missing_packages(packages: Mapping[str, str]) -> list[str]:
    return [
        package
        for program, package in packages.items()
        if shutil.which(program, path=SEARCH_PATH) is None
    ]


def install(names: list[str], apt: str) -> None:
    """Install Debian packages; what goes wrong is printed by apt, and told by what is missing."""
    print(f"Installing what is needed: {' '.join(names)}", flush=True)
    # RUNLEVEL keeps a package from starting its server: the tests start their own.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *names]):
        command = [apt, "-qq", *arguments]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    main()
