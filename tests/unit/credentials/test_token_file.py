"""What a token file may hold, and what is left of it in memory."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from everlog.credentials import given_files
from everlog.credentials.token import FILE_SIZE_MAX, TokenCheck, load_token_file, parse_token
from everlog.domain.errors import SettingsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "api-token"


@pytest.mark.parametrize(
    "content, tokens",
    [
        (b"one", [b"one"]),
        (b"one\n", [b"one"]),
        (b"one\r\n", [b"one"]),
        (b"\n\none\n\n", [b"one"]),
        (b"one\ntwo\n", [b"one", b"two"]),
        (b"one\r\n\r\ntwo", [b"one", b"two"]),
        (b"one two", [b"one two"]),
        (b"x" * FILE_SIZE_MAX, [b"x" * FILE_SIZE_MAX]),
    ],
)
def test_a_file_holds_a_token_on_each_line(file: Path, content: bytes, tokens: list[bytes]) -> None:
    file.write_bytes(content)

    loaded = load_token_file(file)

    assert [token.digest for token in loaded] == [parse_token(token).digest for token in tokens]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "0 tokens"),
        (b"\n\r\n", "0 tokens"),
        (b"s3cret-1\ns3cret-2\ns3cret-3\n", "3 tokens"),
        (b"s3cret \n", "space"),
        (b"s3cret-1\n s3cret-2\n", "space"),
        (b"s3cret\xc3\xa9\n", "printable ASCII"),
        (b"s3cret\x00\n", "printable ASCII"),
        (b"s3cret\rs3cret", "printable ASCII"),
        (b"\xef\xbb\xbfs3cret", "printable ASCII"),
        (b"s" * (FILE_SIZE_MAX + 1), "larger than 16384 bytes"),
    ],
)
def test_any_other_file_is_refused_without_being_quoted(
    file: Path, content: bytes, reason: str
) -> None:
    file.write_bytes(content)

    with pytest.raises(SettingsError) as caught:
        load_token_file(file)

    assert str(caught.value).startswith(f"--api-token-file {file}")
    assert reason in str(caught.value)
    assert "s3cret" not in str(caught.value).removeprefix(f"--api-token-file {file}")


@pytest.mark.parametrize("make", [lambda _: None, Path.mkdir])
def test_a_file_that_cannot_be_read_is_told(file: Path, make: Callable[[Path], None]) -> None:
    make(file)

    with pytest.raises(SettingsError, match="cannot be read: "):
        load_token_file(file)


def test_a_pipe_is_read_to_its_end() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for part in (b"on", b"e\nt", b"wo\n"):
                pipe.write(part)

    writer = threading.Thread(target=write)
    writer.start()
    tokens = load_token_file(Path(f"/dev/fd/{reading}"))
    writer.join()
    os.close(reading)

    check = TokenCheck(tokens)
    assert check.is_authorized(b"Bearer one")
    assert check.is_authorized(b"Bearer two")


@pytest.mark.parametrize("content", [b"s3cret\n", b"s3cret \n"])
def test_what_was_read_is_overwritten_also_if_it_is_refused(
    file: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffers: list[bytearray] = []
    fill = given_files._fill

    def keep(buffer: bytearray, opened: int, deadline: float) -> int:
        buffers.append(buffer)
        size = fill(buffer, opened, deadline)
        assert b"s3cret" in buffer
        return size

    monkeypatch.setattr(given_files, "_fill", keep)
    file.write_bytes(content)
    try:
        load_token_file(file)
    except SettingsError:
        assert content.endswith(b" \n")

    assert [buffer.strip(b"\0") for buffer in buffers] == [b""]
