"""Make a release in `dist`: built twice, compared, checked and tried. Nothing is uploaded.

Guarantees: what is released is what is committed; whoever builds the same commit gets the same
bytes; the wheel is built once from the source distribution and once from the files themselves, so
that the source distribution is whole; and both were installed and used in an empty environment.
What is left to others: uploading (`.github/workflows/release.yml`), the image
(`deploy/docker/Dockerfile`), and what the wheel says that it is made with (`sbom.py`).
"""

import argparse
import email
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from everlog._version import __version__

ROOT: Final = Path(__file__).resolve().parent.parent
RUNTIME_LOCK: Final = ROOT / "requirements" / "runtime.lock"
USING: Final = ROOT / "tools" / "try_release.py"

WHEEL: Final = f"everlog-{__version__}-py3-none-any.whl"
SOURCES: Final = f"everlog-{__version__}.tar.gz"
SUMS: Final = "SHA256SUMS"
# What a signature is for, so that one of something else is none of a release.
SIGNATURE_NAMESPACE: Final = "everlog-release"

# Hosts that nobody can have (RFC 2606).
RESERVED_HOST: Final = re.compile(
    r"https?://(?:[\w-]+\.)*(?:example(?:\.\w+)?|invalid|test)(?:/|$)"
)

IN_EVERY_WHEEL: Final = (
    "everlog/py.typed",
    f"everlog-{__version__}.dist-info/sboms/everlog.cdx.json",
    f"everlog-{__version__}.dist-info/licenses/LICENSE",
)
DESCRIBED_BY: Final = (
    "Summary",
    "License-Expression",
    "Keywords",
    "Classifier",
    "Project-URL",
    "Requires-Python",
    "Description-Content-Type",
)


class ReleaseError(Exception):
    """Why there is no release, as a sentence."""


def main() -> None:
    """Make a release as the command line says, or exit with a message."""
    parser = argparse.ArgumentParser(description="Make a release, and upload nothing.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="the folder to fill")
    parser.add_argument(
        "--uncommitted", action="store_true", help="build what is there, for trying it"
    )
    parser.add_argument(
        "--publishable", action="store_true", help="refuse what must not be published"
    )
    parser.add_argument(
        "--signing-key", type=Path, help="sign the checksums with this SSH key, by ssh-keygen"
    )
    options = parser.parse_args()
    obstacles = list(find_obstacles())
    if options.publishable and obstacles:
        sys.exit("\n  ".join(["make release: it must not be published:", *obstacles]))
    try:
        make_release(options.output, is_committed=not options.uncommitted)
        if options.signing_key is not None:
            sign(options.output / SUMS, options.signing_key)
    except ReleaseError as error:
        sys.exit(f"make release: {error}")
    announce(f"{options.output} has {WHEEL}, {SOURCES} and {SUMS}")
    for obstacle in obstacles:
        announce(f"before it is published: {obstacle}")


def make_release(output: Path, *, is_committed: bool) -> None:
    """Fill a folder with a release that holds what it promises."""
    files = committed_files() if is_committed else present_files()
    with tempfile.TemporaryDirectory(prefix="everlog-release-") as name:
        folder = Path(name)
        announce("building twice")
        first, second = build_twice(files, folder)
        compare(first, second)
        announce("checking")
        check_with_twine(first)
        check_wheel(first / WHEEL)
        announce("installing into an empty environment, and using it")
        try_out(first / WHEEL, folder)
        output.mkdir(parents=True, exist_ok=True)
        for path in (WHEEL, SOURCES):
            shutil.copyfile(first / path, output / path)
    sums = (f"{digest_of(output / path)}  {path}\n" for path in (WHEEL, SOURCES))
    (output / SUMS).write_text("".join(sums), encoding="ascii")


def find_obstacles() -> Iterator[str]:
    """Yield what keeps the checkout from being published, each as a sentence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    reserved = [name for name, url in project["urls"].items() if RESERVED_HOST.match(url)]
    if reserved:
        yield f"pyproject.toml has no real URL yet for {', '.join(reserved)}."
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if f"## [{__version__}]" not in changes:
        yield f"CHANGELOG.md has no section for {__version__}."
    if f"v{__version__}" not in git("tag", "--points-at", "HEAD").split():
        yield f"the commit has no tag v{__version__}."


def committed_files() -> list[str]:
    """Return the paths of all files of the commit, which are the files that are there."""
    changed = git("status", "--porcelain").splitlines()
    if changed:
        raise ReleaseError("\n".join(["commit or remove these first:", *changed]))
    return git("ls-files", "-z").strip("\0").split("\0")


def present_files() -> list[str]:
    """Return the paths of all files that could be committed."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    paths = sorted(set(listed.split("\0")) - {""})
    # A file that was deleted is listed until the deletion is committed.
    return [path for path in paths if (ROOT / path).is_file()]


def git(*arguments: str) -> str:
    return run(["git", *arguments], ROOT).stdout


def build_twice(files: list[str], folder: Path) -> tuple[Path, Path]:
    """Build in two places that have little in common, and return where the results are."""
    time = {"SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct").strip()}
    trees = [copy_files(files, folder / name) for name in ("first", "another/place")]
    results = [folder / "built-first", folder / "built-again"]
    build("sdist", trees[0], results[0], {**time, "TZ": "UTC", "PYTHONHASHSEED": "1"}, 0o022)
    build("sdist", trees[1], results[1], {**time, "TZ": "Asia/Tokyo", "LC_ALL": "C"}, 0o077)
    with tarfile.open(results[0] / SOURCES) as archive:
        # Made a moment ago, by ourselves; the first releases of Python 3.11 know no filters.
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder / "unpacked", filter="data")
        else:
            archive.extractall(folder / "unpacked")  # noqa: S202 - see above
    unpacked = folder / "unpacked" / SOURCES.removesuffix(".tar.gz")
    build("wheel", unpacked, results[0], {**time, "TZ": "UTC", "PYTHONHASHSEED": "1"}, 0o022)
    build("wheel", trees[1], results[1], {**time, "TZ": "Asia/Tokyo", "LC_ALL": "C"}, 0o077)
    return results[0], results[1]


def copy_files(files: list[str], place: Path) -> Path:
    for path in files:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, place / path)
    return place


def build(target: str, tree: Path, output: Path, variables: dict[str, str], umask: int) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target]
    run([*command, "--directory", str(output)], tree, os.environ | variables, umask=umask)


def compare(first: Path, second: Path) -> None:
    for path in (WHEEL, SOURCES):
        if (first / path).read_bytes() != (second / path).read_bytes():
            raise ReleaseError(f"two builds of {path} are not the same, byte for byte.")


def check_with_twine(built: Path) -> None:
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())], built)


def check_wheel(path: Path) -> None:
    """Look for what has to be in a wheel, and for what must not be."""
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        folder = f"everlog-{__version__}.dist-info"
        missing = set(IN_EVERY_WHEEL) - names
        if missing:
            raise ReleaseError(f"the wheel has no {', '.join(sorted(missing))}.")
        strange = {name for name in names if not name.startswith(("everlog/", f"{folder}/"))}
        # Pages of the manual belong elsewhere.
        strange = {name for name in strange if not name.startswith(f"everlog-{__version__}.data/")}
        if strange:
            raise ReleaseError(f"the wheel has {', '.join(sorted(strange))}.")
        described = email.message_from_bytes(wheel.read(f"{folder}/METADATA"))
        bill = json.loads(wheel.read(f"{folder}/sboms/everlog.cdx.json"))
    silent = [name for name in DESCRIBED_BY if name not in described]
    if silent:
        raise ReleaseError(f"the wheel does not say its {', '.join(silent)}.")
    if bill["metadata"]["component"]["version"] != __version__:
        raise ReleaseError("the bill of materials is of another version; run `make sbom`.")


def try_out(wheel: Path, folder: Path) -> None:
    """Install a wheel with what is locked into an empty environment, and use it there."""
    environment, empty = folder / "environment", folder / "empty"
    empty.mkdir()
    run([sys.executable, "-m", "venv", str(environment)], empty)
    python = str(environment / "bin" / "python")
    install = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
    ]
    locked = ["--only-binary=:all:", "--require-hashes", f"--requirement={RUNTIME_LOCK}"]
    run([*install, *locked], empty)
    run([*install, "--no-index", str(wheel)], empty)
    run([python, "-m", "pip", "--disable-pip-version-check", "check"], empty)
    run([python, "-I", str(USING), __version__], empty)


def sign(sums: Path, key: Path) -> None:
    """Sign the checksums, and with them what they sum up."""
    if shutil.which("ssh-keygen") is None:
        raise ReleaseError("ssh-keygen, which signs, is not installed.")
    sums.with_name(f"{SUMS}.sig").unlink(missing_ok=True)
    run(["ssh-keygen", "-Y", "sign", "-n", SIGNATURE_NAMESPACE, "-f", str(key), str(sums)], ROOT)


def run(
    command: list[str], directory: Path, environment: dict[str, str] | None = None, umask: int = -1
) -> subprocess.CompletedProcess[str]:
    """Run a command, whose output is told only if it fails."""
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        umask=umask,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise ReleaseError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def announce(message: str) -> None:
    print(f"make release: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
