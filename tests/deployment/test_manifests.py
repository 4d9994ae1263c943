"""Files for Compose, Kubernetes and the proxies that are not here to be run.

They are what their schemas say, and keep what the pages promise of them.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from everlog import bootstrap
from everlog._version import __version__
from everlog.cli.run import run
from everlog.http import Limits
from tests.support.images import read_stages
from tests.support.sources import REPOSITORY

FOLDER = REPOSITORY / "deploy"
COMPOSE = FOLDER / "docker" / "compose.yaml"
MANIFESTS = sorted((FOLDER / "kubernetes").glob("*.yaml"))

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


def test_compose_is_what_its_schema_says() -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [program, "--builtin-schema", "vendor.compose-spec", COMPOSE],
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
    assert "environment" not in service


def test_compose_builds_the_image_from_the_checkout() -> None:
    build = read(COMPOSE)["services"]["everlog"]["build"]
    context = (COMPOSE.parent / build["context"]).resolve()

    assert context == REPOSITORY
    assert (context / build["dockerfile"]).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
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
