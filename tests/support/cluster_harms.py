"""What is done to a cluster while its clients work, as a seed says, and undone after a while.

Nodes and servers of the journal are killed, stopped and paused, the network between them is cut in
both directions or in one, clocks jump, and disks are lost. Besides, nodes end by themselves at
named moments (`rack_server`).
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import Final

from tests.support.cluster import Cluster, JournalServer, Node
from tests.support.network import Host

_HARM_SECONDS: Final = (0.2, 2.5)
# Longer than nodes wait for an answer of the journal, now and then.
_LONG_HARM_SECONDS: Final = (5.0, 8.0)
_LONG_HARMS_EVERY: Final = 6
_CALM_SECONDS: Final = (0.2, 1.5)
_LOOK_SECONDS: Final = 0.05

_SECOND: Final = 1_000_000_000
_JUMPS: Final = (0, 3 * _SECOND, -3 * _SECOND, 3_600 * _SECOND, -86_400 * _SECOND)

Undo = Callable[[], None]


class Harm(StrEnum):
    """What is done."""

    KILL_NODE = "nodes killed"
    KILL_ALL_NODES = "times that all nodes were killed"
    STOP_NODE = "nodes stopped"
    PAUSE_NODE = "nodes paused"
    LOSE_DISK = "disks of nodes lost"
    JUMP_CLOCK = "clocks set"
    KILL_JOURNAL = "servers of the journal killed"
    KILL_WHOLE_JOURNAL = "times that all servers of the journal were killed"
    PAUSE_JOURNAL = "servers of the journal paused"
    CUT_NODE = "nodes cut off from the journal"
    CUT_WAY_THERE = "cuts of the way to the journal"
    CUT_WAY_BACK = "cuts of the way back"
    CUT_JOURNAL = "servers of the journal cut off from each other"
    CUT_JOURNAL_ONE_WAY = "the same, in one direction"


_OF_THE_NETWORK: Final = frozenset({harm for harm in Harm if harm.name.startswith("CUT_")})
_OF_MANY_SERVERS: Final = frozenset(
    {Harm.KILL_WHOLE_JOURNAL, Harm.CUT_JOURNAL, Harm.CUT_JOURNAL_ONE_WAY}
)


def possible_harms(cluster: Cluster) -> list[Harm]:
    """Return what can be done to a cluster."""
    return [
        harm
        for harm in Harm
        if (cluster.network.can_be_cut or harm not in _OF_THE_NETWORK)
        and (len(cluster.journal.servers) > 1 or harm not in _OF_MANY_SERVERS)
    ]


def do_harm(
    cluster: Cluster, *, seconds: float, only: Sequence[Harm] | None = None
) -> Counter[Harm]:
    """Do harm for about so many seconds, undo all of it, and return what was done how often.

    It is everything that can be done, or else only what is named.
    """
    rng, done = Random(cluster.rng.random()), Counter[Harm]()
    end = time.monotonic() + seconds
    harms = [harm for harm in possible_harms(cluster) if only is None or harm in only]
    while time.monotonic() < end:
        chosen = rng.sample(harms, min(len(harms), rng.choice([1, 1, 2])))
        is_long = rng.randrange(_LONG_HARMS_EVERY) == 0
        duration = rng.uniform(*(_LONG_HARM_SECONDS if is_long else _HARM_SECONDS))
        calm = rng.uniform(*_CALM_SECONDS)
        undos = [_HARMS[harm](cluster, Random(rng.random())) for harm in chosen]
        done.update(chosen)
        try:
            _wait(cluster, min(duration, max(end - time.monotonic(), 0.5)))
        finally:
            for undo in reversed(undos):
                undo()
        _wait(cluster, calm)
    return done


def _wait(cluster: Cluster, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        cluster.look_after()
        time.sleep(_LOOK_SECONDS)


def _kill_node(cluster: Cluster, rng: Random) -> Undo:
    return _end_nodes(cluster, [rng.choice(cluster.nodes)])


def _kill_all_nodes(cluster: Cluster, rng: Random) -> Undo:
    del rng
    return _end_nodes(cluster, cluster.nodes)


def _end_nodes(cluster: Cluster, nodes: Sequence[Node]) -> Undo:
    cluster.held_down.update(nodes)
    for node in nodes:
        node.kill()
    return lambda: cluster.held_down.difference_update(nodes)


def _stop_node(cluster: Cluster, rng: Random) -> Undo:
    server = rng.choice(cluster.nodes).server
    if server is None:
        return lambda: None
    server.ask_to_stop()

    return lambda: cluster.wait_for_end(server)


def _pause_node(cluster: Cluster, rng: Random) -> Undo:
    server = rng.choice(cluster.nodes).server
    if server is None:
        return lambda: None
    server.pause()
    return server.resume


def _lose_disk(cluster: Cluster, rng: Random) -> Undo:
    node = rng.choice(cluster.nodes)
    undo = _end_nodes(cluster, [node])
    node.lose_its_disk()
    return undo


def _jump_clock(cluster: Cluster, rng: Random) -> Undo:
    # For good: the next jump is from there.
    rng.choice(cluster.nodes).set_clock(rng.choice(_JUMPS) + rng.randrange(_SECOND))
    return lambda: None


def _kill_journal(cluster: Cluster, rng: Random) -> Undo:
    return _kill_servers([rng.choice(cluster.journal.servers)])


def _kill_whole_journal(cluster: Cluster, rng: Random) -> Undo:
    del rng
    return _kill_servers(cluster.journal.servers)


def _kill_servers(servers: Sequence[JournalServer]) -> Undo:
    for server in servers:
        if server.is_running:
            server.kill()

    def undo() -> None:
        for server in servers:
            if not server.is_running:
                server.start_again()

    return undo


def _pause_journal(cluster: Cluster, rng: Random) -> Undo:
    server = rng.choice(cluster.journal.servers)
    if not server.is_running:
        return lambda: None
    server.pause()

    def undo() -> None:
        if server.is_running:
            server.resume()

    return undo


def _cut_node(cluster: Cluster, rng: Random) -> Undo:
    node = rng.choice(cluster.nodes)
    cluster.network.split([node.host], cluster.journal.hosts)
    return cluster.network.mend


def _cut_way_there(cluster: Cluster, rng: Random) -> Undo:
    node = rng.choice(cluster.nodes)
    cluster.network.cut([node.host], cluster.journal.hosts)
    return cluster.network.mend


def _cut_way_back(cluster: Cluster, rng: Random) -> Undo:
    node = rng.choice(cluster.nodes)
    cluster.network.cut(cluster.journal.hosts, [node.host])
    return cluster.network.mend


def _cut_journal(cluster: Cluster, rng: Random) -> Undo:
    one, others = _halves(cluster, rng)
    cluster.network.split(one, others)
    return cluster.network.mend


def _cut_journal_one_way(cluster: Cluster, rng: Random) -> Undo:
    one, others = _halves(cluster, rng)
    cluster.network.cut(*rng.choice([(one, others), (others, one)]))
    return cluster.network.mend


def _halves(cluster: Cluster, rng: Random) -> tuple[list[Host], list[Host]]:
    """Return one server's host, and sometimes some nodes with it, and those of all others."""
    one = rng.choice(cluster.journal.hosts)
    with_it = [node.host for node in cluster.nodes if rng.random() < 0.5]
    hosts = [*cluster.journal.hosts, *(node.host for node in cluster.nodes)]
    ones = [one, *with_it] if rng.random() < 0.5 else [one]
    return ones, [host for host in hosts if host not in ones]


_HARMS: Final[Mapping[Harm, Callable[[Cluster, Random], Undo]]] = MappingProxyType(
    {
        Harm.KILL_NODE: _kill_node,
        Harm.KILL_ALL_NODES: _kill_all_nodes,
        Harm.STOP_NODE: _stop_node,
        Harm.PAUSE_NODE: _pause_node,
        Harm.LOSE_DISK: _lose_disk,
        Harm.JUMP_CLOCK: _jump_clock,
        Harm.KILL_JOURNAL: _kill_journal,
        Harm.KILL_WHOLE_JOURNAL: _kill_whole_journal,
        Harm.PAUSE_JOURNAL: _pause_journal,
        Harm.CUT_NODE: _cut_node,
        Harm.CUT_WAY_THERE: _cut_way_there,
        Harm.CUT_WAY_BACK: _cut_way_back,
        Harm.CUT_JOURNAL: _cut_journal,
        Harm.CUT_JOURNAL_ONE_WAY: _cut_journal_one_way,
    }
)
