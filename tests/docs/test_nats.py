"""The page about NATS as the journal: what it shows is that of the code, and enough for servers."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import uvloop

from everlog.journals import nats as journal_on_nats
from everlog.journals import nats_connection, nats_stream
from everlog.journals.nats import NatsJournal
from everlog.journals.nats_messages import AFTER, END
from everlog.service.mirroring.journal import BEGINNING
from tests.support.journal_places import make_announcement, make_entry, read_all
from tests.support.nats_servers import STREAM, running_nats
from tests.support.pages import code_blocks, read_page

PAGE: Final = read_page("docs/operating/nats.md")


def block(start: str) -> str:
    (found,) = (each.text for each in code_blocks(PAGE) if each.text.startswith(start))
    return found


def test_the_stream_is_the_one_that_is_made() -> None:
    identity = 32 * "0"
    assert json.loads(block("{")) == nats_stream.new_stream(STREAM, replicas=3, identity=identity)


def test_the_numbers_are_those_of_the_code() -> None:
    version = ".".join(map(str, nats_stream.VERSION_MIN))
    assert f"NATS {version} or newer" in PAGE
    assert f"version {version} or newer" in PAGE
    assert journal_on_nats._STORED_SIZE_MAX == 32 << 20
    assert "no message of more than 32 MiB" in PAGE
    assert f"{journal_on_nats._HEADERS_SIZE_MAX} bytes of a message are left" in PAGE
    assert nats_stream._PAYLOAD_ADVISED == 8 << 20
    assert "below 8 MB nodes warn" in PAGE
    assert (journal_on_nats._CALL_SECONDS, nats_connection._PONG_SECONDS) == (5.0, 2.0)
    assert journal_on_nats._ANNOUNCED_TTL == "120s"
    assert {f"`{header}`" for header in (AFTER, END)} <= set(re.findall(r"`[\w-]+`", PAGE))


def test_what_nodes_say_is_what_the_page_has() -> None:
    sources = " ".join(
        Path(module.__file__ or "").read_text()
        for module in (journal_on_nats, nats_connection, nats_stream)
    )
    # Sentences are broken into lines there, and have what varies between braces.
    text = re.sub(r'"\s+f?"', "", sources)
    said = re.findall(
        r"^\| `([^`]+)` \|", PAGE.partition("## When it does not answer")[2], re.MULTILINE
    )
    assert len(said) > 5
    for sentence in said:
        if sentence == "permissions violation":
            # The servers say so.
            continue
        pattern = r"(?:\{[^}]*\}|3)".join(map(re.escape, re.split(r"\.\.\.|\b3\b", sentence)))
        assert re.search(pattern, text), sentence


@pytest.mark.slow
def test_the_configuration_and_the_permissions_are_enough() -> None:
    authorization = block("authorization").replace('"..."', '"secret"')

    async def using(url: str) -> None:
        one, other = NatsJournal(url, replicas=1), NatsJournal(url, replicas=1)
        try:
            await asyncio.gather(one.open(), other.open())
            entry = make_entry(0)
            waiter = asyncio.create_task(other.wait(after=BEGINNING))
            place = await one.append(entry, after=BEGINNING)
            await waiter
            assert await read_all(other) == [entry]
            assert await other.find(1) == BEGINNING
            assert await other.find(2) == place
            await one.announce(make_announcement("one"))
            assert len(await other.announce(make_announcement("other"))) == 1
        finally:
            await one.close()
            await other.close()

    with running_nats(1, configuration=authorization) as servers:
        address = servers.servers[0].address
        uvloop.run(using(f"nats://node:secret@{address}/{STREAM}"))


def test_servers_understand_the_configuration(tmp_path: Path) -> None:
    shown = block("server_name:")
    assert "sync_interval: always" in shown
    file = tmp_path / "nats.conf"
    file.write_text(shown)
    program = Path(sys.executable).parent / "nats-server"
    done = subprocess.run([program, "-t", "-c", file], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"is valid" in done.stderr
