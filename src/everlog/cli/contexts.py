"""Context files: which store commands work with that are not told of one.

A context is a file called `.everlog`, or `context.toml` in a folder of that name, as `make run`
keeps one. It is looked for in the working directory, in those above it, and at home; the first one
counts. It is TOML:

    url = "https://events.example:4000"
    token-file = "token"            # beside the context
    ca-file = "ca.pem"

A context decides whom a token is sent to, and whoever makes one decides it. So it is refused if it
belongs to somebody else, or somebody else may write to it. One that was only found may be part of
what was downloaded: it is given no token but its own, which lies below its folder.
"""

import os
import stat
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

import click

NAME: Final = ".everlog"
FILE_IN_FOLDER: Final = "context.toml"

# Far more than any context has.
_SIZE_MAX: Final = 64 * 1024

_PATHS: Final = ("token-file", "ca-file", "data-directory")
KEYS: Final = ("url", "token", *_PATHS)


class Context(NamedTuple):
    """What a context file says, its paths as seen from the working directory."""

    file: Path
    # Whether it is trusted with a token that it does not name: it lies at home, or was named.
    is_chosen: bool
    url: str | None
    token: str | None
    token_file: Path | None
    ca_file: Path | None
    data_directory: Path | None

    def __repr__(self) -> str:
        """Show where it is, and nothing of what it says."""
        return f"Context({str(self.file)!r})"


def find_context(named: Path | None) -> Context | None:
    """Return the context that was named, or the nearest one, None if there is none.

    Raises:
        click.UsageError: It cannot be used; the message names the file, the key and the rule.
    """
    if named is not None:
        return _read(named, is_chosen=True)
    home = _home()
    folders = [Path.cwd(), *Path.cwd().parents]
    if home is not None and home not in folders:
        folders.append(home)
    for folder in folders:
        for file in (folder / NAME / FILE_IN_FOLDER, folder / NAME):
            if file.is_file():
                return _read(file, is_chosen=folder == home)
    return None


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _read(file: Path, *, is_chosen: bool) -> Context:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as source:  # noqa: PTH123 - it is a descriptor.
            status = os.fstat(descriptor)
            _check_is_ours(file, status, is_chosen=is_chosen)
            text = source.read(_SIZE_MAX + 1)
        if len(text) > _SIZE_MAX:
            raise click.UsageError(f"the context {file} has more than {_SIZE_MAX:,} bytes")
        found = tomllib.loads(text.decode())
    except OSError as error:
        raise click.UsageError(f"the context {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        # Of what is no TOML nothing is quoted: it may be a token.
        raise click.UsageError(f"the context {file} is no TOML in UTF-8") from error
    for key, value in found.items():
        if key not in KEYS:
            names = ", ".join(KEYS)
            raise click.UsageError(f"the context {file} has an unknown key: there are {names}")
        if not isinstance(value, str) or not value:
            raise click.UsageError(f"the context {file} has a '{key}' that is no text")
    return _check(file, status, found, is_chosen=is_chosen)


def _check_is_ours(file: Path, status: os.stat_result, *, is_chosen: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise click.UsageError(f"the context {file} is no file")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise click.UsageError(
            f"the context {file} can be written by others, who could have your token sent to them: "
            f"run 'chmod go-w {file}'"
        )
    if not is_chosen and status.st_uid not in {os.geteuid(), 0}:
        raise click.UsageError(
            f"the context {file} belongs to somebody else, who could have your token sent to them: "
            "say which store is meant, or name the context with --context"
        )


def _check(
    file: Path, status: os.stat_result, found: dict[str, str], *, is_chosen: bool
) -> Context:
    if ("url" in found) == ("data-directory" in found):
        raise click.UsageError(f"the context {file} has to have either 'url' or 'data-directory'")
    if "token" in found and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise click.UsageError(
            f"the context {file} holds a token, and can be read by others: run 'chmod 600 {file}'"
        )
    if "token" in found and "token-file" in found:
        raise click.UsageError(f"the context {file} has both 'token' and 'token-file'")
    paths = {key: _path(file, found.get(key)) for key in _PATHS}
    token_file = paths["token-file"]
    folder = _folder(file).resolve()
    if token_file is not None and not is_chosen and folder not in token_file.resolve().parents:
        raise click.UsageError(
            f"the context {file} has a 'token-file' outside of {folder}: name the context with "
            "--context if you want that"
        )
    return Context(
        file,
        is_chosen,
        found.get("url"),
        found.get("token"),
        token_file,
        paths["ca-file"],
        paths["data-directory"],
    )


def _folder(file: Path) -> Path:
    return file.parent


def _path(file: Path, text: str | None) -> Path | None:
    return None if text is None else _folder(file) / Path(text).expanduser()
