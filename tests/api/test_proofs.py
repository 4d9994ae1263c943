"""Checkpoints, proofs and tiles over HTTP, against the tree by its definition."""

import json
import shutil
import socket
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog.verifying.notes import SignedNote, VerifierKey
from tests.support import merkle as reference
from tests.support.api import Answer, Connection, an_event
from tests.support.server import (
    DEADLINE_SECONDS,
    TOKEN,
    RunningServer,
    run_to_end,
    running_server,
    wait_until,
)

LOG = "/api/v2/log"
ORIGIN = "log.example.com/orders"
# Two full tiles of leaves, and some behind them.
COUNT = 600


@pytest.fixture(scope="module", name="key_file")
def make_key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "checkpoint-key.pem"
    made = run_to_end("generate", "checkpoint-key", f"--file={file}", f"--origin={ORIGIN}")
    assert made.code == 0, made.errors
    file.with_suffix(".keys").write_text(made.output)
    return file


def flags(key_file: Path) -> list[str]:
    return [f"--checkpoint-key-file={key_file}", f"--checkpoint-origin={ORIGIN}"]


@pytest.fixture(scope="module")
def server(key_file: Path) -> Iterator[RunningServer]:
    """Run a server with hashes of version 2, some events and checkpoints."""
    with running_server(*flags(key_file), hash_version=2) as server:
        with Connection(server.url) as connection:
            for _ in range(3):
                connection.write(*[an_event() for _ in range(COUNT // 3)])
            wait_until(lambda: size_of(read_checkpoint(connection)) == COUNT)
        yield server


@pytest.fixture(name="leaves")
def make_leaves(connection: Connection) -> list[bytes]:
    return [event["hash"].encode() for event in connection.read_all()]


def get(connection: Connection, path: str) -> Answer:
    return connection.ask("GET", f"{LOG}/{path}")


def read_checkpoint(connection: Connection) -> SignedNote:
    answer = get(connection, "checkpoint")
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    return SignedNote.parse(answer.body)


def size_of(note: SignedNote) -> int:
    return int(note.text.split("\n")[1])


def encode(hash_: bytes) -> str:
    return b64encode(hash_).decode()


def test_the_checkpoint_is_that_of_the_log_and_signed_by_both_keys(
    connection: Connection, leaves: list[bytes], key_file: Path
) -> None:
    note = read_checkpoint(connection)

    root = encode(reference.tree_root(leaves))
    assert note.text == f"{ORIGIN}\n{COUNT}\n{root}\n"
    keys = key_file.with_suffix(".keys").read_text().split()
    assert [len([*note.by(VerifierKey.parse(key))]) for key in keys] == [1, 1]


@pytest.mark.parametrize("position", [0, 1, 255, 256, 511, 512, 599])
def test_an_event_is_proven_in_the_tree_of_the_checkpoint(
    connection: Connection, leaves: list[bytes], position: int
) -> None:
    answer = get(connection, f"inclusion-proof?event={position}")

    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == {
        "event": str(position),
        "hash": leaves[position].decode(),
        "size": COUNT,
        "root": encode(reference.tree_root(leaves)),
        "proof": [*map(encode, reference.inclusion_proof(position, leaves))],
    }


@pytest.mark.parametrize("size", [1, 2, 257, 599])
def test_an_event_is_proven_in_any_earlier_tree(
    connection: Connection, leaves: list[bytes], size: int
) -> None:
    answer = get(connection, f"inclusion-proof?event=0&size={size}").json

    assert answer["root"] == encode(reference.tree_root(leaves[:size]))
    assert [*map(b64decode, answer["proof"])] == reference.inclusion_proof(0, leaves[:size])


@pytest.mark.parametrize("earlier", [0, 1, 256, 300, 599, 600])
def test_the_tree_of_the_checkpoint_continues_every_earlier_one(
    connection: Connection, leaves: list[bytes], earlier: int
) -> None:
    answer = get(connection, f"consistency-proof?from={earlier}")

    proof = reference.consistency_proof(earlier, leaves) if earlier else []
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == {
        "from": earlier,
        "to": COUNT,
        "fromRoot": encode(reference.tree_root(leaves[:earlier])),
        "toRoot": encode(reference.tree_root(leaves)),
        "proof": [*map(encode, proof)],
    }
    between = get(connection, "consistency-proof?from=3&to=300").json
    expected = reference.consistency_proof(3, leaves[:300])
    assert [*map(b64decode, between["proof"])] == expected


def test_a_mirror_computes_the_root_from_tiles(connection: Connection, leaves: list[bytes]) -> None:
    tiles = [get(connection, f"tile/0/{name}") for name in ("000", "001", "002.p/88")]
    assert {answer.status for answer in tiles} == {200}
    assert {answer.headers["Content-Type"] for answer in tiles} == {"application/octet-stream"}
    # They never change; a shared cache must not have what takes a token.
    cached = {answer.headers["Cache-Control"] for answer in tiles}
    assert cached == {"private, max-age=31536000, immutable"}

    hashes = b"".join(answer.body for answer in tiles)
    assert hashes == b"".join(map(reference.leaf_hash, leaves))
    above = [reference.tree_root(leaves[:256]), reference.tree_root(leaves[256:512])]
    assert get(connection, "tile/1/000.p/2").body == b"".join(above)


@pytest.mark.parametrize(
    "path, code, text, details",
    [
        ("inclusion-proof", "event-id-missing", "missing", {"field": "event"}),
        ("inclusion-proof?event=", "event-id-missing", "missing", {"field": "event"}),
        ("inclusion-proof?event=x", "event-id-malformed", "'x'", {"field": "event"}),
        ("inclusion-proof?event=-1", "event-id-malformed", "'-1'", {"field": "event"}),
        (
            "inclusion-proof?event=600",
            "range-unsatisfiable",
            "the tree of 600 events ends before the event with id 600",
            {"field": "event", "limit": 599},
        ),
        (
            "inclusion-proof?event=5&size=5",
            "range-unsatisfiable",
            "the tree of 5 events ends before the event with id 5",
            {"field": "event", "limit": 4},
        ),
        (
            "inclusion-proof?event=5&size=601",
            "range-unsatisfiable",
            "the log has 600 events, so that there is no tree of 601",
            {"field": "size", "limit": 600},
        ),
        (
            "consistency-proof?from=601",
            "range-unsatisfiable",
            "the log has 600 events",
            {"field": "from", "limit": 600},
        ),
        (
            "consistency-proof?from=1&to=601",
            "range-unsatisfiable",
            "the log has 600 events",
            {"field": "to", "limit": 600},
        ),
        (
            "consistency-proof?from=9&to=8",
            "range-unsatisfiable",
            "a tree of 9 events is not the beginning of one of 8",
            {"field": "from", "limit": 8},
        ),
    ],
)
def test_what_cannot_be_proven_is_refused_with_its_bound(
    connection: Connection, path: str, code: str, text: str, details: dict[str, object]
) -> None:
    answer = get(connection, path)

    assert answer.status == 200
    assert answer.code == code
    assert text in answer.error["description"]
    assert answer.error["details"] == details


@pytest.mark.parametrize(
    "path, text",
    [
        ("checkpoint?size=1", "there is no parameter 'size'"),
        ("inclusion-proof?event=1&Size=2", "there is no parameter 'Size': there are event and"),
        ("inclusion-proof?event=1&event=2", "event comes twice"),
        ("inclusion-proof?event=1&size=", "size must be a number of events"),
        ("inclusion-proof?event=1&size=-1", "not '-1'"),
        ("inclusion-proof?event=1&size=01", "not '01'"),
        ("inclusion-proof?event=1&size=1e3", "not '1e3'"),
        ("inclusion-proof?event=1&size=" + 20 * "9", "must be a number of events"),
        ("consistency-proof", "from must be the size"),
        ("consistency-proof?from=x", "from must be a number"),
        ("consistency-proof?from=1&to=y", "to must be a number"),
        ("tile/0/0", "a tile is named"),
        ("tile/0/000.p/256", "a tile is named"),
        ("tile/", "a tile is named"),
        ("tile/entries/000", "a tile is named"),
        ("tile/0/000?width=3", "there is no parameter"),
        ("tile/0/002", "the tile needs 768 events, and the log has 600"),
        ("tile/63/x999/999.p/255", "and the log has 600"),
    ],
)
def test_what_was_not_understood_is_a_line_of_text(
    connection: Connection, path: str, text: str
) -> None:
    answer = get(connection, path)

    assert answer.status == 400
    assert text in answer.text
    assert answer.headers.get_all("Cache-Control") == [
        "no-store, no-cache, must-revalidate, proxy-revalidate"
    ]


@pytest.mark.parametrize(
    "path", ["checkpoint", "inclusion-proof?event=0", "consistency-proof?from=0", "tile/0/000"]
)
def test_the_token_is_asked_for_and_other_methods_are_not_known(
    connection: Connection, path: str
) -> None:
    stranger = connection.ask("GET", f"{LOG}/{path}", headers={})
    assert (stranger.status, stranger.text) == (401, "unauthorized\n")
    other = connection.ask("POST", f"{LOG}/{path}")
    assert (other.status, other.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    head = connection.ask("HEAD", f"{LOG}/{path}")
    whole = connection.ask("GET", f"{LOG}/{path}")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.body))


def test_answers_are_counted_by_endpoint(connection: Connection) -> None:
    get(connection, "tile/0/000")
    metrics = connection.ask("GET", "/api/v2/system/health?format=openmetrics").text

    path = LOG + "/tile/{level}/{index}"
    assert f'everlog_requests_total{{method="GET",path="{path}",status="2xx"}}' in metrics
    assert f"everlog_tree_checkpoint_events {COUNT}" in metrics


@pytest.mark.slow
def test_without_a_key_everything_is_proven_but_nothing_signed(fresh: Connection) -> None:
    fresh.write(an_event(), an_event())
    answer = get(fresh, "checkpoint")
    assert answer.status == 503
    assert "started without --checkpoint-key-file" in answer.text
    health = fresh.ask("GET", "/api/v2/system/health").json["checks"]
    assert not [name for name in health if name.startswith("tree:")]

    assert get(fresh, "inclusion-proof?event=1").json["size"] == 2
    fresh.write(an_event())
    # What came since is waited for.
    assert get(fresh, "inclusion-proof?event=2").json["size"] == 3
    assert get(fresh, "consistency-proof?from=2").json["to"] == 3
    health = fresh.ask("GET", "/api/v2/system/health").json["checks"]
    assert health["tree:events"][0]["observedValue"] == 3


@pytest.mark.slow
def test_an_event_behind_the_checkpoint_is_proven_in_the_whole_log(
    key_file: Path, tmp_path: Path
) -> None:
    with (
        running_server(*flags(key_file), data_directory=tmp_path / "data") as server,
        Connection(server.url) as connection,
    ):
        read_checkpoint(connection)
        for position in range(20):
            connection.write(an_event())
            proof = get(connection, f"inclusion-proof?event={position}").json
            assert proof["size"] == position + 1


@pytest.mark.slow
def test_a_log_that_is_shorter_or_another_one_is_never_signed_again(
    key_file: Path, tmp_path: Path
) -> None:
    directories = [tmp_path / name for name in ("signed", "others")]
    for directory, subject in zip(directories, ("/a", "/b"), strict=True):
        with (
            running_server(*flags(key_file), data_directory=directory) as server,
            Connection(server.url) as connection,
        ):
            connection.write(*[an_event(subject) for _ in range(5)])
            assert server.stop() == 0
    signed, others = directories
    kept = (signed / "tree" / "checkpoint").read_bytes()
    # Somebody put another log in the place of the one that was signed.
    for name in ("log", "index", "durable"):
        path = signed / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        (shutil.copytree if path.suffix == "" and (others / name).is_dir() else shutil.copy)(
            others / name, path
        )
    with (
        running_server(*flags(key_file), data_directory=signed) as server,
        Connection(server.url) as connection,
    ):
        alarm = server.wait_for_log("the log contradicts its last checkpoint")
        assert alarm["level"] == "error"
        assert "the first 5 events are not those that were signed" in alarm["reason"]
        answer = get(connection, "checkpoint")
        assert answer.status == 503
        assert "nothing is signed any more" in answer.text
        check = connection.ask("GET", "/api/v2/system/health").json["checks"]["tree:checkpoint"]
        assert check[0]["status"] == "fail"
        # It is served all the same.
        connection.write(an_event())
        assert get(connection, "inclusion-proof?event=5").json["size"] == 6
        assert server.stop() == 0
    assert (signed / "tree" / "checkpoint").read_bytes() == kept


@pytest.mark.slow
def test_a_checkpoint_of_another_key_is_replaced_and_that_is_said(
    key_file: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "data"
    with running_server(*flags(key_file), data_directory=directory) as server:
        assert server.stop() == 0
    other = [f"--checkpoint-key-file={key_file}", "--checkpoint-origin=log.example.com/new"]
    with (
        running_server(*other, data_directory=directory) as server,
        Connection(server.url) as connection,
    ):
        warning = server.wait_for_log("the last checkpoint is not of this key and origin")
        assert warning["level"] == "warn"
        assert read_checkpoint(connection).text.startswith("log.example.com/new\n")


def test_whatever_is_asked_for_while_a_restore_has_begun_is_refused_alike() -> None:
    with running_server() as server:
        answers = {
            path: answer_behind_a_restore(server.port, path)
            for path in ("checkpoint", "inclusion-proof?event=0", "tile/0/000.p/3")
        }

    assert len(set(answers.values())) == 1, answers
    [(head, body)] = set(answers.values())
    assert head.startswith("HTTP/1.1 200 ")
    assert json.loads(body)["data"]["code"].endswith("/restore-in-progress")


def answer_behind_a_restore(port: int, path: str) -> tuple[str, str]:
    """Return what is answered to a request that came when a restore had not begun yet."""
    headers = f"Host: a\r\nAuthorization: Bearer {TOKEN}\r\n"
    backup = '{"subject":"/none"}'
    requests = (
        f"POST /api/v2/management/restore HTTP/1.1\r\n{headers}"
        f"Content-Length: {len(backup)}\r\n\r\n{backup}"
        f"GET {LOG}/{path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as client:
        # In one piece: both are begun before either is worked on.
        client.sendall(requests.encode())
        answers = b"".join(iter(lambda: client.recv(65_536), b"")).decode()
    head, _, body = answers.rpartition("HTTP/1.1 ")[2].partition("\r\n\r\n")
    members = [line for line in head.split("\r\n") if not line.startswith("Date: ")]
    return f"HTTP/1.1 {'; '.join(members)}", body


@pytest.mark.slow
def test_a_killed_server_goes_on_with_its_tree(key_file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with (
        running_server(*flags(key_file), data_directory=directory) as server,
        Connection(server.url) as connection,
    ):
        connection.write(*[an_event() for _ in range(300)])
        wait_until(lambda: size_of(read_checkpoint(connection)) == 300)
        server.kill()
    with (
        running_server(*flags(key_file), data_directory=directory) as server,
        Connection(server.url) as connection,
    ):
        note = read_checkpoint(connection)
        leaves = [event["hash"].encode() for event in connection.read_all()]
        assert note.text == f"{ORIGIN}\n300\n{encode(reference.tree_root(leaves))}\n"
        assert server.stop() == 0
    state = json.loads((directory / "tree" / "state.json").read_text().splitlines()[0])
    assert state["size"] == 300
