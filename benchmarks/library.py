"""The library: reading a directory and a server, beside a client that decodes nothing."""

import time
from collections.abc import Callable, Iterator
from statistics import median

import everlog
from benchmarks.drive import Target, raw_reading_rate
from benchmarks.events import EVENTS_PER_SUBJECT, SOURCE, TYPE, subject_of
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.servers import TOKEN, serve_everlog
from benchmarks.workbench import Workbench

# Of what a client reads that only counts lines.
_SHARE_MIN = 0.5
_SMALL_READ_SECONDS_MAX = 60e-6

_TURNS = 3
# A log that is read some ten times.
_EVENTS_MAX = 200_000
_SMALL_READS = 2_000


def measure_library(bench: Workbench) -> Iterator[Figure]:
    """Compare reading everything with the raw client, and time small reads and writes."""
    event_count = min(bench.scale.event_count, _EVENTS_MAX)
    directory = bench.filled_log(event_count)
    with serve_everlog(directory, bench.certificate) as served:
        target = Target(
            session="everlog", address=f"{served.port} {TOKEN}", process_id=served.process_id
        )
        raw = median(raw_reading_rate(target, event_count) for _ in range(_TURNS))
        with everlog.connect(served.plain, token=TOKEN) as store:
            yield from _measure_reading(store, "a server", raw)
            yield _measure_small_reads(store, "a server", event_count, seconds_max=None)
    with everlog.open(directory) as store:
        yield from _measure_reading(store, "a directory", raw)
        yield _measure_small_reads(
            store, "a directory", event_count, seconds_max=_SMALL_READ_SECONDS_MAX
        )
    with everlog.open(bench.new_directory("library")) as store:
        yield _measure_writes(store, bench.scale.samples)


def _measure_reading(store: everlog.Store, where: str, raw: float) -> Iterator[Figure]:
    """Measure going through all events, and looking at the data of each."""

    def go_through() -> int:
        return sum(1 for _ in store.read("/", recursive=True))

    def look_at_data() -> int:
        return sum(1 for event in store.read("/", recursive=True) if event.data)

    for what, read in (
        ("going through all events", go_through),
        ("decoding the data of all events", look_at_data),
    ):
        yield Figure(
            name=f"{what} of {where}",
            value=median(_rate_of(read) for _ in range(_TURNS)),
            unit="events/s",
            reference_name="read everything",
            reference=raw,
            bar=at_least(_SHARE_MIN),
        )


def _rate_of(read: Callable[[], int]) -> float:
    begin = time.perf_counter()
    count = read()
    return count / (time.perf_counter() - begin)


def _measure_small_reads(
    store: everlog.Store, where: str, event_count: int, *, seconds_max: float | None
) -> Figure:
    count = min(_SMALL_READS, event_count // EVENTS_PER_SUBJECT)
    times = []
    for number in range(count):
        subject = subject_of(number * 7 % (event_count // 20), event_count=event_count)
        begin = time.perf_counter()
        ids = [event.id for event in store.read(subject)]
        times.append(time.perf_counter() - begin)
        assert len(ids) >= 1
    return Figure(
        name=f"subject of {EVENTS_PER_SUBJECT} of {where}: median latency",
        value=median(times) * 1e6,
        unit="us",
        bar=None if seconds_max is None else at_most(seconds_max * 1e6),
        note="the id of each event is looked at",
    )


def _measure_writes(store: everlog.Store, count: int) -> Figure:
    times = []
    for number in range(count):
        event = everlog.NewEvent(SOURCE, f"/books/{number % 100}", TYPE, {"number": number})
        begin = time.perf_counter()
        store.write([event])
        times.append(time.perf_counter() - begin)
    return Figure(
        name="write of one event to a directory: median latency",
        value=median(times) * 1e6,
        unit="us",
        note="durable when it returns",
    )
