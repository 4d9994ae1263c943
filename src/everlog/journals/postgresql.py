"""A journal in a PostgreSQL database: one row for each entry, and no leader.

The key of the row is the compare-and-append: two rows with one number cannot be. The foreign key
lets a row stand only behind the one before it. Rows are inserted and never changed.

**Durable** is what the server has committed with `synchronous_commit` on, and without a warning:
where the wait for synchronous standbys was cut short, the server warns and commits all the same.

**Proven** is what was read in a transaction whose commit the standbys have confirmed, if there are
synchronous ones: so the statement that reads writes, too. What it shows was committed before, and
a standby confirms the write-ahead log up to a place; a primary that another one has replaced has
no standby that would. The statement itself looks at the server's settings when it decides that.

Every call is bounded. Where the server does not answer, it is asked to give the statement up, and
the connection is thrown away: an answer that comes later is nobody's.

What is left to others: where the server is, how connections are made and what a broken one means
(`postgresql_connections`).
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from everlog.domain.errors import EverlogError, JournalUnreachableError
from everlog.journals.postgresql_connections import (
    STATEMENT_SECONDS_MAX,
    Channel,
    Link,
    Server,
    StatementRefusedError,
)
from everlog.service.mirroring.journal import (
    BEGINNING,
    Announced,
    Announcement,
    Entry,
    EntryLostError,
    OutcomeUnknownError,
    Page,
    PlacedEntry,
    UnfitJournalError,
    decode_entry,
    encode_entry,
)

# Of what stands in the schema `everlog`; another number is refused.
SCHEMA_VERSION: Final = 1

# May be executed by a node, or by an administrator beforehand; any number of times, and by several
# at once. It does nothing to a journal that is there.
SCHEMA: Final = """\
BEGIN;
SELECT pg_advisory_xact_lock(7310577365311121000);
CREATE SCHEMA IF NOT EXISTS everlog;

CREATE TABLE IF NOT EXISTS everlog.journal (
    is_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    version integer NOT NULL,
    id uuid NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS everlog.batch (
    number bigint PRIMARY KEY CHECK (number >= 0),
    previous bigint GENERATED ALWAYS AS (nullif(number, 0) - 1) STORED,
    first_id bigint NOT NULL,
    next_id bigint NOT NULL CHECK (next_id >= first_id),
    batch_id uuid NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    content bytea NOT NULL,
    UNIQUE (next_id, number),
    FOREIGN KEY (first_id, previous) REFERENCES everlog.batch (next_id, number)
);
ALTER TABLE everlog.batch ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE IF NOT EXISTS everlog.node (
    node_id text PRIMARY KEY,
    announced_at timestamptz NOT NULL,
    clock_offset double precision NOT NULL,
    announcement bytea NOT NULL
);

CREATE OR REPLACE FUNCTION everlog.refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'batches are never changed or deleted'; END$$;
CREATE OR REPLACE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON everlog.batch
    FOR EACH STATEMENT EXECUTE FUNCTION everlog.refuse_change();

INSERT INTO everlog.batch (number, first_id, next_id, batch_id, content)
    VALUES (0, 0, 0, '00000000-0000-0000-0000-000000000000', '') ON CONFLICT DO NOTHING;
INSERT INTO everlog.journal (version, id, created_at)
    VALUES (1, gen_random_uuid(), now()) ON CONFLICT DO NOTHING;
COMMIT;
"""

# What a role needs that did not create the schema.
PRIVILEGES: Final = """\
GRANT USAGE ON SCHEMA everlog TO everlog_node;
GRANT SELECT ON everlog.journal TO everlog_node;
GRANT SELECT, INSERT ON everlog.batch TO everlog_node;
GRANT SELECT, INSERT, UPDATE, DELETE ON everlog.node TO everlog_node;
"""

STATEMENTS: Final = {
    "greet": """\
SELECT version, id::text, pg_logical_emit_message(true, 'everlog', '')::text FROM everlog.journal
""",
    "append": """\
WITH stored AS (
    INSERT INTO everlog.batch (number, first_id, next_id, batch_id, content)
        VALUES (%s, %s, %s, %s::uuid, %b) RETURNING number
)
SELECT pg_notify('everlog', number::text) FROM stored
""",
    "read": """\
WITH proof AS MATERIALIZED (
    SELECT CASE WHEN current_setting('synchronous_standby_names') <> ''
        THEN pg_logical_emit_message(true, 'everlog', '') END
), page AS (
    SELECT number, content, sum(octet_length(content)) OVER (ORDER BY number) AS size
        FROM (SELECT number, content FROM everlog.batch
            WHERE number > %s ORDER BY number LIMIT 1000) AS next
)
SELECT (SELECT max(number) FROM everlog.batch), page.number, page.content
    FROM proof LEFT JOIN page ON page.size <= %s OR page.number = %s
    ORDER BY page.number
""",
    "find": """\
SELECT coalesce(
    (SELECT number - 1 FROM everlog.batch
        WHERE next_id >= %s AND number > 0 ORDER BY next_id, number LIMIT 1),
    (SELECT max(number) FROM everlog.batch))
""",
    "clock": """\
SELECT extract(epoch FROM clock_timestamp())::float8
""",
    "announce": """\
WITH forgotten AS (
    DELETE FROM everlog.node WHERE node_id IN (
        SELECT node_id FROM everlog.node
            WHERE announced_at < now() - interval '1 hour' AND node_id <> %s
            LIMIT 100 FOR UPDATE SKIP LOCKED)
), own AS (
    INSERT INTO everlog.node (node_id, announced_at, clock_offset, announcement)
        VALUES (%s, clock_timestamp(), %s, %b)
        ON CONFLICT (node_id) DO UPDATE SET announced_at = excluded.announced_at,
            clock_offset = excluded.clock_offset, announcement = excluded.announcement
)
SELECT announcement, clock_offset, extract(epoch FROM clock_timestamp() - announced_at)::float8
    FROM everlog.node
    WHERE node_id <> %s AND announced_at > now() - interval '1 minute'
    ORDER BY node_id LIMIT 100
""",
    "end": """\
SELECT max(number) FROM everlog.batch
""",
}

# The ways in which a table is used, as PRIVILEGES grants them.
_MISSING_PRIVILEGES: Final = """\
SELECT wanted.privilege || ' on everlog.' || wanted.name FROM (VALUES
    ('SELECT', 'journal'), ('SELECT', 'batch'), ('INSERT', 'batch'), ('SELECT', 'node'),
    ('INSERT', 'node'), ('UPDATE', 'node'), ('DELETE', 'node')) AS wanted (privilege, name)
    WHERE NOT has_table_privilege('everlog.' || wanted.name, wanted.privilege)
"""

_UNIQUE_VIOLATION: Final = "23505"
_FOREIGN_KEY_VIOLATION: Final = "23503"
# Something in it is not there: a schema, a table, a column, a function.
_ABSENT: Final = frozenset({"3F000", "42P01"})
_UNDEFINED: Final = _ABSENT | {"42703", "42883"}
_INSUFFICIENT_PRIVILEGE: Final = "42501"

# An entry with more bytes would hold up the event loop for tens of milliseconds; and it may take
# longer.
_LARGE_SIZE: Final = 16 * 1024 * 1024
_BYTES_PER_SECOND_MIN: Final = 8 * 1024 * 1024

_WAIT_SECONDS: Final = 1.0

_encode_announcement = msgspec.json.Encoder().encode
_decode_announcement = msgspec.json.Decoder(Announcement).decode


class PostgresqlJournal:
    """A journal in the schema `everlog` of a database; see the module's text."""

    # PostgreSQL takes a GiB in a value; this is more than the largest write becomes.
    entry_size_max = 128 * 1024 * 1024

    def __init__(
        self, url: str, *, password_file: Path | None = None, ca_file: Path | None = None
    ) -> None:
        """Take a URL as libpq does, which may name several hosts; connect to nobody yet.

        The password file is read anew for each connection. With a CA file, the server has to show
        a certificate of it for its name, unless the URL or PGSSLMODE asks for less.

        Raises:
            SettingsError: The URL, or a file, cannot be used.
        """
        self.remarks: Sequence[str] = ()
        self._server: Final = Server(url, password_file=password_file, ca_file=ca_file)
        # Appending waits for no reading, and reading for no appending.
        self._appending: Final = Channel(self._server, greet=self._greet)
        self._reading: Final = Channel(self._server, greet=self._greet)
        self._listener: asyncio.Task[None] | None = None
        # As which connection was made, and so which server it is that is listened to.
        self._listened: tuple[int, int] | None = None
        self._identity: str | None = None
        # The place behind which there was no answer to the last read.
        self._unanswered: int | None = None
        # The highest place that was heard of and is not known to be read.
        self._heard = BEGINNING
        self._news: Final = asyncio.Condition()

    async def open(self) -> str:
        """See `SharedJournal.open`."""
        link = await self._server.connect()
        try:
            identity = await _identify(link)
            if identity is None:
                await _create(link)
                identity = await _identify(link)
            if identity is None:
                raise UnfitJournalError("the schema everlog of the journal's database has no row")
            missing = [text for (text,) in await link.ask(_MISSING_PRIVILEGES)]
        except StatementRefusedError as error:
            raise _unfit(error) from error
        except OutcomeUnknownError as error:
            raise JournalUnreachableError(str(error)) from error
        finally:
            await link.close()
        if missing:
            raise UnfitJournalError(
                f"the role of the journal lacks privileges: {', '.join(missing)}; grant them as "
                "docs/operating/postgresql.md says"
            )
        self._identity = identity
        self.remarks = self._server.remarks
        return identity

    async def append(self, entry: Entry, *, after: int) -> int:
        """See `SharedJournal.append`.

        Raises:
            UnfitJournalError: What the entry is to stand behind is not there.
        """
        place = after + 1
        try:
            if len(entry.lines) > _LARGE_SIZE:
                await asyncio.to_thread(asyncio.run, self._append_alone(entry, place))
            else:
                content = encode_entry(entry)
                await self._appending.ask(
                    *_append_of(entry, place, content), seconds=_seconds_for(len(content))
                )
        except StatementRefusedError as error:
            if error.state == _UNIQUE_VIOLATION:
                message = f"another entry stands at the place {place} of the journal"
                raise EntryLostError(message) from error
            if error.state == _FOREIGN_KEY_VIOLATION:
                await self._explain_gap(entry, after=after)
            raise JournalUnreachableError(str(error)) from error
        return place

    async def read(
        self,
        *,
        after: int,
        size_max: int,
        proves_end: bool = True,  # noqa: ARG002 - it would be no quicker
    ) -> Page:
        """See `SharedJournal.read`.

        Raises:
            UnfitJournalError: The journal ends before the place, which it once had.
        """
        # What was heard until now is seen by what is asked now.
        self._heard = BEGINNING
        parameters = (after, size_max, after + 1)
        # The next entry may be larger than what was asked for, and need more time than that.
        size = self.entry_size_max if after == self._unanswered else size_max
        self._unanswered = after
        rows = await self._ask("read", parameters, seconds=_seconds_for(size))
        self._unanswered = None
        last = rows[0][0]
        if last < after:
            raise UnfitJournalError(
                f"the journal ends at the place {last}, before the place {after} that this node "
                "has from it: it has lost entries, or is an older copy; see "
                "docs/operating/postgresql.md"
            )
        self._heard = max(self._heard, last)
        entries = [
            PlacedEntry(number, decode_entry(content))
            for _, number, content in rows
            if number is not None
        ]
        return Page(entries, (entries[-1].place if entries else after) == last)

    async def find(self, position: int) -> int:
        """See `SharedJournal.find`."""
        return int((await self._ask("find", (position,)))[0][0])

    async def wait(self, *, after: int) -> None:
        """See `SharedJournal.wait`."""
        self._listen()
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS), self._news:
                await self._news.wait_for(lambda: self._heard > after)

    async def announce(self, announcement: Announcement) -> Sequence[Announced]:
        """See `SharedJournal.announce`."""
        begun = time.monotonic()
        # Connected first, so that the question takes no longer than the way.
        await self._ask("clock")
        asked = time.monotonic()
        their_clock = (await self._ask("clock"))[0][0]
        # The server looked at its clock in the middle of the way there and back.
        elapsed = (asked + time.monotonic()) / 2 - begun
        offset = announcement.clock / 1e9 + elapsed - their_clock
        node = announcement.node_id
        parameters = (node, node, offset, _encode_announcement(announcement), node)
        announced = []
        for content, other_offset, age in await self._ask("announce", parameters):
            # A later version may say other things; what it appends is refused, or understood.
            with suppress(msgspec.MsgspecError):
                other = _decode_announcement(content)
                announced.append(Announced(other, other_offset - offset, age))
        return announced

    async def close(self) -> None:
        """See `SharedJournal.close`."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})
            self._listener = None
        await self._appending.close()
        await self._reading.close()

    async def _append_alone(self, entry: Entry, place: int) -> None:
        """Append what is large by a connection and on an event loop of its own, in a thread.

        It is copied as a whole, and more than once, for which others would have to wait.
        """
        content = encode_entry(entry)
        link = await self._server.connect()
        try:
            await self._greet(link)
            await link.ask(*_append_of(entry, place, content), seconds=_seconds_for(len(content)))
        finally:
            await link.close()

    async def _ask(
        self,
        name: str,
        parameters: Sequence[object] = (),
        *,
        seconds: float = STATEMENT_SECONDS_MAX,
    ) -> list[Any]:
        """Ask what changes nothing that others see: without an answer, nothing has happened."""
        try:
            return await self._reading.ask(STATEMENTS[name], parameters, seconds=seconds)
        except (StatementRefusedError, OutcomeUnknownError) as error:
            raise JournalUnreachableError(str(error)) from error

    async def _explain_gap(self, entry: Entry, *, after: int) -> None:
        """Raise an error that says why an entry cannot stand where it should.

        A primary that another one has replaced may lack what was stored since: a proven answer
        only shows that the journal does.
        """
        await self.read(after=after, size_max=0)
        raise UnfitJournalError(
            f"the entry for the place {after + 1} of the journal begins at the event "
            f"{entry.first}, where the one before it does not end"
        )

    # Connecting.

    async def _greet(self, link: Link) -> None:
        """See whether a new connection leads to the journal that was opened, and can write to it.

        A server that was started anew shows what it may still lose: nothing that it says is
        believed before its standbys have confirmed that it said so.
        """
        try:
            identity = await _identify(link)
        except (StatementRefusedError, OutcomeUnknownError) as error:
            raise JournalUnreachableError(str(error)) from error
        if self._identity is not None and identity != self._identity:
            raise UnfitJournalError(
                "the journal's database has another journal now: this node's data directory "
                "belongs to the one that was there"
            )

    # Listening.

    def _listen(self) -> None:
        """Listen to the server that the other connections lead to, whichever it is by now."""
        connections = (self._appending.connection_count, self._reading.connection_count)
        if self._listener is not None and not self._listener.done():
            if self._listened == connections:
                return
            self._listener.cancel()
        self._listened = connections
        self._listener = asyncio.create_task(self._keep_listening())

    async def _keep_listening(self) -> None:
        # Whoever waits asks by reading, and hears there what is wrong.
        with suppress(EverlogError):
            link = await self._server.connect()
            try:
                await link.ask("LISTEN everlog")
                # What came before.
                await self._hear((await link.ask(STATEMENTS["end"]))[0][0])
                async for text in link.notifications():
                    await self._hear(int(text))
            finally:
                await link.close()
        await asyncio.sleep(_WAIT_SECONDS)

    async def _hear(self, place: int) -> None:
        async with self._news:
            self._heard = max(self._heard, place)
            self._news.notify_all()


async def _identify(link: Link) -> str | None:
    """Return the journal's identity, None if there is no journal."""
    try:
        rows = await link.ask(STATEMENTS["greet"])
    except StatementRefusedError as error:
        if error.state in _ABSENT:
            return None
        raise
    if not rows:
        return None
    version, identity, _ = rows[0]
    if version != SCHEMA_VERSION:
        raise UnfitJournalError(
            f"the schema everlog of the journal's database has the version {version}, and this "
            f"program knows {SCHEMA_VERSION} only: run the same version on all nodes"
        )
    return str(identity)


async def _create(link: Link) -> None:
    try:
        await link.ask(SCHEMA)
    except StatementRefusedError as error:
        if error.state == _INSUFFICIENT_PRIVILEGE:
            raise UnfitJournalError(
                "the journal's database has no schema everlog, and the role may not create it "
                f"({error}): create it as docs/operating/postgresql.md says"
            ) from error
        raise


def _append_of(entry: Entry, place: int, content: bytes) -> tuple[str, Sequence[object]]:
    return STATEMENTS["append"], (place, entry.first, entry.end, entry.batch_id, content)


def _seconds_for(size: int) -> float:
    return STATEMENT_SECONDS_MAX + size / _BYTES_PER_SECOND_MIN


def _unfit(error: StatementRefusedError) -> Exception:
    if error.state == _INSUFFICIENT_PRIVILEGE:
        return UnfitJournalError(
            f"the role of the journal lacks a privilege ({error}): grant it as "
            "docs/operating/postgresql.md says"
        )
    if error.state in _UNDEFINED:
        return UnfitJournalError(f"the schema everlog of the database is not a journal: {error}")
    return JournalUnreachableError(f"the journal cannot be opened: {error}")
