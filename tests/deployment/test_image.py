"""The image: its Dockerfile is sound, and what it builds runs as the container would run it.

There is no engine here. What the build stage does is done in a folder, and the last stage, of which
users and layers are the greater part, is read.
"""

import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from deploy.docker.ping import Address, address_of, token_of
from everlog._version import __version__
from tests.support.api import Connection
from tests.support.images import Instruction, build_context, build_stage, read_stages
from tests.support.keys import write_certificate
from tests.support.locks import locked_versions
from tests.support.server import DEADLINE_SECONDS, RunningServer, running_server
from tests.support.sources import REPOSITORY

DOCKERFILE = REPOSITORY / "deploy" / "docker" / "Dockerfile"
STAGES = read_stages(DOCKERFILE)
LAST_STAGE = STAGES[-1]

# Most of it are numpy, with the algebra inside, and the library of PostgreSQL with its own.
SIZE_MAX = 136 * 1024 * 1024


def only(name: str) -> Instruction:
    """Return the one instruction of the last stage with a name."""
    (found,) = (instruction for instruction in LAST_STAGE if instruction.name == name)
    return found


USER_ID, GROUP_ID = (int(number) for number in only("USER").text.split(":"))


class Image:
    """The folder that stands for the root of the image."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = root / "opt" / "everlog"
        self.python = self.environment / "bin" / "python"

    def command(self, *words: str) -> list[str]:
        """Return a command that the image's user runs."""
        # Only root can become another user; everybody else is not root, which is the point.
        become = ["setpriv", f"--reuid={USER_ID}", f"--regid={GROUP_ID}", "--clear-groups"]
        return [*(become if os.geteuid() == 0 else []), *words]

    def entry_point(self) -> list[str]:
        return self.command(str(self.environment / "bin" / only("ENTRYPOINT").words[0]))

    def health_check(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        words = only("HEALTHCHECK").text.partition("CMD ")[2]
        program, *others = Instruction("CMD", words).words
        moved = [f"{self.root}{word}" if word.startswith("/") else word for word in others]
        return subprocess.run(
            self.command(f"{self.root}{program}", *moved, *arguments),
            env={},
            capture_output=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with tempfile.TemporaryDirectory(prefix="everlog-image-") as folder:
        # The folders of tests are closed to others, and the image's user is one.
        root = Path(folder)
        root.chmod(0o755)
        for stage in STAGES:
            build_stage(
                [
                    instruction
                    for instruction in stage
                    # Users are made by an engine.
                    if "useradd" not in instruction.text
                ],
                root,
                REPOSITORY,
            )
        yield Image(root)


@pytest.fixture
def data_directory(image: Image, request: pytest.FixtureRequest) -> Path:
    directory = image.root / "var" / "lib" / str(request.node.name)
    directory.mkdir(parents=True, mode=0o700)
    if os.geteuid() == 0:
        os.chown(directory, USER_ID, GROUP_ID)
    return directory


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, "--disable-ignore-pragma", DOCKERFILE], capture_output=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, b"")


def test_only_what_the_image_is_built_from_is_sent_to_the_builder() -> None:
    context = list(build_context(REPOSITORY))

    assert {path for path in context if not path.startswith(("src/everlog/", "man/"))} == {
        "LICENSE",
        "README.md",
        "deploy/docker/ping.py",
        "pyproject.toml",
        "requirements/build.lock",
        "requirements/everlog.cdx.json",
        "requirements/runtime.lock",
    }
    assert not [path for path in context if path.endswith(".pyc")]


def test_every_stage_begins_with_the_image_that_can_be_pinned() -> None:
    assert [stage[0].words[0] for stage in STAGES] == ["${PYTHON_IMAGE}"] * 2
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim(@sha256:[0-9a-f]{64})?$",
                     DOCKERFILE.read_text(), re.MULTILINE)  # fmt: skip


def test_the_container_runs_as_a_number_that_is_not_root() -> None:
    names = [instruction.name for instruction in LAST_STAGE]
    (users,) = (step.text for step in LAST_STAGE if "useradd" in step.text)

    assert USER_ID >= 10_000
    assert GROUP_ID >= 10_000
    assert f"--uid {USER_ID} " in users
    assert f"--gid {GROUP_ID} " in users
    # Whatever follows USER runs as that user; what is copied before belongs to root.
    assert not {"RUN", "COPY"}.intersection(names[names.index("USER") :])
    assert not [step for step in LAST_STAGE if step.name == "COPY" and "--chown" in step.text]


def test_the_data_directories_belong_to_the_user_alone() -> None:
    (command,) = (step.text for step in LAST_STAGE if "install --directory" in step.text)

    assert "--owner everlog --group everlog --mode 0700" in command
    assert command.endswith("/var/lib/everlog /var/lib/esdb")


def test_the_arguments_of_the_container_are_those_of_the_command() -> None:
    assert only("ENTRYPOINT").words == ["everlog"]
    assert "CMD" not in {instruction.name for instruction in LAST_STAGE}
    assert only("STOPSIGNAL").text == "SIGTERM"


@pytest.mark.slow
def test_exactly_what_is_locked_is_installed(image: Image) -> None:
    program = (
        "from importlib.metadata import distributions\n"
        "for found in distributions(): print(found.name, found.version)"
    )
    shown = subprocess.run(
        image.command(str(image.python), "-c", program), capture_output=True, check=True
    )
    found = (line.split() for line in shown.stdout.decode().splitlines())
    installed = {canonicalize_name(name): version for name, version in found}

    assert installed == {**locked_versions("runtime"), "everlog": __version__}


@pytest.mark.slow
def test_the_user_can_change_nothing_and_it_is_small(image: Image) -> None:
    paths = [path for path in image.environment.rglob("*") if not path.is_symlink()]

    assert not [path for path in paths if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)]
    assert sum(path.stat().st_size for path in paths) < SIZE_MAX
    assert not list(image.environment.rglob("pip"))


@pytest.mark.slow
def test_the_container_takes_the_arguments_of_the_original(
    image: Image, data_directory: Path
) -> None:
    flags = ["--api-token=secret", f"--data-directory={data_directory}", "--http-enabled"]
    with running_image(image, data_directory, *flags, "--with-ui") as server:
        with Connection(server.url) as client:
            assert client.ask("GET", "/vendor/codemirror.js", headers={}).status == 200
        healthy = image.health_check("run", *flags, f"--http-port={server.port}")
        code = server.stop()
        ill = image.health_check("run", *flags, f"--http-port={server.port}")

    assert (healthy.returncode, healthy.stderr) == (0, b"")
    assert code == 0
    assert ill.returncode == 1
    assert b"refused" in ill.stderr
    if os.geteuid() == 0:
        assert {path.stat().st_uid for path in data_directory.rglob("*")} == {USER_ID}


def running_image(
    image: Image, data_directory: Path, *flags: str
) -> AbstractContextManager[RunningServer]:
    return running_server(
        *flags, data_directory=data_directory, entry_point=image.entry_point(), environment={}
    )


@pytest.mark.slow
def test_the_health_check_speaks_https(image: Image, data_directory: Path) -> None:
    certificate = write_certificate(image.root)
    certificate.private_key.chmod(0o644)
    flags = ["--http-enabled=false", *certificate.flags]
    with running_image(image, data_directory, *flags) as server:
        answer = image.health_check(*flags, "--https-port", str(server.port))

    assert (answer.returncode, answer.stderr) == (0, b"")


# Each row: the words of the container's first process, the environment, and where it listens.
ADDRESSES: tuple[tuple[list[str], dict[str, str], Address], ...] = (
    (["everlog", "run", ""], {}, Address("https", "127.0.0.1", 4000)),
    (["run", "--http-enabled", "--api-token", "x"], {}, Address("http", "127.0.0.1", 3000)),
    (["run", "--http-enabled=true", "--http-port=1"], {}, Address("http", "127.0.0.1", 1)),
    (["run", "--http-enabled", "false", "--https-port", "2"], {}, Address("https", "127.0.0.1", 2)),
    (["init", "--", "everlog", "run", "--http-enabled"], {}, Address("http", "127.0.0.1", 3000)),
    (["run", "--host=::", "--http-port=3"], {}, Address("https", "127.0.0.1", 4000)),
    (["run", "--host", "10.0.0.1"], {}, Address("https", "10.0.0.1", 4000)),
    (["run"], {"EVERLOG_HTTP_ENABLED": "yes"}, Address("http", "127.0.0.1", 3000)),
    (["run"], {"EVERLOG_HTTPS_PORT": "5"}, Address("https", "127.0.0.1", 5)),
    (
        ["run", "--http-port=6"],
        {"EVERLOG_HTTP_ENABLED": "1", "EVERLOG_HTTP_PORT": "7", "EVERLOG_HOST": "0.0.0.0"},
        Address("http", "127.0.0.1", 6),
    ),
)


@pytest.mark.parametrize("words, environment, address", ADDRESSES)
def test_the_health_check_asks_where_the_server_was_told_to_listen(
    words: list[str], environment: dict[str, str], address: Address
) -> None:
    assert address_of(words, environment) == address


def test_the_health_check_has_the_token_that_the_server_has(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("new\nold\n")

    assert token_of(["run", "--api-token=given"], {"EVERLOG_API_TOKEN": "variable"}) == "given"
    assert token_of(["run"], {"EVERLOG_API_TOKEN": "variable"}) == "variable"
    assert token_of(["run", f"--api-token-file={file}"], {}) == "new"
    assert token_of(["run"], {"EVERLOG_API_TOKEN_FILE": str(file)}) == "new"
