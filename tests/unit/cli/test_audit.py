"""`everlog audit`: what it prints, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from everlog.cli import audit as command
from everlog.cli.main import cli
from tests.support.engines import events_of, open_log, read
from tests.support.events import a_candidate, store
from tests.support.merkle import tree_root
from tests.support.signed_notes import NoteKey, note_text, signed_note


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    engine = open_log(tmp_path / "data")
    for _ in range(3):
        store(engine, a_candidate("/a"))
    engine.close()
    return tmp_path / "data"


def run_audit(directory: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["audit", "--data-directory", str(directory), *options])


def damage(directory: Path) -> None:
    path = next((directory / "log").iterdir())
    path.write_bytes(path.read_bytes().replace(b'"id":"1"', b'"id":"7"'))


def payloads(result: Result) -> list[tuple[str, dict[str, Any]]]:
    lines = map(json.loads, result.stdout.splitlines())
    return [(line["type"], line["payload"]) for line in lines]


def test_a_directory_without_a_flaw_is_ok(directory: Path) -> None:
    result = run_audit(directory)

    engine = open_log(directory)
    assert result.exit_code == 0
    assert result.stdout == (
        f"OK: 3 events, {engine.head.log_size} bytes in 1 segments, 0 event schemas, "
        f"head {engine.head.hash}\n"
    )
    assert result.stderr == ""
    engine.close()


def test_findings_are_printed_with_their_place_and_end_with_code_4(directory: Path) -> None:
    damage(directory)

    result = run_audit(directory)

    first, second, last = result.stdout.splitlines()
    assert first.startswith("data: log/00000000000000000000.ndjson at byte ")
    assert first.endswith(", event 1: it has the id '7' [id]")
    assert "event 1: its hash is not that of its content [hash]" in second
    assert last.startswith("2 findings: 3 events, ")
    assert result.exit_code == 4


def test_json_is_for_programs(directory: Path) -> None:
    assert payloads(run_audit(directory, "--format", "json"))[-1][1]["isOk"]
    damage(directory)

    result = run_audit(directory, "--format=json")

    *findings, (kind, summary) = payloads(result)
    assert [name for name, _ in findings] == ["finding", "finding"]
    assert findings[0][1]["eventId"] == "1"
    assert findings[0][1].keys() == {"kind", "weight", "eventId", "file", "offset", "meaning"}
    assert kind == "summary"
    assert (summary["isOk"], summary["findingCount"], summary["eventCount"]) == (False, 2, 3)
    assert result.exit_code == 4


def test_notices_do_not_change_the_exit_code(directory: Path) -> None:
    (directory / "index" / "checkpoint.json").unlink()

    result = run_audit(directory)

    assert result.stdout.startswith("notice: index/checkpoint.json: there is no checkpoint")
    assert result.exit_code == 0


def test_what_cannot_be_audited_ends_with_code_3(directory: Path, tmp_path: Path) -> None:
    for path, message in ((directory / "durable", "is not a"), (tmp_path, "not a data directory")):
        result = run_audit(path)
        assert (result.exit_code, result.stdout) == (3, "")
        assert message in result.stderr


def test_beside_a_server_it_says_up_to_where_it_looks(directory: Path) -> None:
    engine = open_log(directory)
    store(engine, a_candidate("/b"))

    result = run_audit(directory)

    engine.close()
    notice, summary = result.stdout.splitlines()
    assert notice.startswith("notice: durable, event 4: a server has the directory open: ")
    assert notice.endswith(" [served]")
    assert summary.startswith("OK: 4 events, ")
    assert result.exit_code == 0


def test_a_directory_is_needed() -> None:
    result = CliRunner().invoke(cli, ["audit"])

    assert result.exit_code == 2
    assert "--data-directory" in result.stderr


def test_progress_is_shown_where_somebody_looks(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(command, "_PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(command, "_is_watched", lambda: True)
    monkeypatch.setattr(command, "_show", shown.append)

    assert run_audit(directory).exit_code == 0

    size = sum(path.stat().st_size for path in (directory / "log").iterdir())
    assert f"100% of {size} bytes" in "".join(shown)


@pytest.mark.parametrize("format_", ["text", "json"])
def test_what_a_damaged_file_holds_is_shown_as_escapes(directory: Path, format_: str) -> None:
    path = next((directory / "log").iterdir())
    hostile = b'"specversion":"\xc2\x9b2J","\xe2\x80\xae\x7f":1'
    path.write_bytes(path.read_bytes().replace(b'"specversion":"1.0"', hostile))

    result = run_audit(directory, "--format", format_)

    assert result.exit_code == 4
    assert result.stdout.replace("\n", "").isprintable()


KEY = NoteKey("example.com/log")


def keep(directory: Path, size: int, *, root: bytes | None = None) -> str:
    """Write a checkpoint beside a directory, and return its path."""
    engine = open_log(directory)
    leaves = [event.hash.encode() for event in events_of(read(engine))]
    engine.close()
    text = note_text(KEY.name, size, tree_root(leaves[:size]) if root is None else root)
    path = directory.parent / f"kept-{size}"
    path.write_bytes(signed_note(text, KEY.sign(text)))
    return str(path)


def test_a_log_is_compared_with_checkpoints_and_who_signed_is_told(directory: Path) -> None:
    path = keep(directory, 2)

    result = run_audit(directory, "--checkpoint", path, "--key", KEY.verifier_key)

    first, last = result.stdout.splitlines()
    assert result.exit_code == 0
    assert first == (
        f"{path}: the first 2 events are those of the log example.com/log, "
        f"signed by example.com/log+{KEY.id.hex()} (Ed25519)"
    )
    assert last.startswith("OK: 3 events, ")


def test_without_a_key_it_is_said_that_nobody_checked_who_signed(directory: Path) -> None:
    path = keep(directory, 2)

    result = run_audit(directory, "--checkpoint", path)

    assert "whose signature nobody checked: no --key was given" in result.stdout
    assert result.exit_code == 0


def test_a_checkpoint_of_another_history_is_a_finding(directory: Path) -> None:
    path = keep(directory, 2, root=bytes(32))
    longer = keep(directory, 4)

    result = run_audit(
        directory, "--checkpoint", path, "--checkpoint", longer, "--key", KEY.verifier_key
    )

    assert result.stdout.splitlines()[:2] == [
        f"data: log: its first 2 events are not those of the checkpoint {path} [checkpoint-root]",
        (
            f"data: log, event 3: it ends before the 4 events of the checkpoint {longer} "
            "[checkpoint-size]"
        ),
    ]
    assert result.exit_code == 4


def test_programs_are_told_of_each_checkpoint(directory: Path) -> None:
    paths = [keep(directory, 3), keep(directory, 2, root=bytes(32))]
    options = [f"--checkpoint={path}" for path in paths]

    told = payloads(run_audit(directory, *options, "--format=json"))[-1][1]["checkpoints"]
    signed = payloads(run_audit(directory, options[0], "--key", KEY.verifier_key, "--format=json"))[
        -1
    ][1]["checkpoints"]

    assert [one["isConfirmed"] for one in told] == [True, False]
    assert told[0] == {
        "file": paths[0],
        "origin": "example.com/log",
        "size": 3,
        "isConfirmed": True,
        "signedBy": None,
    }
    assert signed[0]["signedBy"] == f"example.com/log+{KEY.id.hex()} (Ed25519)"


def test_a_checkpoint_that_is_not_signed_as_it_has_to_be_ends_with_code_2(directory: Path) -> None:
    path = keep(directory, 2)
    stranger = NoteKey(KEY.name)

    unsigned = run_audit(directory, "--checkpoint", path, "--key", stranger.verifier_key)
    assert unsigned.exit_code == 2
    assert f"--checkpoint {path}: it is not signed by " in unsigned.stderr
    none = run_audit(directory, "--checkpoint", str(directory / "everlog.json"))
    assert none.exit_code == 2
    assert "it is no signed note" in none.stderr
    alone = run_audit(directory, "--key", KEY.verifier_key)
    assert "--key needs the --checkpoint that it is for" in alone.stderr
