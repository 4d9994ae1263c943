"""The rack for several nodes: their lives, the journal that they share, and one history of both.

Whatever any client was told by any node is held against the one log at the end, and all mirrors
against each other and against the journal. What is found is returned, not asserted, as by `rack`.
"""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from everlog.journals import JournalOptions, make_journal
from everlog.service.mirroring.journal import BEGINNING
from tests.support.chain import check_chain
from tests.support.cluster_workload import ClusterWorkload, Door, connect
from tests.support.history import Log, Reads, Selection
from tests.support.history_checker import find_differences, find_violations
from tests.support.network import Host, Network
from tests.support.rack import UNREADABLE
from tests.support.rack_server import CLUSTER_MOMENTS, SPOTS, Kill, Plan, entry_point
from tests.support.server import (
    RunningServer,
    run_to_end,
    starting_server,
    wait_until,
)
from tests.support.threads import run_together
from tests.support.watchdog import REPORT_VARIABLE
from tests.support.workload import find_lost_schemas, read_body

# Of so many lives of nodes, one ends at a named moment.
_NAMED_ENDS_EVERY: Final = 3

# What is read of the journal at once.
_PAGE_SIZE: Final = 8 * 1024 * 1024


class JournalServer(Protocol):
    """One process of the engine that the journal stands on."""

    @property
    def is_running(self) -> bool: ...

    def kill(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def start_again(self) -> None: ...


class Journal(NamedTuple):
    """The engine that the journal stands on, and where its servers are on the network."""

    # The journal's URL, for whoever is on the network.
    url: str
    replicas: int
    servers: Sequence[JournalServer]
    hosts: Sequence[Host]
    # The one of them that takes what is appended.
    leader: Callable[[], JournalServer]


class Node:
    """One node through its lives: its name, directory, place and clock stay."""

    def __init__(self, name: str, *, directory: Path, host: Host, rng: Random) -> None:
        self.name: Final = name
        self.directory: Final = directory / "data"
        self.clock: Final = directory / "clock"
        self.host: Final = host
        self.rng: Final = rng
        # What it promises in this life, and whether it may end by itself.
        self.mode = Reads.CURRENT
        self.ends_by_itself = False
        self.server: RunningServer | None = None
        self._life = ExitStack()
        directory.mkdir(parents=True)
        self.set_clock(0)

    @property
    def door(self) -> Door | None:
        """Where clients find it, None while nobody listens."""
        server = self.server
        if server is None or self.is_over or not server.urls:
            return None
        return Door(self.name, server.url, self.host, self.mode)

    @property
    def is_over(self) -> bool:
        """Whether its process has ended, or has never begun."""
        return self.server is None or self.server.process.poll() is not None

    def set_clock(self, offset: int) -> None:
        """Let its clock be so many nanoseconds ahead of the system's."""
        draft = self.clock.with_suffix(".new")
        draft.write_text(f"{offset:+d}")
        # In one step: the server may be reading.
        draft.replace(self.clock)

    def start(self, plan: Plan, url: str, *, mode: Reads, replicas: int) -> None:
        """Begin a life; whoever calls waits until it is ready, if he wants to."""
        assert self.is_over
        self.end()
        self.mode, self.ends_by_itself = mode, plan.kill is not None
        flags = [
            f"--journal={url}",
            f"--journal-replicas={replicas}",
            f"--node={self.name}",
            f"--reads={mode.value}",
        ]
        with self.host.entered():
            self.server = self._life.enter_context(
                starting_server(
                    *flags,
                    data_directory=self.directory,
                    entry_point=entry_point(plan),
                    # Where a machine does so much at once, it is what holds up the loop.
                    environment={REPORT_VARIABLE: ""},
                )
            )

    def kill(self) -> None:
        if self.server is not None:
            self.server.kill()

    def end(self) -> None:
        """Let go of a process that has ended, or end it."""
        life, self._life, self.server = self._life, ExitStack(), None
        life.close()

    def lose_its_disk(self) -> None:
        """Remove the mirror of a node that is over."""
        assert self.is_over
        shutil.rmtree(self.directory, ignore_errors=True)


class Cluster:
    """Nodes that share a journal, and their clients."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        journal: Journal,
        network: Network,
        *,
        hosts: Sequence[Host],
        plan: Plan,
        modes: Sequence[Reads],
    ) -> None:
        """Make a node on each host, all by one plan, and how each of them reads."""
        self.rng: Final = Random(seed)
        self.journal: Final = journal
        self.network: Final = network
        self.nodes: Final = [
            Node(
                f"node-{number}",
                directory=directory / f"node-{number}",
                host=host,
                rng=Random(self.rng.random()),
            )
            for number, host in enumerate(hosts)
        ]
        self._plan: Final = plan
        self._modes: Final = dict(zip(self.nodes, modes, strict=True))
        self.work: Final = ClusterWorkload(seed, self.nodes)
        self.findings: Final[list[str]] = []
        # Those that nobody starts for now.
        self.held_down: Final[set[Node]] = set()
        self.life_count = 0
        self.named_end_count = 0

    def start(self, node: Node, *, kill: Kill | None = None) -> None:
        """Begin a life of a node; nobody waits for it."""
        plan = replace(self._plan, clock_file=str(node.clock), kill=kill)
        node.start(plan, self.journal.url, mode=self._modes[node], replicas=self.journal.replicas)
        self.life_count += 1

    def look_after(self) -> None:
        """Start again what has ended; now and then so that it ends at a named moment."""
        for node in self.nodes:
            if node.is_over and node not in self.held_down:
                self._note_end(node)
                rng = node.rng
                is_named = rng.randrange(_NAMED_ENDS_EVERY) == 0
                self.start(node, kill=_a_kill(rng) if is_named else None)

    def _note_end(self, node: Node) -> None:
        """Look how a node has ended, and let go of it."""
        server = node.server
        if server is not None:
            code = server.wait()
            self.named_end_count += node.ends_by_itself and code == -signal.SIGKILL
            # It may be asked to stop before it can listen to that.
            if code not in {-signal.SIGKILL, -signal.SIGTERM, 0}:
                tail = b"".join([*server.output[-3:], *server.errors[-3:]]).decode()
                self.findings.append(f"{node.name} ended with {code}: {tail}")
            self.findings.extend(
                f"{node.name} logged: {line}"
                for line in server.log
                if line["level"] in {"error", "fatal"}
            )
        node.end()

    def wait_for_end(self, server: RunningServer) -> None:
        """Wait until a node has ended that was asked to, whatever is cut off from it."""
        # It may have been paused besides.
        server.process.send_signal(signal.SIGCONT)
        try:
            server.wait()
        except subprocess.TimeoutExpired:
            tail = b"".join(server.output[-5:]).decode()
            self.findings.append(f"a node did not end when it was asked to: {tail}")
            server.kill()

    def wait_until_ready(self) -> None:
        """Wait until each node takes a write and answers a read, or has ended."""
        for node in self.nodes:
            # Once is enough: asked again, an answer of the journal's may be lost.
            is_ready = False
            with suppress(AssertionError):
                wait_until(partial(self._is_ready_or_over, node))
                is_ready = not node.is_over
            assert is_ready, _describe(node)

    def _is_ready_or_over(self, node: Node) -> bool:
        return node.is_over or self.is_ready(node)

    def is_ready(self, node: Node) -> bool:
        """Tell whether a node takes a write and answers a read."""
        door = node.door
        return door is not None and self.work.probe(door)

    def settle(self) -> list[str]:
        """Let everything run and come to rest, and hold all that was told against the log."""
        for node in self.nodes:
            if node.is_over or node.ends_by_itself:
                node.kill()
                self._note_end(node)
                self.start(node)
        try:
            self.wait_until_ready()
        except AssertionError as error:
            self.work.stop_working()
            return [*self.findings, *self._judge_without_nodes(), str(error)]
        self.work.stop_working()
        return [*self._judge(), *self._stop()]

    def _judge_without_nodes(self) -> list[str]:
        """Hold everything that was told against what stands in the journal."""
        try:
            log = Log(check_chain(self.read_journal()))
        except UNREADABLE as error:
            return [f"the journal is not a chain of events: {error!r}"]
        return find_violations(self.work.history, log)

    def _judge(self) -> list[str]:
        try:
            mirrors = self._mirrors()
            log = Log(check_chain(mirrors[self.nodes[0].name]))
        except UNREADABLE as error:
            told = f"the log is not a chain of events: {error!r}"
            return [*self._judge_without_nodes(), told]
        copies = {"the journal": self.read_journal(), **mirrors}
        stripped = {name: [line.rstrip() for line in lines] for name, lines in copies.items()}
        findings = [
            *find_violations(self.work.history, log),
            *find_differences(stripped),
        ]
        for node in self.nodes:
            assert node.door is not None
            with connect(node.door) as connection:
                findings += find_lost_schemas(connection, self.work.history)
        try:
            wait_until(lambda: self.work.has_ended_observing(log))
        except AssertionError:
            findings.append("an observer did not see everything")
        return findings

    def _mirrors(self) -> dict[str, list[bytes]]:
        """Return the lines of each node, once a node that reads locally has as many as others."""
        found = {node.name: read_lines(node) for node in self.nodes}
        count = max(map(len, found.values()))
        for node in self.nodes:
            if len(found[node.name]) < count:
                wait_until(partial(_has_lines, node, count))
                found[node.name] = read_lines(node)
        return found

    def read_journal(self) -> list[bytes]:
        """Return the lines of all events that stand in the journal, asking it alone."""

        def read() -> list[bytes]:
            options = JournalOptions(url=self.journal.url, replicas=self.journal.replicas)
            with self.nodes[0].host.entered():
                return asyncio.run(_read_journal(options))

        # A thread of its own, since this one may be in the middle of another loop.
        (lines,) = run_together(read)
        return lines

    def _stop(self) -> list[str]:
        """Stop all nodes as it should be, and audit what they leave."""
        self.work.begin_to_end()
        findings: list[str] = []
        for node in self.nodes:
            assert node.server is not None
            node.server.ask_to_stop()
            self.wait_for_end(node.server)
            self._note_end(node)
        self.work.wait_for_end()
        for node in self.nodes:
            ended = run_to_end("audit", f"--data-directory={node.directory}")
            if ended.code != 0:
                findings.append(f"the audit of {node.name} found: {ended.output[-300:]}")
        return [*findings, *self.findings]

    def kill_all(self) -> None:
        """End all processes of nodes, whatever they are doing."""
        self.work.begin_to_end()
        for node in self.nodes:
            node.kill()
        for node in self.nodes:
            node.end()
        self.work.wait_for_end()


def read_lines(node: Node) -> list[bytes]:
    """Return the whole log of a node, as it serves it."""
    assert node.door is not None
    with connect(node.door) as connection:
        answer = connection.v1("read-events", read_body(Selection()))
    assert answer.status == 200, answer.text
    return answer.body.splitlines()


def _has_lines(node: Node, count: int) -> bool:
    return len(read_lines(node)) >= count


def _describe(node: Node) -> str:
    if node.server is None:
        return f"{node.name} does not run"
    tail = b"".join([*node.server.output[-5:], *node.server.errors[-5:]]).decode()
    return f"{node.name} does not take requests: {tail}"


def _a_kill(rng: Random) -> Kill:
    moment = rng.choice(CLUSTER_MOMENTS)
    spot = SPOTS[moment]
    hit = rng.randint(1, rng.choice([spot.hits_max, max(1, spot.hits_max // 10)]))
    return Kill(moment, rng.choice(spot.sides), hit)


async def _read_journal(options: JournalOptions) -> list[bytes]:
    journal = make_journal(options)
    await journal.open()
    lines: list[bytes] = []
    place, is_end = BEGINNING, False
    while not is_end:
        page = await journal.read(after=place, size_max=_PAGE_SIZE)
        for placed in page.entries:
            place = placed.place
            lines += placed.entry.lines.splitlines()
        is_end = page.is_end
    await journal.close()
    return lines
