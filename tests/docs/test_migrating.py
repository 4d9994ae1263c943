"""The page about moving: each step runs, from a file in the original's format and back to it."""

from pathlib import Path

import pytest

from tests.docs.test_backup import DOCUMENTED_DIRECTORY, run_page
from tests.support.api import Connection
from tests.support.audits import check_audit_is_clean
from tests.support.chain import V2_PREFIX
from tests.support.exchanges import DOCUMENTED_TOKEN
from tests.support.original import (
    CustodyAuditor,
    a_backup,
    events_of,
    get_proof,
    merkle_root,
    running_original,
    validate_chain,
    verify_proof,
    without_event,
)
from tests.support.pages import DOCUMENTED_ADDRESS, read_page
from tests.support.server import running_server

PAGE = "docs/migrating.md"

# Where the page starts Everlog on what was restored.
STARTING = "**5. Start Everlog on the directory**"

ORIGINAL_ADDRESS = "127.0.0.1:3001"


@pytest.mark.slow
@pytest.mark.parametrize("hash_version", [1, 2])
def test_a_store_moves_here_and_back_step_by_step(tmp_path: Path, hash_version: int) -> None:
    data, backup = tmp_path / "data", a_backup()
    before, _, after = read_page(PAGE).partition(STARTING)
    if hash_version == 2:
        # Everything but what only a chain of version 1 can do.
        after = after.replace("```text\n0\n```", "").replace("@everlog.", "@version-1.")
    with running_original(backup) as original:
        names = {
            ORIGINAL_ADDRESS: original.url.removeprefix("http://"),
            DOCUMENTED_DIRECTORY: str(data),
        }
        assert run_page(before, directory=tmp_path, names=names) == (4, 1)
        assert original.is_read_only
        check_audit_is_clean(data)

        with running_server(
            data_directory=data,
            hash_version=hash_version,
            environment={"EVERLOG_API_TOKEN": DOCUMENTED_TOKEN},
        ) as server:
            names[DOCUMENTED_ADDRESS] = f"127.0.0.1:{server.port}"
            if hash_version == 2:
                write(server.url)
            counts = run_page(after, directory=tmp_path, names=names)
        assert counts == (7, 2 if hash_version == 1 else 1)

        returned = original.restored
        assert returned is not None
        # Ids, times, hashes and bytes are what they were.
        assert events_of(returned)[: len(events_of(backup))] == events_of(backup)
        assert len(events_of(returned)) == len(events_of(backup)) + (hash_version == 2)
        assert {line for line in backup.splitlines() if b'"schema"' in line[:20]} < {
            *returned.splitlines()
        }
        CustodyAuditor().audit(returned)
    assert (V2_PREFIX in (tmp_path / "everlog.ndjson").read_text()) is (hash_version == 2)


def write(url: str) -> None:
    with Connection(url) as connection:
        event = {"source": "x", "subject": "/new", "type": "io.x.y", "data": {"n": 1}}
        headers = {"Authorization": f"Bearer {DOCUMENTED_TOKEN}"}
        path, body = "/api/v1/write-events", {"events": [event]}
        assert connection.send("POST", path, body, headers=headers).status == 200


@pytest.fixture(scope="module")
def backup() -> bytes:
    """Return a backup that Everlog made of events that it wrote itself."""
    with running_server() as server, Connection(server.url) as connection:
        for number in range(11):
            data = {"z": "<\u00fc>", "a": number, "in": [{"y": 1.50, "b": None}]}
            connection.write(
                {
                    "source": "https://x.test",
                    "subject": f"/s/{number}",
                    "type": "io.x.y",
                    "data": data,
                }
            )
        return connection.ask("POST", "/api/v1/backup").body


def test_the_tool_for_merkle_trees_takes_our_backups(backup: bytes) -> None:
    assert validate_chain(backup) == "\u2713 Chain is valid (11 events)"
    root = merkle_root(backup)
    for position, (_, hash_) in enumerate(events_of(backup)):
        proof = get_proof(backup, position)
        assert verify_proof(hash_, proof, root)
        assert not verify_proof("0" * 64, proof, root)

    with pytest.raises(AssertionError):
        validate_chain(without_event(backup, "5"))
    with pytest.raises(AssertionError):
        validate_chain(backup.replace(b'"a":5', b'"a":6'))


def test_the_custody_auditor_takes_our_backups(backup: bytes) -> None:
    auditor = CustodyAuditor()
    assert auditor.audit(backup) == 11
    assert auditor.audit(backup) == 11

    with pytest.raises(AssertionError, match="goes back"):
        auditor.audit(b"".join(backup.splitlines(keepends=True)[:-1]))
    with pytest.raises(AssertionError, match="error"):
        CustodyAuditor().audit(backup + b'{"type":"error","payload":"no"}\n')
