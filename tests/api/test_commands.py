"""Commands as a person runs them: over a server and a directory, in pipes and at a terminal."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import everlog
from tests.support.keys import write_certificate
from tests.support.proxy import running_nginx
from tests.support.server import (
    DEADLINE_SECONDS,
    EVERLOG,
    TOKEN,
    Ended,
    RunningServer,
    clean_environment,
    running_server,
)
from tests.support.terminals import Terminal

TYPE = "com.example.book-acquired"
SOURCE = "https://library.example"


def run(*arguments: str, given: str = "", directory: Path | None = None, **variables: str) -> Ended:
    done = subprocess.run(
        [*EVERLOG, *arguments],
        input=given,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE_SECONDS,
        check=False,
        cwd=directory,
        env={**clean_environment(), **variables},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.fixture(params=["server", "directory"])
def store(request: pytest.FixtureRequest, server: RunningServer, tmp_path: Path) -> dict[str, str]:
    """Return the variables that say which store is meant."""
    if request.param == "server":
        return {"EVERLOG_URL": server.url, "EVERLOG_API_TOKEN": TOKEN}
    return {"EVERLOG_DATA_DIRECTORY": str(tmp_path / "data")}


def lines_of(count: int, subject: str) -> str:
    events = ({"subject": f"{subject}/{n}", "data": {"n": n}} for n in range(count))
    return "".join(json.dumps(event) + "\n" for event in events)


DEFAULTS = ("--source", SOURCE, "--type", TYPE)


def test_what_is_written_is_read_byte_by_byte(store: dict[str, str]) -> None:
    arguments = ("--subject=/one/1", "--data", '{"price": 1.50}', "--if-pristine=/one/1")
    written = run("write", *DEFAULTS, *arguments, **store)
    again = run("write", *DEFAULTS, *arguments, **store)

    assert written.code == 0, written.errors
    assert '"data":{"price":1.50}' in written.output
    assert (again.code, again.output) == (9, "")
    assert "precondition-violated" in again.errors
    assert run("read", "/one/1", "--verify", **store).output == written.output
    assert run("read", "/one", **store).output == ""
    assert run("read", "/one", "--recursive", **store).output == written.output


def test_lines_are_written_in_batches_and_the_refused_one_is_named(store: dict[str, str]) -> None:
    good = lines_of(25, "/many")
    written = run("write", *DEFAULTS, "--batch-size=10", given=good, **store)
    assert written.code == 0, written.errors
    assert len(written.output.splitlines()) == 25

    for bad, code in (('{"subject":"x","data":{}}\n', 9), ("nonsense\n", 2)):
        given = f"\n{lines_of(3, '/before')}{bad}{lines_of(3, '/behind')}"
        refused = run("write", *DEFAULTS, "--batch-size=2", given=given, **store)
        assert refused.code == code
        assert "line 5: " in refused.errors
        assert "the 3 events before it are stored" in refused.errors
        assert len(refused.output.splitlines()) == 3
    assert run("subjects", "/behind", **store).output == ""


def test_events_and_rows_are_exported_in_columns(store: dict[str, str], tmp_path: Path) -> None:
    lines = "".join(
        json.dumps({"source": "https://a.example", "subject": "/columns", "type": TYPE,
                    "data": {"n": number}}) + "\n"
        for number in range(3)
    )  # fmt: skip
    assert run("write", given=lines, **store).code == 0
    query = 'FROM e IN events WHERE e.subject == "/columns" PROJECT INTO { n: e.data.n }'
    for suffix, read in (("parquet", parquet.read_table), ("arrow", _read_arrow)):
        path = tmp_path / f"events.{suffix}"
        assert run("export", "/columns", "--output", str(path), **store).code == 0
        table = read(path)
        assert [json.loads(text)["n"] for text in table["data"].to_pylist()] == [0, 1, 2]
        assert table["subject"].to_pylist() == ["/columns"] * 3
        ended = run("export", "--query", query, "--output", str(path), "--force", **store)
        assert ended.code == 0
        assert read(path).to_pylist() == [{"n": 0}, {"n": 1}, {"n": 2}]


def _read_arrow(path: Path) -> pa.Table:
    with path.open("rb") as file:
        return pa.ipc.open_stream(file).read_all()


def test_exported_events_come_in_again(store: dict[str, str], tmp_path: Path) -> None:
    assert run("write", *DEFAULTS, given=lines_of(3, "/out"), **store).code == 0
    for name in ("events.ndjson", "events.csv", "events.json"):
        path = tmp_path / name
        ended = run("export", "/out", "-r", "--output", str(path), "--force", **store)
        assert ended.code == 0, ended.errors
        assert not path.with_name(f"{name}.part").exists()
        assert run("export", "/out", "-r", "--output", str(path), **store).code == 2
    assert len(json.loads((tmp_path / "events.json").read_text())) == 3
    first = run("read", "/out/1", **store).output.splitlines()

    names = [str(tmp_path / name) for name in ("events.ndjson", "events.csv")]
    imported = run("import", *names, **store)

    assert imported.code == 0, imported.errors
    assert "wrote 6 events" in imported.errors
    after = [json.loads(line) for line in run("read", "/out/1", **store).output.splitlines()]
    assert len(after) == 3 * len(first)
    assert {json.dumps(event["data"]) for event in after} == {'{"n": 1}'}
    assert len({event["id"] for event in after}) == 3


def test_a_csv_file_of_another_program_becomes_events(
    store: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "books.csv"
    file.write_text('subject,data.title,data.shelf\r\n/csv/1,"Moby\nDick",\r\n/csv/2,Emma,A\r\n')

    assert run("import", str(file), *DEFAULTS, **store).code == 0
    rows = run("read", "/csv", "-r", **store).output.splitlines()
    assert [json.loads(row)["data"] for row in rows] == [
        {"title": "Moby\nDick"},
        {"title": "Emma", "shelf": "A"},
    ]
    file.write_text("subject,colour\r\n/csv/3,red\r\n")
    assert "a column 'colour'" in run("import", str(file), *DEFAULTS, **store).errors


def test_names_and_health_are_told_in_each_format(store: dict[str, str]) -> None:
    assert run("write", *DEFAULTS, given=lines_of(2, "/named"), **store).code == 0

    subjects = run("subjects", "/named", "--format=csv", **store).output.splitlines()
    assert subjects == ["subject", "/named", "/named/0", "/named/1"]
    types = [json.loads(line) for line in run("types", **store).output.splitlines()]
    assert {"type": TYPE, "hasEvents": True, "schema": None} in types
    assert run("types", "com.example.none", **store).code == 9
    health = run("health", "--format=json", **store)
    assert health.code == 0, health.errors
    assert json.loads(health.output)[0]["status"] == "pass"
    assert run("health", "--format=table", **store).output.startswith("check")


def test_a_schema_is_registered_for_good(store: dict[str, str]) -> None:
    schema = '{"type":"object","properties":{"n":{"type":"number"}},"required":["n"]}'
    name = "com.example.checked"
    assert run("types", name, "--register-schema=-", given=schema, **store).code == 0
    refused = run(
        "write", f"--source={SOURCE}", f"--type={name}", "--subject=/c", "--data={}", **store
    )
    assert refused.code == 9
    assert "event-schema-violated" in refused.errors


def test_observing_ends_after_as_many_as_asked_for(store: dict[str, str]) -> None:
    assert run("write", *DEFAULTS, given=lines_of(3, "/seen"), **store).code == 0

    seen = run("observe", "/seen", "-r", "--limit=2", **store)
    assert seen.code == 0, seen.errors
    assert [json.loads(line)["subject"] for line in seen.output.splitlines()] == [
        "/seen/0",
        "/seen/1",
    ]


def test_a_directory_that_a_server_has_open_is_read_and_observed_but_not_written(
    server: RunningServer,
) -> None:
    variables = {"EVERLOG_URL": server.url, "EVERLOG_API_TOKEN": TOKEN}
    assert run("write", *DEFAULTS, given=lines_of(1, "/beside"), **variables).code == 0
    here = {"EVERLOG_DATA_DIRECTORY": str(server.data_directory)}

    assert len(run("read", "/beside", "-r", **here).output.splitlines()) == 1
    refused = run("write", *DEFAULTS, given=lines_of(1, "/beside"), **here)
    assert refused.code == 3
    assert "Error: " in refused.errors
    command = [*EVERLOG, "observe", "/beside", "-r", "--limit=2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**clean_environment(), **here}
    ) as process:
        assert process.stdout is not None
        assert b"/beside/0" in process.stdout.readline()
        assert run("write", *DEFAULTS, given=lines_of(1, "/beside/new"), **variables).code == 0
        assert b"/beside/new/0" in process.stdout.readline()
        assert process.wait(DEADLINE_SECONDS) == 0


def test_a_backup_goes_from_server_to_server(server: RunningServer, tmp_path: Path) -> None:
    variables = {"EVERLOG_API_TOKEN": TOKEN}
    backup = str(tmp_path / "backup.ndjson")
    assert run("backup", "--url", server.url, "--output", backup, **variables).code == 0

    full = run("restore", backup, "--url", server.url, **variables)
    assert full.code == 3
    assert "not empty" in full.errors
    with running_server() as other:
        restored = run("restore", backup, "--url", other.url, **variables)
        assert restored.code == 0, restored.errors
        there = run("read", "/", "-r", "--url", other.url, **variables).output
    assert there == run("read", "/", "-r", "--url", server.url, **variables).output


def test_a_context_is_found_from_below_and_a_bare_command_works(
    server: RunningServer, tmp_path: Path
) -> None:
    folder = tmp_path / ".everlog"
    folder.mkdir()
    (folder / "token").write_text(TOKEN)
    (folder / "context.toml").write_text(f'url = "{server.url}"\ntoken-file = "token"\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)

    assert run("subjects", directory=below).code == 0
    assert run("diagnostics", directory=below, EVERLOG_URL=server.url).code == 0
    (folder / "context.toml").chmod(0o666)
    refused = run("subjects", directory=below)
    assert refused.code == 2
    assert "chmod go-w" in refused.errors


def test_the_prefix_of_a_url_is_part_of_it(server: RunningServer) -> None:
    ended = run("read", f"--url={server.url}/below", EVERLOG_API_TOKEN=TOKEN)

    assert ended.code == 8
    assert "/below does not know the path" in ended.errors
    assert TOKEN not in ended.errors


def test_all_commands_work_below_the_prefix_of_a_proxy(
    server: RunningServer, tmp_path: Path
) -> None:
    def configuration(port: int) -> str:
        return (
            f"server {{ listen 127.0.0.1:{port}; location /stores/one/ {{ proxy_buffering off; "
            f"proxy_http_version 1.1; proxy_pass http://127.0.0.1:{server.port}/; }} }}"
        )

    with running_nginx(configuration) as port:
        # With and without a slash at the end.
        for number, end in enumerate(("", "/")):
            url = f"http://127.0.0.1:{port}/stores/one{end}"
            variables = {"EVERLOG_URL": url, "EVERLOG_API_TOKEN": TOKEN}
            top = f"/prefixed/{number}"
            assert run("write", *DEFAULTS, given=lines_of(2, top), **variables).code == 0
            assert len(run("read", top, "-r", **variables).output.splitlines()) == 2
            backup = f"--output={tmp_path / str(number)}"
            for command in (
                ("observe", top, "-r", "--limit=2"),
                ("subjects", top),
                ("types",),
                ("query", "FROM e IN events PROJECT INTO COUNT()"),
                ("health",),
                ("diagnostics",),
                ("backup", backup),
                ("export", top, "-r", backup + ".csv"),
            ):
                ended = run(*command, **variables)
                assert ended.code == 0, (command, ended.errors)
            with everlog.connect(url, token=TOKEN) as store:
                assert [each.subject for each in store.read(f"{top}/1")] == [f"{top}/1"]


def test_a_certificate_that_nobody_trusts_is_told_with_the_flag_that_helps(tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    backup = tmp_path / "backup.ndjson"
    backup.touch()
    commands = (
        ("read", "/"),
        ("diagnostics",),
        ("backup", "--output=-"),
        ("restore", str(backup)),
        ("observe",),
    )
    with running_server(*files.flags, "--http-enabled=false") as server:
        for command in commands:
            ended = run(*command, "--url", server.url, EVERLOG_API_TOKEN=TOKEN)
            assert (ended.code, ended.output) == (8, ""), command
            assert "signed by nobody who is trusted here" in ended.errors
            assert "--ca-file" in ended.errors
            assert "CERTIFICATE_VERIFY_FAILED" not in ended.errors
        for flag in ("--ca-file", "--https-certificate-file"):
            trusting = (flag, str(files.certificate), "--url", server.url)
            assert run("subjects", *trusting, EVERLOG_API_TOKEN=TOKEN).code == 0
            assert run("diagnostics", *trusting, EVERLOG_API_TOKEN=TOKEN).code == 0


# Each row: what has far more to say than a pipe holds.
TALKATIVE = (
    ("read", "/piped", "-r"),
    ("read", "/piped", "-r", "--format=table"),
    ("observe", "/piped", "-r"),
    ("subjects", "/piped"),
    ("export", "/piped", "-r", "--format=csv", "--output=-"),
    ("backup", "--output=-"),
)


def test_whoever_reads_only_the_beginning_ends_a_command_without_a_word(
    server: RunningServer,
) -> None:
    variables = {"EVERLOG_URL": server.url, "EVERLOG_API_TOKEN": TOKEN}
    assert run("write", *DEFAULTS, given=lines_of(4_000, "/piped"), **variables).code == 0

    for arguments in TALKATIVE:
        with subprocess.Popen(
            [*EVERLOG, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**clean_environment(), **variables},
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline(), process.stderr.read()
            process.stdout.close()
            assert process.stderr.read() == b"", arguments
            assert process.wait(DEADLINE_SECONDS) == 141, arguments


def test_a_terminal_has_colours_unless_it_is_told_not_to(
    server: RunningServer, tmp_path: Path
) -> None:
    for variables, is_coloured in (
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ):
        for arguments in (
            ("types", "--url", server.url),
            ("types", f"--data-directory={tmp_path}"),
        ):
            terminal = Terminal(columns=80)
            with subprocess.Popen(
                [*EVERLOG, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=terminal.file,
                stderr=terminal.file,
                env={
                    **clean_environment(),
                    "EVERLOG_API_TOKEN": TOKEN,
                    "TERM": "xterm",
                    **variables,
                },
            ):
                terminal.close_for_writing()
                shown = terminal.read_all()
            assert ("type" in shown) or ("Error" in shown)
            assert ("\033[" in shown) == is_coloured, (arguments, shown)


def test_queries_are_asked_for_at_a_terminal(server: RunningServer, tmp_path: Path) -> None:
    variables = {"EVERLOG_URL": server.url, "EVERLOG_API_TOKEN": TOKEN}
    named = ("--subject=/asked/zebra", "--data={}")
    assert run("write", *DEFAULTS, *named, **variables).code == 0
    for blocked in ("", "prompt_toolkit"):
        terminal = Terminal(columns=80)
        program = f"import sys; sys.modules.update(dict.fromkeys({blocked.split()!r}))\n"
        program += "from everlog.cli import main; sys.argv[0] = 'everlog'; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", program, "query", "--url", server.url],
            stdin=terminal.file,
            stdout=terminal.file,
            stderr=terminal.file,
            env={
                **clean_environment(),
                "EVERLOG_API_TOKEN": TOKEN,
                "EVERLOG_HISTORY_FILE": str(tmp_path / f"history-{blocked}"),
                "TERM": "dumb" if blocked else "xterm",
            },
        )
        terminal.read_until("everlog>")
        # Members, and subjects of the store, as they are completed.
        terminal.type("FROM e IN events WHERE e.sub\t")
        terminal.read_until("ject")
        terminal.type(" == '/asked/z\t")
        terminal.read_until("ebra")
        # readline closes the quote where only one name is left.
        quote = "" if blocked else "'"
        terminal.type(f"{quote} PROJECT INTO {{ named: e.subject }}\r")
        terminal.read_until("named")
        assert "/asked/zebra" in terminal.read_until("1 row")
        terminal.read_until("everlog>")
        terminal.type("FROM e IN events TOP 1\r")
        terminal.read_until("...>")
        terminal.type("PROJECT INTO 6 * 7\r")
        assert "42" in terminal.read_until("1 row")
        terminal.type("\\quit\r")
        terminal.close_for_writing()
        terminal.read_all()
        assert process.wait(DEADLINE_SECONDS) == 0
        assert "6 * 7" in (tmp_path / f"history-{blocked}").read_text()
