"""Lines as chunks: each is one chunk, whatever their sizes, told by a reader of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.http.framing import FINAL_CHUNK, frame, frame_lines

# Around what is cut line by line, and around sizes of four digits.
LONG_LINES = (0, 1, 400, 16 * 1024, 64 * 1024 - 2, 64 * 1024 - 1, 200_000)

lines_strategy = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"x" * size for size in LONG_LINES]),
    ).map(lambda line: line.replace(b"\n", b"\r") + b"\n"),
    max_size=60,
)


def read_chunks(content: bytes) -> list[bytes]:
    """Return the content of each chunk, reading as RFC 9112 section 7.1 has it."""
    chunks = []
    while content:
        size, separator, content = content.partition(b"\r\n")
        assert separator
        end = int(size, 16)
        assert end > 0
        chunks.append(content[:end])
        assert content[end : end + 2] == b"\r\n"
        content = content[end + 2 :]
    return chunks


@given(lines=lines_strategy, first=st.integers(0, 2**40), are_starts_known=st.booleans())
def test_each_line_is_one_chunk(lines: list[bytes], first: int, *, are_starts_known: bool) -> None:
    starts = [first + sum(map(len, lines[:count])) for count in range(len(lines))]
    content = b"".join(lines)

    framed = frame_lines(memoryview(content), starts if are_starts_known else None)

    assert read_chunks(b"".join(framed)) == lines


@pytest.mark.parametrize("content", [b"a", b"\n", b"x" * 70_000])
def test_bytes_are_one_chunk(content: bytes) -> None:
    assert read_chunks(b"".join(frame(content))) == [content]


def test_nothing_is_no_chunk() -> None:
    assert frame(b"") == ()
    assert b"".join(frame_lines(b"")) == b""
    assert FINAL_CHUNK == b"0\r\n\r\n"


def test_one_long_line_is_one_chunk_that_is_not_copied() -> None:
    line = b"x" * 3_000_000 + b"\n"

    parts = frame_lines(line)

    assert b"".join(parts) == b"%x\r\n%b\r\n" % (len(line), line)
    assert any(part is line for part in parts)
