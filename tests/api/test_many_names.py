"""Many subjects and event types: told in pieces, whole and in order, while the loop goes on.

The server's watchdog fails a test in which it was kept busy for long.
"""

from pathlib import Path

import pytest

from everlog.domain.subject import sort_key
from tests.support.api import Connection, an_event
from tests.support.server import running_server

TYPE_COUNT = 30_000
SCHEMA = {"type": "object", "properties": {}, "description": "x" * 200_000}


@pytest.mark.slow
def test_thousands_of_event_types_are_told_in_pieces() -> None:
    types = [f"io.everlog.test.{number * 7_919 % TYPE_COUNT:05d}" for number in range(TYPE_COUNT)]
    with running_server() as server, Connection(server.url) as connection:
        for first in range(0, TYPE_COUNT, 1_000):
            connection.write(*[an_event("/a", name) for name in types[first : first + 1_000]])

        told = connection.v1("read-event-types", {})
        assert [item["payload"]["eventType"] for item in told.items] == sorted(types)
        told = connection.v2("read-event-types", {})
        assert [item["data"]["type"] for item in told.items[:-1]] == sorted(types)
        assert told.items[-1]["type"] == "end"


def test_few_event_types_with_large_schemas_are_told_in_pieces() -> None:
    names = [f"io.everlog.test.{number}" for number in range(9)]
    with running_server() as server, Connection(server.url) as connection:
        for name in names:
            connection.v2("register-event-schema", {"type": name, "schema": SCHEMA})

        told = [item["payload"] for item in connection.v1("read-event-types", {}).items]
        assert [(entry["eventType"], entry["schema"]) for entry in told] == [
            (name, SCHEMA) for name in names
        ]
        *told, end = connection.v2("read-event-types", {}).items
        assert [(item["data"]["type"], item["data"]["schema"]) for item in told] == [
            (name, SCHEMA) for name in names
        ]
        assert end["type"] == "end"


@pytest.mark.slow
def test_deep_and_long_subjects_take_little_memory_and_are_told_in_order() -> None:
    subjects = [
        "/" + "/".join(f"{number:04d}-{depth:03d}-{'x' * 20}" for depth in range(128))
        for number in range(1_000)
    ]
    with running_server() as server, Connection(server.url) as connection:
        before = memory_of(server.pid)
        for first in range(0, len(subjects), 100):
            connection.write(*[an_event(subject) for subject in subjects[first : first + 100]])
        growth = memory_of(server.pid) - before
        # Whole names of all subjects would take 250 MB.
        assert growth < 60_000_000, growth

        told = connection.v1("read-subjects", {"baseSubject": "/"})
        found = [item["payload"]["subject"] for item in told.items]
        assert len(found) == 128_001
        assert found == sorted(found, key=sort_key)


def memory_of(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * 4_096
