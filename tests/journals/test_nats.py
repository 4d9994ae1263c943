"""What is NATS's own: streams that are made and refused, secrets, TLS, and replicas that lag."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any, Final

import nats
import pytest
import uvloop
from msgspec.structs import replace
from nats.aio.msg import Msg

from everlog.domain.errors import JournalUnreachableError, SettingsError
from everlog.journals.nats import NatsJournal
from everlog.journals.nats_connection import Connection
from everlog.journals.nats_stream import IDENTITY_KEY, new_stream
from everlog.service.mirroring.journal import (
    BEGINNING,
    EntryLostError,
    UnfitJournalError,
    UnknownEntryFormatError,
    encode_entry,
)
from tests.support.certificates import Issued, issue, write_files
from tests.support.journal_places import append_all, make_announcement, make_entry, read_all
from tests.support.nats_accounts import Accounts
from tests.support.nats_servers import STREAM, NatsServers, running_nats
from tests.support.pages import code_blocks, read_page

PASSWORD: Final = "the-password-of-the-tests"

# Each has servers of its own, or shares them with few.
pytestmark = pytest.mark.slow

_numbers: Final = count()


@pytest.fixture(scope="module")
def servers() -> Iterator[NatsServers]:
    with running_nats(3, payload_max=2 << 20) as running:
        yield running


@pytest.fixture(scope="module")
def lone_server() -> Iterator[NatsServers]:
    with running_nats(1, payload_max=1 << 20) as running:
        yield running


@pytest.fixture
def stream() -> str:
    return f"test-{next(_numbers)}"


def run(test: Callable[..., Awaitable[None]], *journals: NatsJournal) -> None:
    """Let a test have journals, which are not open yet."""

    async def running() -> None:
        async with AsyncExitStack() as stack:
            for journal in journals:
                stack.push_async_callback(journal.close)
            await test(*journals)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    uvloop.run(running())


async def ask(servers: NatsServers, subject: str, body: dict[str, Any] | None = None) -> Any:
    """Return what the servers answer to somebody else than Everlog."""
    client = await nats.connect([f"nats://{server.address}" for server in servers.servers])
    content = b"" if body is None else json.dumps(body).encode()
    answer = await client.request(subject, content, timeout=10)
    await client.close()
    return json.loads(answer.data)


# The stream.


def test_the_stream_is_made_as_it_is_documented(servers: NatsServers, stream: str) -> None:
    async def opening(one: NatsJournal, other: NatsJournal) -> None:
        identity, same = await asyncio.gather(one.open(), other.open())
        assert identity == same
        assert [remark for remark in one.remarks if "max_payload" in remark]
        told = (await ask(servers, f"$JS.API.STREAM.INFO.{stream}"))["config"]
        expected = new_stream(stream, replicas=3, identity=identity)
        # The servers add what they are.
        assert expected.pop("metadata").items() <= told["metadata"].items()
        assert {name: told.get(name) for name in expected} == expected

    url = servers.url_of(stream)
    run(opening, NatsJournal(url), NatsJournal(url))


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"storage": "memory"}, "storage must be 'file'"),
        ({"max_age": 10**12}, "max_age must be 0"),
        ({"max_bytes": 10**9, "discard": "old"}, "discard must be 'new'.*max_bytes must be -1"),
        ({"num_replicas": 1}, "num_replicas is 1, and must be 3"),
        ({"metadata": {}}, f"metadata must have {IDENTITY_KEY}"),
        ({"deny_delete": False}, "deny_delete must be true"),
    ],
    ids=["memory", "age", "size", "replicas", "not ours", "deletable"],
)
def test_a_stream_that_cannot_hold_a_journal_is_refused(
    servers: NatsServers, stream: str, changes: dict[str, Any], complaint: str
) -> None:
    async def opening(journal: NatsJournal) -> None:
        config = new_stream(stream, replicas=3, identity="0") | changes
        assert "config" in await ask(servers, f"$JS.API.STREAM.CREATE.{stream}", config)
        with pytest.raises(UnfitJournalError, match=complaint):
            await journal.open()

    run(opening, NatsJournal(servers.url_of(stream)))


def test_a_server_that_stands_alone_has_one_replica(lone_server: NatsServers, stream: str) -> None:
    async def opening(three: NatsJournal, one: NatsJournal) -> None:
        with pytest.raises(UnfitJournalError, match="--journal-replicas 1"):
            await three.open()
        await one.open()
        assert [remark for remark in one.remarks if "one replica" in remark]
        places = await append_all(one, [make_entry(0), make_entry(1)])
        assert (await one.read(after=places[1], size_max=1000)).is_end
        with pytest.raises(EntryLostError):
            await one.append(make_entry(1), after=places[0])

    url = lone_server.url_of(stream)
    run(opening, NatsJournal(url), NatsJournal(url, replicas=1))


def test_too_few_servers_are_waited_for(servers: NatsServers, stream: str) -> None:
    async def opening(journal: NatsJournal) -> None:
        with pytest.raises(JournalUnreachableError) as caught:
            await journal.open()
        assert "not 5 servers" in caught.value.reason

    run(opening, NatsJournal(servers.url_of(stream), replicas=5))


@pytest.mark.parametrize("replicas", [0, 2, 4, 7])
def test_replicas_are_one_three_or_five(replicas: int) -> None:
    with pytest.raises(SettingsError, match="1, 3 or 5 replicas"):
        NatsJournal("nats://a/s", replicas=replicas)


def test_a_stream_that_was_made_anew_is_noticed(lone_server: NatsServers, stream: str) -> None:
    async def deleting(journal: NatsJournal) -> None:
        await journal.open()
        places = await append_all(journal, [make_entry(number) for number in range(5)])
        await ask(lone_server, f"$JS.API.STREAM.DELETE.{stream}")
        with pytest.raises(JournalUnreachableError):
            await journal.read(after=places[-1], size_max=1000)
        other = NatsJournal(lone_server.url_of(stream), replicas=1)
        await other.open()
        await other.close()
        with pytest.raises(UnfitJournalError, match="made anew"):
            await journal.read(after=places[-1], size_max=1000)

    run(deleting, NatsJournal(lone_server.url_of(stream), replicas=1))


# Entries.


def test_an_entry_that_is_larger_than_a_message_is_refused_and_nothing_sent(
    servers: NatsServers, stream: str
) -> None:
    async def appending(journal: NatsJournal) -> None:
        await journal.open()
        largest = journal.entry_size_max - len(encode_entry(make_entry(size=0)))
        after = await journal.append(make_entry(0, size=largest), after=BEGINNING)
        with pytest.raises(UnfitJournalError, match="max_payload"):
            await journal.append(make_entry(1, size=largest + 1), after=after)
        assert (await journal.read(after=after, size_max=1000)).is_end
        assert 2 << 20 > journal.entry_size_max > 2_000_000

    run(appending, NatsJournal(servers.url_of(stream)))


def test_what_jetstream_does_not_store_is_refused_however_large_messages_may_be(
    stream: str,
) -> None:
    async def appending(journal: NatsJournal) -> None:
        await journal.open()
        largest = journal.entry_size_max - len(encode_entry(make_entry(size=0)))
        assert largest > 30 << 20
        entry = make_entry(0, size=largest)
        after = await journal.append(entry, after=BEGINNING)
        assert await read_all(journal) == [entry]
        with pytest.raises(UnfitJournalError):
            await journal.append(make_entry(1, size=largest + 1), after=after)

    with running_nats(1, payload_max=64 << 20) as running:
        run(appending, NatsJournal(running.url_of(stream), replicas=1))


def test_the_id_of_an_entry_that_was_lost_says_nothing_about_it(
    servers: NatsServers, stream: str
) -> None:
    async def losing(journal: NatsJournal, other: NatsJournal) -> None:
        await asyncio.gather(journal.open(), other.open())
        first, loser = make_entry(0), make_entry(0)
        after = await journal.append(first, after=BEGINNING)
        for _ in range(3):
            with pytest.raises(EntryLostError):
                await other.append(loser, after=BEGINNING)
        # What was lost is not there, and can be appended elsewhere.
        assert await read_all(journal) == [first]
        place = await other.append(loser, after=after)
        assert await read_all(journal) == [first, loser]
        # Now it is there, and nowhere else.
        with pytest.raises(EntryLostError):
            await other.append(loser, after=place)
        assert await read_all(journal) == [first, loser]

    url = servers.url_of(stream)
    run(losing, NatsJournal(url), NatsJournal(url))


def test_whatever_was_acknowledged_is_read_at_once_by_everybody(
    servers: NatsServers, stream: str
) -> None:
    async def reading(writer: NatsJournal, *readers: NatsJournal) -> None:
        await asyncio.gather(writer.open(), *(reader.open() for reader in readers))
        after = BEGINNING
        for number in range(40):
            place = await writer.append(make_entry(number), after=after)
            for page in await asyncio.gather(
                *(reader.read(after=after, size_max=1 << 20) for reader in readers)
            ):
                assert [placed.place for placed in page.entries] == [place]
            after = place

    url = servers.url_of(stream)
    run(reading, *(NatsJournal(url) for _ in range(4)))


def test_a_replica_that_lags_is_asked_again(
    servers: NatsServers, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a replica had before is what one that lags answers."""
    earlier: list[Sequence[Msg]] = []
    lagging = 0

    async def request_many(self: Connection, subject: str, *rest: Any, **more: Any) -> Any:
        nonlocal lagging
        answers = await _request_many(self, subject, *rest, **more)
        if ".DIRECT.GET." not in subject:
            return answers
        earlier.append(answers)
        if lagging == 0:
            return answers
        lagging -= 1
        return earlier[0]

    async def reading(writer: NatsJournal, reader: NatsJournal) -> None:
        nonlocal lagging
        await asyncio.gather(writer.open(), reader.open())
        place = await writer.append(make_entry(0), after=BEGINNING)
        earlier.clear()
        await reader.read(after=place, size_max=1000)
        await reader.read(after=BEGINNING, size_max=1000)
        await writer.append(make_entry(1), after=place)
        lagging = 3
        page = await reader.read(after=place, size_max=1000)
        assert len(page.entries) == 1
        assert page.is_end
        assert lagging == 0

    _request_many = Connection.request_many
    monkeypatch.setattr(Connection, "request_many", request_many)
    url = servers.url_of(stream)
    run(reading, NatsJournal(url), NatsJournal(url))


def test_nodes_go_to_the_server_that_leads_the_stream(servers: NatsServers, stream: str) -> None:
    async def going(*journals: NatsJournal) -> None:
        *movable, fixed = journals
        await asyncio.gather(*[journal.open() for journal in journals])
        leader = servers.leader(stream)
        place, entry = BEGINNING, make_entry(0)
        for number, journal in enumerate(journals):
            await journal.announce(make_announcement(f"{number}"))
            entry = make_entry(number)
            place = await journal.append(entry, after=place)
        for journal in movable:
            assert journal._connection is not None
            assert journal._connection.server_name == leader.name
            # It hears of what is appended, as before.
            await journal.wait(after=place - 1)
            assert (await journal.read(after=place - 1, size_max=1000)).entries[0].entry == entry
        assert fixed._connection is not None
        assert fixed._connection.server_name == other.name

    url = servers.url_of(stream)
    # Two of these three at least are not where they should be in the beginning, or one by chance.
    first = NatsJournal(url)
    run(lambda journal: journal.open(), first)
    other = servers.followers(stream)[0]
    away = f"nats://{other.address}/{stream}"
    run(going, NatsJournal(url), NatsJournal(url), NatsJournal(url), NatsJournal(away))


def test_what_was_heard_on_its_way_is_not_read(
    servers: NatsServers, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def request_many(
        connection: Connection, subject: str, *arguments: Any, **named: Any
    ) -> Sequence[Msg]:
        asked.append(subject)
        return await _request_many(connection, subject, *arguments, **named)

    async def listening(writer: NatsJournal, reader: NatsJournal) -> None:
        await writer.open()
        await reader.open()
        place = BEGINNING
        for number in range(3):
            # It may take a moment until all servers know who listens.
            entry = make_entry(number)
            after, place = place, await writer.append(entry, after=place)
            await reader.wait(after=after)
            asked.clear()
            page = await reader.read(after=after, size_max=1000, proves_end=False)
            assert [(found.place, found.entry) for found in page.entries] == [(place, entry)]
            assert not page.is_end
        assert asked == []
        # Once taken, it is not kept, and who wants to be sure asks.
        page = await reader.read(after=after, size_max=1000)
        assert [found.place for found in page.entries] == [place]
        assert page.is_end

    _request_many = Connection.request_many
    monkeypatch.setattr(Connection, "request_many", request_many)
    url = servers.url_of(stream)
    run(listening, NatsJournal(url), NatsJournal(url))


def test_an_entry_that_follows_one_which_is_not_there_is_refused(
    servers: NatsServers, stream: str
) -> None:
    async def skipping(journal: NatsJournal) -> None:
        await journal.open()
        place = await journal.append(make_entry(0), after=BEGINNING)
        client = await nats.connect(f"nats://{servers.servers[0].address}")
        headers = {"Everlog-After": str(place + 7), "Everlog-End": "2"}
        content = encode_entry(make_entry(1))
        await client.jetstream().publish(f"{stream}.log", content, headers=headers)
        await client.close()
        for after in (BEGINNING, place):
            with pytest.raises(UnknownEntryFormatError, match="which is not there"):
                await journal.read(after=after, size_max=1 << 20)

    run(skipping, NatsJournal(servers.url_of(stream)))


def test_what_nobody_appended_wakes_nobody_for_long(servers: NatsServers, stream: str) -> None:
    async def telling(journal: NatsJournal) -> None:
        await journal.open()
        place = await journal.append(make_entry(0), after=BEGINNING)
        client = await nats.connect(f"nats://{servers.servers[0].address}")
        for told in (b"", b"-1", b"x", b"9" * 30, b"7 \xff", b"999999", b"999999 unknown"):
            await client.publish(f"{stream}.appended", told)
        await client.flush()
        await client.close()
        await asyncio.wait_for(journal.wait(after=place), 20)
        # Whoever wants to know reads, and knows better then.
        page = await journal.read(after=place, size_max=1000, proves_end=False)
        assert not page.entries
        assert journal._told_end == place

    run(telling, NatsJournal(servers.url_of(stream)))


def test_what_another_version_says_of_itself_hides_nobody(
    lone_server: NatsServers, stream: str
) -> None:
    async def announcing(one: NatsJournal, other: NatsJournal) -> None:
        await asyncio.gather(one.open(), other.open())
        client = await nats.connect(f"nats://{lone_server.servers[0].address}")
        await client.jetstream().publish(f"{stream}.node.another", b'{"says":"little"}')
        await client.close()
        # An id that is no part of a subject as it is.
        said = replace(make_announcement("one"), node_id="a.b *>")
        await one.announce(said)
        heard = await other.announce(make_announcement("other"))
        assert [each.announcement for each in heard] == [said]

    url = lone_server.url_of(stream)
    run(announcing, NatsJournal(url, replicas=1), NatsJournal(url, replicas=1))


# Secrets and TLS.


def test_a_user_has_a_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)

    async def opening(*journals: NatsJournal) -> None:
        *right, wrong = journals
        assert len({await journal.open() for journal in right}) == 1
        with pytest.raises(UnfitJournalError, match="refuses") as caught:
            await wrong.open()
        assert PASSWORD not in repr(caught.value)
        assert "another" not in str(caught.value)

    users = f'authorization: {{ users: [ {{ user: "node", password: "{PASSWORD}" }} ] }}\n'
    with running_nats(1, configuration=users) as running:
        address = running.servers[0].address
        run(
            opening,
            NatsJournal(f"nats://node:{PASSWORD}@{address}/{STREAM}", replicas=1),
            NatsJournal(f"nats://node:@{address}/{STREAM}", password_file=file, replicas=1),
            NatsJournal(f"nats://node:another@{address}/{STREAM}", replicas=1),
        )


def test_a_token_is_enough_where_the_servers_say_so(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(PASSWORD + "\n")

    async def opening(*journals: NatsJournal) -> None:
        *right, none = journals
        assert len({await journal.open() for journal in right}) == 1
        with pytest.raises(UnfitJournalError, match="refuses"):
            await none.open()

    token = f'authorization: {{ token: "{PASSWORD}" }}\n'
    with running_nats(1, configuration=token) as running:
        address = running.servers[0].address
        run(
            opening,
            NatsJournal(f"nats://{PASSWORD}@{address}/{STREAM}", replicas=1),
            NatsJournal(f"nats://{address}/{STREAM}", password_file=file, replicas=1),
            NatsJournal(f"nats://{address}/{STREAM}", replicas=1),
        )


def test_a_credentials_file_says_who_we_are(tmp_path: Path) -> None:
    accounts = Accounts()
    right, wrong = tmp_path / "right.creds", tmp_path / "wrong.creds"
    right.write_text(accounts.credentials())
    wrong.write_text(Accounts().credentials())

    async def opening(known: NatsJournal, unknown: NatsJournal) -> None:
        await known.open()
        await append_all(known, [make_entry(0)])
        with pytest.raises(UnfitJournalError, match="refuses"):
            await unknown.open()

    with running_nats(1, configuration=accounts.configuration) as running:
        run(
            opening,
            NatsJournal(running.url, credentials_file=right, replicas=1),
            NatsJournal(running.url, credentials_file=wrong, replicas=1),
        )


def test_who_may_not_do_what_is_needed_is_told_so() -> None:
    async def opening(journal: NatsJournal) -> None:
        with pytest.raises(UnfitJournalError, match=r"(?i)permissions violation"):
            await journal.open()

    users = (
        'authorization: { users: [ { user: "node", password: "p",'
        ' permissions: { publish: ["everlog.>"], subscribe: [">"] } } ] }\n'
    )
    with running_nats(1, configuration=users) as running:
        address = running.servers[0].address
        run(opening, NatsJournal(f"nats://node:p@{address}/{STREAM}", replicas=1))


@pytest.mark.parametrize("sync_interval", ["always", "2m"])
def test_servers_that_show_that_they_do_not_always_sync_are_refused(sync_interval: str) -> None:
    (shown,) = (
        block.text
        for block in code_blocks(read_page("docs/operating/nats.md"))
        if block.text.startswith("accounts")
    )

    async def opening(journal: NatsJournal) -> None:
        if sync_interval == "always":
            await journal.open()
            return
        with pytest.raises(UnfitJournalError, match="n0, n1, n2 acknowledge what they have not"):
            await journal.open()

    accounts = shown.replace('"..."', '"secret"')
    with running_nats(3, configuration=accounts, sync_interval=sync_interval) as running:
        address = running.servers[0].address
        run(opening, NatsJournal(f"nats://node:secret@{address}/{STREAM}"))


def test_the_servers_are_known_by_their_certificates(tmp_path: Path) -> None:
    authority, stranger = issue(is_authority=True), issue(is_authority=True)
    ca_file, other_file = (
        _write_authority(tmp_path / name, each)
        for name, each in (("ca", authority), ("other", stranger))
    )
    # Whoever runs the servers may read it.
    files = write_files(tmp_path, issue(issuer=authority))
    tls = (
        f"tls {{ cert_file: {json.dumps(str(files.certificate))}\n"
        f"key_file: {json.dumps(str(files.private_key))} }}\n"
    )

    async def opening(*journals: NatsJournal) -> None:
        *right, unknown, wrong = journals
        assert len({await journal.open() for journal in right}) == 1
        for journal in (unknown, wrong):
            with pytest.raises(UnfitJournalError, match="certificate verify failed"):
                await journal.open()

    with running_nats(1, configuration=tls, readable=[files.certificate, files.private_key]) as it:
        run(
            opening,
            NatsJournal(it.url_of(STREAM, scheme="tls"), ca_file=ca_file, replicas=1),
            NatsJournal(it.url, ca_file=ca_file, replicas=1),
            NatsJournal(it.url_of(STREAM, scheme="tls"), ca_file=other_file, replicas=1),
            NatsJournal(it.url_of(STREAM, scheme="tls"), replicas=1),
        )


def _write_authority(file: Path, authority: Issued) -> Path:
    file.write_bytes(authority.pem)
    return file


@pytest.mark.parametrize("access", [f"node:{PASSWORD}@", f"{PASSWORD}@", ""])
def test_no_secret_is_told_to_a_server_that_does_not_encrypt(access: str) -> None:
    told = b'INFO {"version":"2.15.0","auth_required":true,"headers":true}\r\n'
    complaint, heard = refusal_by(told, f"tls://{access}")
    assert "does not ask for TLS" in complaint
    assert PASSWORD not in complaint
    assert PASSWORD.encode() not in heard


@pytest.mark.parametrize(
    "told, complaint",
    [
        ('{"version":"2.11.4","headers":true,"jetstream":true}', "version 2.11"),
        ('{"version":"dev","headers":true,"jetstream":true}', "version 0.0"),
        ('{"version":"3.0.0","headers":true}', "JetStream is not enabled"),
    ],
)
def test_a_server_that_is_too_old_or_has_no_jetstream_is_refused(told: str, complaint: str) -> None:
    assert complaint in refusal_by(f"INFO {told}\r\n".encode(), "nats://")[0]


def refusal_by(told: bytes, scheme: str) -> tuple[str, bytes]:
    """Open a journal on a server that says so; return why that is refused, and what it heard."""
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(told)
        while line := await reader.readline():
            heard.extend(line)
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    async def opening(stack: AsyncExitStack) -> str:
        server = await stack.enter_async_context(await asyncio.start_server(serve, "127.0.0.1", 0))
        port = server.sockets[0].getsockname()[1]
        journal = NatsJournal(f"{scheme}127.0.0.1:{port}/{STREAM}")
        stack.push_async_callback(journal.close)
        with pytest.raises(UnfitJournalError) as caught:
            await journal.open()
        return repr(caught.value)

    async def running() -> str:
        async with AsyncExitStack() as stack:
            return await opening(stack)

    return uvloop.run(running()), bytes(heard)
