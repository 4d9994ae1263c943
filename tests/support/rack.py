"""The rack: a data directory, the servers that live on it one after the other, and their clients.

In each life, everything that any client was ever told is held against the log. What is found is
returned, not asserted, so that tests can also show that a bug is found.
"""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import Final

from tests.support.api import Connection
from tests.support.history import Log
from tests.support.history_checker import find_broken_observations, find_violations
from tests.support.rack_server import Plan, entry_point
from tests.support.server import RunningServer, starting_server, wait_until
from tests.support.workload import GONE, Workload, find_lost_schemas, read_log

# What reading raises where the log is not what it should be.
UNREADABLE: Final = (AssertionError, KeyError, ValueError, *GONE)

# More than the grace that a server gives its clients when it stops.
PATIENCE_SECONDS: Final = 20.0


class Rack:
    """One data directory and its clients, through many lives of a server."""

    def __init__(self, directory: Path, seed: int, *flags: str) -> None:
        """Begin with an empty log and clients that know nothing; servers have more flags."""
        self._flags: Final = flags
        self._directory: Final = directory
        self._rng: Final = Random(seed)
        self.work: Final = Workload(seed)

    def live_until_killed(self, plan: Plan, *, writes: int = 0) -> list[str]:
        """Run a server until its plan ends it, or else we do after so many writes."""
        with self._starting(plan) as server:
            findings = self._judge(server)
            if server.urls:
                self.work.start(server.url)
                if plan.kill is None:
                    self.work.wait_for_writes(writes, gone=lambda: _is_over(server))
                    server.process.kill()
                code = server.wait()
                self.work.wait_for_end()
            else:
                code = server.wait()
            return findings if code == -signal.SIGKILL else [*findings, _describe_end(server)]

    def live_until_stopped(
        self, plan: Plan, *, writes: int = 0, meanwhile: Callable[[], None] = lambda: None
    ) -> list[str]:
        """Run a server until so many writes are done and seen, and stop it as it should be."""
        with self._starting(plan) as server:
            findings = self._judge(server)
            if not server.urls:
                return [*findings, _describe_end(server)]
            self.work.start(server.url)
            meanwhile()
            self.work.wait_for_writes(writes, gone=lambda: _is_over(server))
            self.work.stop_writing()
            findings += [*self._judge_observers(server), *self._judge(server)]
            code = server.stop()
            self.work.wait_for_end()
            return findings if code == 0 else [*findings, _describe_end(server)]

    def live_through_shortage(self, plan: Plan, *, writes: int) -> list[str]:
        """Run a server that may fail, as long as it is honest about it, and may end as it likes."""
        history = self.work.history
        with self._starting(plan) as server:
            findings = self._judge(server)
            if server.urls:
                self.work.start(server.url)
                self.work.wait_for_writes(
                    writes, gone=lambda: _is_over(server) or bool(history.surprises)
                )
                self.work.begin_to_stop()
                findings += _find_failure_to(lambda: self.work.is_quiet, "answer")
                findings += [text for text in history.surprises if not _is_failure(text)]
                history.surprises.clear()
            server.ask_to_stop()
            findings += _find_failure_to(lambda: _is_over(server), "end")
            server.kill()
            self.work.wait_for_end()
            if not any(b"MemoryError" in line for line in server.output):
                findings.append("memory was never missing")
            return findings

    def _starting(self, plan: Plan) -> AbstractContextManager[RunningServer]:
        return starting_server(
            *self._flags,
            data_directory=self._directory,
            entry_point=entry_point(plan),
            hash_version=self._rng.choice([1, 2]),
        )

    def _judge(self, server: RunningServer) -> list[str]:
        """Hold everything that was told until now against what a server has; wait for it first."""
        wait_until(lambda: bool(server.urls) or _is_over(server))
        if not server.urls:
            return []
        try:
            log = read_log(server.url)
        except UNREADABLE as error:
            return [f"the log is not a chain of events: {error!r}"]
        self.work.history.note_rivals(log)
        with Connection(server.url) as connection:
            lost = find_lost_schemas(connection, self.work.history)
        return [*find_violations(self.work.history, log), *lost]

    def _judge_observers(self, server: RunningServer) -> list[str]:
        try:
            log = read_log(server.url)
        except UNREADABLE:
            # Said by `_judge`.
            return []
        try:
            wait_until(lambda: self._have_observers_ended(log))
        except AssertionError:
            return ["an observer did not see everything"]
        return []

    def _have_observers_ended(self, log: Log) -> bool:
        """Tell whether all observers have seen everything, or one of them cannot any more."""
        observations = self.work.history.observations
        return self.work.has_caught_up(log) or any(find_broken_observations(observations, log))


def _is_over(server: RunningServer) -> bool:
    return server.process.poll() is not None


def _find_failure_to(condition: Callable[[], bool], what: str) -> list[str]:
    try:
        wait_until(condition, seconds=PATIENCE_SECONDS)
    except AssertionError:
        return [f"the server did not {what}"]
    return []


def _is_failure(surprise: str) -> bool:
    """Tell whether an answer says that the server could not do what it was asked for."""
    return any(words in surprise for words in ("answered 500", "answered 503", "store-failed"))


def _describe_end(server: RunningServer) -> str:
    server.wait()
    lines = [*server.output[-2:], *server.errors[-2:]]
    return f"the server ended with {server.process.returncode}: {b''.join(lines).decode()}"
