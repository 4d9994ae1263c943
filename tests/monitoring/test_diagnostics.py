"""Diagnostics, over the API and on the command line: complete, and without a secret."""

import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everlog._version import __version__
from everlog.cli.run import run
from tests.support.api import Connection
from tests.support.keys import write_certificate
from tests.support.openapi import check_against
from tests.support.server import TOKEN, RunningServer, run_to_end, running_server, wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server("--rate-limit=1000") as server:
        yield server


def check_complete(found: dict[str, Any]) -> None:
    assert list(found) == ["version", "system", "license", "options", "optionOrigins"]
    assert found["version"]["everlog"] == __version__
    assert found["version"]["compatibleWith"].startswith("EventSourcingDB 1.3")
    assert found["version"]["build"]["python"] == platform.python_version()
    assert {"msgspec", "uvloop", "numpy"} <= found["version"]["build"]["packages"].keys()
    assert found["system"]["operatingSystem"] == platform.system()
    assert found["system"]["architecture"] == platform.machine()
    assert found["system"]["coreCount"] >= 1
    assert found["system"]["memoryBytes"] > 1 << 28
    assert found["license"] == {
        "name": "MIT",
        "isOpenSource": True,
        "isValid": True,
        "eventCapacity": None,
    }


def test_both_versions_tell_the_same(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        first = connection.ask("GET", "/api/v1/diagnostics")
        second = connection.ask("GET", "/api/v2/system/diagnostics")

    check_complete(first.json)
    check_against({"$ref": "#/components/schemas/Diagnostics"}, first.json)
    assert second.json == {"type": "diagnostics", "data": first.json}
    assert first.headers["Content-Type"] == second.headers["Content-Type"] == "application/json"


def test_the_options_are_all_flags_of_the_command_without_their_secrets(
    server: RunningServer,
) -> None:
    with Connection(server.url) as connection:
        answer = connection.ask("GET", "/api/v1/diagnostics")

    options = answer.json["options"]
    assert options.keys() == {parameter.opts[0].removeprefix("--") for parameter in run.params}
    assert options["api-token"] == "redacted"
    assert options["rate-limit"] == 1000
    assert options["data-directory"] == str(server.data_directory)
    assert TOKEN.encode() not in answer.body


def test_it_says_from_where_each_option_is(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    flags = (f"--api-token-file={tmp_path / 'token'}", "--rate-limit=1000")
    with (
        running_server(*flags, environment={"EVERLOG_QUERY_TIME_LIMIT": "7"}) as server,
        Connection(server.url) as connection,
    ):
        found = connection.ask("GET", "/api/v2/system/diagnostics").json["data"]

    origins = found["optionOrigins"]
    assert origins.keys() == found["options"].keys()
    assert origins["rate-limit"] == origins["api-token-file"] == "command line"
    assert origins["query-time-limit"] == "environment"
    # It was in the environment, and the flag of the file has overridden it.
    assert (found["options"]["api-token"], origins["api-token"]) == (None, "default")
    assert origins["log-level"] == origins["node"] == "default"


def test_only_whoever_has_the_token_is_told(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        for path in ("/api/v1/diagnostics", "/api/v2/system/diagnostics"):
            assert connection.ask("GET", path, headers={}).status == 401


def test_the_command_tells_about_this_machine() -> None:
    done = run_to_end("diagnostics")

    assert (done.code, done.errors) == (0, "")
    check_complete(json.loads(done.output))
    assert json.loads(done.output)["options"] is None
    assert json.loads(done.output)["optionOrigins"] is None


@pytest.mark.parametrize("source", ["variable", "file"])
def test_the_command_asks_a_server(server: RunningServer, tmp_path: Path, source: str) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    given = (
        {"EVERLOG_API_TOKEN": TOKEN}
        if source == "variable"
        else {"EVERLOG_API_TOKEN_FILE": str(tmp_path / "token")}
    )

    done = run_to_end("diagnostics", "--url", server.url, environment=given)

    assert (done.code, done.errors) == (0, "")
    check_complete(json.loads(done.output))
    assert json.loads(done.output)["options"]["data-directory"] == str(server.data_directory)
    assert TOKEN not in done.output


def test_the_command_asks_over_tls_and_only_whom_it_can_trust(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path)
    with running_server(*certificate.flags) as server:
        wait_until(lambda: len(server.urls) == 2)
        command = ("diagnostics", "--url", server.url)
        environment = {"EVERLOG_API_TOKEN": TOKEN}

        refused = run_to_end(*command, environment=environment)
        trusting = (*command, f"--https-certificate-file={certificate.certificate}")
        answered = run_to_end(*trusting, environment=environment)

    assert refused.code == 8
    # In our words, and with the flag that helps.
    assert "signed by nobody who is trusted here" in refused.errors
    assert "--ca-file" in refused.errors
    assert TOKEN not in refused.errors
    assert answered.code == 0
    check_complete(json.loads(answered.output))


@pytest.mark.parametrize(
    "flags, token, code, text",
    [
        (("--url=http://127.0.0.1:1",), TOKEN, 8, "cannot be asked"),
        (("--url=ftp://127.0.0.1",), TOKEN, 2, "must begin with http"),
        (("--url={url}",), "", 2, "a token is needed"),
        (("--url={url}",), "wrong-token", 8, "does not take the token (status 401)"),
        (("--url={url}",), "line\nbreak", 2, "the token cannot be used"),
        (("--url={url}", "--api-token-file=missing"), TOKEN, 2, "No such file"),
    ],
)
def test_what_cannot_be_asked_is_said_without_the_token(
    server: RunningServer, flags: tuple[str, ...], token: str, code: int, text: str
) -> None:
    done = run_to_end(
        "diagnostics",
        *(flag.format(url=server.url) for flag in flags),
        environment={"EVERLOG_API_TOKEN": token},
    )

    assert (done.code, done.output) == (code, "")
    assert text in done.errors
    assert "Traceback" not in done.errors
    assert not token or token not in done.errors
