"""All peers, and what is to be known about each before its figures are compared."""

import sqlite3
from functools import partial
from pathlib import Path

from benchmarks.fill import fill_log
from benchmarks.peers import servers
from benchmarks.peers.peer import Peer
from everlog._version import __version__
from tools.bench_environment import ENVIRONMENT

_BLOCKING = "blocking sockets in threads"

_FIRST_OF_AN_AGGREGATE = "each event is the first of an aggregate of its own"
_NO_TREE = "aggregates are in no tree"


def _fill_own(directory: Path, event_count: int) -> None:
    fill_log(directory / "data", event_count)


def _package_version(name: str) -> str:
    return servers.package_versions()[name]


def _postgres_version() -> str:
    return servers.version_of([servers.postgres_program("postgres"), "--version"])


OWN = Peer(
    key="everlog",
    name="Everlog",
    serve=servers.serve_own,
    version=lambda: __version__,
    durability="one `fdatasync` for each group of writes, before they are answered",
    client=f"HTTP only, {_BLOCKING}",
    fill_directly=_fill_own,
)

PEERS: dict[str, Peer] = {
    peer.key: peer
    for peer in (
        OWN,
        Peer(
            key="umadb",
            name="UmaDB",
            serve=servers.serve_umadb,
            version=partial(_package_version, "umadb"),
            durability="defaults: `fdatasync` before it answers; there is no switch",
            client="its own (gRPC, compiled), in threads",
            remarks={
                "write": "the subject is the only tag",
                "read_recursive": "by a tag for the library, which was stored for this",
            },
        ),
        Peer(
            key="postgres",
            name="PostgreSQL, plain table",
            serve=servers.serve_postgres_table,
            version=_postgres_version,
            durability="`fsync = on`, `synchronous_commit = on`",
            client="psycopg (compiled), in threads",
            is_created=True,
            remarks={
                "write": "no gapless order, no hash chain",
                "write_100": "one transaction, pipelined",
                "observe": "a trigger notifies, and each observer selects",
            },
        ),
        Peer(
            key="postgres-recorder",
            name="PostgreSQL, eventsourcing",
            serve=servers.serve_postgres_recorder,
            version=lambda: f"{_postgres_version()} / {_package_version('eventsourcing')}",
            durability="`fsync = on`, `synchronous_commit = on`",
            client="eventsourcing with psycopg (compiled), in threads",
            is_created=True,
            remarks={
                "write": _FIRST_OF_AN_AGGREGATE,
                "write_100": _FIRST_OF_AN_AGGREGATE,
            },
            cannot={
                "read_recursive": _NO_TREE,
                "observe": "as the plain table: its subscriptions listen and select, too",
            },
        ),
        Peer(
            key="sqlite-recorder",
            name="SQLite, eventsourcing",
            serve=servers.serve_sqlite_recorder,
            version=lambda: f"{sqlite3.sqlite_version} / {_package_version('eventsourcing')}",
            durability="WAL with `synchronous = FULL`",
            client="eventsourcing, in threads of the one process that is store and client",
            is_created=True,
            remarks={
                "write": f"no network; {_FIRST_OF_AN_AGGREGATE}",
                "write_100": f"no network; {_FIRST_OF_AN_AGGREGATE}",
            },
            cannot={
                "read_recursive": _NO_TREE,
                "observe": "nothing is pushed: observers would poll",
            },
        ),
        Peer(
            key="nats",
            name="NATS JetStream",
            serve=servers.serve_nats,
            serve_filling=servers.serve_nats_unsynced,
            version=lambda: servers.version_of(
                [str(ENVIRONMENT / "bin" / "nats-server"), "--version"]
            ),
            durability="`sync_interval: always`; its default syncs every two minutes",
            client=f"its protocol only, {_BLOCKING}",
            is_created=True,
            remarks={
                "write_100": "an atomic batch",
                "read_everything": "direct gets of 1,000 messages",
                "observe": "a push consumer each, its state in memory",
            },
        ),
    )
}
