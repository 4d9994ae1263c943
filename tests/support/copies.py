"""Directories of tests that stand for another one, whose place they have taken."""

from pathlib import Path

import msgspec


def settle(folder: Path) -> None:
    """Let each data directory in a folder, or that folder, say that it is where it is.

    What says nothing, or nothing that could be read, stays as it is.
    """
    for path in folder.rglob("place"):
        directory = path.parent
        try:
            noted = msgspec.json.decode(path.read_bytes())
            files = {"directory": directory, "format": directory / "everlog.json"}
            for name, file in files.items():
                noted[name] = {"inode": file.stat().st_ino, "born": 0}
        except (FileNotFoundError, msgspec.DecodeError):
            continue
        path.write_bytes(msgspec.json.encode(noted))
