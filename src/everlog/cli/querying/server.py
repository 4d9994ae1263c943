"""Rows from a server, over version 2 of its API: a stream that says when it is complete."""

from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final, assert_never

import msgspec

from everlog.cli.printable import to_printable
from everlog.domain.errors import EverlogError

_METHOD: Final = "QUERY"
_PATH: Final = "/api/v2/data/run-eventql-query"

# A server says something each second.
TIMEOUT_SECONDS: Final = 30.0

_BLOCK_SIZE: Final = 256 * 1024
# Above the largest row that a query may have, however its letters are escaped.
_ITEM_SIZE_MAX: Final = 128 * 1024 * 1024
_REASON_SIZE_MAX: Final = 200

_CODE_PREFIX: Final = "https://docs.eventsourcingdb.io/errors/"


class Token(msgspec.Struct, frozen=True):
    """A token as an error names it; line and column begin at 1."""

    line: int
    column: int
    text: str


class Details(msgspec.Struct, frozen=True, rename="camel"):
    """What an error says of the place of the fault, as far as it says anything."""

    errors: tuple[str, ...] = ()
    start_token: Token | None = None
    end_token: Token | None = None


class RemoteFaultError(EverlogError):
    """The server's reason why a query has no answer, or not the whole of it."""

    def __init__(self, code: str, description: str, details: Details) -> None:
        super().__init__(description)
        self.code: Final = code.removeprefix(_CODE_PREFIX)
        self.details: Final = details


class ServerError(EverlogError):
    """A server that cannot be asked, does not answer, or not to the end."""


class _RowData(msgspec.Struct, frozen=True):
    value: msgspec.Raw


class _Row(msgspec.Struct, frozen=True, tag_field="type", tag="row"):
    data: _RowData


class _Heartbeat(msgspec.Struct, frozen=True, tag_field="type", tag="heartbeat"):
    pass


class _ErrorData(msgspec.Struct, frozen=True):
    code: str
    description: str
    details: Details


class _Error(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    data: _ErrorData


class _End(msgspec.Struct, frozen=True, tag_field="type", tag="end"):
    pass


_Item = _Row | _Heartbeat | _Error | _End

_decode_items: Final = msgspec.json.Decoder(_Item).decode_lines


def query_server(connection: HTTPConnection, token: str, text: str) -> Iterator[list[bytes]]:
    """Yield the rows of a query as JSON texts, in chunks; an empty one says that work goes on.

    Raises:
        RemoteFaultError: The query has no answer; all rows before the fault have been yielded.
        ServerError: There is no answer, or not the whole of it.
    """
    try:
        connection.request(
            _METHOD,
            _PATH,
            msgspec.json.encode({"query": text}),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        if response.status != 200:
            reason = to_printable(response.read(_REASON_SIZE_MAX).decode(errors="replace").strip())
            raise ServerError(f"it answers with status {response.status}: {reason}")
        for block in _read_lines(response):
            rows: list[bytes] = []
            for item in _read_items(block):
                match item:
                    case _Row(data):
                        rows.append(bytes(data.value))
                    case _Error(data):
                        yield rows
                        raise RemoteFaultError(data.code, data.description, data.details)
                    case _End():
                        yield rows
                        return
                    case _Heartbeat():
                        pass
                    case _:
                        assert_never(item)
            yield rows
    except (OSError, HTTPException) as error:
        raise ServerError(str(error) or type(error).__name__) from error
    finally:
        connection.close()
    raise ServerError("its answer ended before the query did")


def _read_lines(response: HTTPResponse) -> Iterator[bytes]:
    """Yield blocks of whole lines, as they come."""
    parts: list[bytes] = []
    size = 0
    while block := response.read1(_BLOCK_SIZE):
        lines, line_feed, rest = block.rpartition(b"\n")
        if line_feed:
            yield b"".join((*parts, lines))
            parts, size = [], 0
        parts.append(rest)
        size += len(rest)
        if size > _ITEM_SIZE_MAX:
            raise ServerError(f"its answer has an item of more than {_ITEM_SIZE_MAX} bytes")


def _read_items(block: bytes) -> list[_Item]:
    try:
        return _decode_items(block)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ServerError(f"its answer is not one of this API: {error}") from error
