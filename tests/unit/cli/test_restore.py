"""`everlog restore`: files that become a store, what is said of it, and what is refused."""

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from everlog.cli import progress
from everlog.cli.backing_up.compression import compress
from everlog.cli.main import cli
from everlog.storage.log import ReadOnlyLog
from everlog.transfer.backup_lines import to_backup_lines
from tests.support.audits import check_audit_is_clean
from tests.support.backups import END_LINE, an_event, chained, event_line, lines_of, schema_line
from tests.support.engines import read

CHAIN = chained([an_event(f'{{"n":{number}}}') for number in range(9)])
SCHEMA = schema_line("io.everlog.test.happened", '{"type":"object","properties":{}}')
BACKUP = SCHEMA + lines_of(CHAIN)


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def restore(*arguments: str, given: bytes = b"") -> Result:
    return CliRunner().invoke(cli, ["restore", *arguments], input=given)


def check_failed(result: Result, code: int, text: str) -> None:
    assert result.exit_code == code, result.output
    assert text in result.stderr
    assert result.stdout == ""


def events_in(directory: str) -> bytes:
    with ReadOnlyLog.open(Path(directory)) as log:
        lines = read(log)
    return to_backup_lines(lines, 1) if lines else b""


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_file_is_restored(*, is_compressed: bool) -> None:
    content = compress(BACKUP[:2_000]) + compress(BACKUP[2_000:]) if is_compressed else BACKUP
    # It is told by what it is.
    Path("backup").write_bytes(content)

    result = restore("backup", "data")

    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout == (
        f"data: 9 events, from 0 ({CHAIN[0][1]}) to 8 ({CHAIN[8][1]}); 1 event schema; "
        f"SHA-256 {sha256(content).hexdigest()} of backup\n"
    )
    assert events_in("data") == lines_of(CHAIN)
    check_audit_is_clean(Path("data"))


def test_standard_input_is_restored() -> None:
    for given in (BACKUP, compress(BACKUP)):
        directory = f"data-{len(given)}"

        result = restore("-", directory, "--format=json", given=given)

        assert json.loads(result.stdout) == {
            "type": "summary",
            "payload": {
                "eventCount": 9,
                "schemaCount": 1,
                "firstEventId": "0",
                "firstEventHash": CHAIN[0][1],
                "lastEventId": "8",
                "lastEventHash": CHAIN[8][1],
                "files": [{"name": "-", "sha256": sha256(given).hexdigest()}],
                "rechained": None,
            },
        }
        assert events_in(directory) == lines_of(CHAIN)


def test_increments_are_restored_behind_their_full_backup() -> None:
    Path("0").write_bytes(SCHEMA + lines_of(CHAIN[:4]))
    Path("1").write_bytes(compress(SCHEMA + lines_of(CHAIN[4:6])))
    Path("2").write_bytes(lines_of(CHAIN[6:], look=2) + END_LINE)

    result = restore("0", "1", "2", "data")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("data: 9 events, ")
    for name in ("0", "1", "2"):
        digest = sha256(Path(name).read_bytes()).hexdigest()
        assert f"SHA-256 {digest} of {name}" in result.stdout
    assert events_in("data") == lines_of(CHAIN)


@pytest.mark.parametrize(
    "names, text",
    [
        (("1", "2"), "1: line 1, event 4: the first event has the id '4'"),
        (("0", "2"), "2: line 1, event 6: the increment begins with the id '6', and 4 would"),
        (("0", "2", "1"), "2: line 1, event 6: "),
        (("0", "1", "1"), "1: line 1, event 4: "),
    ],
)
def test_increments_in_another_order_are_refused(names: tuple[str, ...], text: str) -> None:
    Path("0").write_bytes(lines_of(CHAIN[:4]))
    Path("1").write_bytes(lines_of(CHAIN[4:6]))
    Path("2").write_bytes(lines_of(CHAIN[6:]))

    check_failed(restore(*names, "data"), 4, text)
    assert events_in("data") == b""


def test_a_filtered_file_is_refused_and_taken_when_told_so() -> None:
    Path("filtered").write_bytes(lines_of(CHAIN[:2] + CHAIN[5:]))

    refused = restore("filtered", "data")
    check_failed(refused, 4, "filtered: line 3, event 5: its id is '5', and 2 would be next")
    assert "--rechain" in refused.stderr

    result = restore("--rechain", "filtered", "data")

    assert result.exit_code == 0, result.output
    ids, hashes, summary = result.stdout.splitlines()
    assert ids == "new ids: 4, the first is 2, which was 5"
    assert hashes.startswith("new hashes: 4, the first is that of event 2: ")
    assert hashes.endswith(f", which was {CHAIN[5][1]}")
    assert summary.startswith("data: 6 events, ")
    check_audit_is_clean(Path("data"))


def test_programs_are_told_what_was_chained_anew() -> None:
    Path("changed").write_bytes(event_line({**CHAIN[0][0], "data": "{}"}, ""))

    result = restore("--rechain", "--hash-version=1", "changed", "data", "--format=json")

    [(_, hash_)] = chained([an_event("{}")])
    rechained = json.loads(result.stdout)["payload"]["rechained"]
    change = {"oldId": "0", "newId": "0", "oldHash": "", "newHash": hash_}
    assert rechained == {
        "changedIdCount": 0,
        "changedHashCount": 1,
        "firstChangedId": None,
        "firstChangedHash": change,
    }


# Whatever a terminal would obey is an escape.
SAID = "the backup is incomplete: whoever made it says so in line 11: disk\\x1b full"


@pytest.mark.parametrize(
    "content, text",
    [
        (BACKUP[:-20], "the backup is incomplete: it ends in the middle of line 10"),
        (compress(BACKUP)[:-3], "the backup is incomplete: it ends in the middle of a frame"),
        (compress(BACKUP) + b"x", "the backup cannot be read: "),
        (BACKUP + b'{"type":"error","payload":"disk\\u001b full"}\n', SAID),
        (
            BACKUP.replace(b'"n":3', b'"n":4'),
            "line 5, event 3: its hash is not that of its content",
        ),
        (b"PK\x03\x04", "the backup is incomplete: it ends in the middle of line 1"),
    ],
)
def test_a_backup_that_is_not_whole_is_refused(content: bytes, text: str) -> None:
    Path("backup").write_bytes(content)

    check_failed(restore("backup", "data"), 4, f"Error: backup: {text}")
    assert events_in("data") == b""

    # The next try begins anew.
    Path("backup").write_bytes(BACKUP)
    assert restore("backup", "data").exit_code == 0


def test_nothing_is_no_backup() -> None:
    Path("backup").write_bytes(b"")

    check_failed(restore("backup", "data"), 4, "there is not one byte of it")
    check_failed(restore("-", "data"), 4, "there is not one byte of it")

    # An increment may be empty, where nothing has come.
    Path("0").write_bytes(BACKUP)
    assert restore("0", "backup", "data").exit_code == 0


def test_a_store_that_is_not_empty_is_not_touched() -> None:
    Path("backup").write_bytes(BACKUP)
    assert restore("backup", "data").exit_code == 0

    check_failed(restore("backup", "data"), 3, "data is not empty: it has 9 events")
    assert events_in("data") == lines_of(CHAIN)


def test_a_directory_of_something_else_is_not_touched() -> None:
    Path("other").mkdir()
    Path("other/file").write_bytes(b"x")
    Path("backup").write_bytes(BACKUP)

    check_failed(restore("backup", "other"), 3, "not a data directory of Everlog")
    check_failed(restore("backup", "backup"), 3, "something else is there")
    assert [path.name for path in Path("other").iterdir()] == ["file"]


def test_a_file_that_is_not_there_ends_with_code_1() -> None:
    check_failed(restore("missing", "data"), 1, "No such file")
    check_failed(restore("data"), 2, "say where it is made")


def test_progress_is_shown_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("backup").write_bytes(BACKUP)
    shown: list[str] = []
    monkeypatch.setattr(progress, "_SHOWN_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_SHOWN_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_is_watched", lambda: True)
    monkeypatch.setattr(progress, "_show", shown.append)

    assert restore("backup", "data").exit_code == 0
    assert restore("-", "other", given=BACKUP).exit_code == 0

    share, *_, last = shown
    assert re.match(r"\r100% of [0-9,]+ bytes, 0 events, 0 events/s", share)
    assert last == "\r\x1b[K"
    # Nobody knows how much comes.
    assert any(text.startswith("\r0 events, ") for text in shown)


def test_the_help_teaches() -> None:
    result = restore("--help")

    assert result.stdout.count("  everlog restore ") >= 3
    assert "\n    4  the backup is not whole" in result.stdout
