"""Runs of the engine on a disk whose power may go at any moment, and what must hold then.

A `Machine` does what a server does, and remembers what clients were told. Before every sync it
shows each state that the disk may be left in to its judge, which opens it as the next start would:
what was acknowledged is there, nothing was invented, writes are whole, and an audit finds nothing.
"""

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from everlog.domain.errors import StoreFailedError
from everlog.domain.event import EventCandidate
from everlog.maintenance.findings import Weight
from everlog.storage.log import LogEngine
from tests.support.audits import audit_of, check_audit_is_clean
from tests.support.committing import commit_at_once, commit_in_steps
from tests.support.engines import Content, content_of, kill, open_log
from tests.support.events import a_candidate, a_schema, seal, stage, store
from tests.support.power import PowerDisk, ProcessDiedError, Tree, write_tree

# How many states the long runs judge, and how many each of them: longer ones only cost more.
STATES = int(os.environ.get("EVERLOG_POWER_STATES", "500"))
STATES_PER_LIFE = 100

# Which states are drawn.
SEED = os.environ.get("EVERLOG_POWER_SEED", "1")

# More than any moment of a short run has.
EVERYTHING = 5_000

DATA = "/new/data"

Open = Callable[..., LogEngine]


class LostPromiseError(AssertionError):
    """A state of the disk after which a promise is broken."""


class Judge:
    """Opens states of the disk, and compares what is found with what was promised."""

    def __init__(self, folder: Path, *, open_engine: Open = open_log) -> None:
        """Make directories in a folder of its own."""
        self._folder = folder
        self._open = open_engine
        self.state_count = 0
        folder.mkdir()

    def judge(self, tree: Tree, *, log: bytes, attempts: Sequence[bytes], types: set[str]) -> None:
        """Check one state.

        `log` and `types` were acknowledged. What is found is the beginning of one attempt, cut at
        the end of a write.
        """
        self.state_count += 1
        root = self._folder / str(self.state_count)
        write_tree(tree, root)
        directory = root / DATA.lstrip("/")
        if (directory / "everlog.json").exists():
            _check_nothing_is_damaged(directory)
        engine = self._open(directory)
        content = content_of(engine)
        check_promises(content, log=log, attempts=attempts, types=types)
        store(engine, a_candidate("/after/the/power/came/back"))
        content = content_of(engine)
        engine.close()
        check_audit_is_clean(directory)
        if self.state_count % 10 == 0:
            engine = self._open(directory)
            assert content_of(engine) == content
            engine.close()
        shutil.rmtree(root)


def check_promises(
    content: Content, *, log: bytes, attempts: Sequence[bytes], types: set[str]
) -> None:
    if not content.log.startswith(log):
        raise LostPromiseError("an acknowledged event is lost or changed")
    if not any(_is_whole_part(content.log, attempt) for attempt in attempts):
        raise LostPromiseError("half a write, or something that nobody wrote, is there")
    if not types <= _schemas_of(content):
        raise LostPromiseError("an acknowledged event schema is lost")


def _check_nothing_is_damaged(directory: Path) -> None:
    findings, _ = audit_of(directory)
    flaws = [found for found in findings if found.weight is Weight.DATA]
    if flaws:
        raise LostPromiseError(f"an audit takes what a crash may leave for damage: {flaws}")


def _is_whole_part(log: bytes, attempt: bytes) -> bool:
    if log and not log.endswith(b" \n"):
        return False
    # The mark of a batch that was cut in two says less than it did.
    return attempt.startswith(log)


class Machine:
    """An engine on a disk without power for long, and what clients know of it."""

    def __init__(
        self,
        root: Path,
        show: Callable[["Machine"], None],
        *,
        open_engine: Open = open_log,
        disk: Callable[..., PowerDisk] = PowerDisk,
    ) -> None:
        """Keep a data directory below a root; `show` is called before every sync."""
        root.mkdir(exist_ok=True)
        self._show = show
        self._open = open_engine
        self.disk = disk(root, on_sync=lambda: show(self))
        self.directory = root / DATA.lstrip("/")
        # What was acknowledged, and every log that may be there instead.
        self.log = b""
        self.attempts = [b""]
        self.types: set[str] = set()
        self._engine: LogEngine | None = None
        self._batch_count = 0

    def start(self) -> None:
        """Open the directory; what readers see then is promised to stay."""
        self._engine = self._open(self.directory, disk=self.disk)
        content = content_of(self._engine)
        check_promises(content, log=self.log, attempts=self.attempts, types=self.types)
        self.log, self.attempts = content.log, [content.log]
        self.types |= _schemas_of(content)

    def write(self, *writes: Sequence[EventCandidate], schema: str | None = None) -> bool:
        """Store some writes, perhaps with an event schema, as one batch; tell if that succeeded."""
        engine = self._running()
        for candidates in writes:
            stage(engine, *candidates)
        if schema is not None:
            engine.stage_schema(a_schema(schema))
        batch = seal(engine)
        self.attempts.append(self.log + b"".join(batch.lines))
        self._batch_count += 1
        commit = commit_in_steps if self._batch_count % 2 else commit_at_once
        try:
            commit(engine, batch, self.disk)
        except StoreFailedError:
            return False
        engine.publish(batch)
        self.log = self.attempts[-1]
        self.attempts = [self.log]
        if schema is not None:
            self.types.add(schema)
        return True

    def save_snapshot(self) -> None:
        self._running().save_snapshot()

    def stop(self) -> None:
        self._running().close()
        self._engine = None

    def die(self) -> None:
        """End the process, if it still runs."""
        if self._engine is not None:
            kill(self._engine)
            self._engine = None

    def show(self) -> None:
        """Show the states of this moment."""
        self._show(self)

    def lose_power(self, rng: random.Random, root: Path) -> "Machine":
        """Return the machine after the power came back, in a state drawn at random."""
        self.die()
        (tree,) = self.disk.states(rng, limit=1, is_varied=lambda _: True)
        write_tree(tree, root)
        machine = Machine(root, self._show, open_engine=self._open)
        machine.log, machine.attempts, machine.types = self.log, self.attempts, self.types
        return machine

    def _running(self) -> LogEngine:
        assert self._engine is not None
        return self._engine


class ShowEverything:
    """Judges every state of what is varied, at every moment."""

    def __init__(self, judge: Judge, is_varied: Callable[[str], bool]) -> None:
        self._judge = judge
        self._is_varied = is_varied
        self._seen: set[int] = set()
        self.is_on = True
        self.moment_count = 0

    def __call__(self, machine: Machine) -> None:
        if not self.is_on:
            return
        self.moment_count += 1
        count = machine.disk.count_states(is_varied=self._is_varied)
        assert count <= EVERYTHING, "the run is not short"
        rng = random.Random(SEED)
        for tree in machine.disk.states(rng, limit=EVERYTHING, is_varied=self._is_varied):
            key = hash((machine.log, *machine.attempts, *machine.types, frozenset(tree.items())))
            if key not in self._seen:
                self._seen.add(key)
                self._judge.judge(
                    tree, log=machine.log, attempts=machine.attempts, types=machine.types
                )


def is_of_the_index(path: str) -> bool:
    return path.startswith("/new/data/index")


def is_not_of_the_index(path: str) -> bool:
    return not is_of_the_index(path)


def run_everything(machine: Machine) -> None:
    """Do all that an engine does, over several segments, and start twice more."""
    machine.start()
    machine.write([a_candidate("/a")])
    machine.write([a_candidate("/a"), a_candidate("/b")], [a_candidate("/c")])
    machine.write([a_candidate("/a")], schema="io.everlog.one")
    machine.save_snapshot()
    machine.write([a_candidate("/d")], schema="io.everlog.two")
    machine.write([a_candidate("/a/b/c"), a_candidate("/a")])
    machine.write([a_candidate("/a", data='{"text":"%s"}' % ("x" * 1_200))])
    machine.stop()
    machine.start()
    machine.write([a_candidate("/e")])
    machine.die()
    machine.start()
    machine.write([a_candidate("/f")])
    machine.show()
    machine.stop()


def run_with_a_failing_sync(machine: Machine) -> None:
    """Start again after a sync that failed: what is seen then is promised from then on."""
    machine.start()
    machine.write([a_candidate("/a")])
    machine.disk.is_next_sync_failing = True
    assert not machine.write([a_candidate("/b"), a_candidate("/b")])
    machine.die()
    machine.start()
    assert machine.log.count(b"\n") == 3
    machine.show()
    machine.stop()


class Life:
    """What may happen to a server, drawn at random, until enough states were judged."""

    def __init__(self, folder: Path, seed: str, *, state_count: int) -> None:
        """Judge so many states; the same seed does the same."""
        self._folder = folder
        self._rng = random.Random(seed)
        self._judge = Judge(folder / "states")
        self._state_count = state_count
        self._power_losses = 0
        self._batches = 0
        self._machine = Machine(folder / "machine-0", self._show)

    def live(self) -> None:
        self._start()
        while self._judge.state_count < self._state_count:
            self._act()
        self._machine.die()

    def _act(self) -> None:
        rng, machine = self._rng, self._machine
        machine.disk.is_next_sync_failing = rng.random() < 0.03
        if rng.random() < 0.08:
            machine.disk.calls_until_death = rng.randrange(1, 12)
        is_well = False
        # A sync that fails may be that of a snapshot, or of a stop.
        with contextlib.suppress(ProcessDiedError, OSError):
            is_well = self._do_something()
        machine.disk.is_next_sync_failing = False
        if rng.random() < 0.05:
            self._power_losses += 1
            self._machine = machine.lose_power(rng, self._folder / f"machine-{self._power_losses}")
            is_well = False
        if not is_well:
            self._start()

    def _do_something(self) -> bool:
        """Do one thing that a server does, and tell whether it goes on running."""
        rng, machine = self._rng, self._machine
        what = rng.random()
        if what < 0.05:
            machine.stop()
            return False
        if what < 0.15:
            machine.save_snapshot()
            return True
        self._batches += 1
        name = f"io.everlog.t{self._batches}" if what < 0.3 else None
        return machine.write(*(self._candidates() for _ in range(rng.randrange(1, 4))), schema=name)

    def _candidates(self) -> list[EventCandidate]:
        rng = self._rng
        data = '{"text":"%s"}' % ("x" * rng.choice([0, 10, 300, 900]))
        return [
            a_candidate(f"/s{rng.randrange(9)}/{rng.randrange(30)}", data=data)
            for _ in range(rng.choice([1, 1, 2, 5]))
        ]

    def _start(self) -> None:
        """Start until it succeeds: it may die again, or meet a sync that fails."""
        rng, machine = self._rng, self._machine
        machine.die()
        machine.disk.calls_until_death = rng.randrange(1, 30) if rng.random() < 0.3 else None
        while True:
            try:
                machine.start()
            except ProcessDiedError:
                machine.disk.calls_until_death = None
            else:
                machine.disk.calls_until_death = None
                return

    def _show(self, machine: Machine) -> None:
        if self._rng.random() < 0.5:
            for tree in machine.disk.states(self._rng, limit=2, is_varied=lambda _: True):
                self._judge.judge(
                    tree, log=machine.log, attempts=machine.attempts, types=machine.types
                )


def _schemas_of(content: Content) -> set[str]:
    return {entry.name for entry in content.event_types if entry.schema is not None}
