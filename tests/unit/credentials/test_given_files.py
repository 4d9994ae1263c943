"""Files that an operator names: whatever the name leads to, reading it has an end."""

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from everlog.credentials import given_files
from everlog.credentials.certificate import CertificateFiles, load_certificate
from everlog.credentials.given_files import read_given_file
from everlog.credentials.signing_key import load_signing_key
from everlog.credentials.token import load_token_file
from everlog.domain.errors import SettingsError
from tests.support.keys import write_certificate

FLAG = "--flag"
SIZE_MAX = 4_096


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_files, "PIPE_SECONDS_MAX", 0.3)


def read(path: Path, *, may_be_pipe: bool = True) -> bytes:
    return read_given_file(FLAG, path, size_max=SIZE_MAX, may_be_pipe=may_be_pipe)


def check_refused(path: Path, reason: str, *, may_be_pipe: bool = True) -> None:
    with pytest.raises(SettingsError) as caught:
        read(path, may_be_pipe=may_be_pipe)
    assert str(caught.value).startswith(f"{FLAG} {path}")
    assert reason in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"x", b"x" * SIZE_MAX])
def test_a_file_is_read_to_its_end(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    (tmp_path / "link").symlink_to(path)

    assert read(path) == read(tmp_path / "link") == content


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


# Each row: what stands there, and what is said about it.
OTHERS: tuple[tuple[Callable[[Path], object], str], ...] = (
    (lambda _: None, "No such file or directory"),
    (Path.mkdir, "Is a directory"),
    (bind, "No such device or address"),
    (os.mkfifo, "nobody has written to this pipe and closed it in 0.3 seconds"),
    (lambda path: path.write_bytes(b"x" * (SIZE_MAX + 1)), "larger than 4096 bytes"),
    (lambda path: path.symlink_to("/dev/zero"), "it is a device, and must be a file"),
    (lambda path: path.symlink_to("/dev/null"), "it is a device, and must be a file"),
    (lambda path: path.symlink_to("/dev/tty"), "cannot be read"),
    (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
)


@pytest.mark.parametrize("make, reason", OTHERS, ids=lambda value: str(value)[:20])
def test_whatever_else_it_is_is_refused_in_time(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "file"
    make(path)

    check_refused(path, reason)


def test_a_large_file_that_has_hardly_anything_in_it_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40)

    check_refused(path, "larger than")


def written_later(path: Path, *parts: bytes) -> threading.Thread:
    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            for part in parts:
                time.sleep(0.02)
                pipe.write(part)

    writer = threading.Thread(target=write)
    writer.start()
    return writer


def test_a_pipe_whose_writer_comes_later_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = written_later(path, b"one", b"two")

    assert read(path) == b"onetwo"
    writer.join()


def test_a_pipe_whose_writer_has_gone_is_at_its_end() -> None:
    """As that of `<(command)`."""
    reading, writing = os.pipe()
    os.write(writing, b"one")
    os.close(writing)

    assert read(Path(f"/dev/fd/{reading}")) == b"one"
    assert read(Path(f"/dev/fd/{reading}")) == b""
    os.close(reading)


def test_a_pipe_that_is_never_closed_is_not_waited_for() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"one")

    check_refused(Path(f"/dev/fd/{reading}"), "nobody has written to this pipe and closed it")
    os.close(reading)
    os.close(writing)


def test_a_pipe_that_never_ends_is_too_large() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"x" * (SIZE_MAX + 1))

    check_refused(Path(f"/dev/fd/{reading}"), "larger than")
    os.close(reading)
    os.close(writing)


def test_a_pipe_may_be_refused(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    check_refused(path, "it is a pipe, and must be a file", may_be_pipe=False)


@pytest.mark.parametrize("name", ["certificate", "private_key", "passphrase"])
def test_no_file_of_a_certificate_is_waited_for(tmp_path: Path, name: str) -> None:
    written = write_certificate(tmp_path, passphrase=b"a passphrase")
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(b"a passphrase")
    files = CertificateFiles(
        certificate=written.certificate, private_key=written.private_key, passphrase=passphrase
    )
    load_certificate(files, now=datetime.now(UTC))
    path: Path = getattr(files, name)
    path.unlink()
    os.mkfifo(path)

    with pytest.raises(SettingsError, match="pipe"):
        load_certificate(files, now=datetime.now(UTC))


def test_no_token_and_no_key_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    for load in (load_token_file, load_signing_key):
        with pytest.raises(SettingsError, match="nobody has written to this pipe"):
            load(path)
