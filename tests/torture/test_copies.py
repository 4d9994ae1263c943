"""A plain copy of the data directory of a server that is being written to is a backup.

Programs that know nothing of each other copy it, forty times in all, while clients write
and register event schemas. EVERLOG_COPIES says how often.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from everlog.maintenance.findings import Kind
from everlog.storage.log import LogEngine
from tests.support.api import Connection, an_event
from tests.support.audits import audit_of, check_audit_is_clean
from tests.support.engines import kill, open_log, read
from tests.support.events import a_candidate, store
from tests.support.server import TOKEN, RunningServer, run_to_end, running_server, wait_until
from tests.support.threads import Background
from tools.system_packages import SEARCH_PATH

COPIES: Final = int(os.environ.get("EVERLOG_COPIES", "40"))

WRITERS: Final = 4

ROLLING: Final = (sys.executable, "-m", "tests.support.rolling_server")

# Every so many copies one is opened by a server, and audited by the command.
_SERVED_EVERY: Final = 10


# Between two copies, so that they differ.
_EVENTS_BEFORE: Final = 200


_FILE_SHRANK: Final = 23

# What programs say of files that are being written to, and at last, that they have said something.
_HARMLESS: Final = (
    ".new",
    "file changed as we read it",
    "shrank",
    "read errors mapping",
    "exit",
    "some files vanished",
    "rsync error: some files/attrs were not transferred",
)


class Load:
    """Clients that write as fast as they can while a copy is made."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_wanted = threading.Event()
        self._is_over = threading.Event()
        self._numbers = count()
        # By writer: how many events there are for certain, going by the last id that it was told.
        self._told = [0] * WRITERS
        self.registered_count = 0

    @property
    def told(self) -> int:
        return max(self._told)

    @contextmanager
    def running(self) -> Iterator[None]:
        writers = [
            Background(lambda number=number: self._write(number)) for number in range(WRITERS)
        ]
        try:
            yield
        finally:
            self._is_over.set()
            self._is_wanted.set()
            for writer in writers:
                writer.result()

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Let clients write, for a while before the block begins, and until it has ended."""
        before = self.told
        self._is_wanted.set()
        wait_until(lambda: self.told > before + _EVENTS_BEFORE)
        yield
        self._is_wanted.clear()

    def _write(self, writer: int) -> None:
        with Connection(self._url) as connection:
            while self._is_wanted.wait() and not self._is_over.is_set():
                number = next(self._numbers)
                size = (1, 1, 2, 5, 40)[number % 5]
                data = {"text": "x" * (0, 50, 700, 3_000)[number % 4]}
                events = [an_event(f"/s/{number % 50}/{n}", data=data) for n in range(size)]
                self._told[writer] = int(connection.write(*events)[-1]["id"]) + 1
                if number % 40 == 0:
                    self._register(connection, number)

    def _register(self, connection: Connection, number: int) -> None:
        body = {
            "eventType": f"io.everlog.copied.t{number}",
            "schema": {"type": "object", "properties": {}},
        }
        answer = connection.v1("register-event-schema", body)
        assert answer.status == 200, answer.text
        self.registered_count += 1


def run(*command: str | Path) -> int:
    """Run a program that copies; it may say that files changed, or that a draft is gone."""
    program = shutil.which(str(command[0]), path=SEARCH_PATH)
    assert program is not None, "run `make test`"
    done = subprocess.run(
        [program, *command[1:]],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    complaints = [line for line in done.stderr.splitlines() if not _is_harmless(line)]
    assert not complaints, complaints
    assert done.returncode in {0, 1, 23, 24}
    return done.returncode


def _is_harmless(line: str) -> bool:
    return any(part in line for part in _HARMLESS)


def by_cp(source: Path, target: Path) -> None:
    run("cp", "-a", source, target)


def by_tar(source: Path, target: Path) -> None:
    archive = target.with_suffix(".tar")
    run("tar", "-C", source, "-cf", archive, ".")
    target.mkdir()
    run("tar", "-C", target, "-xf", archive)
    archive.unlink()


def by_rsync(source: Path, target: Path, *options: str) -> None:
    # It is to be run again where a segment became full, and shorter, under its eyes.
    while run("rsync", "-a", *options, f"{source}/", target) == _FILE_SHRANK:
        pass


def by_rsync_again(source: Path, target: Path) -> None:
    """Bring an earlier copy up to date, as is done each night."""
    by_rsync(source, target)
    by_rsync(source, target, "--delete", "--modify-window=-1")


PROGRAMS: Final = (by_cp, by_tar, by_rsync, by_rsync_again)


@pytest.mark.slow
@pytest.mark.parametrize("copy", PROGRAMS)
def test_a_copy_made_under_load_opens_with_all_that_was_told_before(
    tmp_path: Path, copy: Callable[[Path, Path], None]
) -> None:
    source, target = tmp_path / "data", tmp_path / "copy"
    grown = 0
    with running_server(data_directory=source, entry_point=ROLLING) as server:
        load = Load(server.url)
        with load.running():
            for number in range(-(-COPIES // len(PROGRAMS))):
                shutil.rmtree(target, ignore_errors=True)
                with load.wanted():
                    told = load.told
                    copy(source, target)
                    grown += load.told - told
                check_copy(source, target, told)
                if number % _SERVED_EVERY == 0:
                    shutil.rmtree(target)
                    with load.wanted():
                        told = load.told
                        copy(source, target)
                    check_served(source, target, told)
            assert load.registered_count > 0
        assert len(log_files(source)) > 1
        server.stop()
    # There was something to be missed in most of them.
    assert grown > COPIES


def log_files(directory: Path) -> list[Path]:
    return sorted((directory / "log").iterdir())


def check_copy(source: Path, copy: Path, told: int) -> None:
    findings, summary = audit_of(copy)
    assert summary.is_ok, findings
    assert findings[0].kind is Kind.COPY
    engine = open_log(copy)
    assert engine.report.is_copy
    assert engine.head.event_count >= told
    assert engine.head.event_count == summary.event_count
    check_is_a_prefix(source, read(engine))
    check_schemas(source, copy)
    check_goes_on(engine, copy)


def check_is_a_prefix(source: Path, log: bytes) -> None:
    offset = 0
    for path in log_files(source):
        content = path.read_bytes()
        part = log[offset : offset + len(content)]
        assert content.startswith(part)
        offset += len(part)
        if len(part) < len(content):
            break
    assert offset == len(log)


def check_schemas(source: Path, copy: Path) -> None:
    content = (copy / "schemas.ndjson").read_bytes()
    assert (source / "schemas.ndjson").read_bytes().startswith(content)
    assert content.endswith(b"\n") or not content


def check_goes_on(engine: LogEngine, copy: Path) -> None:
    store(engine, a_candidate("/later"))
    count = engine.head.event_count
    kill(engine)
    engine = open_log(copy)
    assert not engine.report.is_copy
    assert engine.head.event_count == count
    engine.close()
    check_audit_is_clean(copy)


def check_served(source: Path, copy: Path, told: int) -> None:
    """Check the same with the programs that an operator has."""
    audited = run_to_end("audit", f"--data-directory={copy}")
    assert audited.code == 0, audited.output
    assert "is a copy that was made while it was written to" in audited.output
    with running_server(data_directory=copy) as server:
        check_answers(source, server, told)
        assert server.stop() == 0
    audited = run_to_end("audit", f"--data-directory={copy}")
    assert (audited.code, audited.output.count("\n")) == (0, 1), audited.output


def check_answers(source: Path, server: RunningServer, told: int) -> None:
    warning = server.wait_for_log("the data directory is a copy")
    assert warning["eventCount"] >= told
    with Connection(server.url) as connection:
        assert connection.token == TOKEN
        body = {"subject": "/", "options": {"recursive": True}}
        lines = connection.v1("read-events", body).body
        assert lines.count(b"\n") == warning["eventCount"]
        check_is_a_prefix(source, lines)
        [event] = connection.write(an_event("/later"))
        assert event["id"] == str(warning["eventCount"])
