"""The benchmarks work: each runs to its end and says something. What they say is not judged."""

import json
import re
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import BENCHMARKS, PEERS_NEEDED
from benchmarks.before_after.comparison import BEFORE, FILE, NOW, Comparison, Turn
from benchmarks.before_after.works import Done, Work
from benchmarks.calls.operations import OPERATIONS
from benchmarks.calls.page import render_page as render_calls
from benchmarks.calls.server import Calls, Counted, Row
from benchmarks.drive import shares
from benchmarks.figures import Bar, Figure, at_least, at_most, render, take_medians
from benchmarks.loop_time.server import WORKS as LOOP_WORKS
from benchmarks.peers.table import PEERS
from benchmarks.profile.layers import Place, Stacks, by_library, parse_perf
from benchmarks.profile.page import HotPath
from benchmarks.profile.page import render_page as render_profile
from benchmarks.queries import QUESTIONS, compare
from benchmarks.questions import Asked
from benchmarks.reads import VERSIONS
from benchmarks.report.pages import render_page
from benchmarks.sessions.arrivals import Arrivals, arrive
from benchmarks.sessions.histogram import Histogram
from benchmarks.sessions.opening import CLIENTS
from benchmarks.sessions.works import WORKS, Context
from benchmarks.syncs import parse_count
from tests.support.sources import REPOSITORY

# Half a minute where nothing else runs.
SECONDS_MAX = 300


@pytest.mark.slow
def test_every_benchmark_measures_something(tmp_path: Path) -> None:
    report = tmp_path / "figures.json"

    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", str(report)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=SECONDS_MAX)

    figures = json.loads(report.read_text())["figures"]
    assert list(figures) == [name for name in BENCHMARKS if name not in PEERS_NEEDED]
    for measured in figures.values():
        assert measured
        assert all(figure["value"] >= 0 for figure in measured)


def test_the_help_names_every_benchmark_and_what_it_does() -> None:
    command = [sys.executable, "-m", "benchmarks", "--help"]
    told = subprocess.run(
        command, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=SECONDS_MAX
    ).stdout

    for name, measure in BENCHMARKS.items():
        assert f"  {name} " in told
        assert str(measure.__doc__) in told


# Each row: value, reference, bar, and whether it is reached.
@pytest.mark.parametrize(
    "value, reference, bar, is_reached",
    [
        (3.0, 10.0, at_least(0.3), True),
        (2.9, 10.0, at_least(0.3), False),
        (15.0, 10.0, at_most(1.5), True),
        (15.1, 10.0, at_most(1.5), False),
        (5.0, None, at_most(5.0), True),
        (5.1, None, at_most(5.0), False),
        (5.1, None, None, None),
    ],
)
def test_a_bar_judges_the_ratio_or_else_the_value(
    value: float, reference: float | None, bar: Bar | None, *, is_reached: bool | None
) -> None:
    figure = Figure(name="a", value=value, unit="ms", reference=reference, bar=bar)

    assert figure.is_reached is is_reached
    assert ("MISSED" in render(figure)) == (is_reached is False)


def test_medians_are_taken_of_values_and_references() -> None:
    runs = [
        [Figure(name="a", value=value, unit="ms", reference=reference)]
        for value, reference in ((1.0, 30.0), (3.0, 10.0), (2.0, 20.0))
    ]

    (figure,) = take_medians(runs)

    assert (figure.value, figure.reference) == (2.0, 20.0)


def test_percentiles_are_ranks_within_a_hundredth() -> None:
    times = Histogram()
    for milliseconds in range(1, 1001):
        times.add(milliseconds / 1e3)

    found = times.percentiles([0.5, 0.95, 0.999, 1.0])

    expected = [0.500, 0.950, 0.999, 1.000]
    assert all(want <= got <= want * 1.0101 for got, want in zip(found, expected, strict=True))


def test_histograms_add_up() -> None:
    first, second = Histogram(), Histogram()
    first.add(0.001)
    second.add(0.001)
    second.add(0.002)

    first.update(Histogram(second.counts()))

    assert sum(count for _, count in first.counts()) == 3


def test_no_operation_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no operation"):
        Histogram().percentiles([0.5])


def test_arrivals_keep_their_rate_whatever_the_store_does() -> None:
    arrivals = Arrivals(1_000, seconds=2.0, seed=1)

    times = list(iter(arrivals.take, None))

    # Chance has a standard deviation of about 45 here.
    assert 1_700 < len(times) < 2_300
    assert times == sorted(times)
    assert times[-1] <= 2.0


def test_waiting_in_line_counts_as_latency() -> None:
    arrivals = Arrivals(50, seconds=0.2, seed=1)
    numbers = count()

    def stall_once(number: int) -> int:
        # The first operation holds up all others, and only it is slow by itself.
        deadline = time.perf_counter() + (0.25 if number == 0 else 0)
        while time.perf_counter() < deadline:
            pass
        return 1

    measured = arrive(arrivals, stall_once, numbers, begin=time.perf_counter())
    times = [seconds for seconds, _ in measured]

    assert len(times) > 1
    # The last one arrives before the end of 0.2 s and is begun after 0.25 s.
    assert all(seconds > 0.05 for seconds in times)


def test_what_is_not_begun_in_time_is_counted_as_late() -> None:
    arrivals = Arrivals(100, seconds=0.1, seed=1)
    begun = []

    # It began so long ago that the overtime is over, too.
    measured = list(arrive(arrivals, begun.append, count(), begin=time.perf_counter() - 10))

    assert begun == []
    assert all(seconds > 9 and events == 0 for seconds, events in measured)


def test_numbers_of_operations_are_divided_evenly() -> None:
    assert shares(10, 4) == [3, 3, 2, 2]
    assert shares(1, 1) == [1]


STRACE_SUMMARY = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 64.25    0.082643          37      2176           fdatasync
 22.08    0.028403           3        38         2 fsync
------ ----------- ----------- --------- --------- ----------------
100.00    0.128628           9      2214         2 total
"""


def test_syncs_are_counted_without_their_sum() -> None:
    assert parse_count(STRACE_SUMMARY) == 2214
    assert parse_count("") == 0


def test_a_wrong_answer_ends_a_measurement() -> None:
    context = Context(event_count=1_000, run="1", session=0)
    read = WORKS["read_subject"](EmptySession(), context)

    with pytest.raises(RuntimeError, match="read 0 events, 10 were written"):
        read(0)


def test_answers_with_other_rows_end_a_measurement() -> None:
    own, other = Asked(7, 1.0, 1.0), Asked(8, 1.0, 1.0)

    with pytest.raises(RuntimeError, match="not all answers have the same rows"):
        list(compare(QUESTIONS[0], 1_000, [own, own], [own, other]))


class EmptySession:
    """A store that has lost everything, which is the fastest way to read."""

    def read_subject(self, _: str) -> int:
        return 0


# Parts of it that matter: a peer that is faster in one thing, and cannot do another.
RECORD: dict[str, Any] = {
    "machine": {"processor": "2 x Test", "commit": "0123456789ab"},
    "stores": {
        key: {
            "name": name,
            "version": "1",
            "durability": "yes",
            "client": "sockets",
            "remarks": {},
            "cannot": {"read_recursive": "no tree"} if key == "peer" else {},
        }
        for key, name in (("everlog", "Everlog"), ("peer", "A peer"))
    },
    "failures": ["A peer: it fell over"],
    "figures": {
        "measured": [
            Figure(
                name="x",
                value=value,
                unit="events/s",
                work=work,
                store=store,
                connections=64,
                details={
                    "p50_ms": 1.0,
                    "p99_ms": 2.0,
                    "client_cores": clients,
                    "server_cores": 0.5,
                    "server_us_per_event": 50.0,
                },
            ).as_json()
            for work, store, value, clients in (
                ("write", "everlog", 30_000.0, 0.4),
                ("write", "everlog-wrk", 60_000.0, 0.1),
                ("write", "peer", 10_000.0, 1.4),
                ("mixed", "everlog", 10_000.0, 0.4),
                ("mixed", "peer", 20_000.0, 0.4),
            )
        ]
        + [
            Figure(name="x", value=value, unit="B", work="stored", store=store).as_json()
            for store, value in (("everlog", 700.0), ("peer", 1_400.0))
        ]
        + [
            Figure(
                name=f"opening at {events:,} events",
                value=seconds,
                unit="s",
                work="growth",
                details={"event_count": events},
            ).as_json()
            for events, seconds in ((1_000, 0.5), (2_000, 0.75))
        ]
        + [
            Figure(
                name="small",
                value=3.0,
                unit="us",
                reference_name="disk",
                reference=2.0,
                bar=at_most(1.0),
            ).as_json()
        ],
    },
}


@pytest.mark.parametrize(
    "line",
    [
        "| Write one event, 64 connections | 3.00 |",
        "| Read a subject or write, each as often, 64 connections | **0.50** |",
        "| Stored bytes of an event | 2.00 |",
        "| Everlog (wrk) | 60,000 | 1.00 | 2.00 | 0.10 | 0.50 | 50.0 |",
        "| A peer (c) | 10,000 | 1.00 | 2.00 | 1.40 | 0.50 | 50.0 |",
        "| A peer | 20,000 | 1.00 | 2.00 | 0.40 | 0.50 | 50.0 |",
        "| opening (s) | 0.50 | 0.75 |",
        "| small | 3.00 us | disk: 2.00 | 1.50 | at most 1.00 | **missed** |",
        "| A peer | `read_recursive` | not measured: no tree |",
        "| commit | 0123456789ab |",
        "- A peer: it fell over",
    ],
)
def test_the_page_says_what_the_record_says(line: str) -> None:
    assert line in render_page(json.loads(json.dumps(RECORD))).splitlines()


def test_the_page_of_everlog_alone_compares_nothing() -> None:
    alone = {**RECORD, "stores": {"everlog": RECORD["stores"]["everlog"]}, "figures": {}}

    page = render_page(alone)

    assert "## Ratios" not in page
    assert "## Throughput" not in page


def test_every_peer_has_a_client_and_says_how_it_is_durable() -> None:
    for peer in PEERS.values():
        assert peer.key in CLIENTS
        assert peer.durability
        assert set(peer.remarks) | set(peer.cannot) <= {*WORKS, "observe"}


def test_the_lock_of_the_peers_pins_hashes_and_names_no_registry() -> None:
    text = (REPOSITORY / "benchmarks" / "peers.lock").read_text(encoding="ascii")
    pins = re.findall(r"^\S+==[^\n]+\\\n    --hash=sha256:", text, re.MULTILINE)

    assert len(pins) == len(re.findall(r"^\S+==", text, re.MULTILINE)) > 0
    assert "://" not in text


# Outermost first, as py-spy writes them.
STACKS = (
    "run (everlog/bootstrap.py:90);receive (everlog/http/a.py:1);write (everlog/http/b.py:2) 6",
    "run (everlog/bootstrap.py:90);feed (everlog/http/reader.py:1);loads (json/decoder.py:3) 2",
    "run (everlog/bootstrap.py:90);run_forever (asyncio/base_events.py:600) 1",
    "run (threading.py:900);sync (everlog/storage/log/disk.py:7) 1",
)


def test_a_sample_is_blamed_on_the_innermost_function_of_everlog() -> None:
    stacks = Stacks(STACKS)

    assert stacks.layers == {"http": 8, "event loop": 1, "storage": 1}
    assert stacks.places.most_common(1) == [(Place("http/b", "write"), 6)]
    assert stacks.total == 10


PERF_REPORT = """# To display the perf.data header info, please use --header/--header-only options.
# Overhead  Shared Object         Symbol
# ........  ....................  ................................
    20.50%  libpython3.11.so.1.0  [.] _PyEval_EvalFrameDefault      -      -
    10.25%  libpython3.11.so.1.0  [.] PyDict_GetItem
     1.00%  [kernel.kallsyms]     [k] tcp_sendmsg_locked
     0.25%  other.so              [.] f(int, char*)
"""


def test_the_report_of_perf_is_read_by_library() -> None:
    hits = list(parse_perf(PERF_REPORT))

    shares = by_library(hits)
    assert list(shares) == ["Python's interpreter", "Linux", "other.so"]
    assert shares["Python's interpreter"] == pytest.approx(0.3075)
    assert [hit.symbol for hit in hits][::3] == ["_PyEval_EvalFrameDefault", "f(int, char*)"]


def test_the_page_of_a_profile_has_a_share_for_each_layer() -> None:
    path = HotPath(
        name="A path",
        unit="write",
        rate=1_000.0,
        rate_while_sampled=900.0,
        cpu_microseconds=50.0,
        busy=0.75,
        stacks=Stacks(STACKS),
        hits=tuple(parse_perf(PERF_REPORT)),
    )

    lines = render_profile({"commit": "0123456789ab"}, [path]).splitlines()

    assert "| http | 80.0 % |" in lines
    assert "| `http/b.py` write | 60.0 % |" in lines
    assert "| Linux | 1.0 % |" in lines
    assert "| *processor time* | 50.0 us for each write |" in lines


@pytest.mark.parametrize("name", ["ping", "write of one event"])
def test_the_calls_of_a_request_are_counted(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks.calls", "--only", name, "--requests", "4"]
    told = subprocess.run(
        [*command, "--files", "--calls"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    ).stdout

    counts = re.search(rf"^{name} +([0-9.]+) +([0-9]+) ", told, re.MULTILINE)
    assert counts is not None
    assert float(counts[1]) >= float(counts[2]) > 0
    assert "http/connection.py" in told
    assert "Connection.data_received" in told


def test_no_operation_is_counted_under_the_name_of_another() -> None:
    names = [operation.name for operation in OPERATIONS]

    assert len(set(names)) == len(names)


def _counted(*, calls: float) -> Counted:
    rows = (
        Row("a.py", 1, "f", "own", "", calls),
        Row("a.py", 1, "f", "compiled", "len", 4.0),
        # What happens now and then crosses no file of a request.
        Row("b.py", 1, "g", "own", "", 0.25),
    )
    return Counted(Calls(rows), Calls((Row("c.py", 1, "h", "own", "", 2.0),)))


def test_the_page_of_the_calls_has_both_revisions() -> None:
    before, now = _counted(calls=3.0), _counted(calls=1.0)

    lines = render_calls(
        {"Python": "3"}, {"write of one event": now}, {"write of one event": before}, command="x"
    ).splitlines()

    assert "| write of one event | 3.2 | 1.2 | 1 | 1 | 4 | 4 | 0 | 0 |" in lines
    assert "| write of one event | 5.2 | 3.2 | 2 | 2 | 4 | 4 | 0 | 0 |" in lines
    assert "| `c.py`, on a thread | `h` x 2 |" in lines


def test_revisions_are_compared_by_turns_that_follow_each_other() -> None:
    work = Work(unit="MB", run=lambda *_: Done(0, 0), version=VERSIONS[0], times_plain_max=1.5)
    comparison = Comparison("all", work)
    # Turns in which the machine was busy with something else, and both were slow.
    for speed in (1.0, 0.25, 1.0):
        comparison.fours.append(
            {
                side: [Turn(Done(rate * speed, 1.0, latency, 1.0), 0.5 * speed)] * 2
                for side, rate, latency in ((BEFORE, 100, 4.0), (NOW, 150, 1.25), (FILE, 200, 0.0))
            }
        )

    line = comparison.render()

    assert "100 to       150 MB/s" in line
    assert "x 1.50 (1.50 to 1.50, best 1.50); processor 5,000.0 to 3,333.3 us x 0.67" in line
    assert "latency of a plain write x 4.00 (4.00 to 4.00, best 4.00) to x 1.25" in line
    assert "nginx's rate 0.50 (0.50 to 0.50, best 0.50) to 0.75" in line


@pytest.mark.slow
def test_revisions_can_be_measured_beside_each_other() -> None:
    command = [sys.executable, "-m", "benchmarks.before_after", "--base", "HEAD", "--rounds", "1"]
    sizes = ["--fours", "1", "--seconds", "0.1", "--events", "2000"]
    works = ["--works", "read-all-v2", "write-16", "condition-index", "observe"]
    told = subprocess.run(
        [*command, *sizes, *works],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    ).stdout

    for name in works[1:]:
        assert re.search(rf"^  {name} .* to .* x [0-9.]+ \(", told, re.MULTILINE)


def test_the_time_of_the_loop_is_measured_for_both_revisions() -> None:
    command = [sys.executable, "-m", "benchmarks.loop_time", "--base", "HEAD"]
    told = subprocess.run(
        [*command, "--rounds", "1", "--times", "2"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    ).stdout

    for work in LOOP_WORKS:
        name = re.escape(f"{work.name} x {work.connections}")
        assert re.search(rf"^{name}( +[0-9]+\.[0-9]{{2}}){{6}}$", told, re.MULTILINE)
