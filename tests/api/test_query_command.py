"""`everlog query` as people and scripts run it: a process, a terminal, pipes, exit codes."""

import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.api import Connection, an_event
from tests.support.keys import write_signing_key
from tests.support.server import (
    DEADLINE_SECONDS,
    EVERLOG,
    TOKEN,
    RunningServer,
    clean_environment,
    running_server,
)
from tests.support.terminals import Terminal

COUNT = 300
# With this each event takes a few KB, so that pairs of events are far more than any pipe holds.
TEXT = "text " * 1_000
PAIRS = "FROM a IN events FROM b IN events PROJECT INTO a.data"

# Reads as many combinations as there are pairs of events, which takes longer than a test may.
ENDLESS = (
    "FROM a IN events FROM b IN events FROM c IN events "
    "WHERE a.data.n + b.data.n + c.data.n < 0 PROJECT INTO 1"
)


class Sources(NamedTuple):
    """The same events twice: with a server, and in a directory that nobody has open.

    The directory of the server may be read beside it.
    """

    server: RunningServer
    directory: Path

    def flags(self, source: str) -> tuple[str, ...]:
        match source:
            case "server":
                return ("--url", self.server.url)
            case "beside":
                return ("--data-directory", str(self.server.data_directory))
            case _:
                return ("--data-directory", str(self.directory))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    folder = tmp_path_factory.mktemp("query")
    write_signing_key(folder / "key.pem")
    with running_server(data_directory=folder / "closed") as server:
        fill(server)
        assert server.stop() == 0
    with running_server(data_directory=folder / "open") as server:
        fill(server)
        yield Sources(server, folder / "closed")


def fill(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        connection.write(
            *(
                an_event(f"/numbers/{n % 3}", data={"n": n, "text": TEXT, "even": n % 2 == 0})
                for n in range(COUNT)
            )
        )


BOTH = pytest.mark.parametrize("source", ["server", "directory"])


def command(*arguments: str) -> list[str]:
    return [*EVERLOG, "query", *arguments]


def environment(**more: str) -> dict[str, str]:
    """Return an environment that says nothing of the size of a terminal, as tests may have one."""
    clean = {
        name: text for name, text in clean_environment().items() if name not in {"COLUMNS", "LINES"}
    }
    return {**clean, "EVERLOG_API_TOKEN": TOKEN, **more}


def run(*arguments: str, given: bytes = b"", **more: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a query to its end; whatever it says, it does not say the token."""
    done = subprocess.run(
        command(*arguments),
        input=given,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        env=environment(**more),
    )
    assert TOKEN.encode() not in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr
    return done


@contextmanager
def running(arguments: Sequence[str], **options: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a query that the test ends, or sees ending."""
    # Tests may run where interruptions are ignored, and programs that they start would do so too.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command(*arguments), env=environment(), **options)
    finally:
        signal.signal(signal.SIGINT, previous)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE_SECONDS)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.mark.parametrize("source", ["server", "directory", "beside"])
@pytest.mark.parametrize(
    "text",
    [
        "FROM e IN events PROJECT INTO COUNT()",
        "FROM e IN events WHERE e.data.n > 290 PROJECT INTO { id: e.id, n: e.data.n / 7 }",
        "FROM e IN events WHERE e.subject == '/numbers/1' TOP 3 PROJECT INTO e.subject",
        "FROM e IN events ORDER BY e.id AS INT DESC TOP 3 PROJECT INTO e.id",
        "FROM e IN events GROUP BY e.subject PROJECT INTO [e.subject, SUM(e.data.n)]",
        "FROM s IN subjects PROJECT INTO s",
        "FROM t IN eventtypes PROJECT INTO t",
        "FROM e IN events WHERE e.id == 'none' PROJECT INTO e",
    ],
)
def test_server_and_directory_answer_the_same(sources: Sources, source: str, text: str) -> None:
    done = run(*sources.flags(source), text)

    assert (done.returncode, done.stderr) == (0, b"")
    with Connection(sources.server.url) as connection:
        items = connection.v2("run-eventql-query", {"query": text}).items
    expected = [item["data"]["value"] for item in items if item["type"] == "row"]
    assert [*map(json.loads, done.stdout.splitlines())] == expected


@BOTH
def test_a_query_may_come_through_a_pipe(sources: Sources, source: str) -> None:
    done = run(*sources.flags(source), given=b"FROM e IN events\nPROJECT INTO COUNT()\n")

    assert (done.returncode, done.stdout) == (0, b"%d\n" % COUNT)


@BOTH
def test_what_is_wrong_with_a_query_is_pointed_at(sources: Sources, source: str) -> None:
    malformed = run(*sources.flags(source), "FROM e IN events\nWHERE f.x PROJECT INTO e")
    unevaluable = run(*sources.flags(source), "FROM e IN events PROJECT INTO 10 / (e.data.n - 2)")

    assert (malformed.returncode, malformed.stdout) == (6, b"")
    assert malformed.stderr.decode() == (
        "Error: 2:7: unknown name 'f'; the only source here is 'e'\n"
        "  WHERE f.x PROJECT INTO e\n        ^\n"
    )
    assert (unevaluable.returncode, unevaluable.stdout) == (7, b"-5\n-10\n")
    assert unevaluable.stderr.decode() == (
        "Error: 1:31: event '2': division by zero\n"
        "  FROM e IN events PROJECT INTO 10 / (e.data.n - 2)\n"
        f"{' ' * 32}{'^' * 19}\n"
    )


@BOTH
def test_a_query_without_a_text_is_malformed(sources: Sources, source: str) -> None:
    assert run(*sources.flags(source), "").returncode == 6


@pytest.mark.parametrize(
    "flags, more, code, text",
    [
        (("--url={url}",), {"EVERLOG_API_TOKEN": "wrong-token"}, 8, "401"),
        (("--url={url}",), {"EVERLOG_API_TOKEN": ""}, 2, "a token is needed"),
        (("--url=http://127.0.0.1:1",), {}, 8, "Connection refused"),
        (("--url=https://127.0.0.1:{port}",), {}, 8, "cannot be asked"),
        ((), {}, 2, "say which store"),
    ],
)
def test_who_cannot_be_asked_is_told_with_a_code(
    sources: Sources, flags: tuple[str, ...], more: Mapping[str, str], code: int, text: str
) -> None:
    server = sources.server
    places = {"url": server.url, "port": server.port}

    done = run(
        *(flag.format(**places) for flag in flags), "FROM e IN events PROJECT INTO 1", **more
    )

    assert (done.returncode, done.stdout) == (code, b"")
    assert text.format(**places) in done.stderr.decode()
    assert b"wrong-token" not in done.stderr


def test_a_server_starts_and_writes_while_a_query_reads(sources: Sources, tmp_path: Path) -> None:
    directory = shutil.copytree(sources.directory, tmp_path / "data")
    arguments = (
        "--data-directory",
        str(directory),
        "FROM a IN events FROM b IN events PROJECT INTO a.id",
    )
    with running(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        rows = [process.stdout.readline()]
        with running_server(data_directory=directory) as server:
            with Connection(server.url) as connection:
                connection.write(an_event("/others", data={}))
            done = run("--data-directory", str(directory), "FROM e IN events PROJECT INTO COUNT()")
            rows += process.stdout.readlines()
        assert process.wait(DEADLINE_SECONDS) == 0

    # What was there when it began, however much came since.
    assert len(rows) == COUNT**2
    assert done.stdout == b"%d\n" % (COUNT + 1)


# Pipes.


@BOTH
@pytest.mark.parametrize("form", ["ndjson", "json", "csv", "table"])
def test_who_reads_only_the_beginning_ends_it_quietly(
    sources: Sources, source: str, form: str
) -> None:
    arguments = (*sources.flags(source), "--format", form, PAIRS)
    with running(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()

        assert process.stderr.read() == b""
        assert process.wait(DEADLINE_SECONDS) == 141


def test_an_output_that_is_closed_or_full_ends_it(sources: Sources) -> None:
    text = "FROM e IN events PROJECT INTO e.data"
    script = f'"$0" "$@" {" ".join(sources.flags("directory"))} "{text}"'
    for redirection, code, said in ((">&-", 141, b""), ("> /dev/full", 1, b"No space left")):
        done = subprocess.run(
            ["sh", "-c", f"exec {script} {redirection}", *command()],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_SECONDS,
            check=False,
            env=environment(),
        )
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert b"Traceback" not in done.stderr
        assert said or not done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "source, form", [("server", "ndjson"), ("directory", "csv"), ("directory", "table")]
)
def test_an_output_may_be_larger_than_memory(sources: Sources, source: str, form: str) -> None:
    arguments = (*sources.flags(source), "--format", form, PAIRS)
    size, peak = 0, 0
    with running(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while block := process.stdout.read(1 << 20):
            size += len(block)
            peak = max(peak, resident_size(process.pid))

        assert process.wait(DEADLINE_SECONDS) == 0
    assert size > COUNT**2 * len(TEXT)
    # All of it is 450 MB.
    assert 0 < peak < 150_000_000


def resident_size(pid: int) -> int:
    """Return the bytes of memory that a process has now; 0 where it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def test_an_interruption_is_quiet(sources: Sources) -> None:
    for source in ("server", "directory"):
        arguments = (*sources.flags(source), PAIRS)
        with running(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.stdout.read()

            assert process.stderr.read() == b""
            assert process.wait(DEADLINE_SECONDS) == 130


def test_an_answer_that_breaks_off_ends_with_code_8(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path) as server:
        fill(server)
        arguments = ("--url", server.url, PAIRS)
        with running(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            server.kill()
            process.stdout.read()

            assert b"its answer broke off" in process.stderr.read()
            assert process.wait(DEADLINE_SECONDS) == 8


# Terminals.


def shown_on_terminal(arguments: Sequence[str], *, columns: int) -> str:
    """Return what a query shows on a terminal, on both outputs."""
    terminal = Terminal(columns=columns)
    with running(arguments, stdout=terminal.file, stderr=terminal.file) as process:
        terminal.close_for_writing()
        shown = terminal.read_all()
        assert process.wait(DEADLINE_SECONDS) == 0
    # Progress may be shown meanwhile, and is gone again.
    shown = re.sub(r"(\r[^\r\n]*\x1b\[K)*\r\x1b\[K", "", shown)
    # Headers are bold, and rules are faint.
    return re.sub(r"\x1b\[[012]m", "", shown)


@BOTH
def test_on_a_terminal_rows_are_a_table_as_wide_as_it_is(sources: Sources, source: str) -> None:
    text = "FROM e IN events TOP 2 PROJECT INTO { id: e.id, n: e.data.n, text: e.data.text }"

    shown = shown_on_terminal((*sources.flags(source), text), columns=40)

    header, rule, first, second, count = shown.splitlines()
    assert header.rstrip() == "id | n | text"
    assert rule == "---+---+" + "-" * 32
    assert first == f"0  | 0 | {TEXT[:30]}\u2026"
    assert second == f"1  | 1 | {TEXT[:30]}\u2026"
    assert re.fullmatch(r"\(2 rows, [0-9.]+ m?s\)", count)


def test_on_a_narrow_terminal_members_stand_below_each_other(sources: Sources) -> None:
    arguments = (*sources.flags("directory"), "FROM e IN events TOP 1 PROJECT INTO e")

    lines = shown_on_terminal(arguments, columns=60).splitlines()

    assert lines[0] == "-[ row 1 ]-"
    assert lines[2] == "id              | 0"
    assert len(lines) == 13
    assert max(map(len, lines)) == 60


def test_on_a_terminal_a_plan_is_indented_text(sources: Sources) -> None:
    text = "FROM e IN events WHERE e.type == 'x' PROJECT INTO e"

    shown = shown_on_terminal((*sources.flags("server"), "--explain", text), columns=80)

    assert shown.startswith("sources:\n  - source: events\n    selected by index:\n")
    assert "      event types: x\n" in shown


# Codes of terminals in all their forms, and letters that turn the direction of writing.
HOSTILE = "\x1b[2J\x9b31m\x7f\r\n\x07\u202e\u2028\x00"


@pytest.mark.parametrize("form", ["csv", "ndjson", "json", "table"])
def test_a_terminal_is_shown_no_code_that_a_client_stored(tmp_path: Path, form: str) -> None:
    event = an_event("/hostile", data={HOSTILE: HOSTILE, "in": {HOSTILE: HOSTILE}})
    # As some clients write it: with as few escapes as JSON needs.
    body = json.dumps({"events": [event]}, ensure_ascii=False).encode()
    with running_server(data_directory=tmp_path) as server:
        with Connection(server.url) as connection:
            assert connection.v1("write-events", body).status == 200
        text = "FROM e IN events PROJECT INTO e.data"
        arguments = ("--url", server.url, "--format", form, text)
        shown = shown_on_terminal(arguments, columns=200)
        piped = run(*arguments)

    assert all(line.rstrip("\r").isprintable() for line in shown.split("\n")), repr(shown)
    assert "1b[2J" in shown
    assert "202e" in shown
    # A program gets what was stored.
    assert form == "table" or "\x9b31m\x7f" in piped.stdout.decode()


def test_a_terminal_is_shown_no_code_of_a_server() -> None:
    class Hostile(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500)
            self.end_headers()
            self.wfile.write(HOSTILE.encode())

        do_POST = do_QUERY = do_GET  # noqa: N815 - as the library calls it.

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Hostile) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        told = [
            subprocess.run(
                [*EVERLOG, *arguments, "--url", url],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DEADLINE_SECONDS,
                check=False,
                env=environment(),
            ).stderr.decode()
            for arguments in (["query", "FROM e IN events PROJECT INTO e"], ["diagnostics"])
        ]
        server.shutdown()
        thread.join()

    for text in told:
        assert "status 500: \\x1b[2J" in text
        assert text.replace("\n", "").isprintable()


def test_a_terminal_is_not_waited_for_to_give_a_query(sources: Sources) -> None:
    terminal = Terminal(columns=80)
    arguments = sources.flags("directory")
    with running(arguments, stdin=terminal.file, stderr=terminal.file) as process:
        terminal.close_for_writing()

        assert "there is no query: see 'everlog query --help'" in terminal.read_all()
        assert process.wait(DEADLINE_SECONDS) == 2


@pytest.mark.slow
def test_whoever_waits_sees_that_it_goes_on(sources: Sources) -> None:
    terminal = Terminal(columns=60)
    arguments = (*sources.flags("server"), ENDLESS)
    with running(arguments, stdout=subprocess.PIPE, stderr=terminal.file) as process:
        terminal.close_for_writing()
        terminal.read_until("\r0 rows, 1")
        process.send_signal(signal.SIGINT)

        assert terminal.read_all().endswith("\r\x1b[K")
        assert process.wait(DEADLINE_SECONDS) == 130
