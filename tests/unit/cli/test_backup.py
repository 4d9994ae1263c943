"""`everlog backup`: where a backup comes from, where it goes to, and how one is gone on with."""

import json
import re
import stat
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from everlog.cli import progress
from everlog.cli.backing_up import output
from everlog.cli.backing_up.compression import compress, decompress
from everlog.cli.main import cli
from everlog.transfer.backup_lines import schema_line, to_backup_lines
from tests.support.engines import SEGMENT_SIZE, open_log, read
from tests.support.events import a_candidate, a_schema, store, store_staged

TYPE = "io.everlog.test.happened"
COUNT = 40


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "_BLOCK_SIZE", 2_000)
    for name in ("URL", "DATA_DIRECTORY", "API_TOKEN", "API_TOKEN_FILE"):
        monkeypatch.delenv(f"EVERLOG_{name}", raising=False)


@pytest.fixture
def expected() -> bytes:
    """Make a data directory, and return what a backup of it is."""
    return write("data", COUNT)


def write(directory: str, count: int) -> bytes:
    engine = open_log(Path(directory))
    if engine.head.event_count == 0:
        engine.stage_schema(a_schema(TYPE))
    for number in range(count):
        store(engine, a_candidate(f"/numbers/{number % 3}", data=f'{{"n":{number}}}'))
    assert engine.head.log_size > SEGMENT_SIZE
    lines = read(engine)
    engine.close()
    return schema_line(TYPE, a_schema(TYPE).text, 1) + to_backup_lines(lines, 1)


def run(*arguments: str | Path, **variables: str) -> Result:
    return CliRunner().invoke(cli, ["backup", *map(str, arguments)], env={**variables})


def back_up(*arguments: str | Path, directory: str = "data") -> Result:
    return run("--data-directory", directory, *arguments)


def check_failed(result: Result, code: int, text: str) -> None:
    assert result.exit_code == code, result.output
    assert text in result.stderr
    assert result.stdout == ""


def content_of(path: str) -> bytes:
    content = Path(path).read_bytes()
    return b"".join(decompress([content])) if path.endswith(".zst") else content


@pytest.mark.parametrize("name", ["b.ndjson", "b.ndjson.zst"])
def test_a_directory_is_backed_up(expected: bytes, name: str) -> None:
    result = back_up("--output", name)

    assert result.exit_code == 0
    assert content_of(name) == expected
    last = json.loads(expected.splitlines()[-1])["payload"]
    assert result.stdout.startswith(f"{name}: {COUNT} events, from 0 (esdb:hash:v2:")
    assert f") to {COUNT - 1} ({last['hash']}); 1 event schema; SHA-256 " in result.stdout
    assert result.stdout.endswith(sha256(Path(name).read_bytes()).hexdigest() + "\n")
    assert result.stderr == ""
    assert not Path(f"{name}.part").exists()
    # All data is in it.
    assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600


def test_programs_are_told_too(expected: bytes) -> None:
    result = back_up("--output", "b.ndjson", "--format", "json")

    first, last = (json.loads(line)["payload"] for line in expected.splitlines()[1 :: COUNT - 1])
    assert json.loads(result.stdout) == {
        "type": "summary",
        "payload": {
            "eventCount": COUNT,
            "schemaCount": 1,
            "firstEventId": "0",
            "firstEventHash": first["hash"],
            "lastEventId": str(COUNT - 1),
            "lastEventHash": last["hash"],
            "files": [{"name": "b.ndjson", "sha256": sha256(expected).hexdigest()}],
        },
    }


def test_standard_output_is_a_file_too(expected: bytes) -> None:
    result = back_up("--output", "-")

    assert result.exit_code == 0
    assert result.stdout_bytes == expected
    assert result.stderr.startswith(f"-: {COUNT} events, from 0 (")
    assert sha256(expected).hexdigest() in result.stderr


def test_a_store_without_events_is_backed_up() -> None:
    open_log(Path("data")).close()

    result = back_up("--output", "b.ndjson")

    assert result.stdout.startswith("b.ndjson: 0 events; 0 event schemas; SHA-256 ")
    assert Path("b.ndjson").read_bytes() == b""
    assert back_up("--output", "b.zst").exit_code == 0
    assert Path("b.zst").read_bytes() == compress(b"")


# Going on.


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_a_draft_is_gone_on_with(expected: bytes, share: float, *, is_compressed: bool) -> None:
    name = "b.ndjson.zst" if is_compressed else "b.ndjson"
    assert back_up("--output", name).exit_code == 0
    whole = Path(name).read_bytes()
    Path(name).unlink()
    Path(f"{name}.part").write_bytes(whole[: round(len(whole) * share)])
    more = write("data", 5)

    result = back_up("--output", name)

    assert result.exit_code == 0, result.output
    assert content_of(name) == more
    assert more.startswith(expected)
    assert result.stdout.startswith(f"{name}: {COUNT + 5} events, from 0 (")
    assert sha256(Path(name).read_bytes()).hexdigest() in result.stdout
    assert not Path(f"{name}.part").exists()


def test_a_schema_that_came_meanwhile_is_there(expected: bytes) -> None:
    Path("b.ndjson.part").write_bytes(expected[:-10])
    engine = open_log(Path("data"))
    engine.stage_schema(a_schema("io.everlog.other"))
    store_staged(engine)
    engine.close()

    result = back_up("--output", "b.ndjson")

    assert "; 2 event schemas; " in result.stdout
    lines = Path("b.ndjson").read_bytes().splitlines(keepends=True)
    assert sorted(lines) == sorted(
        [*expected.splitlines(keepends=True), schema_line("io.everlog.other", a_schema("").text, 1)]
    )


@pytest.mark.parametrize(
    "draft",
    [
        b"hello\n",
        b'{"type":"row","payload":1}\n',
        b'{"type":"error","payload":"no"}\n',
    ],
)
@pytest.mark.parametrize("name", ["b.ndjson", "b.ndjson.zst"])
def test_a_draft_of_something_else_is_refused(expected: bytes, draft: bytes, name: str) -> None:
    assert expected
    content = compress(draft) if name.endswith(".zst") else draft
    Path(f"{name}.part").write_bytes(content)

    result = back_up("--output", name)

    check_failed(result, 4, f"{name}.part cannot be gone on with (")
    assert "remove it, and try again" in result.stderr
    assert Path(f"{name}.part").read_bytes() == content


@pytest.mark.parametrize("name", ["b.ndjson", "b.ndjson.zst"])
def test_a_draft_without_an_end_does_not_fill_the_memory(
    expected: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expected
    monkeypatch.setattr(output, "_PART_SIZE_MAX", 10_000)
    draft = b" " * 20_000
    Path(f"{name}.part").write_bytes(compress(draft) if name.endswith(".zst") else draft)

    check_failed(back_up("--output", name), 1, "is no draft of a backup: remove it")


def test_a_draft_that_is_damaged_is_refused(expected: bytes) -> None:
    Path("b.ndjson.part").write_bytes(expected.replace(b'"n":7', b'"n":8'))

    check_failed(back_up("--output", "b.ndjson"), 4, "event 7 is not what follows: its hash")


def test_a_draft_of_another_store_is_refused(expected: bytes) -> None:
    assert expected
    engine = open_log(Path("other"))
    store(engine, a_candidate("/other"))
    Path("b.ndjson.part").write_bytes(to_backup_lines(read(engine), 1))
    engine.close()

    check_failed(back_up("--output", "b.ndjson"), 3, "event 0 in data has another hash")


def test_a_draft_that_is_ahead_is_refused(expected: bytes) -> None:
    open_log(Path("empty")).close()
    Path("b.ndjson.part").write_bytes(expected)

    result = back_up("--output", "b.ndjson", directory="empty")

    check_failed(result, 3, f"empty has no event {COUNT - 1}")


def test_a_draft_is_written_by_one_at_a_time(expected: bytes) -> None:
    assert expected
    other = output.FileOutput(Path("b.ndjson"), is_compressed=False)

    check_failed(back_up("--output", "b.ndjson"), 1, "is being written by another backup")

    other.close()
    assert back_up("--output", "b.ndjson").exit_code == 0


def test_progress_is_shown_and_gone_at_the_end(
    expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expected
    shown: list[str] = []
    monkeypatch.setattr(progress, "_SHOWN_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_SHOWN_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_is_watched", lambda: True)
    monkeypatch.setattr(progress, "_show", shown.append)

    assert back_up("--output", "b.ndjson").exit_code == 0

    *lines, last = shown
    assert re.match(rf"\r\d+% of {COUNT} events, [0-9,]+ events/s, .* left", lines[-1])
    assert last == "\r\x1b[K"


# Files that are there, and increments.


def test_a_file_that_is_there_is_not_written_over(expected: bytes) -> None:
    Path("b.ndjson").write_bytes(b"x")

    check_failed(back_up("--output", "b.ndjson"), 2, "b.ndjson is there already")
    assert Path("b.ndjson").read_bytes() == b"x"

    assert back_up("--output", "b.ndjson", "--force").exit_code == 0
    assert Path("b.ndjson").read_bytes() == expected


@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_an_increment_holds_what_has_come_since(expected: bytes, suffix: str) -> None:
    names = [f"{number}.ndjson{suffix}" for number in range(3)]
    assert back_up("--output", names[0]).exit_code == 0
    second = write("data", 5)
    result = back_up("--output", names[1], "--incremental-from", names[0])
    third = write("data", 3)
    assert back_up("--output", names[2], "--incremental-from", names[1]).exit_code == 0

    schema = expected.splitlines(keepends=True)[0]
    assert content_of(names[1]) == schema + second.removeprefix(expected)
    assert content_of(names[2]) == schema + third.removeprefix(second)
    assert result.stdout.startswith(f"{names[1]}: 5 events, from {COUNT} (")


def test_an_increment_may_be_gone_on_with(expected: bytes) -> None:
    assert back_up("--output", "0.ndjson").exit_code == 0
    second = write("data", 5)
    assert back_up("--output", "1.ndjson", "--incremental-from", "0.ndjson").exit_code == 0
    content = Path("1.ndjson").read_bytes()
    Path("2.ndjson.part").write_bytes(content[:-700])

    result = back_up("--output", "2.ndjson", "--incremental-from", "0.ndjson")

    assert Path("2.ndjson").read_bytes() == content
    assert content.endswith(second.removeprefix(expected))
    assert result.stdout.startswith(f"2.ndjson: 5 events, from {COUNT} (")
    Path("3.ndjson.part").write_bytes(content)
    check_failed(back_up("--output", "3.ndjson"), 4, "cannot be gone on with")


def test_an_increment_without_anything_new_is_one(expected: bytes) -> None:
    Path("0.ndjson").write_bytes(expected)

    result = back_up("--output", "1.ndjson", "--incremental-from", "0.ndjson")

    assert result.stdout.startswith("1.ndjson: 0 events; 1 event schema; ")
    check_failed(
        back_up("--output", "2.ndjson", "--incremental-from", "1.ndjson"), 4, "it holds no event"
    )


@pytest.mark.parametrize(
    "content, code, text",
    [
        (b"", 4, "0.ndjson: it holds no event"),
        (b"hello\n", 4, "0.ndjson: line 1 is no line of a backup"),
        (b"hello", 4, "0.ndjson: the backup is incomplete"),
        (None, 1, "No such file"),
    ],
)
def test_a_backup_to_go_on_from_has_to_be_one(
    expected: bytes, content: bytes | None, code: int, text: str
) -> None:
    assert expected
    if content is not None:
        Path("0.ndjson").write_bytes(content)

    check_failed(back_up("--output", "1.ndjson", "--incremental-from", "0.ndjson"), code, text)
    assert not Path("1.ndjson.part").exists()


# What goes wrong.


def test_damage_is_found_on_the_way(expected: bytes) -> None:
    assert expected
    segment = min(Path("data/log").iterdir())
    segment.write_bytes(segment.read_bytes().replace(b'"n":1}', b'"n":7}', 1))

    result = back_up("--output", "b.ndjson")

    check_failed(result, 4, "event 1 is not what follows: its hash is not that of its content")
    assert not Path("b.ndjson").exists()


def test_lines_that_are_none_are_found_on_the_way(expected: bytes) -> None:
    assert expected
    segment = min(Path("data/log").iterdir())
    segment.write_bytes(segment.read_bytes().replace(b'"predecessorhash"', b'"predecessorHash"', 1))

    check_failed(back_up("--output", "b.ndjson"), 4, "'everlog audit' tells all that is wrong")


def test_a_directory_that_is_none_ends_with_code_3() -> None:
    check_failed(back_up("--output", "b.ndjson", directory="missing"), 3, "is not a directory")


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        (("--output", "no/b.ndjson"), 1, "No such file"),
        (("--output", "data"), 2, "data is there already"),
        ((), 2, "Missing option '--output'"),
        (("--output", "b", "--url=http://127.0.0.1:1"), 2, "exclude each other"),
    ],
)
def test_what_cannot_be_is_told(
    expected: bytes, arguments: tuple[str, ...], code: int, text: str
) -> None:
    assert expected

    check_failed(back_up(*arguments), code, text)


def test_a_server_is_asked_with_a_token() -> None:
    neither = run("--output", "b.ndjson")
    check_failed(neither, 2, "--url for a server, or --data-directory")
    check_failed(run("--output", "b", "--url=http://127.0.0.1:1"), 2, "a token is needed")
    refused = run("--output", "b", "--url=http://127.0.0.1:1", EVERLOG_API_TOKEN="secret")
    check_failed(refused, 8, "http://127.0.0.1:1 cannot be asked: ")
    assert "secret" not in refused.stderr


def test_without_zstd_nothing_is_begun(expected: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert expected
    module = "compression" if sys.version_info >= (3, 14) else "backports"
    monkeypatch.setitem(sys.modules, module, None)

    check_failed(back_up("--output", "b.zst"), 2, "pip install 'everlog[zstd]'")
    assert not Path("b.zst.part").exists()
    assert back_up("--output", "b.ndjson").exit_code == 0


def test_the_help_teaches() -> None:
    result = run("--help")

    assert result.stdout.count("  everlog backup ") >= 4
    assert "\n    8  the server cannot be asked" in result.stdout
