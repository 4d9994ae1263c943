"""What a journal on PostgreSQL asks of a server, of a role and of a schema, and how it says so."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop

from everlog.domain.errors import JournalUnreachableError, SettingsError
from everlog.journals.postgresql import PRIVILEGES, SCHEMA, PostgresqlJournal
from everlog.journals.postgresql_connections import SESSION
from everlog.service.mirroring.journal import BEGINNING, UnfitJournalError
from everlog.texts import redact_url
from tests.support.journal_places import make_announcement, make_entry, read_all
from tests.support.postgresql_server import PASSWORD, PostgresqlServer, running_postgresql

ROLE: Final = "everlog_node"
ROLE_PASSWORD: Final = "only/of:the@role%"
ROLE_PASSWORD_ENCODED: Final = "only%2Fof%3Athe%40role%25"

_numbers: Final = count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with running_postgresql() as running:
        running.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE_PASSWORD}'")
        yield running


@pytest.fixture
def database(server: PostgresqlServer) -> str:
    """Return the name of a database that is new."""
    name = f"database_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name}")
    return name


def run(
    url: str, test: Callable[[PostgresqlJournal], Awaitable[None]], **options: Path | None
) -> None:
    """Let a test have a journal that is open."""

    async def running() -> None:
        journal = PostgresqlJournal(url, **options)
        try:
            await journal.open()
            await test(journal)
        finally:
            await journal.close()

    uvloop.run(running())


async def _use(journal: PostgresqlJournal) -> None:
    """Call everything that a node calls."""
    after = await journal.append(make_entry(0), after=BEGINNING)
    assert len(await read_all(journal)) == 1
    assert await journal.find(1) == BEGINNING
    await journal.announce(make_announcement("one"))
    await journal.announce(make_announcement("two"))
    waiter = asyncio.create_task(journal.wait(after=after))
    await journal.append(make_entry(1), after=after)
    await waiter


def role_url(server: PostgresqlServer, database: str) -> str:
    url = server.url_of(ROLE, ROLE_PASSWORD_ENCODED)
    return f"{url.rpartition('/')[0]}/{database}"


def refusal(url: str) -> str:
    """Return what somebody is told whose journal is refused for good."""
    with pytest.raises(UnfitJournalError) as caught:
        run(url, _use)
    return str(caught.value)


# Roles.


def test_a_role_with_the_documented_privileges_is_enough(
    server: PostgresqlServer, database: str
) -> None:
    server.execute(SCHEMA, PRIVILEGES, database=database)
    run(role_url(server, database), _use)


def test_a_role_that_owns_its_database_needs_nothing(
    server: PostgresqlServer, database: str
) -> None:
    server.execute(f"ALTER DATABASE {database} OWNER TO {ROLE}")
    run(role_url(server, database), _use)
    # An administrator may execute it all the same.
    server.execute(SCHEMA, SCHEMA, database=database)
    run(role_url(server, database), read_all_of(2))


def read_all_of(length: int) -> Callable[[PostgresqlJournal], Awaitable[None]]:
    async def reading(journal: PostgresqlJournal) -> None:
        assert len(await read_all(journal)) == length

    return reading


def test_a_role_that_may_not_create_a_schema_is_told_to_have_it_created(
    server: PostgresqlServer, database: str
) -> None:
    text = refusal(role_url(server, database))
    assert "create it as docs/operating/postgresql.md says" in text


@pytest.mark.parametrize("number", range(len(PRIVILEGES.splitlines())))
def test_a_privilege_that_is_missing_is_named(
    server: PostgresqlServer, database: str, number: int
) -> None:
    statements = PRIVILEGES.splitlines()
    del statements[number]
    server.execute(SCHEMA, *statements, database=database)
    text = refusal(role_url(server, database))
    assert "privilege" in text
    table = re.search(r"ON (SCHEMA )?(\S+)", PRIVILEGES.splitlines()[number])
    assert table is not None
    assert table[2].removeprefix("everlog.") in text


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE everlog.batch SET content = ''", id="update"),
        pytest.param("DELETE FROM everlog.batch", id="delete"),
        pytest.param("TRUNCATE everlog.batch", id="truncate"),
    ],
)
def test_a_batch_is_never_changed(server: PostgresqlServer, database: str, statement: str) -> None:
    run(server.url_of_database(database), _use)
    with pytest.raises(Exception, match="batches are never changed or deleted"):
        server.execute(statement, database=database)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param("(2, 1, 2)", id="a gap"),
        pytest.param("(1, 1, 2)", id="another first event than the next"),
        pytest.param("(1, 0, -1)", id="fewer events than before"),
        pytest.param("(-1, 0, 0)", id="before the beginning"),
        pytest.param("(0, 0, 0)", id="a second beginning"),
    ],
)
def test_a_broken_node_cannot_leave_a_gap(
    server: PostgresqlServer, database: str, row: str
) -> None:
    server.execute(SCHEMA, database=database)
    values = f"SELECT number, first, next, gen_random_uuid(), '' FROM (VALUES {row})"
    with pytest.raises(Exception, match="violates"):
        server.execute(
            "INSERT INTO everlog.batch (number, first_id, next_id, batch_id, content) "
            f"{values} AS row (number, first, next)",
            database=database,
        )


# Schemas.


def test_a_schema_of_another_version_is_refused(server: PostgresqlServer, database: str) -> None:
    server.execute(SCHEMA, "UPDATE everlog.journal SET version = 2", database=database)
    text = refusal(server.url_of_database(database))
    assert "has the version 2, and this program knows 1 only" in text


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(["CREATE TABLE everlog.journal (name text)"], id="another table"),
        pytest.param(["CREATE TABLE everlog.batch (name text)"], id="another table of batches"),
    ],
)
def test_a_schema_that_is_none_of_ours_is_refused(
    server: PostgresqlServer, database: str, statements: list[str]
) -> None:
    server.execute("CREATE SCHEMA everlog", *statements, database=database)
    assert "is not a journal" in refusal(server.url_of_database(database))


def test_a_node_that_is_ahead_of_the_journal_is_told(
    server: PostgresqlServer, database: str
) -> None:
    async def being_ahead(journal: PostgresqlJournal) -> None:
        after = await journal.append(make_entry(0), after=BEGINNING)
        with pytest.raises(UnfitJournalError, match="it has lost entries, or is an older copy"):
            await journal.read(after=after + 1, size_max=1000)
        with pytest.raises(UnfitJournalError, match="it has lost entries, or is an older copy"):
            await journal.append(make_entry(1), after=after + 1)
        with pytest.raises(UnfitJournalError, match="begins at the event 7"):
            await journal.append(make_entry(7), after=after)
        assert len(await read_all(journal)) == 1

    run(server.url_of_database(database), being_ahead)


def test_a_journal_that_was_exchanged_is_noticed(server: PostgresqlServer, database: str) -> None:
    async def exchanging(journal: PostgresqlJournal) -> None:
        await journal.append(make_entry(0), after=BEGINNING)
        server.execute(
            "DROP SCHEMA everlog CASCADE", SCHEMA, end_sessions(database), database=database
        )
        with pytest.raises(UnfitJournalError, match="has another journal now"):
            await journal.append(make_entry(1), after=1)

    run(server.url_of_database(database), exchanging)


def end_sessions(database: str) -> str:
    return (
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        f" WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    )


# Sessions.


def test_a_session_that_was_ended_is_made_anew_and_no_outcome_is_unknown(
    server: PostgresqlServer, database: str
) -> None:
    async def ending(journal: PostgresqlJournal) -> None:
        for number in range(5):
            assert await journal.append(make_entry(number), after=number) == number + 1
            assert len(await read_all(journal)) == number + 1
            server.execute(end_sessions(database))

    run(server.url_of_database(database), ending)


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param("synchronous_commit = off", id="synchronous_commit"),
        pytest.param("default_transaction_isolation = serializable", id="isolation"),
        pytest.param("client_min_messages = error", id="messages"),
        pytest.param("statement_timeout = '3s'", id="timeout"),
        pytest.param("idle_session_timeout = '3s'", id="idle"),
    ],
)
def test_a_session_has_what_it_needs_whatever_the_role_has(
    server: PostgresqlServer, database: str, setting: str
) -> None:
    server.execute(f"ALTER DATABASE {database} OWNER TO {ROLE}", f"ALTER ROLE {ROLE} SET {setting}")
    name = setting.partition(" ")[0]

    async def looking(journal: PostgresqlJournal) -> None:
        for channel in (journal._appending, journal._reading):
            assert await channel.ask(f"SHOW {name}") == [(wanted(name),)]
        await _use(journal)

    try:
        run(role_url(server, database), looking)
    finally:
        server.execute(f"ALTER ROLE {ROLE} RESET ALL")


def wanted(name: str) -> str:
    # As PostgreSQL shows it.
    return {"60s": "1min"}.get(SESSION[name], SESSION[name])


def test_an_append_and_a_read_are_one_statement_each(
    server: PostgresqlServer, database: str
) -> None:
    async def counting(journal: PostgresqlJournal) -> None:
        await journal.append(make_entry(0), after=BEGINNING)
        await read_all(journal)
        before = len(executed(server, database))
        after = 1
        for number in range(1, 6):
            after = await journal.append(make_entry(number), after=after)
            page = await journal.read(after=after, size_max=1000)
            assert page.is_end
        assert len(executed(server, database)) - before == 10

    server.execute(f"ALTER DATABASE {database} SET log_statement = 'all'")
    run(server.url_of_database(database), counting)


def executed(server: PostgresqlServer, database: str) -> list[str]:
    """Return the beginnings of what was executed, as the server logs it."""
    # What is logged before that is there.
    server.execute("SELECT 'now'", database=database)
    found = re.findall(r"LOG:  (?:execute \S+|statement): *(.*)", server.log)
    return [beginning for beginning in found if beginning != "SELECT 'now'"]


# Servers.


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_what_it_acknowledged_is_refused(setting: str) -> None:
    with running_postgresql() as careless:
        careless.configure(**{setting: "off"})
        text = refusal(careless.url)
        assert f"{setting} = off" in text
        assert f"set {setting} = on" in text
        careless.configure(**{setting: "on"})
        run(careless.url, _use)


def test_a_server_that_takes_no_writes_is_not_waited_for(
    server: PostgresqlServer, database: str
) -> None:
    server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with pytest.raises(JournalUnreachableError) as caught:
        run(server.url_of_database(database), _use)
    assert "read-only" in caught.value.reason


@pytest.mark.parametrize("variable", ["PGHOST", "PGSERVICEFILE"])
def test_a_server_is_found_as_libpq_finds_it(
    server: PostgresqlServer,
    database: str,
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    values = {"HOST": "127.0.0.1", "PORT": str(server.port), "USER": "postgres"}
    passwords = tmp_path / "passwords"
    passwords.write_text(f"127.0.0.1:*:*:postgres:{PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    if variable == "PGHOST":
        for name, value in values.items():
            monkeypatch.setenv(f"PG{name}", value)
    else:
        services = tmp_path / "services"
        lines = [f"{name.lower()}={value}" for name, value in values.items()]
        services.write_text("\n".join(["[everlog]", *lines]))
        monkeypatch.setenv("PGSERVICEFILE", str(services))
        monkeypatch.setenv("PGSERVICE", "everlog")
    run(f"postgresql:///{database}", _use)


def test_several_hosts_are_asked_until_one_lets_us_in(
    server: PostgresqlServer, database: str
) -> None:
    address = f"127.0.0.1:1,127.0.0.1:2,127.0.0.1:{server.port}"
    run(f"postgresql://postgres:{PASSWORD}@{address}/{database}", _use)


# Secrets.


def test_a_password_may_be_in_a_file_which_is_read_for_each_connection(
    server: PostgresqlServer, database: str, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("another\n")
    url = f"postgresql://postgres@127.0.0.1:{server.port}/{database}"
    with pytest.raises(JournalUnreachableError) as caught:
        run(url, _use, password_file=file)
    assert "password authentication failed" in caught.value.reason
    assert "another" not in caught.value.reason

    async def changing(journal: PostgresqlJournal) -> None:
        await _use(journal)
        file.write_text("another\n")
        server.execute(end_sessions(database))
        with pytest.raises(JournalUnreachableError):
            await journal.read(after=BEGINNING, size_max=1000)
        file.write_text(PASSWORD)
        assert len(await read_all(journal)) == 2

    file.write_text(f"{PASSWORD}\n")
    run(url, changing, password_file=file)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("user:{}@127.0.0.1:1/everlog", id="nobody there"),
        pytest.param("user:{}@nowhere.invalid/everlog", id="no such host"),
        pytest.param("user:{}@127.0.0.1:{{port}}/everlog", id="wrong password"),
        pytest.param("127.0.0.1:{{port}}/everlog?user=user&password={}", id="an option"),
        pytest.param("user:{}%@127.0.0.1/everlog", id="a bare percent sign"),
        pytest.param("user:a@{}@127.0.0.1/everlog", id="a bare at sign"),
        pytest.param("user:a/{}@127.0.0.1/everlog", id="a bare slash"),
        pytest.param("user:a?{}@127.0.0.1/everlog", id="a bare question mark"),
        pytest.param("user:a#{}@127.0.0.1/everlog", id="a bare number sign"),
        pytest.param("user:a:{}@127.0.0.1/everlog", id="a bare colon"),
        pytest.param("127.0.0.1/everlog?pasword={}", id="an option that is not known"),
        pytest.param("127.0.0.1:{}/everlog", id="a port that is none"),
    ],
)
def test_no_error_shows_a_password(server: PostgresqlServer, address: str) -> None:
    secret = "Tr0ub4dor"
    url = "postgresql://" + address.format(secret).format(port=server.port)
    with pytest.raises((SettingsError, JournalUnreachableError)) as caught:
        run(url, _use)
    texts = [str(caught.value), repr(caught.value), redact_url(url)]
    if isinstance(caught.value, JournalUnreachableError):
        texts.append(caught.value.reason)
    if "a port" not in address and "{}/everlog" not in address:
        assert not [text for text in texts if secret in text]


@pytest.mark.parametrize(
    "url, shown",
    [
        ("postgresql://u:p@a:1,b:2/d?sslmode=x", "postgresql://a:1,b:2/d"),
        ("postgresql://a/d", "postgresql://a/d"),
        ("postgresql:///d", "postgresql:///d"),
        ("postgres://u:a@b@c/d", "postgres://c/d"),
        ("postgres://u:a/b@c/d", "postgres://c/d"),
        ("postgres://u:a?b@c/d", "postgres://..."),
        ("postgres://u:a#b@c/d", "postgres://..."),
        ("postgres://c/d?user=a@b", "postgres://..."),
        ("nats://token@h1,h2/S", "nats://h1,h2/S"),
        ("tls://u:p@h1,h2:4/S", "tls://h1,h2:4/S"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def unusable(url: str, **options: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        PostgresqlJournal(url, **options)
    return str(caught.value)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    two = tmp_path / "two"
    two.write_text("a\nb\n")
    for file in (empty, binary, two, tmp_path, tmp_path / "missing"):
        assert str(file) in unusable("postgresql://h/d", password_file=file)
    good = tmp_path / "good"
    good.write_text("secret")
    assert "has a password" in unusable("postgresql://u:p@h/d", password_file=good)
    assert str(tmp_path) in unusable("postgresql://h/d", ca_file=tmp_path)
    assert "postgresql://" in unusable("host=h password=p")
