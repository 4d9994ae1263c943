"""`everlog query`: where the query comes from, whom it asks, and how rows are printed."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from everlog.cli import directory as reading
from everlog.cli import printing, progress
from everlog.cli.main import cli
from everlog.domain.signature import SIGNATURE_PREFIX
from tests.support.engines import open_log
from tests.support.events import a_candidate, stage, store
from tests.support.keys import write_signing_key

COUNT = "FROM e IN events PROJECT INTO COUNT()"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    engine = open_log(tmp_path / "data")
    for number in range(3):
        store(engine, a_candidate(f"/numbers/{number}", data=f'{{"n":{number}}}'))
    engine.close()
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "DATA_DIRECTORY", "API_TOKEN", "API_TOKEN_FILE", "SIGNING_KEY_FILE"):
        monkeypatch.delenv(f"EVERLOG_{name}", raising=False)


def run(*arguments: str | Path, given: str = "", **variables: str) -> Result:
    return CliRunner().invoke(cli, ["query", *map(str, arguments)], input=given, env={**variables})


def run_on(directory: Path, *arguments: str | Path, given: str = "") -> Result:
    return run("--data-directory", directory, *arguments, given=given)


def check_prints(result: Result, output: str) -> None:
    """Check that a query ends well, with this output and nothing else."""
    assert (result.exit_code, result.stdout, result.stderr) == (0, output, "")


def test_the_query_is_an_argument_a_file_or_the_input(directory: Path, tmp_path: Path) -> None:
    file = tmp_path / "query.eventql"
    file.write_text(COUNT)

    check_prints(run_on(directory, COUNT), "3\n")
    check_prints(run_on(directory, "--file", file), "3\n")
    check_prints(run_on(directory, given=COUNT), "3\n")
    check_prints(run_on(directory, "-", given=f"// how many\n{COUNT}\n"), "3\n")


@pytest.mark.parametrize(
    "arguments, given, text",
    [
        (("--file=x", COUNT), "", "exclude each other"),
        (("--file=missing",), "", "No such file"),
        (("-",), b"\xff", "is not UTF-8"),
        (("\udcff",), "", "is not UTF-8"),
        (("--format=xml", COUNT), "", "xml"),
        (("--signing-key-file=missing", COUNT), "", "missing cannot be read"),
    ],
)
def test_what_is_asked_wrongly_ends_with_code_2(
    directory: Path, arguments: tuple[str, ...], given: Any, text: str
) -> None:
    result = run_on(directory, *arguments, given=given)

    assert (result.exit_code, result.stdout) == (2, "")
    assert text in result.stderr


def test_somebody_has_to_be_asked(directory: Path) -> None:
    neither = run(COUNT)
    both = run_on(directory, "--url=http://127.0.0.1:1", COUNT)

    assert (neither.exit_code, both.exit_code) == (2, 2)
    assert "--url for a server, or --data-directory" in neither.stderr
    assert "exclude each other" in both.stderr


def test_flags_count_more_than_the_environment(directory: Path) -> None:
    unreachable = "http://127.0.0.1:1"
    variables = {"EVERLOG_API_TOKEN": "x", "EVERLOG_URL": unreachable}
    check_prints(run(COUNT, EVERLOG_DATA_DIRECTORY=str(directory)), "3\n")
    check_prints(run("--data-directory", directory, COUNT, **variables), "3\n")

    for arguments in ((COUNT,), ("--url", unreachable, COUNT)):
        result = run(*arguments, EVERLOG_DATA_DIRECTORY=str(directory), **variables)
        assert result.exit_code == 8
        assert f"{unreachable} cannot be asked" in result.stderr


@pytest.mark.parametrize(
    "variables, text",
    [
        ({}, "a token is needed"),
        ({"EVERLOG_API_TOKEN_FILE": "missing"}, "No such file"),
        ({"EVERLOG_API_TOKEN": "se\ncret"}, "other than printable ASCII"),
    ],
)
def test_a_server_is_asked_with_a_token(variables: dict[str, str], text: str) -> None:
    result = run("--url=http://127.0.0.1:1", COUNT, **variables)

    assert (result.exit_code, result.stdout) == (2, "")
    assert text in result.stderr
    assert "cret" not in result.stderr


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://"])
def test_an_address_that_is_none_ends_with_code_2(url: str) -> None:
    assert run("--url", url, COUNT, EVERLOG_API_TOKEN="x").exit_code == 2


@pytest.mark.parametrize(
    "form, output",
    [
        ("ndjson", '{"id":"1","n":1}\n{"id":"2","n":2}\n'),
        ("json", '[\n{"id":"1","n":1},\n{"id":"2","n":2}\n]\n'),
        ("csv", "id,n\r\n1,1\r\n2,2\r\n"),
    ],
)
def test_rows_are_printed_in_the_format_asked_for(directory: Path, form: str, output: str) -> None:
    text = "FROM e IN events WHERE e.id != '0' PROJECT INTO { id: e.id, n: e.data.n }"
    result = run_on(directory, "--format", form, text)

    assert (result.exit_code, result.stdout_bytes.decode(), result.stderr) == (0, output, "")


def test_a_table_says_how_many_rows_it_has(directory: Path) -> None:
    result = run_on(directory, "--format=table", "FROM e IN events PROJECT INTO e.data")

    assert result.stdout == "n\n-\n0\n1\n2\n"
    assert result.stderr.startswith("(3 rows, ")
    assert result.exit_code == 0


def test_rows_before_a_fault_are_printed(directory: Path) -> None:
    text = "FROM e IN events PROJECT INTO 1 / (e.data.n - 2)"
    outputs = {
        "ndjson": "-0.5\n-1\n",
        "json": "[\n-0.5,\n-1",
        "table": "value\n-----\n -0.5\n   -1\n",
    }
    for form, output in outputs.items():
        result = run_on(directory, "--format", form, text)

        assert (result.exit_code, result.stdout) == (7, output)
        assert "event '2': division by zero" in result.stderr
        assert result.stderr.endswith(" 1 / (e.data.n - 2)\n" + " " * 32 + "^" * 18 + "\n")


def test_rows_without_a_place_in_csv_end_with_code_1(directory: Path) -> None:
    text = "FROM e IN events PROJECT INTO IF(e.id == '1', e.data, e.data.n)"
    result = run_on(directory, "--format=csv", text)

    assert (result.exit_code, result.stdout_bytes) == (1, b"value\r\n0\r\n")
    assert "row 2 has a member 'n'" in result.stderr


def test_a_malformed_query_ends_with_code_6_before_anything_is_read(tmp_path: Path) -> None:
    result = run_on(tmp_path / "none", "FROM e IN event PROJECT INTO e")

    assert (result.exit_code, result.stdout) == (6, "")
    assert "unknown source 'event'" in result.stderr
    assert "  FROM e IN event PROJECT INTO e\n            ^^^^^\n" in result.stderr


def test_explain_is_a_flag_or_a_word(directory: Path) -> None:
    queries = (("--explain", COUNT), (f"EXPLAIN {COUNT}",), ("--explain", f"explain {COUNT}"))
    for query in queries:
        result = run_on(directory, *query)
        assert result.exit_code == 0
        assert json.loads(result.stdout)["sources"][0]["eventsInLog"] == 3

        shown = run_on(directory, "--format=table", *query)
        assert shown.stdout.startswith("sources:\n  - source: events\n")
        assert (shown.exit_code, shown.stderr) == (0, "")


def test_events_are_signed_with_a_key(directory: Path, tmp_path: Path) -> None:
    write_signing_key(tmp_path / "key.pem")
    text = "FROM e IN events TOP 1 PROJECT INTO e.signature"

    check_prints(run_on(directory, text), "null\n")
    signed = run_on(directory, "--signing-key-file", tmp_path / "key.pem", text)
    assert json.loads(signed.stdout).startswith(SIGNATURE_PREFIX)


def test_a_directory_that_a_server_has_open_is_read_beside_it(directory: Path) -> None:
    engine = open_log(directory)
    store(engine, a_candidate("/numbers/3", data='{"n":3}'))
    stage(engine, a_candidate("/numbers/4", data='{"n":4}'))

    check_prints(run_on(directory, COUNT), "4\n")

    engine.roll_back()
    engine.close()


def test_a_directory_that_cannot_be_read_ends_with_code_3(tmp_path: Path) -> None:
    for path, text in (
        (tmp_path, "not a data directory"),
        (tmp_path / "none", "is not a directory"),
    ):
        result = run_on(path, COUNT)
        assert (result.exit_code, result.stdout) == (3, "")
        assert text in result.stderr


@pytest.mark.parametrize(
    "before, after",
    [
        (b'"id":"1"', b'"id":"7"'),
        # Not in what reading looks at, but in what the query asks for.
        (b'"data":{"n":1}', b'"data":[[{n:1}'),
    ],
)
def test_damage_ends_with_code_4(directory: Path, before: bytes, after: bytes) -> None:
    path = next((directory / "log").iterdir())
    path.write_bytes(path.read_bytes().replace(before, after))

    result = run_on(directory, "FROM e IN events PROJECT INTO e.data.n")

    assert (result.exit_code, result.stdout) == (4, "")
    assert "everlog audit" in result.stderr


def test_a_member_that_only_the_query_looks_at_may_be_damaged_too(directory: Path) -> None:
    path = next((directory / "log").iterdir())
    path.write_bytes(path.read_bytes().replace(b'"time":"2023-11-14T', b'"time":"2023-11-99T', 1))

    result = run_on(directory, "FROM e IN events PROJECT INTO DAY(e.time)")

    assert (result.exit_code, result.stdout) == (4, "")
    assert "everlog audit" in result.stderr


def test_what_the_system_refuses_ends_with_code_3(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reading.ReadOnlyLog, "open", refuse)

    result = run_on(directory, COUNT)

    assert result.exit_code == 3
    assert "cannot be read: Permission denied" in result.stderr


def test_an_interruption_is_quiet_and_ends_with_code_130(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "prepare", interrupt)

    result = run_on(directory, COUNT)

    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")


def test_progress_is_told_in_events(directory: Path) -> None:
    told: list[tuple[int, int]] = []

    def rows_of(text: str) -> list[bytes]:
        told.clear()
        transport = reading.DirectoryTransport(
            directory, on_read=lambda done, total: told.append((done, total))
        )
        with closing(transport):
            return [row for chunk in transport.query(text) for row in chunk]

    assert rows_of("FROM e IN events WHERE e.data.n > 0 PROJECT INTO COUNT()") == [b"2"]
    assert told[-1] == (3, 3)
    rows_of("FROM a IN events FROM b IN events PROJECT INTO 1")
    assert told[-1] == (6, 6)
    rows_of("FROM e IN events WHERE e.subject == '/numbers/1' PROJECT INTO e.id")
    assert told[-1] == (1, 1)
    # The index knows them.
    rows_of("FROM s IN subjects PROJECT INTO s")
    assert told == []


def test_progress_makes_room_for_rows_and_is_gone_at_the_end(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(progress, "_SHOWN_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_SHOWN_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_is_watched", lambda: True)
    monkeypatch.setattr(progress, "_show", shown.append)
    monkeypatch.setattr(printing, "_write", lambda _, text: shown.append(text.decode()))

    assert run_on(directory, "FROM e IN events PROJECT INTO e.data.n").exit_code == 0

    line, *others = shown
    assert line.startswith("\r100% of 3 events, ")
    assert others == ["\r\x1b[K", "0\n1\n2\n"]


def test_the_help_teaches() -> None:
    result = run("--help")

    assert result.exit_code == 0
    assert result.stdout.count("  everlog query ") >= 3
    assert "\n    6  the query is malformed\n" in result.stdout


def test_a_process_without_standard_output_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)

    with pytest.raises(SystemExit) as raised:
        printing.print_rows(iter(()), None, progress.Progress())

    assert raised.value.code == 141


def test_rows_of_a_table_wait_for_each_other_but_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[bytes] = []
    now = 0.0

    def rows() -> Iterator[list[bytes]]:
        nonlocal now
        yield [b"1"]
        yield [b"2"]
        assert shown == []
        now = 1.0
        # Work goes on.
        yield []
        assert shown == [b"value\n-----\n    1\n    2\n"]
        yield [b"3"]

    monkeypatch.setattr(printing, "_write", lambda _, text: shown.append(text))
    told = progress.Progress(clock=lambda: now)

    assert printing.print_rows(rows(), "table", told) == 0
    assert shown[1:] == [b"    3\n"]
