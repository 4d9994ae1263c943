"""The trace that an event was written in stays with it, letter by letter, wherever it goes."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

import everlog
from tests.support.api import Connection, an_event
from tests.support.pages import code_blocks, read_page, run_script
from tests.support.server import TOKEN, RunningServer, running_server, wait_until

TRACEPARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

# All that may stand there: tenants, space around commas, odd letters.
TRACESTATES: Final = (
    None,
    "vendor=value",
    "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
    "fw529a3039@dt=FfffffffCQ,  other=a b!;:~ , x=1",
    "z=26,a=1,z-1_*/0=\"<&>\\'",
)


def traces_of(events: Iterable[Any]) -> list[tuple[str | None, str | None]]:
    return [(event.get("traceparent"), event.get("tracestate")) for event in events]


EXPECTED: Final = [(TRACEPARENT, tracestate) for tracestate in TRACESTATES] + [(None, None)]


@pytest.mark.slow
def test_a_trace_comes_back_wherever_its_event_does(tmp_path: Path) -> None:
    everything = {"subject": "/", "options": {"recursive": True}}
    with running_server() as server, Connection(server.url) as connection:
        events = [
            an_event(traceparent=TRACEPARENT)
            if tracestate is None
            else an_event(traceparent=TRACEPARENT, tracestate=tracestate)
            for tracestate in TRACESTATES
        ]
        # A header of the request says nothing about the events that are in it.
        content = json.dumps({"events": [*events, an_event()]}).encode()
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "traceparent": TRACEPARENT,
            "tracestate": "a=1",
        }
        response = connection.send("POST", "/api/v1/write-events", content, headers=headers)

        assert traces_of(json.loads(response.read())) == EXPECTED
        assert traces_of(connection.v1("read-events", everything).events) == EXPECTED
        assert traces_of(connection.v2("read-events", everything).events) == EXPECTED
        projection = "{ traceparent: e.traceparent, tracestate: e.tracestate }"
        query = {"query": f"FROM e IN events PROJECT INTO {projection}"}
        assert traces_of(connection.v1("run-eventql-query", query).events) == EXPECTED
        with everlog.connect(server.url, token=TOKEN) as store:
            read = [*store.read("/", recursive=True, verify=True)]
            assert [(event.traceparent, event.tracestate) for event in read] == EXPECTED
            backup = b"".join(store.backup())
        check_restored(backup)
        check_followed(server, tmp_path)


def check_restored(backup: bytes) -> None:
    with running_server() as server, Connection(server.url) as connection:
        assert connection.ask("POST", "/api/v1/restore", backup).status == 200
        with everlog.connect(server.url, token=TOKEN) as store:
            read = [*store.read("/", recursive=True, verify=True)]
        assert [(event.traceparent, event.tracestate) for event in read] == EXPECTED


def check_followed(source: RunningServer, folder: Path) -> None:
    (folder / "token").write_text(TOKEN)
    flags = (f"--follow={source.url}", f"--follow-token-file={folder / 'token'}")
    with running_server(*flags) as follower, everlog.connect(follower.url, token=TOKEN) as store:
        wait_until(lambda: len([*store.read("/", recursive=True)]) == len(EXPECTED))
        read = [*store.read("/", recursive=True, verify=True)]
        assert [(event.traceparent, event.tracestate) for event in read] == EXPECTED


@pytest.mark.slow
def test_the_example_of_the_page_prints_what_it_wrote(tmp_path: Path) -> None:
    page = read_page("docs/operating/monitoring.md")
    (example,) = (block.text for block in code_blocks(page) if block.language == "python")
    with running_server() as server:
        program = example.replace("http://127.0.0.1:3000", server.url).replace("TOKEN", repr(TOKEN))
        output = run_script([sys.executable, "-"], program, directory=tmp_path)

    assert output == f"{TRACEPARENT} vendor=value,other=00f067aa0ba902b7\n"
