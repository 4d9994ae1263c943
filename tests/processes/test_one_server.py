"""A server of several processes promises what one promises, whichever of them is asked."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import pytest

from everlog.api.allowances import FAILURES_MAX
from tests.support.api import Connection, an_event
from tests.support.fronts import a_client_of_each, front_of, fronts_of
from tests.support.server import RunningServer, run_to_end, running_server, wait_until

PROCESSES = 3
WRONG = {"Authorization": "Bearer a-wrong-token"}
VERIFY = ("POST", "/api/v1/verify-api-token")


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"--processes={PROCESSES}") as server:
        yield server


@pytest.fixture
def clients(server: RunningServer) -> Iterator[list[Connection]]:
    with a_client_of_each(server) as clients:
        yield clients


def figures_of(client: Connection) -> dict[str, float]:
    text = client.ask("GET", "/api/v1/health?format=openmetrics").text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def ids(answer: list[dict[str, str]]) -> list[int]:
    return [int(event["id"]) for event in answer]


def test_there_is_an_owner_and_as_many_fronts_as_are_left(server: RunningServer) -> None:
    assert len(fronts_of(server)) == PROCESSES - 1


def test_connections_are_spread_evenly(server: RunningServer) -> None:
    connections = [Connection(server.url) for _ in range(20)]
    for connection in connections:
        connection.ask("GET", "/api/v1/ping")

    counts = [front_of(server, connection) for connection in connections]

    assert sorted(counts.count(pid) for pid in fronts_of(server)) == [10, 10]
    for connection in connections:
        connection.http.close()


def test_what_one_front_acknowledged_every_other_one_shows_at_once(
    clients: list[Connection],
) -> None:
    for number, (writer, reader) in enumerate(
        islice(zip(cycle(clients), cycle(clients[::-1])), 60)
    ):
        subject = f"/at-once/{number}/{number % 7}"
        [written] = writer.write(an_event(subject, f"io.everlog.test.of-{number % 5}"))

        read = reader.v1("read-events", {"subject": subject, "options": {"recursive": False}})
        query = f"FROM e IN events WHERE e.subject == '{subject}' PROJECT INTO e.id"
        found = reader.v1("run-eventql-query", {"query": query})

        assert ids(read.events) == [int(written["id"])]
        assert [item["payload"] for item in found.items] == [written["id"]]
    subjects = [
        item["payload"]["subject"]
        for item in clients[0].v1("read-subjects", {"baseSubject": "/at-once"}).items
    ]
    assert len(subjects) == 1 + 60 + 60


def test_many_writers_over_all_fronts_write_one_log(server: RunningServer) -> None:
    def write(name: int) -> list[int]:
        with Connection(server.url) as client:
            return [
                int(event["id"])
                for _ in range(40)
                for event in client.write(an_event(f"/many/{name}"), an_event("/many"))
            ]

    with ThreadPoolExecutor(8) as pool:
        written = sorted(id_ for found in pool.map(write, range(8)) for id_ in found)

    assert len(set(written)) == 8 * 40 * 2
    with a_client_of_each(server) as clients:
        logs = [json.dumps(client.read_all()) for client in clients]
    assert logs[0] == logs[1]
    stored = [event for event in json.loads(logs[0]) if event["subject"].startswith("/many")]
    assert ids(stored) == written


def test_a_subject_is_pristine_for_one_of_those_who_ask_at_the_same_time(
    server: RunningServer,
) -> None:
    def claim(number: int) -> list[int]:
        with Connection(server.url) as client:
            body = {
                "events": [an_event(f"/race/{number}")],
                "preconditions": [
                    {"type": "isSubjectPristine", "payload": {"subject": f"/race/{number}"}}
                ],
            }
            return [client.v1("write-events", body).status for _ in range(2)]

    with ThreadPoolExecutor(6) as pool:
        for number in range(10):
            found = pool.map(claim, [number] * 6)
            statuses = [status for statuses in found for status in statuses]
            assert sorted(statuses) == [200] + [409] * 11


def test_observers_at_every_front_see_every_event_once(server: RunningServer) -> None:
    with a_client_of_each(server) as observers, a_client_of_each(server) as writers:
        [first] = writers[0].write(an_event("/observed"))
        bound = {"lowerBound": {"id": first["id"], "type": "exclusive"}}
        streams = [observer.observe(subject="/observed", **bound) for observer in observers]
        for number in range(200):
            writers[number % 2].write(an_event("/observed", data={"number": number}))
        for stream in streams:
            events = (item["payload"] for item in stream if item["type"] == "event")
            seen = [event["data"]["number"] for event in islice(events, 200)]
            assert seen == list(range(200))


def test_an_observer_that_comes_later_waits_for_its_event(clients: list[Connection]) -> None:
    first, second = clients
    latest = {"subject": "/latest", "type": "io.everlog.test.happened"}
    options = {"fromLatestEvent": {**latest, "ifEventIsMissing": "wait-for-event"}}
    stream = first.observe(subject="/latest", **options)
    assert next(stream)["type"] == "heartbeat"

    [written] = second.write(an_event("/latest"))

    event = next(item["payload"] for item in stream if item["type"] == "event")
    assert event["id"] == written["id"]


def test_a_schema_that_one_front_took_counts_at_every_other_one(clients: list[Connection]) -> None:
    first, second = clients
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "additionalProperties": False,
    }
    type_ = "io.everlog.test.with-schema"
    body = {"eventType": type_, "schema": schema}
    assert first.v1("register-event-schema", body).status == 200

    refused = second.v1("write-events", {"events": [an_event("/s", type_, data={"n": "x"})]})

    assert refused.status == 409
    assert second.v1("register-event-schema", body).status == 409
    found = [client.v1("read-event-type", {"eventType": type_}).json for client in clients]
    assert found[0] == found[1]
    assert found[0]["schema"] == schema


def test_refusals_are_those_of_one_server(clients: list[Connection]) -> None:
    bad = {"events": [an_event("/x", source="")]}
    conditional = {
        "events": [an_event("/x")],
        "preconditions": [
            {
                "type": "isEventQlQueryTrue",
                "payload": {"query": "FROM e IN events PROJECT INTO 1 == 2"},
            }
        ],
    }
    for client in clients:
        refused = client.v2("write-events", bad)
        assert (refused.status, refused.code) == (200, "source-missing")
        assert refused.error["details"]["field"] == "events[0].source"
        assert client.v2("write-events", conditional).code == "query-not-boolean"


def test_a_write_that_is_large_is_written_as_one(clients: list[Connection]) -> None:
    first, second = clients
    events = [an_event("/large", data={"text": "x" * 500}) for _ in range(1_000)]

    written = first.write(*events)

    assert len(written) == 1_000
    read = second.v1("read-events", {"subject": "/large", "options": {"recursive": False}})
    assert ids(read.events) == ids(written)


def test_a_backup_is_that_of_one_server(clients: list[Connection]) -> None:
    found = [client.ask("POST", "/api/v1/backup") for client in clients]

    assert found[0].status == 200
    assert found[0].body == found[1].body
    assert len(found[0].items) >= len(clients[0].read_all())


def test_figures_are_those_of_all_processes(clients: list[Connection]) -> None:
    name = 'everlog_requests_total{method="POST",path="/api/v1/read-event-types",status="2xx"}'
    before = figures_of(clients[0])
    for client in clients * 5:
        assert client.v1("read-event-types").status == 200

    after = figures_of(clients[1])

    assert after[name] - before.get(name, 0) == 10
    assert after["everlog_connections"] >= len(clients)
    refused = 'everlog_refusals_total{code="precondition-violated"}'
    body = {
        "events": [an_event("/f")],
        "preconditions": [{"type": "isSubjectPopulated", "payload": {"subject": "/nobody"}}],
    }
    assert clients[0].v1("write-events", body).status == 409
    assert figures_of(clients[1])[refused] - after.get(refused, 0) == 1


def test_failed_attempts_are_counted_over_all_processes() -> None:
    with running_server(f"--processes={PROCESSES}") as server, a_client_of_each(server) as clients:
        statuses = [
            client.ask(*VERIFY, headers=WRONG).status
            for client in islice(cycle(clients), FAILURES_MAX)
        ]
        assert statuses.count(401) > FAILURES_MAX * 0.8

        wait_until(lambda: clients[0].ask(*VERIFY, headers=WRONG).status == 429)
        wait_until(lambda: clients[1].ask(*VERIFY, headers=WRONG).status == 429)

        # Had each counted for itself, both would have had as many again.
        client = clients[0]
        assert client.ask(*VERIFY).status == 200


def test_a_rate_limit_is_that_of_all_processes() -> None:
    limit = 200
    flags = (f"--processes={PROCESSES}", f"--rate-limit={limit}")
    with running_server(*flags) as server, a_client_of_each(server) as clients:
        granted = 0
        while True:
            answers = [client.v1("read-event-types") for client in clients]
            granted += [answer.status for answer in answers].count(200)
            if 429 in [answer.status for answer in answers]:
                break
        assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= {
            name for answer in answers for name in answer.headers
        }
        # Some came back while they asked; each for itself would have granted twice as many at once.
        assert granted >= limit // 2


def test_tokens_are_exchanged_everywhere_before_that_is_said(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    old, new = "The0ld1-token-of-the-tests-0123456789", "TheNew2-token-of-the-tests-0123456789"
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(old)
    flags = (f"--processes={PROCESSES}", f"--api-token-file={file}")
    environment = {"EVERLOG_API_TOKEN": ""}
    with (
        running_server(*flags, environment=environment) as server,
        a_client_of_each(server) as clients,
    ):
        for client in clients:
            assert client.ask(*VERIFY, headers=bearing(old)).status == 200
        file.write_text(new)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("the token file was read again")
        for client in clients:
            assert client.ask(*VERIFY, headers=bearing(old)).status == 401
            assert client.ask(*VERIFY, headers=bearing(new)).status == 200


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_read_only_mode_counts_everywhere_once_it_is_acknowledged() -> None:
    with running_server(f"--processes={PROCESSES}") as server, a_client_of_each(server) as clients:
        first, second = clients
        assert first.v1("put-into-read-only-mode").status == 200

        refused = second.v2("write-events", {"events": [an_event()]})

        assert refused.code == "store-read-only"
        # As one server says it.
        assert second.v1("put-into-read-only-mode").status == 503


def test_more_processes_than_one_and_a_journal_exclude_each_other() -> None:
    ended = run_to_end(
        *("run", "--processes=2", "--journal=nats://localhost/x", "--api-token=x"),
        *("--data-directory-temporary", "--http-enabled", "--https-enabled=false"),
    )

    assert ended.code == 2
    assert "--processes and --journal exclude each other" in ended.errors


def test_an_address_that_is_taken_is_told_of_as_by_one_server(server: RunningServer) -> None:
    ended = run_to_end(
        *("run", "--processes=2", "--api-token=x", "--host=127.0.0.1"),
        *("--data-directory-temporary", "--http-enabled", "--https-enabled=false"),
        f"--http-port={server.port}",
    )

    assert ended.code == 5
    assert "cannot listen on" in ended.log[-1]["message"]
