"""Several nodes on a journal that real servers keep, and nginx in front, as users meet them.

nginx has the configuration that is delivered, without TLS: it sends requests to any node.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.support.nats_servers import running_nats
from tests.support.postgresql_server import running_postgresql
from tests.support.proxy import running_nginx
from tests.support.server import RunningServer, starting_server
from tests.support.sources import REPOSITORY

JOURNALS: Final = ("postgresql", "nats")

# Returns the URL of a new, empty journal on the same servers.
NewJournal = Callable[[], str]


@dataclass(frozen=True)
class Front:
    """Where clients of a cluster, or of a server alone, connect to."""

    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def running_journals(kind: str) -> Iterator[NewJournal]:
    """Run the servers of a kind of journal; each journal on them has a name of its own."""
    count = 0
    with ExitStack() as stack:
        if kind == "postgresql":
            postgresql = stack.enter_context(running_postgresql())
        else:
            nats = stack.enter_context(running_nats())

        def new_journal() -> str:
            nonlocal count
            count += 1
            if kind == "postgresql":
                postgresql.execute(f"CREATE DATABASE journal_{count}")
                return postgresql.url_of_database(f"journal_{count}")
            return nats.url_of(f"journal-{count}")

        yield new_journal


@contextmanager
def running_nodes(
    journal_url: str, *flags: str, count: int = 3, **options: Any
) -> Iterator[list[RunningServer]]:
    """Run nodes that have caught up; the options are those of a server."""
    with ExitStack() as stack:
        environment = {"EVERLOG_JOURNAL": journal_url}
        nodes = [
            stack.enter_context(
                starting_server(f"--node=node-{number}", *flags, environment=environment, **options)
            )
            for number in range(1, count + 1)
        ]
        for node in nodes:
            node.wait_for_log("listening")
            node.wait_for_log("the node has what the journal has")
        yield nodes


@contextmanager
def running_front(ports: Sequence[int]) -> Iterator[Front]:
    """Run nginx in front of nodes that listen on these ports."""
    with running_nginx(lambda port: configuration(ports, port)) as port:
        yield Front(f"http://127.0.0.1:{port}")


@contextmanager
def running_cluster(journal_url: str, *flags: str, **options: Any) -> Iterator[Front]:
    """Run three nodes and nginx in front."""
    with (
        running_nodes(journal_url, *flags, **options) as nodes,
        running_front([node.port for node in nodes]) as front,
    ):
        yield front


def configuration(ports: Sequence[int], front_port: int) -> str:
    """Return the delivered configuration of nginx for these nodes, without TLS."""
    text = (REPOSITORY / "deploy/nginx/everlog-cluster.conf").read_text(encoding="utf-8")
    for number, port in enumerate(ports, 1):
        assert text.count(f"server everlog-{number}:3000") == 2
        text = text.replace(f"server everlog-{number}:3000", f"server 127.0.0.1:{port}")
    assert "listen 443 ssl;" in text
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{front_port};")
    # The lines that are about TLS, and those of nodes that are not there.
    text = re.sub(r"^    (listen \[::\]|ssl_|server everlog-).*\n", "", text, flags=re.MULTILINE)
    # Beside its other files, which are in a folder of its own.
    return text.replace("/var/log/nginx/", "")
