"""Rounds of the rack for several nodes: a cluster, its load, its harm, and what was found.

EVERLOG_CLUSTER_SECONDS says for how long there is harm, in all rounds of a test together, and
EVERLOG_CLUSTER_SEED which; a longer run has more rounds, each with a seed and a journal of its own.
"""

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from msgspec.structs import replace

from tests.support.cluster import Cluster, Journal
from tests.support.cluster_harms import Harm, do_harm
from tests.support.history import History, Reads, Refused, Unavailable
from tests.support.nats_servers import running_nats
from tests.support.network import Host, Network, running_network
from tests.support.patroni_cluster import MEMBERS, running_patroni
from tests.support.planted_bugs import Bug
from tests.support.postgresql_server import running_postgresql
from tests.support.rack_server import Plan

SECONDS: Final = float(os.environ.get("EVERLOG_CLUSTER_SECONDS", "10"))
SEED: Final = int(os.environ.get("EVERLOG_CLUSTER_SEED", "0"))

# How long nodes wait for an answer of the journal where they do not wait as long as ever.
_HASTY_SECONDS: Final = 0.5
# Of how many appends the answer is lost, in rounds where that is so.
_LOST_EVERY: Final = 10

# What brings bugs to light.
_TELLING: Final = Plan(
    answer_seconds_max=_HASTY_SECONDS, hears_late=True, answers_lost_every=_LOST_EVERY
)

# A round keeps all that clients were told until its end.
_ROUND_SECONDS_MAX: Final = 90.0


class Laid(NamedTuple):
    """A network with a journal on it, and places for nodes."""

    journal: Journal
    network: Network
    hosts: Sequence[Host]


Lay = Callable[[], AbstractContextManager[Laid]]


@contextmanager
def on_postgresql(*, node_count: int) -> Iterator[Laid]:
    """Lay a network with one PostgreSQL server, and places for nodes."""
    with running_network(1 + node_count) as network:
        place, *nodes = network.hosts
        with running_postgresql(place) as server:
            journal = Journal(server.url, 1, [server], [place], lambda: server)
            yield Laid(journal, network, nodes)


@contextmanager
def on_nats(*, node_count: int) -> Iterator[Laid]:
    """Lay a network with three NATS servers, and places for nodes."""
    with running_network(3 + node_count) as network:
        places, nodes = network.hosts[:3], network.hosts[3:]
        with running_nats(3, hosts=places) as servers:
            journal = Journal(servers.url, 3, servers.servers, places, servers.leader)
            yield Laid(journal, network, nodes)


@contextmanager
def on_patroni(*, node_count: int) -> Iterator[Laid]:
    """Lay a network with three PostgreSQL servers of Patroni's, its etcd, and places for nodes."""
    with running_network(MEMBERS + 1 + node_count) as network:
        places, etcd, nodes = (
            network.hosts[:MEMBERS],
            network.hosts[MEMBERS],
            network.hosts[MEMBERS + 1 :],
        )
        with running_patroni(places, etcd) as cluster:
            journal = Journal(cluster.url, 1, cluster.members, places, cluster.leader)
            yield Laid(journal, network, nodes)


@dataclass
class Report:
    """What was done in all rounds."""

    rounds: int = 0
    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)

    def note(self, cluster: Cluster, harms: Counter[Harm], seconds: float) -> None:
        """Add a round."""
        history = cluster.work.history
        self.rounds += 1
        self.seconds += seconds
        self.done.update(_counts(history))
        self.done["lives of nodes"] += cluster.life_count
        self.done["ends at named moments"] += cluster.named_end_count
        self.done.update({harm.value: count for harm, count in harms.items()})

    def __str__(self) -> str:
        done = "; ".join(f"{count:,} {what}" for what, count in self.done.items() if count)
        return f"{self.rounds} rounds, {self.seconds:,.0f} s under harm: {done}"


def _counts(history: History) -> dict[str, int]:
    current = sum(read.mode is Reads.CURRENT for read in history.reads)
    return {
        "writes acknowledged": history.accepted_count,
        "refused by preconditions": history.count(Refused),
        "put off": history.count(Unavailable),
        "without an answer": sum(write.outcome is None for write in history.writes),
        "current reads": current,
        "local reads": len(history.reads) - current,
        "reads put off": history.put_off_count,
        "events observed": sum(len(seen.sightings) for seen in history.observations),
    }


def _a_plan(seed: int) -> Plan:
    """Return how nodes wait and hear in a round: as ever, or as it may be on a bad day."""
    return Plan(
        answer_seconds_max=_HASTY_SECONDS if seed % 2 == 1 else None,
        hears_late=seed % 3 == 2,
        answers_lost_every=_LOST_EVERY if seed % 4 == 3 else None,
    )


def run_round(
    directory: Path,
    seed: int,
    lay: Lay,
    report: Report,
    *,
    seconds: float,
    bug: Bug | None = None,
    only: Sequence[Harm] | None = None,
) -> list[str]:
    """Do harm to a new cluster for so many seconds; return what is found in the end.

    All nodes have the bug; `only` names what harm is done, if it is not everything.
    """
    with lay() as (journal, network, hosts):
        cluster = Cluster(
            directory,
            seed,
            journal,
            network,
            hosts=hosts,
            plan=_a_plan(seed) if bug is None else replace(_TELLING, bug=bug),
            modes=[Reads.CURRENT] * (len(hosts) - 1) + [Reads.LOCAL],
        )
        try:
            for node in cluster.nodes:
                cluster.start(node)
            cluster.work.start()
            began = time.monotonic()
            harms = do_harm(cluster, seconds=seconds, only=only)
            findings = cluster.settle()
            report.note(cluster, harms, time.monotonic() - began)
            return findings
        finally:
            network.mend()
            cluster.kill_all()


def check_rounds(
    directory: Path,
    lay: Lay,
    capsys: pytest.CaptureFixture[str],
    *,
    seconds: float = SECONDS,
) -> None:
    """Run rounds until there was harm for so long as is asked for; fail if something is found.

    What was done is said in the end, also where nobody asks for what tests print.
    """
    report, seed, left = Report(), SEED, seconds
    while left > 0:
        round_directory = directory / f"seed-{seed}"
        of_round = min(left, _ROUND_SECONDS_MAX)
        findings = run_round(round_directory, seed, lay, report, seconds=of_round)
        if findings:
            again = f"EVERLOG_CLUSTER_SEED={seed} repeats the choices of this round; {report}"
            pytest.fail("\n".join([again, *findings[:20]]), pytrace=False)
        shutil.rmtree(round_directory)
        left, seed = left - of_round, seed + 1
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
