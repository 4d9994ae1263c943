"""The unit of systemd: its command starts a server, and the service gets nothing that it needs not.

What systemd itself thinks of the unit is asked where there is one: on Linux.
"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from everlog import bootstrap, exit_codes
from everlog._version import __version__
from everlog.http import Limits
from tests.support.keys import write_certificate
from tests.support.locks import locked_versions
from tests.support.pages import INSTALLING_SECONDS, code_blocks, read_page, run_script
from tests.support.server import DEADLINE_SECONDS, TOKEN, WATCHED, started_process
from tests.support.sources import REPOSITORY

UNIT = REPOSITORY / "deploy" / "systemd" / "everlog.service"

# What systemd calls "OK" ends at 4.9; an unrestricted service has 9.6.
EXPOSURE_MAX = 1.5

# What a service must not be able to do, whether or not a systemd is here to be asked.
HARDENING = {
    "CapabilityBoundingSet": "",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProtectHome": "yes",
    "ProtectKernelModules": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "StateDirectory": "everlog",
    "StateDirectoryMode": "0700",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
    "User": "everlog",
}


def read_settings() -> dict[str, list[str]]:
    """Return the settings of the unit by their names; some stand there several times."""
    text = re.sub(r"\\\n\s*", "", UNIT.read_text(encoding="utf-8"))
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


SETTINGS = read_settings()


def test_the_service_is_locked_in() -> None:
    assert {name: SETTINGS[name][-1] for name in HARDENING} == HARDENING
    assert SETTINGS["SystemCallFilter"] == [
        "@system-service",
        "~@privileged @resources",
        "setpriority",
    ]


def test_the_service_has_time_to_end_and_room_for_every_connection() -> None:
    (stop_seconds,) = map(int, SETTINGS["TimeoutStopSec"])
    (files,) = map(int, SETTINGS["LimitNOFILE"])

    assert stop_seconds >= 2 * bootstrap._STOP_SECONDS_MAX
    assert files >= Limits().connections_max + 1_000
    assert SETTINGS["KillSignal"] == ["SIGTERM"]


def test_only_what_a_restart_can_mend_is_restarted() -> None:
    codes = {int(code) for code in SETTINGS["RestartPreventExitStatus"][0].split()}

    # A signal that kills it before Python runs would be a clean end to `on-failure`.
    assert SETTINGS["Restart"] == ["always"]
    assert codes == {exit_codes.EXIT_SETTINGS, exit_codes.EXIT_DAMAGED}


def test_no_secret_stands_in_the_unit() -> None:
    (command,) = SETTINGS["ExecStart"]

    assert "--api-token=" not in command
    assert "WATCHED_API_TOKEN" not in UNIT.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_command_of_the_service_starts_a_server_that_ends_when_told(tmp_path: Path) -> None:
    token = tmp_path / "api-token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    certificate = write_certificate(tmp_path)
    (tmp_path / "state").mkdir(mode=0o700)
    (command,) = SETTINGS["ExecStart"]
    for shown, actual in (
        ("/opt/everlog/bin/everlog", shlex.join(WATCHED)),
        ("/var/lib/everlog", str(tmp_path / "state")),
        ("/etc/everlog/api-token", str(token)),
        ("/etc/everlog/tls.crt", str(certificate.certificate)),
        ("/etc/everlog/tls.key", str(certificate.private_key)),
    ):
        assert shown in command
        command = command.replace(shown, actual)

    words = [*shlex.split(command), "--host=127.0.0.1", "--https-port=0"]
    with started_process(words, tmp_path / "state", {}) as server:
        server.wait_for_log("listening")
        assert server.url.startswith("https://")
        assert server.stop() == exit_codes.EXIT_OK


@pytest.mark.slow
def test_the_program_is_installed_as_the_page_says(tmp_path: Path) -> None:
    script, *_ = code_blocks(read_page("docs/operating/systemd.md"))
    moved = script.text.replace("/opt/everlog", str(tmp_path / "everlog"))
    moved = moved.replace("python3 -m venv", f"{shlex.quote(sys.executable)} -m venv")
    run_script(["bash", "-eu"], moved, directory=REPOSITORY, seconds_max=INSTALLING_SECONDS)

    pip = [tmp_path / "everlog" / "bin" / "python", "-m", "pip", "list", "--format=json"]
    listed = json.loads(subprocess.run(pip, check=True, capture_output=True).stdout)
    installed = {canonicalize_name(item["name"]): item["version"] for item in listed}
    assert installed.items() >= {**locked_versions("runtime"), "everlog": __version__}.items()
    assert "hatchling" not in installed


if sys.platform == "linux":

    @pytest.fixture
    def installed_unit(tmp_path: Path) -> Path:
        """Return a copy of the unit whose program is there, so that only the rest is judged."""
        unit = tmp_path / UNIT.name
        text = UNIT.read_text(encoding="utf-8")
        unit.write_text(text.replace("/opt/everlog/bin/everlog", sys.executable))
        return unit

    def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["systemd-analyze", "--no-pager", *arguments],
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    @pytest.mark.slow
    def test_systemd_understands_every_line_of_the_unit(installed_unit: Path) -> None:
        done = analyze("verify", str(installed_unit))

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    @pytest.mark.slow
    def test_systemd_finds_the_service_hardly_exposed(installed_unit: Path) -> None:
        threshold = f"--threshold={EXPOSURE_MAX * 10:.0f}"
        done = analyze("security", "--offline=true", threshold, str(installed_unit))

        assert done.returncode == 0, done.stdout
