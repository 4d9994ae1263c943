"""What clients of a cluster notice when a node or its journal is gone, and when they come back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Connection, an_event
from tests.support.cluster import Cluster, Node, read_lines
from tests.support.cluster_rounds import Lay, on_nats, on_patroni, on_postgresql
from tests.support.cluster_workload import connect, is_put_off
from tests.support.history import Reads
from tests.support.rack_server import Plan
from tests.support.server import DEADLINE_SECONDS, wait_until

JOURNALS: dict[str, Lay] = {
    "postgresql": partial(on_postgresql, node_count=2),
    "nats": partial(on_nats, node_count=2),
}

# Those of which another server takes the place of one that is gone.
LED_JOURNALS: dict[str, Lay] = {"nats": JOURNALS["nats"]}
if float(os.environ.get("EVERLOG_CLUSTER_PATRONI_SECONDS", "0")) > 0:
    LED_JOURNALS["patroni"] = partial(on_patroni, node_count=2)

# It takes NATS up to 10 seconds, and Patroni up to 20; a machine may be four times slower.
ELECTION_SECONDS_MAX = 80.0

# A node waits for a journal that is gone before it says so; on a busy machine it waits longer.
PATIENCE_SECONDS = 4 * DEADLINE_SECONDS

EVERYTHING = {"subject": "/", "options": {"recursive": True}}
QUERY = {"query": "FROM e IN events PROJECT INTO e.id"}

# More than a page of a node's mirror is applied with one sync, and many batches.
AWAY_WRITES = 60
AWAY_EVENTS = 100


@contextmanager
def a_cluster(directory: Path, lay: Lay, modes: tuple[Reads, Reads]) -> Iterator[Cluster]:
    """Run two nodes that are ready, and one of their promises each."""
    with lay() as (journal, network, hosts):
        cluster = Cluster(directory, 0, journal, network, hosts=hosts, plan=Plan(), modes=modes)
        try:
            for node in cluster.nodes:
                cluster.start(node)
            cluster.wait_until_ready()
            yield cluster
        finally:
            cluster.kill_all()


def connected(node: Node) -> Connection:
    assert node.door is not None
    return connect(node.door, timeout=PATIENCE_SECONDS)


def check_answers_everything(connection: Connection) -> None:
    """Check that whatever is asked is answered, each at the first time."""
    event = an_event("/alive")
    pristine = {"type": "isSubjectPristine", "payload": {"subject": "/alive"}}
    refused = {"events": [event], "preconditions": [pristine]}
    (written,) = connection.write(event)
    assert connection.v1("write-events", refused).status == 409
    assert connection.read_all()[-1] == written
    assert [row["data"] for row in connection.v2("run-eventql-query", QUERY).items[-2:-1]] == [
        {"value": written["id"]}
    ]
    assert connection.v1("read-subjects", {"baseSubject": "/"}).status == 200
    assert connection.v1("read-event-types").status == 200
    bound = {"id": written["id"], "type": "inclusive"}
    assert next_event(connection.observe(lowerBound=bound)) == written
    # Whoever observes has no end; the next request has a connection of its own.
    connection.http.close()


def next_event(items: Iterator[Any]) -> Any:
    return next(item["payload"] for item in items if item["type"] == "event")


@pytest.mark.slow
@pytest.mark.parametrize("lay", JOURNALS.values(), ids=JOURNALS.keys())
def test_when_a_node_is_killed_the_other_one_answers_everything_at_once(
    tmp_path: Path, lay: Lay
) -> None:
    with a_cluster(tmp_path, lay, (Reads.CURRENT, Reads.CURRENT)) as cluster:
        one, other = cluster.nodes
        with connected(one) as connection:
            told = [connection.write(an_event(f"/before/{number}"))[0] for number in range(20)]

        one.kill()

        with connected(other) as connection:
            probes = [event for event in connection.read_all() if event["subject"] == "/probe"]
            check_answers_everything(connection)
            assert connection.read_all()[len(probes) : len(probes) + len(told)] == told


def writes_to(connection: Connection) -> bool:
    """Tell whether a write is taken; nothing else is told than that another time is better."""
    answer = connection.v1("write-events", {"events": [an_event("/again")]})
    assert answer.status == 200 or is_put_off(answer), answer.text
    return answer.status == 200


def health_of(connection: Connection) -> tuple[int, dict[str, Any]]:
    answer = connection.ask("GET", "/api/v1/health")
    (check,) = answer.json["checks"]["cluster:journal"]
    return answer.status, check


@pytest.mark.slow
@pytest.mark.parametrize("lay", JOURNALS.values(), ids=JOURNALS.keys())
def test_while_the_journal_is_gone_what_needs_none_goes_on_and_all_of_it_when_it_is_back(
    tmp_path: Path, lay: Lay
) -> None:
    with a_cluster(tmp_path, lay, (Reads.CURRENT, Reads.LOCAL)) as cluster:
        current, local = map(connected, cluster.nodes)
        written = current.write(an_event("/before"))
        wait_until(lambda: local.read_all()[-1:] == written)
        observing = connected(cluster.nodes[1])
        observed = observing.observe()
        while next_event(observed) != written[0]:
            pass

        for server in cluster.journal.servers:
            server.kill()
        for connection in (current, local):
            wait_until(
                lambda connection=connection: not writes_to(connection), seconds=PATIENCE_SECONDS
            )

        for version in (current.v1, current.v2, local.v1, local.v2):
            assert is_put_off(version("write-events", {"events": [an_event("/lost")]}))
        for version in (current.v1, current.v2):
            assert is_put_off(version("read-events", EVERYTHING))
            assert is_put_off(version("run-eventql-query", QUERY))
        assert local.read_all()[-1]["subject"] != "/lost"
        assert local.v1("run-eventql-query", QUERY).status == 200
        assert next(observed)["type"] == "heartbeat"
        with connected(cluster.nodes[0]) as joining:
            assert next_event(joining.observe())["id"] == "0"
        for connection in (current, local):
            status, check = health_of(connection)
            assert status == 503
            assert check["status"] == "fail"
            assert "since 20" in check["output"]

        for server in cluster.journal.servers:
            server.start_again()
        for connection in (current, local):
            wait_until(partial(writes_to, connection), seconds=PATIENCE_SECONDS)
            check_answers_everything(connection)
            wait_until(lambda connection=connection: health_of(connection)[1]["status"] == "pass")
        assert next_event(observed)["subject"] == "/again"
        assert not any(event["subject"] == "/lost" for event in local.read_all())
        for connection in (current, local, observing):
            connection.http.close()


@pytest.mark.slow
@pytest.mark.parametrize("lay", LED_JOURNALS.values(), ids=LED_JOURNALS.keys())
def test_when_the_leader_of_the_journal_is_killed_writes_go_on_and_none_is_lost(
    tmp_path: Path, lay: Lay
) -> None:
    with a_cluster(tmp_path, lay, (Reads.CURRENT, Reads.CURRENT)) as cluster:
        one, other = map(connected, cluster.nodes)
        told = [one.write(an_event(f"/before/{number}"))[0] for number in range(20)]

        cluster.journal.leader().kill()

        for connection in (one, other):
            wait_until(partial(writes_to, connection), seconds=ELECTION_SECONDS_MAX)
            check_answers_everything(connection)
        kept = [event for event in one.read_all() if event["subject"].startswith("/before/")]
        assert kept == told
        for connection in (one, other):
            connection.http.close()


@pytest.mark.slow
@pytest.mark.parametrize("has_lost_its_disk", [False, True], ids=["away", "without-disk"])
@pytest.mark.parametrize("lay", JOURNALS.values(), ids=JOURNALS.keys())
def test_a_node_that_was_away_for_many_events_has_them_before_it_answers(
    tmp_path: Path, lay: Lay, *, has_lost_its_disk: bool
) -> None:
    with a_cluster(tmp_path, lay, (Reads.CURRENT, Reads.LOCAL)) as cluster:
        one, other = cluster.nodes
        other.kill()
        if has_lost_its_disk:
            other.lose_its_disk()
        with connected(one) as connection:
            for number in range(AWAY_WRITES):
                events = [an_event(f"/{number}/{index}") for index in range(AWAY_EVENTS)]
                connection.write(*events)
            expected = read_lines(one)

        cluster.start(other)
        wait_until(lambda: other.door is not None)
        wait_until(lambda: first_read_of(other) is not None)

        lines = first_read_of(other)
        assert lines is not None
        assert [line.rstrip() for line in lines] == [line.rstrip() for line in expected]


def first_read_of(node: Node) -> list[bytes] | None:
    """Return what the node shows, None while it says that it does not have everything yet."""
    with connected(node) as connection:
        answer = connection.v1("read-events", EVERYTHING)
    if is_put_off(answer):
        return None
    assert answer.status == 200
    return answer.body.splitlines()
