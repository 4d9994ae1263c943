"""Following: how fast an empty follower catches up, and how far behind it is under load."""

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

from benchmarks.client import connect, render_request
from benchmarks.drive import Target, drive, raw_reading_rate
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.servers import TOKEN, Addresses, serve_everlog
from benchmarks.workbench import Workbench

# Half of what an ordinary client gets, or so many events each second, whichever is less.
_SHARE_MIN = 0.5
_EVENTS_PER_SECOND_MIN = 100_000

_LAG_SECONDS_MAX = 0.050

_TURNS = 3
_POLL_SECONDS = 0.05

_EVERYTHING = b'{"subject":"/","options":{"recursive":true}}'


def measure_following(bench: Workbench) -> Iterator[Figure]:
    """Compare a follower that catches up with reading everything, and measure its lag."""
    yield from _measure_catching_up(bench)
    for work, rate, events, connections in (("write_10", 500, 10, 8), ("write", 5_000, 1, 64)):
        # The quick run only sees whether it works.
        rate = rate if bench.scale.seconds >= 1 else 20  # noqa: PLW2901 - as said.
        yield from _measure_lag(
            bench, work, rate=rate, events_per_write=events, connections=connections
        )


def _measure_catching_up(bench: Workbench) -> Iterator[Figure]:
    event_count = bench.scale.event_count
    directory = bench.filled_log(event_count)
    caught_up, read = [], []
    with serve_everlog(directory, bench.certificate) as source:
        # Others may have written to it.
        event_count = _event_count(source)
        for _ in range(_TURNS):
            read.append(raw_reading_rate(_target(source), event_count))
            with _follow(bench, source) as follower:
                caught_up.append(_catch_up(follower, event_count))
    reference = median(read)
    yield Figure(
        name=f"catching up with {event_count:,} events",
        value=median(caught_up),
        unit="events/s",
        reference_name="read everything",
        reference=reference,
        bar=at_least(min(_SHARE_MIN, _EVENTS_PER_SECOND_MIN / reference)),
    )


def _catch_up(follower: Addresses, event_count: int) -> float:
    """Return the events per second of a follower that was started just now."""
    before, begin = _event_count(follower), time.perf_counter()
    while (count := _event_count(follower)) < event_count:
        time.sleep(_POLL_SECONDS)
    return (count - before) / (time.perf_counter() - begin)


def _measure_lag(
    bench: Workbench, work: str, *, rate: int, events_per_write: int, connections: int
) -> Iterator[Figure]:
    directory = bench.new_directory("followed")
    with (
        serve_everlog(directory, bench.certificate) as source,
        _follow(bench, source) as follower,
        _observing(source) as at_source,
        _observing(follower) as at_follower,
    ):
        outcome = drive(
            _target(source), work, connections=connections, seconds=bench.scale.seconds, rate=rate
        )
        count = at_source.wait_for_silence()
        at_follower.wait_for(count)
        lags = sorted(
            there - here
            for here, there in zip(at_source.times, at_follower.times[:count], strict=True)
        )
    yield Figure(
        name=f"lag at {rate * events_per_write:,} events/s, {events_per_write} in a write",
        value=_at(lags, 0.5) * 1e3,
        unit="ms",
        reference_name="bar in ms",
        reference=_LAG_SECONDS_MAX * 1e3,
        bar=at_most(1.0),
        note=(
            f"p90 {_at(lags, 0.9) * 1e3:.1f} ms, p99 {_at(lags, 0.99) * 1e3:.1f} ms, "
            f"largest {lags[-1] * 1e3:.1f} ms; {outcome.events_per_second:,.0f} events/s written"
        ),
    )


def _at(values: Sequence[float], share: float) -> float:
    return values[min(int(len(values) * share), len(values) - 1)]


def _target(addresses: Addresses) -> Target:
    return Target(
        session="everlog",
        address=f"{addresses.port} {TOKEN}",
        process_id=addresses.process_id,
    )


@contextmanager
def _follow(bench: Workbench, source: Addresses) -> Iterator[Addresses]:
    """Run a follower on an empty directory."""
    directory = bench.new_directory("follower")
    token_file = Path(directory, "token")
    token_file.write_text(TOKEN)
    flags = (f"--follow={source.plain}", f"--follow-token-file={token_file}")
    with serve_everlog(directory / "data", bench.certificate, flags=flags) as follower:
        yield follower


def _event_count(server: Addresses) -> int:
    request = urllib.request.Request(
        f"{server.plain}/api/v1/health", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request) as answer:
        checks = json.load(answer)["checks"]
    return int(checks["log:events"][0]["observedValue"])


class _Observer:
    """Notes when each event came."""

    def __init__(self, connected: socket.socket) -> None:
        self.times: list[float] = []
        self._socket = connected
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait_for(self, count: int) -> None:
        while len(self.times) < count:
            time.sleep(0.01)

    def wait_for_silence(self) -> int:
        """Return how many events came before none did for a moment."""
        count = -1
        while count != len(self.times):
            count = len(self.times)
            time.sleep(0.5)
        return count

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _run(self) -> None:
        rest = b""
        with suppress(OSError):
            while data := self._socket.recv(1024 * 1024):
                now = time.perf_counter()
                *lines, rest = (rest + data).split(b"\n")
                self.times += [now] * sum(map(_is_event, lines))


def _is_event(line: bytes) -> bool:
    # Sizes of chunks are between the lines.
    return line.startswith(b'{"type":"event"')


@contextmanager
def _observing(server: Addresses) -> Iterator[_Observer]:
    request = render_request("POST", "/api/v1/observe-events", _EVERYTHING)
    with connect(server.port) as connected:
        connected.settimeout(None)
        connected.sendall(request)
        observer = _Observer(connected)
        try:
            yield observer
        finally:
            observer.close()
