"""A witness of others' making cosigns a log that grows, and refuses one that was rewound.

That is an alarm, in the log of the server and in its health, and stays one.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from everlog.verifying.notes import SignedNote, VerifierKey
from tests.support.api import Connection, an_event
from tests.support.server import RunningServer, run_to_end, running_server, wait_until
from tests.support.witness import Witness

ORIGIN = "log.example.com/orders"


@pytest.fixture(name="key_file")
def make_key_file(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint-key.pem"


@pytest.fixture(name="keys")
def make_keys(key_file: Path) -> list[str]:
    """Return the verifier keys of a new checkpoint key."""
    made = run_to_end("generate", "checkpoint-key", f"--file={key_file}", f"--origin={ORIGIN}")
    assert made.code == 0, made.errors
    return made.output.split()


@pytest.fixture(name="witness")
def make_witness(tmp_path: Path, keys: Sequence[str]) -> Witness:
    witness = Witness(tmp_path / "witness")
    witness.trust(ORIGIN, keys[0])
    return witness


def flags(key_file: Path, witness: Witness, url: str) -> list[str]:
    return [
        f"--checkpoint-key-file={key_file}",
        f"--checkpoint-origin={ORIGIN}",
        f"--witness={url}={witness.verifier_key}",
    ]


def checkpoint(server: RunningServer) -> SignedNote:
    with Connection(server.url) as connection:
        answer = connection.ask("GET", "/api/v2/log/checkpoint")
    assert answer.status == 200, answer.text
    return SignedNote.parse(answer.body)


def size_of(note: SignedNote) -> int:
    return int(note.text.split("\n")[1])


def write(server: RunningServer, count: int, subject: str = "/a") -> None:
    with Connection(server.url) as connection:
        connection.write(*[an_event(subject) for _ in range(count)])


def cosigned(server: RunningServer, witness: Witness, size: int) -> SignedNote:
    """Return the checkpoint of a size, once the witness has cosigned it."""
    key = VerifierKey.parse(witness.verifier_key)
    found: list[SignedNote] = []

    def is_there() -> bool:
        note = checkpoint(server)
        # Raises where a cosignature is not right.
        if size_of(note) == size and [*note.by(key)]:
            found.append(note)
        return bool(found)

    wait_until(is_there)
    return found[0]


def checks(server: RunningServer) -> dict[str, Any]:
    with Connection(server.url) as connection:
        document = connection.ask("GET", "/api/v2/system/health").json
    return {name: found for name, (found,) in document["checks"].items()}


def metrics(server: RunningServer) -> str:
    with Connection(server.url) as connection:
        return connection.ask("GET", "/api/v2/system/health?format=openmetrics").text


@pytest.mark.slow
def test_a_growing_log_is_cosigned_also_over_restarts(
    tmp_path: Path, key_file: Path, keys: Sequence[str], witness: Witness
) -> None:
    own = [VerifierKey.parse(key) for key in keys]
    directory = tmp_path / "data"
    with witness.run() as url:
        given = flags(key_file, witness, url)
        with running_server(*given, data_directory=directory) as server:
            for size in (3, 300):
                write(server, size - size_of(checkpoint(server)))
                note = cosigned(server, witness, size)
                assert [len([*note.by(key)]) for key in own] == [1, 1]
            assert checks(server)["tree:witnesses"]["status"] == "pass"
            assert f'{{witness="{witness.name}"}} 300' in metrics(server)
            assert server.wait_for_log("a witness cosigns")["witness"] == witness.name
            write(server, 1)
            assert server.stop() == 0
        with running_server(*given, data_directory=directory) as server:
            cosigned(server, witness, 301)
            # What was kept is what is shown at once.
            server.kill()
        with running_server(*given, data_directory=directory) as server:
            cosigned(server, witness, 301)
    assert witness.sizes == {ORIGIN: 301}
    assert witness.evidence == []


@pytest.mark.slow
@pytest.mark.parametrize("others", [1, 10], ids=["shorter", "longer"])
def test_a_log_that_was_rewound_is_refused_and_that_is_an_alarm(
    tmp_path: Path, key_file: Path, witness: Witness, others: int
) -> None:
    directory, copy = tmp_path / "data", tmp_path / "copy"
    with witness.run() as url:
        given = flags(key_file, witness, url)
        with running_server(*given, data_directory=directory) as server:
            write(server, 5)
            cosigned(server, witness, 5)
            assert server.stop() == 0
        shutil.copytree(directory, copy)
        with running_server(*given, data_directory=directory) as server:
            write(server, 3)
            cosigned(server, witness, 8)
        # The older copy goes on with other events.
        with running_server(*given, data_directory=copy) as server:
            write(server, others, "/others")
            alarm = server.wait_for_log("a witness saw another history")

            assert (alarm["level"], alarm["witness"]) == ("error", witness.name)
            found = checks(server)["tree:witnesses"]
            assert (found["status"], found["observedValue"]) == ("fail", 0)
            assert witness.name in found["output"]
            assert f'witness="{witness.name}",everlog_witness_state="contradicting"}} 1' in (
                metrics(server)
            )
            # It is served all the same, and nobody asks the witness again.
            write(server, 1, "/others")
            wait_until(lambda: size_of(checkpoint(server)) == 5 + others + 1)
            evidence = len(witness.evidence)
            write(server, 1, "/others")
            wait_until(lambda: size_of(checkpoint(server)) == 5 + others + 2)
            assert len(witness.evidence) == evidence
            assert [*checkpoint(server).by(VerifierKey.parse(witness.verifier_key))] == []
    assert witness.sizes == {ORIGIN: 8}


@pytest.mark.slow
def test_a_witness_that_is_not_there_is_a_warning_and_asked_again(
    tmp_path: Path, key_file: Path, witness: Witness
) -> None:
    with witness.run() as url:
        # Its port, where nobody listens for a while.
        port = int(url.rpartition(":")[2])
    with running_server(*flags(key_file, witness, url), data_directory=tmp_path / "data") as server:
        write(server, 1)
        warning = server.wait_for_log("a witness does not cosign")
        assert (warning["level"], warning["witness"]) == ("warn", witness.name)
        assert checks(server)["tree:witnesses"]["status"] == "warn"
        # The checkpoint does not wait for it.
        wait_until(lambda: size_of(checkpoint(server)) == 1)
        with witness.run(port):
            cosigned(server, witness, 1)
            assert checks(server)["tree:witnesses"]["status"] == "pass"


@pytest.mark.slow
def test_a_witness_that_does_not_know_the_log_says_so(
    tmp_path: Path, key_file: Path, keys: Sequence[str]
) -> None:
    assert keys
    witness = Witness(tmp_path / "stranger")
    with (
        witness.run() as url,
        running_server(*flags(key_file, witness, url), data_directory=tmp_path / "data") as server,
    ):
        write(server, 1)
        warning = server.wait_for_log("a witness does not cosign")
        assert "does not know the origin" in warning["reason"]
