"""Rows from a server, over version 2 of its API: a stream that says when it is complete."""

from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from typing import Final, assert_never

import msgspec

from everlog.cli.connecting import ServerError, ask, read_lines
from everlog.domain.errors import EverlogError

_METHOD: Final = "QUERY"
_PATH: Final = "/api/v2/data/run-eventql-query"

# Above the largest row that a query may have, however its letters are escaped.
_ITEM_SIZE_MAX: Final = 128 * 1024 * 1024

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
        response = ask(connection, token, _METHOD, _PATH, msgspec.json.encode({"query": text}))
        for block in read_lines(response, size_max=_ITEM_SIZE_MAX):
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


def _read_items(block: bytes) -> list[_Item]:
    try:
        return _decode_items(block)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ServerError(f"its answer is not one of this API: {error}") from error
