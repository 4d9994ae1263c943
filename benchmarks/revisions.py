"""Other revisions of the sources, to be measured beside those that are here."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Unpack the sources of a revision into a folder of its own, as `src`."""
    # Not a worktree, which the repository would have to be told of, and to forget.
    command = ["git", "archive", "--format=tar", revision, "src"]
    packed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with TemporaryDirectory(prefix="everlog-revision-") as name:
        # Python's own `tarfile` has no safe way to unpack before 3.11.4.
        subprocess.run(["tar", "--extract", "--directory", name], input=packed, check=True)
        yield Path(name)


def name_of(revision: str) -> str:
    """Return the first characters of a revision's commit."""
    command = ["git", "rev-parse", "--short=12", revision]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
