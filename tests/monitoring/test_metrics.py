"""Metrics: by the reference parser's rules, with the right numbers, and without anybody's names."""

from collections.abc import Iterator, Mapping

import pytest
from prometheus_client.metrics_core import Metric as ParsedMetric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from everlog.api.routes import ROUTES
from everlog.monitoring.metrics import METRICS, Kind
from tests.support.api import GOOD_TYPE, Connection, an_event
from tests.support.server import RunningServer, running_server

PATHS = ("/api/v1/health?format=openmetrics", "/api/v2/system/health?format=openmetrics")

# No sample of these before something of the kind has happened.
ON_DEMAND = frozenset({"everlog_requests", "everlog_refusals", "everlog_early_answers"})
# Nor of these, depending on what there is.
CONDITIONAL = frozenset(
    {
        "everlog_log_last_commit_timestamp_seconds",
        "everlog_certificate_end_timestamp_seconds",
        "everlog_journal_up",
        "everlog_journal_appends",
        "everlog_journal_lost_appends",
        "everlog_journal_unknown_appends",
        "everlog_journal_barriers",
        "everlog_journal_barrier_reads",
        "everlog_mirror_applied_entries",
        "everlog_mirror_applied_events",
        "everlog_mirror_behind_events",
        "everlog_mirror_caught_up",
        "everlog_cluster_nodes",
        "everlog_follower_state",
        "everlog_follower_lag_events",
        "everlog_follower_lag_seconds",
        "everlog_follower_received_events",
        "everlog_follower_received_bytes",
        "everlog_follower_connections",
        "everlog_follower_failures",
        "everlog_tree_events",
        "everlog_tree_checkpoint_events",
        "everlog_tree_checkpoint_timestamp_seconds",
        "everlog_tree_contradicted",
        "everlog_witness_state",
        "everlog_witness_events",
    }
)

MARKER = "marker-of-a-client"

# Labels whose values are ours: there is no other.
LABELS = frozenset(
    {
        "code",
        "compatible_version",
        "everlog_follower_state",
        "everlog_health",
        "everlog_store_condition",
        "everlog_witness_state",
        "le",
        "method",
        "path",
        "status",
        "version",
        "witness",
    }
)

Families = Mapping[str, ParsedMetric]


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def connection(server: RunningServer) -> Iterator[Connection]:
    with Connection(server.url) as connection:
        yield connection


def parse(text: str) -> Families:
    """Return the families of a text, which the reference parser must accept."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def measure(connection: Connection, path: str = PATHS[0]) -> Families:
    answer = connection.ask("GET", path)
    assert answer.status == 200
    content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.headers["Content-Type"] == content_type
    assert answer.text.endswith("\n# EOF\n")
    return parse(answer.text)


def value(families: Families, sample_name: str, **labels: str) -> float:
    """Return the one sample of a name and labels, zero where there is none."""
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == sample_name and sample.labels == labels
    ]
    assert len(found) <= 1
    return float(found[0]) if found else 0.0


@pytest.mark.parametrize("path", PATHS)
def test_every_metric_is_there_as_it_is_described(connection: Connection, path: str) -> None:
    families = measure(connection, path)

    described = {metric.name: metric for metric in METRICS}
    assert described.keys() - ON_DEMAND - CONDITIONAL <= families.keys() <= described.keys()
    for name, family in families.items():
        assert family.type == described[name].kind.value
        assert family.unit == described[name].unit
        assert family.documentation == described[name].help


def test_names_units_and_help_keep_the_rules() -> None:
    names = [metric.name for metric in METRICS]

    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith(("everlog_", "process_"))
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
        assert metric.name.endswith(f"_{metric.unit}") or not metric.unit
        for unit in ("bytes", "seconds"):
            # What is measured in a unit says so in the name, and the other way round.
            assert (metric.unit == unit) == metric.name.endswith(f"_{unit}")
        assert metric.help.endswith(".")
        assert metric.help[0].isupper()
        assert metric.kind in Kind


@pytest.mark.parametrize(
    "break_it",
    [
        lambda text: text.removesuffix("# EOF\n"),
        lambda text: text.replace("everlog_commits_total", "everlog_commits"),
        lambda text: text.replace('le="+Inf"', 'le="Inf"'),
        lambda text: text.replace("# UNIT everlog_written_bytes bytes", "# UNIT everlog_x seconds"),
    ],
)
def test_the_parser_judges(connection: Connection, break_it: object) -> None:
    text = connection.ask("GET", PATHS[0]).text
    assert callable(break_it)

    with pytest.raises(ValueError, match=r"."):
        parse(break_it(text))


def test_writing_is_counted_in_events_bytes_and_batches(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        before = measure(connection)
        for count in (1, 3):
            connection.write(*[an_event("/counted", data={"n": count})] * count)
        schema = {"type": "object", "properties": {}}
        body = {"eventType": "io.everlog.test.counted", "schema": schema}
        assert connection.v1("register-event-schema", body).status == 200
        after = measure(connection)
        body_size = len(connection.v1("read-events", {"subject": "/counted"}).body)

    def grown(sample_name: str, **labels: str) -> float:
        return value(after, sample_name, **labels) - value(before, sample_name, **labels)

    assert grown("everlog_written_events_total") == 4
    assert grown("everlog_written_bytes_total") == body_size
    assert grown("everlog_log_size_bytes") == body_size
    assert grown("everlog_log_events") == 4
    assert grown("everlog_registered_schemas_total") == 1
    assert grown("everlog_commits_total") == 3
    assert grown("everlog_sync_duration_seconds_count") == 3
    assert grown("everlog_sync_duration_seconds_sum") > 0
    assert grown("everlog_commit_events_sum") == 4
    # The schema's batch has no event, so that it is among those of one at most.
    assert grown("everlog_commit_events_bucket", le="1.0") == 2
    assert grown("everlog_commit_events_bucket", le="5.0") == 3
    assert grown("everlog_commit_failures_total") == 0
    assert value(after, "everlog_commit_pending_seconds") == 0
    assert value(after, "everlog_index_unsaved_events") == value(after, "everlog_log_events")


def test_answers_are_counted_by_endpoint_and_status_class(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        before = measure(connection)
        connection.ask("GET", "/api/v1/ping")
        connection.ask("HEAD", "/api/v1/ping")
        connection.v1("read-event-type", {"eventType": "no.such.type"})
        connection.v2("read-event-type", {"type": "no.such.type"})
        connection.v1("read-events", {"subject": "/"})
        connection.v1("read-events", b"{")
        connection.v2("read-events", {"subject": "x"})
        connection.write(an_event("/late"), an_event("/late"))
        latest = {"subject": "/late", "type": GOOD_TYPE, "ifEventIsMissing": "read-nothing"}
        options = {"upperBound": {"id": "0", "type": "inclusive"}, "fromLatestEvent": latest}
        for read in (connection.v1, connection.v2):
            read("read-events", {"subject": "/late", "options": {"recursive": False, **options}})
        for path, headers in (("/api/v1/ping/x", None), ("/api/v1/health", {})):
            connection.ask("GET", path, headers=headers)
        connection.ask("GET", "/api/v1/read-events")
        connection.ask("GET", "/.well-known/openapi")
        after = measure(connection)

    def answers(method: str, path: str, status: str) -> float:
        labels = {"method": method, "path": path, "status": status}
        name = "everlog_requests_total"
        return value(after, name, **labels) - value(before, name, **labels)

    assert answers("GET", "/api/v1/ping", "2xx") == 2
    assert answers("POST", "/api/v1/read-event-type", "4xx") == 1
    assert answers("QUERY", "/api/v2/data/read-event-type", "2xx") == 1
    assert answers("POST", "/api/v1/read-events", "2xx") == 1
    assert answers("POST", "/api/v1/read-events", "4xx") == 2
    assert answers("QUERY", "/api/v2/data/read-events", "2xx") == 2
    for name, labels, count in (
        ("everlog_refusals_total", {"code": "event-type-unknown"}, 2),
        ("everlog_refusals_total", {"code": "malformed-request"}, 1),
        ("everlog_refusals_total", {"code": "subject-malformed"}, 1),
        # Version 2 finds out only when the stream has begun.
        ("everlog_refusals_total", {"code": "range-unsatisfiable"}, 2),
        ("everlog_early_answers_total", {"status": "404"}, 1),
        ("everlog_early_answers_total", {"status": "401"}, 1),
        ("everlog_early_answers_total", {"status": "405"}, 1),
        ("everlog_early_answers_total", {"status": "200"}, 1),
    ):
        assert value(after, name, **labels) - value(before, name, **labels) == count


def test_clients_are_counted_while_they_are_there(server: RunningServer) -> None:
    with Connection(server.url) as connection, Connection(server.url) as observing:
        connection.write(an_event("/observed"))
        items = observing.observe("v2", "/observed")
        assert next(items)["type"] == "event"
        families = measure(connection)

    assert value(families, "everlog_observers") == 1
    assert value(families, "everlog_streams") == 1
    assert value(families, "everlog_connections") >= 2
    assert value(families, "everlog_connections_limit") == 12_000
    assert value(families, "everlog_accepted_connections_total") >= 2
    assert value(families, "everlog_cut_streams_total") == 0
    assert value(families, "process_open_fds") > 5
    assert value(families, "process_max_fds") > value(families, "process_open_fds")
    assert value(families, "process_resident_memory_bytes") > 10_000_000
    assert value(families, "process_cpu_seconds_total") > 0
    assert value(families, "everlog_disk_size_bytes") > value(families, "everlog_disk_free_bytes")


def test_no_label_takes_its_value_from_a_client(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        connection.write(an_event(f"/{MARKER}", f"io.{MARKER}.happened"))
        connection.v1("read-subjects", {"baseSubject": f"/{MARKER}"})
        connection.v1("read-event-type", {"eventType": MARKER})
        connection.ask("GET", f"/api/v1/{MARKER}")
        connection.ask("GET", f"/api/v1/ping?{MARKER}")
        connection.ask("GET", "/api/v1/ping", headers={"X-Client": MARKER, "User-Agent": MARKER})
        # Not a method that the parser knows.
        connection.ask("MARKER", "/api/v1/ping")
    with Connection(server.url) as connection:
        text = connection.ask("GET", PATHS[0]).text

    families = parse(text)
    assert MARKER not in text
    assert "MARKER" not in text
    samples = [sample for family in families.values() for sample in family.samples]
    assert {name for sample in samples for name in sample.labels} <= LABELS
    paths = {sample.labels["path"] for sample in samples if "path" in sample.labels}
    assert paths <= {route.path for route in ROUTES}
