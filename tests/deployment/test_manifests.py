"""Files for Compose, Kubernetes and the proxies that are not here to be run.

They are what their schemas say, and keep what the pages promise of them.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from everlog import bootstrap
from everlog._version import __version__
from everlog.cli.run import run
from everlog.http import Limits
from tests.support.images import read_stages
from tests.support.patroni_cluster import SETTINGS as PATRONI_SETTINGS
from tests.support.sources import REPOSITORY

FOLDER = REPOSITORY / "deploy"
COMPOSE = FOLDER / "docker" / "compose.yaml"
COMPOSE_FILES = sorted((FOLDER / "docker").rglob("*.yaml"))
CLUSTERS = ("nats", "postgresql")
MANIFESTS = sorted((FOLDER / "kubernetes").rglob("*.yaml"))
# Folder and file, since several have the same names.
MANIFEST_NAMES = [f"{path.parent.name}-{path.stem}" for path in MANIFESTS]

# One that many still run, and the newest whose schemas are known here.
KUBERNETES_VERSIONS = ("1.34", "1.37")

IMAGE = f"everlog:{__version__}"
USER_ID = int(
    next(
        step.text
        for step in read_stages(FOLDER / "docker" / "Dockerfile")[-1]
        if step.name == "USER"
    ).partition(":")[0]
)

# In a URL.
PASSWORD = re.compile(r"://[^/@]*:[^/@]*@")

# What a container may be told by its environment; nothing of it is secret.
UI_VARIABLES = ("WITH_UI", "UI_TITLE", "UI_COLOUR")

STOP_SECONDS_MIN = 2 * bootstrap._STOP_SECONDS_MAX


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def manifest(name: str) -> Any:
    return read(FOLDER / "kubernetes" / f"{name}.yaml")


def check_arguments(arguments: list[str]) -> None:
    """Check that a container is given flags that there are, and no secret."""
    command, *flags = arguments
    names = [flag.partition("=")[0] for flag in flags]

    assert command == "run"
    assert set(names) <= {name for option in run.params for name in option.opts}
    assert "--api-token" not in names
    assert {"--api-token-file", "--data-directory"} <= set(names)
    assert not any(PASSWORD.search(flag) for flag in flags)


def test_compose_is_what_its_schema_says() -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [program, "--builtin-schema", "vendor.compose-spec", *COMPOSE_FILES],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout.decode()


def test_compose_runs_a_locked_container_that_has_time_to_end() -> None:
    service = read(COMPOSE)["services"]["everlog"]

    check_arguments(service["command"])
    assert service["image"] == IMAGE
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service["init"] is True
    assert int(service["stop_grace_period"].removesuffix("s")) >= STOP_SECONDS_MIN
    assert service["ulimits"]["nofile"] >= Limits().connections_max + 1_000
    # A port without an address is open to everybody, whatever the firewall says.
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert set(service["environment"]) == {f"EVERLOG_{name}" for name in UI_VARIABLES}


def test_compose_builds_the_image_from_the_checkout() -> None:
    build = read(COMPOSE)["services"]["everlog"]["build"]
    context = (COMPOSE.parent / build["context"]).resolve()

    assert context == REPOSITORY
    assert (context / build["dockerfile"]).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("path", MANIFESTS, ids=MANIFEST_NAMES)
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_manifest_is_what_kubernetes_says(path: Path, version: str) -> None:
    kubernetes_validate.validate(read(path), version, strict=True)


def test_there_is_one_pod_and_it_can_do_nothing_that_it_needs_not() -> None:
    stateful_set = manifest("statefulset")["spec"]
    pod = stateful_set["template"]["spec"]
    (container,) = pod["containers"]

    check_arguments(container["args"])
    assert container["image"] == IMAGE
    assert stateful_set["replicas"] == 1
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["terminationGracePeriodSeconds"] >= STOP_SECONDS_MIN


def test_a_cluster_puts_no_flags_of_its_own_into_the_environment() -> None:
    # For a service `everlog`, with a port `https`, it would set EVERLOG_PORT and more like it.
    assert manifest("statefulset")["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_every_probe_is_a_ping_and_a_long_start_is_waited_for() -> None:
    (container,) = manifest("statefulset")["spec"]["template"]["spec"]["containers"]
    probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}

    for probe in probes.values():
        assert probe["httpGet"] == {"path": "/api/v1/ping", "port": "https", "scheme": "HTTPS"}
    assert probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"] >= 1800


def test_the_secrets_that_are_mounted_are_readable_by_the_pod_alone() -> None:
    volumes = manifest("statefulset")["spec"]["template"]["spec"]["volumes"]
    names = {volume["secret"]["secretName"]: volume["secret"]["defaultMode"] for volume in volumes}

    assert names == {manifest("secret")["metadata"]["name"]: 0o440, "everlog-tls": 0o440}


def test_no_token_is_delivered() -> None:
    # An empty one does not start a server, so that nobody runs with one that everybody knows.
    assert manifest("secret")["stringData"] == {"api-token": ""}


def test_labels_and_ports_of_the_manifests_fit_each_other() -> None:
    label = {"app.kubernetes.io/name": "everlog"}
    stateful_set = manifest("statefulset")["spec"]
    policy = manifest("networkpolicy")["spec"]
    (container,) = stateful_set["template"]["spec"]["containers"]
    (port,) = manifest("service")["spec"]["ports"]
    ((path,),) = [rule["http"]["paths"] for rule in manifest("ingress")["spec"]["rules"]]

    assert stateful_set["selector"]["matchLabels"] == label
    assert stateful_set["template"]["metadata"]["labels"] == label
    assert manifest("service")["spec"]["selector"] == label
    assert policy["podSelector"]["matchLabels"] == label
    assert container["ports"] == [{"name": "https", "containerPort": 4000}]
    assert port["targetPort"] == "https"
    assert path["backend"]["service"] == {"name": "everlog", "port": {"name": port["name"]}}


def test_the_server_talks_to_nobody_and_only_clients_talk_to_it() -> None:
    policy = manifest("networkpolicy")["spec"]
    (rule,) = policy["ingress"]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    assert rule["from"]
    assert rule["ports"] == [{"port": "https", "protocol": "TCP"}]


# What a proxy has to do, and what says so in the files of those that do not run in the tests.
PROXY_LINES = {
    "caddy/Caddyfile": ["flush_interval -1", "max_size 65MiB", "request>headers delete",
                        "auto_https disable_redirects", "protocols h1"],
    "traefik/traefik.yaml": ["fastProxy: {}", "RequestPath: drop", "writeTimeout: 0s"],
    "traefik/everlog.yaml": ["minVersion: VersionTLS12", "url: http://127.0.0.1:3000"],
    "kubernetes/ingress.yaml": ['nginx.org/proxy-buffering: "false"',
                                "nginx.org/client-max-body-size: 65m",
                                "nginx.org/proxy-pass-headers: Server"],
}  # fmt: skip


@pytest.mark.parametrize("name", PROXY_LINES)
def test_a_proxy_that_is_not_run_here_still_says_what_it_has_to(name: str) -> None:
    lines = [line.strip().removeprefix("- ") for line in (FOLDER / name).read_text().splitlines()]

    assert [line for line in PROXY_LINES[name] if line not in lines] == []


def test_the_access_log_of_traefik_keeps_no_header() -> None:
    fields = read(FOLDER / "traefik" / "traefik.yaml")["accessLog"]["fields"]

    assert fields["headers"] == {"defaultMode": "drop"}
    assert json.dumps(fields["names"]) == '{"RequestPath": "drop", "RequestLine": "drop"}'


# Clusters.


def compose(name: str) -> Any:
    return read(FOLDER / "docker" / name / "compose.yaml")


@pytest.mark.parametrize("name", CLUSTERS)
def test_compose_runs_three_nodes_of_one_journal_that_share_nothing_else(name: str) -> None:
    services = compose(name)["services"]
    nodes = [services[f"everlog-{number}"] for number in (1, 2, 3)]

    for number, node in enumerate(nodes, 1):
        check_arguments(node["command"])
        flags = node["command"]
        assert "--journal-password-file=/run/secrets/journal-password" in flags
        # That is its name in the journal, and for the proxy.
        assert node["hostname"] == f"everlog-{number}"
        assert node["volumes"] == [f"data-{number}:/var/lib/everlog"]
        assert node["extends"] == {"file": "../node.yaml", "service": "node"}
        assert "ports" not in node
    assert nodes[0]["command"] == nodes[1]["command"] == nodes[2]["command"]


def test_what_all_nodes_are_like_is_as_locked_as_a_server_alone() -> None:
    alone = read(COMPOSE)["services"]["everlog"]
    node = read(FOLDER / "docker" / "node.yaml")["services"]["node"]

    for name in ("image", "init", "read_only", "cap_drop", "security_opt", "ulimits",
                 "stop_grace_period", "pids_limit", "logging"):  # fmt: skip
        assert node[name] == alone[name]
    assert node["healthcheck"]["test"][1:] == [
        "/opt/everlog/bin/python", "-I", "/opt/everlog/ping.py", "--ready",
    ]  # fmt: skip


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_proxy_of_compose_knows_the_nodes(name: str) -> None:
    services = compose(name)["services"]
    shared = read(FOLDER / "docker" / "node.yaml")["services"]["proxy"]
    text = (FOLDER / "nginx" / "everlog-cluster.conf").read_text(encoding="utf-8")

    assert "../nginx/everlog-cluster.conf:/etc/nginx/conf.d/default.conf:ro" in shared["volumes"]
    assert all(port.startswith("127.0.0.1:") for port in shared["ports"])
    assert {secret["target"] for secret in shared["secrets"]} == set(
        re.findall(r"ssl_certificate(?:_key)? +(\S+);", text)
    )
    # Each of the two lists of nodes.
    named = re.findall(r"server (everlog-\d):3000", text)
    assert sorted(named) == sorted([name for name in services if name.startswith("everlog-")] * 2)
    assert all("nodes" in services[node]["networks"] for node in named)


def test_the_image_of_nats_is_one_everywhere_and_it_always_syncs() -> None:
    (container,) = manifest("nats/statefulset")["spec"]["template"]["spec"]["containers"]
    services = compose("nats")["services"]
    images = {services[f"nats-{number}"]["image"] for number in (1, 2, 3)}
    settings = [
        text_without_comments((FOLDER / "docker" / "nats" / "nats.conf").read_text()),
        text_without_comments(manifest("nats/configmap")["data"]["nats.conf"]),
    ]

    assert images == {container["image"]}
    for text in settings:
        assert "sync_interval: always" in text
    # Names and where the pid is differ.
    shared = [
        [line for line in text.splitlines() if not line.startswith(("http", "pid", "  routes"))]
        for text in settings
    ]
    assert shared[0] == shared[1]


def text_without_comments(text: str) -> str:
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return "\n".join(lines)


def test_there_are_three_nodes_that_differ_from_a_server_alone_in_little() -> None:
    alone = manifest("statefulset")["spec"]["template"]["spec"]
    stateful_set = manifest("cluster/statefulset")["spec"]
    nodes = stateful_set["template"]["spec"]
    (container,) = nodes["containers"]
    (container_alone,) = alone["containers"]

    check_arguments(container["args"])
    assert stateful_set["replicas"] == 3
    assert stateful_set["serviceName"] == manifest("cluster/headless-service")["metadata"]["name"]
    assert set(container["args"]) - set(container_alone["args"]) == {
        "--journal-password-file=/etc/everlog/journal/password"
    }
    for name in ("securityContext", "enableServiceLinks", "automountServiceAccountToken"):
        assert nodes[name] == alone[name]
    for name in ("image", "ports", "securityContext", "startupProbe", "livenessProbe"):
        assert container[name] == container_alone[name]
    assert nodes["terminationGracePeriodSeconds"] >= STOP_SECONDS_MIN + 5


def test_where_the_journal_is_comes_from_a_secret_that_is_delivered_empty() -> None:
    secret = manifest("cluster/journal-secret")
    pod = manifest("cluster/statefulset")["spec"]["template"]["spec"]
    (variable,) = pod["containers"][0]["env"]
    (volume,) = (item for item in pod["volumes"] if item["name"] == "journal")

    assert secret["stringData"] == {"url": "", "password": ""}
    assert variable["name"] in {name for option in run.params for name in variables_of(option)}
    assert variable["valueFrom"]["secretKeyRef"] == {
        "name": secret["metadata"]["name"],
        "key": "url",
    }
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    assert volume["secret"]["defaultMode"] == 0o440


def variables_of(option: click.Parameter) -> list[str]:
    return [option.envvar] if isinstance(option.envvar, str) else []


def test_a_node_gets_requests_when_it_is_ready_and_is_not_restarted_because_it_is_not() -> None:
    (container,) = manifest("cluster/statefulset")["spec"]["template"]["spec"]["containers"]

    assert container["readinessProbe"]["exec"]["command"] == [
        "/opt/everlog/bin/python", "-I", "/opt/everlog/ping.py", "--ready",
    ]  # fmt: skip
    assert container["livenessProbe"]["httpGet"]["path"] == "/api/v1/ping"


@pytest.mark.parametrize("folder, label", [("cluster", "everlog"), ("nats", "nats")])
def test_members_are_on_several_machines_and_go_one_at_a_time(folder: str, label: str) -> None:
    labels = {"app.kubernetes.io/name": label}
    stateful_set = manifest(f"{folder}/statefulset")["spec"]
    template = stateful_set["template"]
    spread = template["spec"]["topologySpreadConstraints"]
    budget = manifest(f"{folder}/poddisruptionbudget")["spec"]

    assert stateful_set["selector"]["matchLabels"] == template["metadata"]["labels"] == labels
    assert {constraint["topologyKey"] for constraint in spread} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    assert all(item["labelSelector"]["matchLabels"] == labels for item in spread)
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}


def test_nodes_talk_to_their_journal_and_the_journal_to_nodes() -> None:
    nodes = manifest("cluster/networkpolicy")["spec"]
    journal = manifest("nats/networkpolicy")["spec"]
    ports = [port["port"] for rule in nodes["egress"] for port in rule["ports"]]
    clients, members = journal["ingress"]

    assert nodes["ingress"] == manifest("networkpolicy")["spec"]["ingress"]
    assert ports == [53, 53, 5432, 4222]
    assert clients["from"] == [{"podSelector": nodes["podSelector"]}]
    assert clients["ports"] == [{"port": "client", "protocol": "TCP"}]
    assert members["from"] == [{"podSelector": journal["podSelector"]}]


def test_patroni_is_told_to_acknowledge_nothing_that_stands_on_one_server_only() -> None:
    settings = read(FOLDER / "docker" / "postgresql" / "patroni.yml")
    shared = settings["bootstrap"]["dcs"]

    # What the tests harm, and the page says.
    assert shared.items() >= PATRONI_SETTINGS.items()

    assert shared["synchronous_mode"] is shared["synchronous_mode_strict"] is True
    assert shared["postgresql"]["parameters"]["synchronous_commit"] == "on"
    # What Patroni itself asks for.
    assert shared["ttl"] >= shared["loop_wait"] + 2 * shared["retry_timeout"]
    assert "password" not in json.dumps(settings["postgresql"]["authentication"])


def test_the_image_of_patroni_is_sound_and_its_script_is_one() -> None:
    folder = FOLDER / "docker" / "postgresql"
    for command in (
        [Path(sys.executable).with_name("hadolint"), folder / "patroni.Dockerfile"],
        ["sh", "-n", folder / "start-patroni.sh"],
    ):
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_management_ui_is_off_until_somebody_turns_it_on() -> None:
    service = read(COMPOSE)["services"]["everlog"]
    container = manifest("statefulset")["spec"]["template"]["spec"]["containers"][0]
    variables = service["environment"] | {each["name"]: each["value"] for each in container["env"]}
    unit = (FOLDER / "systemd" / "everlog.service").read_text(encoding="utf-8")

    known = {option.envvar for option in run.params}
    assert {"EVERLOG_WITH_UI"} <= variables.keys() <= known
    assert service["environment"]["EVERLOG_WITH_UI"] == "${EVERLOG_WITH_UI:-false}"
    assert variables["EVERLOG_WITH_UI"] == "false"
    assert "\nEnvironment=EVERLOG_WITH_UI=false\n" in unit
    # No flag, which would count for more than the variable.
    for path in (COMPOSE, *MANIFESTS, FOLDER / "docker" / "Dockerfile"):
        assert "--with-ui" not in path.read_text(encoding="utf-8")
    assert "--with-ui" not in unit
