"""A process that is killed while it writes keeps all that it acknowledged, and no half write."""

import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from everlog.domain.event import is_hash_valid
from everlog.storage.line import Mark
from tests.support.engines import content_of, events_of, marks_of, open_log, read, split_lines
from tests.support.sources import REPOSITORY

ROUNDS = 40
SECONDS_MAX = 8.0

# Appends batches of several writes, and says after each how many events are durable.
WRITER = """
import pathlib, random, sys
from tests.support.engines import open_log
from tests.support.events import a_candidate, stage, store_staged

engine = open_log(pathlib.Path(sys.argv[1]), segment_size_max=20_000)
chance = random.Random(int(sys.argv[2]))
while True:
    for _ in range(chance.randint(1, 3)):
        name = f"/s{chance.randrange(50)}"
        stage(engine, *[a_candidate(name)] * chance.randint(1, 4))
    store_staged(engine)
    print(engine.head.event_count, flush=True)
    if chance.randrange(20) == 0:
        engine.save_snapshot()
"""


def write_until_killed(directory: Path, chance: random.Random) -> int:
    """Start a writer, kill it a moment later, and return how many events it acknowledged."""
    arguments = [sys.executable, "-c", WRITER, str(directory), str(chance.randrange(1_000_000))]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        acknowledged = process.stdout.readline()
        # How long the writer lives from its first batch on is what is being varied.
        process_end = time.monotonic() + chance.random() * 0.02
        while time.monotonic() < process_end:
            acknowledged = process.stdout.readline()
        process.kill()
        rest = process.stdout.read()
    # The last line may have been cut in the middle of its number.
    complete = (acknowledged + rest).rpartition(b"\n")[0]
    return int(complete.split()[-1])


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(4711)
    started = time.monotonic()
    before = b""

    for _ in range(ROUNDS):
        if time.monotonic() - started > SECONDS_MAX:
            break
        acknowledged = write_until_killed(tmp_path, chance)

        engine = open_log(tmp_path, segment_size_max=20_000)
        log = read(engine)
        assert engine.head.event_count >= acknowledged
        assert log.startswith(before)
        assert marks_of(log)[-1] is not Mark.EVENT
        before = log
        engine.close()

    check_chain(tmp_path)


def check_chain(directory: Path) -> None:
    engine = open_log(directory)
    content = content_of(engine)
    events = events_of(content.log)
    assert len(events) > 100
    assert len(split_lines(content.log)) == engine.head.event_count
    assert [event.id for event in events] == [str(number) for number in range(len(events))]
    assert all(is_hash_valid(event) for event in events)
    assert all(after.predecessorhash == event.hash for event, after in pairwise(events))
    assert sum(len(split_lines(read(engine, name, recursive=False))) for name in content.subjects)
    engine.close()
