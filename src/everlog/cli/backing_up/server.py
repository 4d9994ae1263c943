"""A backup from a server, over version 2 of its API: a stream that says when it is complete."""

from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import Final

import msgspec

from everlog.cli.connecting import TIMEOUT_SECONDS, ServerError, ask, connect, read_lines
from everlog.cli.querying.server import query_server
from everlog.domain.errors import EverlogError
from everlog.domain.limits import BACKUP_LINE_SIZE_MAX
from everlog.transfer.backup_lines import EVENT_STARTS, to_version_1
from everlog.transfer.contents import Place

_METHOD: Final = "POST"
_PATH: Final = "/api/v2/management/backup"

_COUNT: Final = "FROM e IN events PROJECT INTO COUNT()"

_EVENT_START: Final = EVENT_STARTS[2]


class _Fault(msgspec.Struct, frozen=True):
    code: str
    description: str


class _Item(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw


class ServerSource:
    """All that a server has at one moment."""

    def __init__(self, url: str, certificate_file: Path | None, token: str) -> None:
        """Ask nothing yet."""
        self._url: Final = url
        self._certificate_file: Final = certificate_file
        self._token: Final = token

    def count(self) -> int | None:
        """Return how many events there are, None if the server does not say."""
        try:
            connection = connect(self._url, self._certificate_file, timeout_seconds=TIMEOUT_SECONDS)
            rows = [row for chunk in query_server(connection, self._token, _COUNT) for row in chunk]
            return msgspec.json.decode(rows[0], type=int)
        except (EverlogError, OSError, ValueError, IndexError):
            # What it says of the backup is what matters.
            return None

    def lines(self, after: Place | None) -> Iterator[bytes]:
        """Yield blocks of whole backup lines of version 1: all schemas, and events behind a place.

        Raises:
            ServerError: The server cannot be asked, refuses, or does not answer to the end.
        """
        body = (
            b"{}" if after is None else msgspec.json.encode({"lastBackedUpEvent": after._asdict()})
        )
        try:
            connection = connect(self._url, self._certificate_file, timeout_seconds=TIMEOUT_SECONDS)
            try:
                response = ask(connection, self._token, _METHOD, _PATH, body)
                for block in read_lines(response, size_max=BACKUP_LINE_SIZE_MAX):
                    lines, is_end = _read_items(block)
                    yield to_version_1(lines)
                    if is_end:
                        return
            finally:
                connection.close()
        except IncompleteRead:
            # The connection was closed in the middle of it.
            pass
        except (OSError, ValueError, HTTPException) as error:
            raise ServerError(str(error) or type(error).__name__) from error
        raise ServerError("its answer ended before the backup did")

    def close(self) -> None:
        """Do nothing: connections are closed when an answer ends."""


def _read_items(block: bytes) -> tuple[bytes, bool]:
    """Return the lines that belong into a backup, and whether it ends with them."""
    lines = block.split(b"\n")
    kept, is_end = [], False
    for line in lines:
        if line.startswith(_EVENT_START):
            kept.append(line)
            continue
        try:
            item = msgspec.json.decode(line, type=_Item)
            if item.type == "error":
                fault = msgspec.json.decode(item.data, type=_Fault)
                code = fault.code.rpartition("/")[2]
                raise ServerError(f"{fault.description} [{code}]")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ServerError(f"its answer is not one of this API: {error}") from error
        is_end = is_end or item.type == "end"
        if item.type in {"event", "schema"}:
            kept.append(line)
    return b"".join(line + b"\n" for line in kept), is_end
