"""What a Dockerfile does, done without Docker: in a folder that stands for the image's root.

Guarantees: `COPY` takes only what `.dockerignore` lets through; `RUN` runs as it is written, with
`/build` and `/opt` moved into the folder; nothing outside of the folder is changed.
What is left to others: what only an engine can do, such as users and layers. Tests of the last
stage therefore read it.
"""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# Places that a build may use; they are moved into the folder.
_PLACES = re.compile(r"(?<![\w.{}/-])/(?=(?:build|opt)(?:/|\b))")


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, its lines joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The text as a list, in whichever of the two forms it was written."""
        words: list[str] = json.loads(self.text) if self.text.startswith("[") else self.text.split()
        return words


def read_stages(path: Path) -> list[list[Instruction]]:
    """Return the stages of a Dockerfile, each beginning with its FROM."""
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: list[list[Instruction]] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            stages.append([])
        if name and stages:
            stages[-1].append(Instruction(name, " ".join(rest.split())))
    return stages


def build_context(directory: Path) -> Iterator[str]:
    """Yield the paths of a checkout that its `.dockerignore` lets through."""
    ignored = (directory / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    for folder, folders, names in os.walk(directory):
        # Environments and caches: no rule lets them through, and they are large.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name).relative_to(directory)
            if _is_sent(path, rules):
                yield path.as_posix()


def _is_sent(path: Path, rules: Sequence[str]) -> bool:
    """Whether the last rule that speaks of a path, or of a folder above it, lets it through."""
    names = [path.as_posix(), *(parent.as_posix() for parent in path.parents)]
    is_sent = True
    for rule in rules:
        pattern = rule.removeprefix("!").removeprefix("**/")
        is_anywhere = "**/" in rule
        if any(
            fnmatch.fnmatchcase(name.rpartition("/")[2] if is_anywhere else name, pattern)
            for name in names
        ):
            is_sent = rule.startswith("!")
    return is_sent


def build_stage(stage: Sequence[Instruction], root: Path, checkout: Path) -> None:
    """Carry out the COPY, ENV and RUN of a stage below `root`."""
    context = list(build_context(checkout))
    # What a build keeps for the next one is the machine's choice: here it may.
    kept = {"PIP_NO_CACHE_DIR": "0"}
    variables: dict[str, str] = {}
    for instruction in stage:
        match instruction.name:
            case "ENV":
                for pair in instruction.words:
                    name, _, value = pair.partition("=")
                    variables[name] = value
            case "COPY" if not instruction.text.startswith("--from="):
                *sources, target = instruction.words
                _copy(sources, _moved(target, root), checkout, context)
            case "RUN":
                environment = {**os.environ, **variables, **kept, "PATH": _path_with_python(root)}
                command = ["sh", "-euc", _moved(instruction.text, root)]
                done = subprocess.run(
                    command, env=environment, cwd=root, capture_output=True, check=False
                )
                assert done.returncode == 0, (done.stdout + done.stderr).decode()


def _moved(text: str, root: Path) -> str:
    return _PLACES.sub(f"{root}/", text)


def _copy(sources: Sequence[str], target: str, checkout: Path, context: Sequence[str]) -> None:
    for source in sources:
        sent = [path for path in context if path == source or path.startswith(f"{source}/")]
        assert sent, f"{source} is not in the build context"
        for path in sent:
            inside = path.removeprefix(source).removeprefix("/")
            # A file goes into a folder, or takes the name that it is given.
            is_into = target.endswith("/") and not inside
            place = Path(target, inside or (Path(source).name if is_into else ""))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / path, place)


def _path_with_python(root: Path) -> str:
    """Return a search path that finds `python`: that of the tests, which has pip as the image's."""
    folder = root / "bin"
    program = folder / "python"
    if not program.exists():
        folder.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        program.chmod(0o755)
    return os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
