"""`everlog audit`: what it prints, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from everlog.cli import audit as command
from everlog.cli.main import cli
from tests.support.engines import open_log
from tests.support.events import a_candidate, store


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
