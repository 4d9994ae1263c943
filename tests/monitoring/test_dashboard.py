"""The Grafana dashboard: every query asks about something that a real server exports.

Servers of each kind are asked: one with HTTPS, a checkpoint key and a witness, a follower of it,
and a node on a journal.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from everlog.monitoring.metrics import METRICS
from tests.support.api import Connection, an_event
from tests.support.balanced_cluster import running_journals, running_nodes
from tests.support.certificates import issue, write_files
from tests.support.pages import read_page
from tests.support.promql import OWN_LABELS, PromqlError, judge
from tests.support.server import TOKEN, RunningServer, run_to_end, running_server, wait_until
from tests.support.sources import REPOSITORY
from tests.support.witness import Witness

FOLDER: Final = REPOSITORY / "deploy" / "grafana"
ORIGIN: Final = "log.example.com/orders"

Json = dict[str, Any]
Samples = Mapping[str, frozenset[str]]

_OF_LEGENDS: Final = re.compile(r"{{(\w+)}}")
_VARIABLES: Final = re.compile(r"\$\{?(\w+)")


def dashboard() -> Json:
    found: Json = json.loads((FOLDER / "everlog.json").read_text(encoding="utf-8"))
    return found


def panels(kind: str = "") -> list[Json]:
    return [panel for panel in dashboard()["panels"] if kind in panel["type"]]


def queries() -> Iterator[tuple[str, str, str]]:
    """Yield each query with the title of its panel and its legend."""
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]
    for annotation in dashboard()["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], annotation["titleFormat"]


def plain_url(server: RunningServer) -> str:
    """Return the address without TLS, which a server may say last."""

    def found() -> list[str]:
        return [url for url in server.urls if url.startswith("http:")]

    wait_until(lambda: bool(found()))
    return found()[0]


def samples_of(server: RunningServer) -> dict[str, frozenset[str]]:
    """Return what a server exports: the names of samples, with the labels that they have."""
    with Connection(plain_url(server)) as connection:
        text = connection.ask("GET", "/api/v1/health?format=openmetrics").text
    found: dict[str, frozenset[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, frozenset()) | sample.labels.keys()
    return found


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Return all that servers of each kind export."""
    folder = tmp_path_factory.mktemp("servers")
    found: dict[str, frozenset[str]] = {}
    with running_server(*flags_of_all_that_can_be_had(folder)) as server:
        with Connection(plain_url(server)) as connection:
            connection.write(an_event())
            # One refusal by an endpoint, and one without.
            assert connection.v1("read-events", {"subject": "books"}).status == 400
            assert connection.ask("GET", "/nowhere").status == 404
        wait_until(lambda: "everlog_tree_checkpoint_timestamp_seconds" in samples_of(server))
        found |= samples_of(server)
        (folder / "token").write_text(TOKEN)
        following = (f"--follow={plain_url(server)}", f"--follow-token-file={folder / 'token'}")
        with running_server(*following) as follower:
            found |= samples_of(follower)
    with running_journals("nats") as new_journal, running_nodes(new_journal(), count=1) as [node]:
        found |= samples_of(node)
    return found


def flags_of_all_that_can_be_had(folder: Path) -> Sequence[str]:
    key_file = folder / "checkpoint-key.pem"
    made = run_to_end("generate", "checkpoint-key", f"--file={key_file}", f"--origin={ORIGIN}")
    assert made.code == 0, made.errors
    certificate, private_key = write_files(folder, issue())
    # Nobody listens there: what a witness does is exported all the same.
    witness = f"http://127.0.0.1:1={Witness(folder / 'witness').verifier_key}"
    return (
        "--https-enabled",
        f"--https-certificate-file={certificate}",
        f"--https-private-key-file={private_key}",
        f"--checkpoint-key-file={key_file}",
        f"--checkpoint-origin={ORIGIN}",
        f"--witness={witness}",
    )


@pytest.mark.slow
def test_every_query_asks_about_what_a_server_exports(samples: Samples) -> None:
    count = 0
    for title, query, legend in queries():
        labels = judge(query, samples)
        assert set(_OF_LEGENDS.findall(legend)) <= labels, title
        # Whoever watches several servers chooses some of them.
        assert query.count('{job=~"$job", instance=~"$instance"}') == len(names_in(query)), title
        count += 1
    assert count > 70


def names_in(query: str) -> list[str]:
    return re.findall(r"\b(?:everlog|process)_\w+(?={)", query)


@pytest.mark.slow
def test_the_dashboard_shows_every_metric_that_there_is(samples: Samples) -> None:
    shown = {name for _, query, _ in queries() for name in names_in(query)}
    suffixes = ("", "_total", "_bucket", "_sum", "_info")

    assert shown <= samples.keys()
    assert not [
        metric.name
        for metric in METRICS
        if not shown & {metric.name + suffix for suffix in suffixes}
    ]


@pytest.mark.slow
def test_the_choices_are_taken_from_what_a_server_exports(samples: Samples) -> None:
    chosen = [
        variable for variable in dashboard()["templating"]["list"] if variable["type"] == "query"
    ]

    for variable in chosen:
        query = variable["query"]["query"]
        assert query == variable["definition"]
        selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        assert label in judge(selector, samples)
    assert [variable["name"] for variable in chosen] == ["job", "instance"]


def test_every_variable_is_one_of_the_dashboard_or_of_grafana() -> None:
    known = {variable["name"] for variable in dashboard()["templating"]["list"]}
    text = (FOLDER / "everlog.json").read_text(encoding="utf-8")

    assert set(_VARIABLES.findall(text)) - known == {"__all", "__rate_interval"}
    # Of whichever Prometheus is chosen.
    for panel in panels():
        sources = [target["datasource"] for target in panel.get("targets", ())]
        if panel["type"] != "row":
            assert [panel["datasource"], *sources] == [
                {"type": "prometheus", "uid": "${datasource}"}
            ] * (1 + len(sources))


def test_grafana_is_told_of_a_folder_that_the_page_fills() -> None:
    (provider,) = yaml.safe_load((FOLDER / "provider.yaml").read_text(encoding="utf-8"))[
        "providers"
    ]
    page = read_page("docs/operating/monitoring.md")

    assert provider["type"] == "file"
    assert f"deploy/grafana/everlog.json {provider['options']['path']}/" in page
    assert "deploy/grafana/provider.yaml /etc/grafana/provisioning/dashboards/everlog.yaml" in page


def test_panels_have_numbers_titles_and_places_of_their_own() -> None:
    found = panels()

    assert len({panel["id"] for panel in found}) == len(found)
    assert len({panel["title"] for panel in found if panel["type"] != "row"}) == len(found) - len(
        panels("row")
    )
    for panel in found:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or panel["description"].endswith(".")
    for one, other in combinations((panel["gridPos"] for panel in found), 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_above, (one, other)


EXPORTED: Final[Samples] = {
    "up_gauge": frozenset(),
    "asked_total": frozenset({"code"}),
    "took_bucket": frozenset({"le"}),
}


@pytest.mark.parametrize(
    "query, labels",
    [
        ("up_gauge", OWN_LABELS),
        ('sum by (code) (rate(asked_total{code!="a"}[5m])) > 0', {"code"}),
        ("histogram_quantile(0.9, sum by (le) (rate(took_bucket[5m])))", set()),
        ("(time() - up_gauge) / 2", OWN_LABELS),
    ],
)
def test_a_query_that_can_be_asked_is_understood(query: str, labels: set[str]) -> None:
    assert judge(query, EXPORTED) == labels


@pytest.mark.parametrize(
    "query",
    [
        "down_gauge",
        'up_gauge{code="a"}',
        "sum by (code) (up_gauge)",
        "asked_total",
        "sum(asked_total)",
        "rate(asked_total)",
        "rate(up_gauge[5m])",
        "rate(asked_total[5 minutes])",
        "asked_total[5m]",
        "histogram_quantile(0.9, sum by (code) (rate(asked_total[5m])))",
        "rate(asked_total[5m]) / up_gauge",
        "sum by (code) (rate(asked_total[5m])",
        "up_gauge up_gauge",
        "guess(up_gauge)",
        "time()",
        "",
    ],
)
def test_a_query_that_cannot_is_refused(query: str) -> None:
    with pytest.raises(PromqlError):
        judge(query, EXPORTED)
