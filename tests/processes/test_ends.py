"""Processes of a server end: a front is replaced, and nobody outlives the owner."""

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.support.api import Connection, an_event
from tests.support.backups import an_event as a_stored_event
from tests.support.backups import chained, lines_of
from tests.support.fronts import a_client_of_each, front_of, fronts_of, kill_front, wait_for_end
from tests.support.server import running_server, wait_until
from tests.support.threads import Background
from tests.support.workload import GONE

FLAG = "--processes=3"


def test_a_front_that_dies_is_replaced_and_nothing_acknowledged_is_lost() -> None:
    with running_server(FLAG) as server:
        before = fronts_of(server)
        with a_client_of_each(server) as clients:
            for client in clients:
                client.write(an_event("/kept"))
            victim, other = clients
            pid = front_of(server, victim)
            kill_front(pid)

            # Clients of the others notice nothing.
            other.write(an_event("/kept"))
            told = server.wait_for_log("a front ended that should not have")
            assert (told["frontProcessId"], told["exitCode"]) == (pid, -signal.SIGKILL)
            wait_until(lambda: len(fronts_of(server)) == 2 and pid not in fronts_of(server))
        with a_client_of_each(server) as clients:
            assert pid not in {front_of(server, client) for client in clients}
            for client in clients:
                client.write(an_event("/kept"))
                assert len(client.read_all()) >= 4
        assert set(before) - {pid} <= set(fronts_of(server))


def test_writes_whose_answers_are_lost_are_whole_or_absent() -> None:
    with running_server(FLAG) as server:
        acknowledged: list[str] = []

        def write(name: int) -> None:
            number = 0
            with contextlib.suppress(*GONE), Connection(server.url) as client:
                while number < 2_000:
                    key = f"{name}-{number}"
                    client.write(*(an_event("/w", data={"key": key, "part": n}) for n in range(3)))
                    acknowledged.append(key)
                    number += 1

        writers = [Background(lambda name=name: write(name)) for name in range(6)]
        wait_until(lambda: len(acknowledged) > 50)
        for pid in fronts_of(server):
            kill_front(pid)
        for writer in writers:
            writer.result()
        wait_until(lambda: len(fronts_of(server)) == 2)
        with Connection(server.url) as client:
            events = client.read_all()
        parts: dict[str, list[int]] = {}
        for event in events:
            parts.setdefault(event["data"]["key"], []).append(event["data"]["part"])
        assert all(found == [0, 1, 2] for found in parts.values())
        assert set(acknowledged) <= set(parts)


def test_all_end_at_once_with_their_owner(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with running_server(FLAG, data_directory=directory) as server:
        pids = fronts_of(server)
        with Connection(server.url) as client:
            client.write(an_event("/kept"))
            server.kill()
            wait_for_end(pids)
    with running_server(FLAG, data_directory=directory) as server, Connection(server.url) as client:
        assert len(client.read_all()) == 1


def test_a_signal_to_all_processes_stops_the_server_in_order() -> None:
    with running_server(FLAG) as server:
        pids = fronts_of(server)
        with a_client_of_each(server) as clients:
            streams = [client.observe("v2") for client in clients]
            for stream in streams:
                assert next(stream)["type"] == "heartbeat"
            # As systemd does, and a terminal.
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
            assert server.stop() == 0
            last = [[*stream][-1] for stream in streams]
        assert [item["type"] for item in last] == ["error", "error"]
        assert all("server-shutting-down" in item["data"]["code"] for item in last)
        wait_for_end(pids)
        assert server.log[-1]["message"] == "stopped"
        assert not any("a front ended" in line["message"] for line in server.log)


def test_what_is_restored_is_seen_by_all_who_ask_from_then_on() -> None:
    chain = chained([a_stored_event(f'{{"n":{n}}}', subject=f"/s/{n % 7}") for n in range(100)])
    backup = lines_of(chain)
    with running_server(FLAG) as server, a_client_of_each(server) as clients:
        before = fronts_of(server)
        first, second = clients
        assert second.read_all() == []
        stream = second.observe("v2")
        assert next(stream)["type"] == "heartbeat"

        answer = first.ask("POST", "/api/v1/restore", backup)

        assert answer.status == 200, answer.text
        with Connection(server.url) as client:
            assert len(client.read_all()) == 100
        # Who had been connected before is refused, or has to connect again: nobody is shown less.
        ended = [*stream][-1]
        assert "restore-in-progress" in ended["data"]["code"]
        with contextlib.suppress(*GONE):
            read = first.v1("read-events", {"subject": "/", "options": {"recursive": True}})
            assert read.status == 409
        wait_for_end(before)
        with a_client_of_each(server) as others:
            for client in others:
                client.write(an_event("/after"))
                assert len(client.read_all()) > 100


def test_a_restore_that_fails_leaves_all_as_it_was() -> None:
    with running_server(FLAG) as server, a_client_of_each(server) as clients:
        refused = clients[0].ask("POST", "/api/v1/restore", b'{"type":"nothing"}\n')

        assert refused.status == 400
        for client in clients:
            wait_until(lambda client=client: client.v1("read-event-types").status == 200)
            client.write(an_event())


def test_figures_do_not_go_back_when_a_front_dies() -> None:
    name = "everlog_accepted_connections_total"
    with running_server(FLAG) as server:
        with a_client_of_each(server) as clients:
            # What a front says of itself each second.
            time.sleep(1.5)
            before = figure(clients[0], name)
            kill_front(front_of(server, clients[1]))
            wait_until(lambda: len(fronts_of(server)) == 2)
            server.wait_for_log("a front ended that should not have")
        with Connection(server.url) as client:
            assert figure(client, name) >= before


def figure(client: Connection, name: str) -> float:
    text = client.ask("GET", "/api/v1/health?format=openmetrics").text
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])
