"""What commands ask of a server that no other store has: to be filled, and what it is."""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

import click
import msgspec

from everlog.cli.stores import StoreChoice
from everlog.domain.json_text import NOT_JSON
from everlog.library.errors import UnauthorizedError, UnreachableError
from everlog.library.opening import TIMEOUT_SECONDS, open_client
from everlog.library.versions import V2, read_error, read_item, read_refusal
from everlog.texts import to_printable

_DIAGNOSTICS: Final = "/api/v1/diagnostics"
_RESTORE: Final = "/api/v2/management/restore"

# A server answers when it has verified everything.
_RESTORE_SECONDS_MAX: Final = 3_600.0

# Far more than any answer is long.
_ANSWER_SIZE_MAX: Final = 1024 * 1024


class Restoration(msgspec.Struct, frozen=True, rename="camel"):
    """What a server has made of a backup."""

    event_count: int
    schema_count: int
    latest_event_id: str | None = None
    latest_event_hash: str | None = None


class _ApiEvent(msgspec.Struct, frozen=True):
    data: Restoration


def ask_diagnostics(server: StoreChoice) -> object:
    """Return what a server says of itself.

    Raises:
        UnreachableError, UnauthorizedError: It cannot be asked, or says nothing of that kind.
    """
    status, body = _ask(server, "GET", _DIAGNOSTICS, b"", timeout=TIMEOUT_SECONDS)
    if status != 200:
        raise UnreachableError(f"{server.name} answers with status {status}: {_first_line(body)}")
    try:
        return msgspec.json.decode(body)
    except NOT_JSON as error:
        raise UnreachableError(f"{server.name} answers with what is no JSON") from error


def restore_on(server: StoreChoice, pieces: Iterator[bytes], *, rechain: bool) -> Restoration:
    """Fill the empty store of a server with the lines of a backup, and return what it has then.

    Raises:
        RefusedError: The server refuses them; its store is empty as before.
        UnreachableError, UnauthorizedError: It cannot be asked; its store is empty as before, or,
            where the answer was lost, may have all of it.
    """
    path = f"{_RESTORE}?rechain=true" if rechain else _RESTORE
    status, body = _ask(server, "POST", path, pieces, timeout=_RESTORE_SECONDS_MAX)
    if 400 <= status < 500 and not body.startswith(b"{"):
        raise read_refusal(status, _first_line(body))
    try:
        for line in filter(None, body.split(b"\n")):
            item = read_item(V2, line)
            if item.type == "error":
                raise read_error(V2, item.body)
            if item.type == "event":
                return msgspec.json.decode(item.body, type=_ApiEvent).data
    except NOT_JSON as error:
        message = f"{server.name} answers with status {status} and no item of the API"
        raise UnreachableError(message) from error
    raise UnreachableError(f"{server.name} answers with status {status}: {_first_line(body)}")


def _ask(
    server: StoreChoice, method: str, path: str, body: bytes | Iterator[bytes], *, timeout: float
) -> tuple[int, bytes]:
    assert server.url is not None
    try:
        client = open_client(
            server.url, token=server.token, ca_file=server.ca_file, timeout=timeout
        )
    except ValueError as error:
        raise click.UsageError(f"{server.name} cannot be asked: {error}") from error
    with closing(client):
        answer = client.ask(method, path, body, is_repeatable=False)
        content = answer.read(_ANSWER_SIZE_MAX)
    if answer.status in {401, 403}:
        message = f"{server.name} does not take the token (status {answer.status})"
        raise UnauthorizedError(message)
    return answer.status, content


def _first_line(body: bytes) -> str:
    return to_printable(body.decode(errors="replace").strip().partition("\n")[0][:1_000])
