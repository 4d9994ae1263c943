"""Whoever holds up the event loop is seen: by operators, and by the watchdog of the tests."""

import re
import sys

import pytest

from tests.support.api import Connection
from tests.support.server import running_server, wait_until

METRICS = "/api/v1/health?format=openmetrics"


def sleepy(seconds: float) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.support.sleepy_server", str(seconds))


def test_the_watchdog_barks_at_a_loop_that_is_held_up() -> None:
    def ping() -> None:
        with running_server(entry_point=sleepy(0.5)) as server, Connection(server.url) as client:
            assert client.ask("GET", "/api/v1/ping").status == 200
            # What is killed at once may have noted nothing yet.
            assert server.stop() == 0

    # It says who did it.
    with pytest.raises(AssertionError, match=r"event loop .* was held up(.|\n)*sleep_and_route"):
        ping()


def test_the_watchdog_is_silent_where_nobody_holds_it_up() -> None:
    with running_server() as server, Connection(server.url) as connection:
        for _ in range(100):
            assert connection.ask("GET", "/api/v1/ping").status == 200


def test_operators_see_how_late_the_loop_was() -> None:
    with running_server() as server, Connection(server.url) as connection:
        wait_until(lambda: count_of(connection.ask("GET", METRICS).text) > 2)
        checks = connection.ask("GET", "/api/v1/health").json["checks"]

    [check] = checks["process:eventLoopDelay"]
    assert (check["status"], check["observedUnit"]) == ("pass", "seconds")
    assert 0.0 <= check["observedValue"] < 1.0


def count_of(metrics: str) -> int:
    found = re.search(r"^everlog_event_loop_delay_seconds_count (\d+)$", metrics, re.MULTILINE)
    assert found is not None
    return int(found[1])
