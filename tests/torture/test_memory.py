"""A server that runs out of memory is honest about it, and nothing that it stored suffers.

Memory is missing once, at each step of a write in turn; and the system gives no more of it while
large writes and reads come. Whatever becomes of the process, the log has what was acknowledged.
"""

import json
import random
import resource
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.api import Connection, an_event
from tests.support.chain import check_chain
from tests.support.planted_bugs import Bug
from tests.support.rack import Rack
from tests.support.rack_server import SPOTS, Moment, Plan, Shortage
from tests.support.server import RunningServer, running_server
from tests.support.workload import GONE

# Where much is made at once, or something grows.
MOMENTS = (
    Moment.ARRIVE,
    Moment.STAGE,
    Moment.SUBJECT,
    Moment.TYPE,
    Moment.SEAL,
    Moment.WRITE,
    Moment.SYNC,
    Moment.BOUND,
    Moment.PUBLISH,
    Moment.ANSWER,
    Moment.SCHEMA,
    Moment.ROLL,
    Moment.ALLOCATE,
    Moment.SNAPSHOT,
    Moment.NAMES,
)

# One after the other, in lives of their own.
SHORTAGES = 2

MIB = 1024 * 1024


def findings_of(directory: Path, moment: Moment, *, bug: Bug | None = None) -> Sequence[str]:
    """Return what is found when memory is missing, and after it."""
    rng = random.Random(moment)
    rack = Rack(directory, 8)
    for _ in range(SHORTAGES):
        # One of the first few times, so that it comes to it.
        shortage = Shortage(moment, rng.randint(1, max(1, SPOTS[moment].hits_max // 10)))
        plan = Plan(sync_seconds=0.002, shortage=shortage, bug=bug)
        findings = rack.live_through_shortage(plan, writes=150)
        if findings:
            return findings
    return rack.live_until_stopped(Plan(), writes=20)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_memory_may_be_missing_at_any_step_of_a_write(tmp_path: Path, moment: Moment) -> None:
    assert findings_of(tmp_path / "data", moment) == []


@pytest.mark.slow
def test_a_server_that_hides_that_memory_is_missing_is_noticed(tmp_path: Path) -> None:
    findings = findings_of(tmp_path / "data", Moment.SUBJECT, bug=Bug.HIDES_A_SHORTAGE)

    assert any("acknowledged" in finding for finding in findings), findings


def limit_memory(server: RunningServer, room: int) -> None:
    """Let the system give so much more memory to a server, and no more."""
    size = psutil.Process(server.pid).memory_info().data + room
    resource.prlimit(server.pid, resource.RLIMIT_DATA, (size, size))


def write(connection: Connection, count: int) -> list[dict[str, Any]]:
    """Write so many events of 3 KB, and return what was acknowledged."""
    events = [an_event(f"/much/{n % 50}", data={"text": "y" * 3_000}) for n in range(count)]
    answer = connection.v2("write-events", {"events": events})
    if answer.status == 200 and answer.items[-1]["type"] == "end":
        return answer.events
    # Not stored for certain, or nobody knows: never success.
    assert answer.status in {500, 503, 507} or answer.items[-1]["type"] == "error", answer.text
    return []


@pytest.mark.slow
@pytest.mark.parametrize("room", [MIB // 2, MIB, 10 * MIB, 60 * MIB, 150 * MIB])
def test_what_was_acknowledged_stays_when_there_is_no_more_memory(
    tmp_path: Path, room: int
) -> None:
    acknowledged: list[dict[str, Any]] = []
    with running_server(data_directory=tmp_path / "data") as server:
        with Connection(server.url) as connection:
            acknowledged += write(connection, 10)
        limit_memory(server, room)
        for count in (1, 1_000, 9_000, 10, 9_000, 1, 100):
            # Who is cut off without an answer knows nothing.
            with suppress(*GONE), Connection(server.url) as connection:
                acknowledged += write(connection, count)
        # In its own time: what it holds may not suffice for the end.
        server.stop()
    # A loop that only fails would fill the disk with what it says of it.
    assert len(server.output) < 1_000

    with running_server(data_directory=tmp_path / "data") as server:
        with Connection(server.url) as connection:
            body = {"subject": "/", "options": {"recursive": True}}
            events = check_chain(connection.v1("read-events", body).body.splitlines())
        assert server.stop() == 0
    assert [events[int(event["id"])] for event in acknowledged] == acknowledged
    assert len(json.dumps(acknowledged)) > 10 * 3_000
