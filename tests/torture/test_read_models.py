"""A read model is the fold of its log, however often and whenever its runner is killed.

Each round starts a runner while a client writes, and kills it with SIGKILL at a random moment:
some before they have begun, most while they catch up, some while they wait.
EVERLOG_PROJECTION_KILLS says how many rounds there are, EVERLOG_PROJECTION_SEED repeats a run.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

import everlog
from everlog import NewEvent
from tests.support.counted_model import MOVED, connector, counted, fold, read_model
from tests.support.postgresql_server import PostgresqlServer, running_postgresql
from tests.support.proxy import free_port
from tests.support.server import (
    TOKEN,
    RunningServer,
    clean_environment,
    running_server,
    wait_until,
)
from tests.support.sources import REPOSITORY

KILLS: Final = int(os.environ.get("EVERLOG_PROJECTION_KILLS", "12"))
SEED: Final = int(os.environ.get("EVERLOG_PROJECTION_SEED", "1"))

# What is there before each round, so that there is something to catch up with.
BURST: Final = 600
SUBJECTS: Final = 20


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresqlServer]:
    with running_postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "model.db")
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    name = f"model_{abs(hash(tmp_path))}"
    server.execute(f"CREATE DATABASE {name}")
    return server.url_of_database(name)


def connected(server: RunningServer) -> everlog.Store:
    return everlog.connect(server.url, token=TOKEN)


def events(chance: random.Random, count: int) -> list[NewEvent]:
    return [
        NewEvent(
            "https://library.example",
            f"/things/{chance.randrange(SUBJECTS)}",
            MOVED,
            {"by": chance.randrange(-100, 100)},
        )
        for _ in range(count)
    ]


@contextmanager
def writing(server: RunningServer, chance: random.Random) -> Iterator[None]:
    """Write a few events at a time meanwhile, so that there is something that comes."""
    has_ended = threading.Event()

    def write() -> None:
        with connected(server) as store:
            while not has_ended.wait(chance.uniform(0, 0.01)):
                store.write(events(chance, chance.randrange(1, 5)))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


@contextmanager
def runner(server: RunningServer, database: str, *bugs: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a runner, which is killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.counted_model", server.url, database, *bugs],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env=clean_environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_running(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"running\n"


@pytest.mark.slow
def test_a_model_is_the_fold_of_its_log_whenever_its_runner_is_killed(
    server: RunningServer, database: str
) -> None:
    chance, connect = random.Random(SEED), connector(database)
    positions, window = [-1], 0.2
    with connected(server) as store:
        for _ in range(KILLS):
            store.write(events(chance, BURST))
            with writing(server, random.Random(chance.random())):
                with runner(server, database) as process:
                    if chance.random() < 0.9:
                        wait_until_running(process)
                    time.sleep(chance.uniform(0, window))
                assert process.returncode == -9
            positions.append(int(counted.position(connect) or -1))
            # On a slow machine it takes longer to get anywhere.
            window = 0.2 if positions[-1] > positions[-2] else 2 * window
        counted.catch_up(store, connect)
        expected = fold(store.read("/", recursive=True))

    assert read_model(connect) == expected, f"EVERLOG_PROJECTION_SEED={SEED}"
    # Most of them were killed in the midst of it.
    assert positions == sorted(positions)
    assert len(set(positions)) > KILLS / 3


@pytest.mark.slow
def test_a_position_that_is_committed_apart_would_be_noticed(
    server: RunningServer, database: str
) -> None:
    with connected(server) as store:
        store.write(events(random.Random(SEED), BURST))
        with runner(server, database, "apart") as process:
            assert process.wait(60) == -9
        counted.catch_up(store, connector(database))
        expected = fold(store.read("/", recursive=True))

    assert read_model(connector(database)) != expected


@pytest.mark.slow
def test_a_runner_goes_on_when_its_server_is_back(tmp_path: Path) -> None:
    chance, connect = random.Random(SEED), connector(str(tmp_path / "model.db"))
    port, stop, interruptions = free_port(), threading.Event(), list[everlog.EverlogError]()
    options = {"data_directory": tmp_path / "data"}
    with running_server(f"--http-port={port}", **options) as server:
        store = connected(server)
        thread = threading.Thread(
            target=counted.run,
            args=(store, connect),
            kwargs={"stop": stop, "on_interruption": interruptions.append},
            daemon=True,
        )
        thread.start()
        store.write(events(chance, 10))
        wait_until(lambda: counted.position(connect) == "9")
    wait_until(lambda: bool(interruptions))
    with running_server(f"--http-port={port}", **options), store:
        store.write(events(chance, 10))
        wait_until(lambda: counted.position(connect) == "19")
        stop.set()
        thread.join()
        expected = fold(store.read("/", recursive=True))

    assert read_model(connect) == expected
