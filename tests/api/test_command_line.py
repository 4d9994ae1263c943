"""`everlog run` from outside: flags, environment, exit codes, and what its log says."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.api import Connection, an_event
from tests.support.keys import write_certificate, write_signing_key
from tests.support.server import (
    EVERLOG,
    TOKEN,
    run_to_end,
    running_server,
    started_process,
    wait_until,
)

TOKEN_VARIABLE = {"EVERLOG_API_TOKEN": TOKEN}
PLAIN = ("--http-enabled", "--https-enabled=false", "--http-port=0", "--host=127.0.0.1")


def check_ends(
    *arguments: str, code: int, texts: tuple[str, ...], environment: Mapping[str, str] | None = None
) -> None:
    """Check that the server ends by itself, with this code, and says these texts."""
    variables = TOKEN_VARIABLE if environment is None else environment
    ended = run_to_end("run", *arguments, environment=variables)

    said = ended.output + ended.errors
    assert ended.code == code, said
    for text in texts:
        assert text in said
    assert "Traceback" not in said
    assert TOKEN not in said


TEMPORARY = "--data-directory-temporary"

# Each row: flags that are not enough or contradict each other, and what the message says to do.
WRONG_SETTINGS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((*PLAIN,), "add --data-directory <directory>"),
    ((*PLAIN, TEMPORARY, "--data-directory=x"), "only one"),
    ((TEMPORARY,), "--https-certificate-file"),
    ((TEMPORARY, "--https-certificate-file=x"), "--https-private-key-file"),
    ((TEMPORARY, "--https-enabled=false"), "add --http-enabled"),
    ((*PLAIN, TEMPORARY, "--http-port=65536"), "65535"),
    ((*PLAIN, TEMPORARY, "--http-port=x"), "--http-port"),
    ((*PLAIN, TEMPORARY, "--hash-version=3"), "--hash-version"),
    ((*PLAIN, TEMPORARY, "--http-enabled=maybe"), "--http-enabled"),
    ((*PLAIN, TEMPORARY, "--shared-addresses=proxy.example"), "addresses or networks"),
    ((*PLAIN, TEMPORARY, "--unknown"), "--unknown"),
    ((*PLAIN, TEMPORARY, "--signing-key-file=/missing.pem"), "cannot be read"),
    (
        (TEMPORARY, "--https-certificate-file=/missing", "--https-private-key-file=/missing"),
        "--https-certificate-file /missing",
    ),
)


@pytest.mark.parametrize("flags, text", WRONG_SETTINGS)
def test_wrong_settings_are_told_with_what_to_do(flags: tuple[str, ...], text: str) -> None:
    check_ends(*flags, code=2, texts=(text,))


@pytest.mark.parametrize(
    "token, text",
    [
        (None, "an API token is needed"),
        ("", "an API token is needed"),
        (" padded ", "must not begin or end with a space"),
        ("caf\u00e9", "printable ASCII"),
        ("line\nfeed", "printable ASCII"),
    ],
)
def test_a_token_is_needed_that_fits_into_a_header(token: str | None, text: str) -> None:
    environment = {} if token is None else {"EVERLOG_API_TOKEN": token}

    check_ends(*PLAIN, TEMPORARY, code=2, texts=(text,), environment=environment)


def test_keys_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    other_files = write_certificate(other)
    mixed = (f"--https-certificate-file={files.certificate}",)
    mixed += (f"--https-private-key-file={other_files.private_key}",)
    check_ends(TEMPORARY, *mixed, code=2, texts=("cannot be used together", "tls.crt"))

    write_certificate(other, passphrase=b"secret")
    encrypted = (f"--https-certificate-file={other_files.certificate}", mixed[1])
    check_ends(TEMPORARY, *encrypted, code=2, texts=("is encrypted",))

    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"garbage")
    flags = (f"--https-certificate-file={garbage}", f"--https-private-key-file={garbage}")
    check_ends(TEMPORARY, *flags, code=2, texts=("garbage",))

    for key in (garbage, files.private_key):
        check_ends(*PLAIN, TEMPORARY, f"--signing-key-file={key}", code=2, texts=(key.name,))


def test_a_second_server_on_a_directory_names_the_first(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path) as server:
        texts = (str(tmp_path), str(server.pid))
        check_ends(*PLAIN, f"--data-directory={tmp_path}", code=3, texts=texts)

        with Connection(server.url) as connection:
            connection.write(an_event())
        assert server.stop() == 0
    with running_server(data_directory=tmp_path) as server:
        assert server.stop() == 0


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")

    check_ends(*PLAIN, f"--data-directory={tmp_path}", code=3, texts=(str(tmp_path),))

    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_directory_that_is_none_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")

    check_ends(*PLAIN, f"--data-directory={file}", code=3, texts=(str(file),))
    check_ends(*PLAIN, f"--data-directory={file}/below", code=3, texts=(str(file),))


def test_an_unknown_format_is_told(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path) as server:
        server.stop()
    (metadata,) = tmp_path.glob("*.json")
    content = json.loads(metadata.read_bytes())
    (name,) = (name for name, value in content.items() if value == 1)
    metadata.write_text(json.dumps(content | {name: 99}))

    check_ends(*PLAIN, f"--data-directory={tmp_path}", code=3, texts=("99",))


def test_a_damaged_log_is_refused_with_the_event(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path) as server:
        with Connection(server.url) as connection:
            for number in range(5):
                connection.write(an_event(data={"text": f"number {number}"}))
        server.kill()
    (segment,) = (path for path in tmp_path.rglob("*.ndjson") if b"number 2" in path.read_bytes())
    content = bytearray(segment.read_bytes())
    content[content.index(b"number 2") : content.index(b"number 2") + 6] = b"NUMBER"
    segment.write_bytes(content)

    check_ends(*PLAIN, f"--data-directory={tmp_path}", code=4, texts=("event with id 2 ",))


def test_a_port_in_use_is_told_and_leaves_the_directory_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = (*PLAIN, f"--data-directory={tmp_path}", f"--http-port={port}")
        check_ends(*flags, code=5, texts=(f"cannot listen on 127.0.0.1:{port}", "in use"))

    with running_server(data_directory=tmp_path) as server:
        assert server.stop() == 0


def test_an_address_of_another_machine_is_told() -> None:
    flags = (*PLAIN, TEMPORARY, "--host=192.0.2.1")

    check_ends(*flags, code=5, texts=("cannot listen on 192.0.2.1",))


def check_runs(*arguments: str, environment: Mapping[str, str]) -> None:
    """Check that the server starts with plain HTTP on this machine and a log that is empty."""
    command = [*EVERLOG, "run", *arguments]
    with started_process(command, Path(os.devnull), environment) as server:
        server.wait_for_log("listening")
        assert server.url.startswith("http://127.0.0.1:")
        with Connection(server.url) as connection:
            connection.write(an_event())
        assert server.stop() == 0


def test_flags_take_values_after_a_space_or_an_equals_sign(tmp_path: Path) -> None:
    spaced = ("--data-directory", str(tmp_path / "a"), "--host", "127.0.0.1", "--http-port", "0")
    switches = ("--http-enabled", "--https-enabled", "false")
    check_runs(*spaced, *switches, "--api-token", TOKEN, environment={})

    joined = (f"--data-directory={tmp_path / 'b'}", "--host=127.0.0.1", "--http-port=0")
    switches = ("--http-enabled=true", "--https-enabled=false")
    check_runs(*switches, *joined, f"--api-token={TOKEN}", environment={})


def test_flags_take_their_values_from_the_environment(tmp_path: Path) -> None:
    environment = {
        "EVERLOG_API_TOKEN": TOKEN,
        "EVERLOG_DATA_DIRECTORY": str(tmp_path),
        "EVERLOG_HOST": "127.0.0.1",
        "EVERLOG_HTTP_ENABLED": "true",
        "EVERLOG_HTTP_PORT": "0",
        "EVERLOG_HTTPS_ENABLED": "false",
        "EVERLOG_HASH_VERSION": "1",
    }
    check_runs(environment=environment)
    # What is on the command line counts.
    check_runs("--http-port", "0", environment=environment | {"EVERLOG_HTTP_PORT": "1"})


def test_the_log_is_json_lines_that_keep_every_secret(tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    write_signing_key(tmp_path / "key.pem")
    secret_data = "the-data-of-a-client"
    with running_server(*files.flags, signing_key_file=tmp_path / "key.pem") as server:
        wait_until(lambda: len(server.urls) == 2)
        with Connection(server.urls[1]) as client:
            client.write(an_event(data={"text": secret_data}))
            client.v1("write-events", f'{{"x":"{secret_data}"}}'.encode())
            client.ask("GET", f"/api/v1/ping?token={TOKEN}", headers={"Authorization": "Bearer x"})
        assert server.stop() == 0
        output, log, errors = b"".join(server.output), server.log, b"".join(server.errors)

    assert errors == b""
    assert {line["level"] for line in log} <= {"info", "warn"}
    for line in log:
        assert list(line)[:3] == ["time", "level", "message"]
    options = log[0]["options"]
    assert options["api-token"] == "redacted"
    assert options["signing-key-file"] == str(tmp_path / "key.pem")
    key_lines = (tmp_path / "key.pem").read_bytes().splitlines()[1:-1]
    for secret in (TOKEN.encode(), secret_data.encode(), *key_lines):
        assert secret not in output
