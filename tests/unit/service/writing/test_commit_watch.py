"""When a commit is said to hang, how often, and when it is said to have ended."""

import asyncio

import pytest

from everlog.service.writing import commit_watch
from everlog.service.writing.commit_watch import HANGS_AFTER_SECONDS, CommitWatch
from everlog.service.writing.figures import CommitFigures


class Bench:
    """A watch whose loop has the time that a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.figures = CommitFigures()
        self.said: list[tuple[str, float]] = []
        self.loop = asyncio.new_event_loop()
        monkeypatch.setattr(self.loop, "time", lambda: self.now)
        self.watch = CommitWatch(
            self.figures,
            loop=self.loop,
            on_hanging=lambda seconds: self.said.append(("hangs", seconds)),
            on_resumed=lambda seconds: self.said.append(("resumed", seconds)),
        )

    def look_at(self, now: float) -> list[tuple[str, float]]:
        """Let the watch look at a time, and return what it says."""
        self.now, before = now, len(self.said)
        self.watch._look()
        return self.said[before:]

    def end(self) -> None:
        self.figures.end(self.now, 1.0, events=1, size=1, schemas=0)

    def close(self) -> None:
        self.watch.stop()
        self.loop.close()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_it_is_said_once_and_then_each_minute(bench: Bench) -> None:
    bench.figures.begun_at = 100.0

    assert bench.look_at(100.0 + HANGS_AFTER_SECONDS - 0.1) == []
    assert not bench.figures.is_hanging
    assert bench.look_at(100.0 + HANGS_AFTER_SECONDS) == [("hangs", HANGS_AFTER_SECONDS)]
    assert bench.figures.is_hanging
    again = 100.0 + HANGS_AFTER_SECONDS + commit_watch._SAID_AGAIN_SECONDS
    assert bench.look_at(again - 0.1) == []
    assert bench.look_at(again) == [("hangs", again - 100.0)]
    assert bench.look_at(again + 1.0) == []
    bench.close()


def test_its_end_is_said_and_writes_are_accepted_from_its_moment_on(bench: Bench) -> None:
    bench.figures.begun_at = 100.0
    bench.look_at(120.0)
    bench.now = 130.0

    bench.end()

    assert not bench.figures.is_hanging
    assert bench.look_at(130.5) == [("resumed", 30.5)]
    assert bench.look_at(131.5) == []
    bench.close()


def test_the_next_commit_is_another_one(bench: Bench) -> None:
    bench.figures.begun_at = 100.0
    bench.look_at(120.0)
    bench.end()
    bench.figures.begun_at = 130.0

    assert bench.look_at(130.5) == [("resumed", 30.5)]
    assert bench.look_at(140.5) == [("hangs", 10.5)]
    bench.figures.fail()
    assert not bench.figures.is_hanging
    assert bench.look_at(141.0) == [("resumed", 11.0)]
    bench.close()


def test_a_disk_that_works_is_not_spoken_of(bench: Bench) -> None:
    for number in range(100):
        bench.figures.begun_at = 100.0 + number
        assert bench.look_at(100.5 + number) == []
        bench.end()
    bench.close()
