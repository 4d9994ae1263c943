"""The page about PostgreSQL as the journal: its SQL is that of the code, and does what it says."""

import re

import pytest
import uvloop

from everlog.journals.postgresql import PRIVILEGES, SCHEMA, STATEMENTS, PostgresqlJournal
from everlog.journals.postgresql_connections import (
    CONNECT_SECONDS_MAX,
    CONNECT_SECONDS_MAX_OF_ALL,
    SESSION,
    STATEMENT_SECONDS_MAX,
    VERSION_MIN,
    WAITING_RELEASES,
)
from everlog.service.mirroring.journal import BEGINNING
from tests.support.journal_places import make_announcement, make_entry, read_all
from tests.support.pages import code_blocks, read_page
from tests.support.patroni_cluster import SETTINGS
from tests.support.postgresql_server import running_postgresql

PAGE = read_page("docs/operating/postgresql.md")


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.*)\n", PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def statements(section: str) -> list[str]:
    return [block.text for block in code_blocks(sections()[section]) if block.language == "sql"]


def numbered(statement: str) -> str:
    """Return a statement as the server gets it: with numbers for its parameters."""
    parts = re.split("%[sb]", statement)
    return parts[0] + "".join(f"${number}{part}" for number, part in enumerate(parts[1:], 1))


def test_the_schema_and_the_statements_are_those_of_the_code() -> None:
    assert statements("The schema") == [SCHEMA]
    assert statements("Privileges") == [PRIVILEGES]
    assert statements("The statements") == [numbered(text) for text in STATEMENTS.values()]


def test_the_settings_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| \S", PAGE, re.MULTILINE)
    assert dict(rows) == SESSION


def test_the_settings_of_patroni_are_those_that_were_tried() -> None:
    (block,) = (block for block in code_blocks(PAGE) if block.language == "yaml")
    shown = dict(line.split(": ") for line in block.text.splitlines())
    assert shown == {name: str(value).lower() for name, value in SETTINGS.items()}


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"PostgreSQL {VERSION_MIN} or newer" in PAGE
    releases = ", ".join(f"{version}.{minor}" for version, minor in WAITING_RELEASES.items())
    assert f"the first commit on: {releases}, or newer" in PAGE
    seconds = (CONNECT_SECONDS_MAX, CONNECT_SECONDS_MAX_OF_ALL, STATEMENT_SECONDS_MAX)
    each, together, statement = (f"{number:.0f} s" for number in seconds)
    assert f"up to {each} for a host, {together} for all that the URL names" in PAGE
    assert f"and {statement} for a statement" in PAGE
    assert f"An entry has at most {PostgresqlJournal.entry_size_max >> 20} MiB" in PAGE


@pytest.mark.slow
def test_roles_are_made_as_the_page_says_and_can_do_what_a_node_does() -> None:
    async def using(journal: PostgresqlJournal, *, after: int) -> None:
        await journal.open()
        await journal.append(make_entry(after), after=after)
        assert len(await read_all(journal, after=BEGINNING)) == after + 1
        await journal.announce(make_announcement("one"))
        await journal.close()

    (make,) = statements("What is needed")
    with running_postgresql() as server:
        server.execute(*make.splitlines())
        owner = f"postgresql://everlog:change%20me@127.0.0.1:{server.port}/everlog"
        uvloop.run(using(PostgresqlJournal(owner), after=0))
        # An administrator did it before.
        server.execute("CREATE ROLE everlog_node LOGIN PASSWORD 'change me'")
        (schema,), (privileges,) = statements("The schema"), statements("Privileges")
        server.execute(schema, privileges, database="everlog")
        node = owner.replace("//everlog:", "//everlog_node:")
        uvloop.run(using(PostgresqlJournal(node), after=1))
        # As the page says, this stops all writing.
        server.execute("REVOKE INSERT ON everlog.batch FROM everlog_node", database="everlog")
        with pytest.raises(Exception, match=r"lacks privileges: INSERT on everlog\.batch"):
            uvloop.run(using(PostgresqlJournal(node), after=2))
