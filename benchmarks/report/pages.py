"""The page: what was measured, on what, and how to read it; nothing of it is typed by hand."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.report.growth import growth_section
from benchmarks.report.markdown import number, ratio, table
from benchmarks.report.record import (
    OWN,
    FigureRecord,
    Record,
    connections_of,
    figures_of,
    find,
    name_of,
    stores_of,
)
from tools.bench_environment import ENVIRONMENT_PYTHON

_ROOT = Path(__file__).resolve().parents[2]

PAGE = "report.md"
RECORD = "record.json"

_INTRODUCTION = """# Benchmark report

Made by `make bench` from [the record of one run](record.json); do not change it by hand.
[How it is measured](README.md) says what each row means, and what it does not mean.
"""

# Each row: the work, what it is called, and the connections that the summary shows.
_RATES = (
    ("write", "Write one event", (1, 16, 64, 256)),
    ("write_100", "Write 100 events at once", (1, 16, 64, 256)),
    ("write_pristine", "Write if the subject is pristine", (64,)),
    ("write_next", "Write if the latest event of the subject is known", (64,)),
    ("read_subject", "Read a subject of 10 events", (1, 16, 64, 256)),
    ("mixed", "Read a subject or write, each as often", (64,)),
    ("read_everything", "Read everything", (1,)),
    ("read_recursive", "Read 1 % of the events recursively", (1,)),
)
_AMOUNTS = (
    ("observe", "Until all observers have an event", "ms"),
    ("stored", "Stored bytes of an event", "B"),
    ("memory", "Memory of the server after reading", "MB"),
)

# Of all processors: what is left is then too little to say that nobody waits for one.
_BUSY_SHARE = 0.85


def write_report(folder: Path, record: Record) -> None:
    """Write the page, its plots and the record into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = (folder / RECORD).resolve()
    path.write_text(json.dumps(record, indent=0) + "\n", encoding="utf-8")
    command = [str(ENVIRONMENT_PYTHON), "-m", "benchmarks.report.plots", str(path)]
    subprocess.run(command, cwd=_ROOT, check=True)
    (folder / PAGE).write_text(render_page(record), encoding="utf-8")


def render_page(record: Record) -> str:
    """Return the text of the page."""
    sections: tuple[Callable[[Record], str], ...] = (
        _machine,
        _stores,
        _ratios,
        _throughput,
        _arrivals,
        growth_section,
        _references,
        _differences,
        _failures,
    )
    return "\n".join([_INTRODUCTION, *filter(None, (section(record) for section in sections))])


def _machine(record: Record) -> str:
    rows = [(name, str(value)) for name, value in record["machine"].items()]
    return "## Machine\n\n" + table(("what", "which"), rows).replace("---:", "---")


def _stores(record: Record) -> str:
    rows = []
    for key, store in record["stores"].items():
        syncs = find(record, "syncs", key)
        seen = "not observed" if syncs is None else number(syncs["value"])
        cells = (store["name"], store["version"], store["durability"], seen, store["client"])
        rows.append(cells)
    head = ("store", "version", "durable before it answers", "syncs seen for a write", "client")
    return (
        "## Stores\n\n" + table(head, rows).replace("---:", "---") + "\n"
        "Syncs are counted by tracing the server while one client writes one event after the "
        "other.\n"
    )


def _ratios(record: Record) -> str:
    """Say how many times as good Everlog is, each row by what matters in it."""
    peers = [key for key in record["stores"] if key != OWN]
    rows = [
        (title, *(ratio(_ratio(record, of, peer)) for peer in peers)) for title, of in _rows(record)
    ]
    if not peers or not rows:
        return ""
    head = ("Everlog / peer", *(record["stores"][peer]["name"] for peer in peers))
    return (
        "## Ratios\n\n"
        "How many times as fast as each peer Everlog is, by the same kind of client: "
        "throughputs divided, or times and sizes the other way round, so that more than 1 is "
        "better for Everlog everywhere, and bold where it is behind.\n"
        "Where a peer cannot do it, there is a dash.\n\n" + table(head, rows) + _compiled(record)
    )


def _compiled(record: Record) -> str:
    """Compare the two stores that a compiled client can ask."""
    rows = []
    for work, title, _ in _RATES:
        for connections in connections_of(record, work):
            own = find(record, work, f"{OWN}-wrk", connections=connections)
            other = find(record, work, "postgres-pgbench", connections=connections)
            if own is not None and other is not None:
                quotient = ratio(own["value"] / other["value"])
                rows.append((f"{title}, {_connections(connections)}", quotient))
    if not rows:
        return ""
    return "\nAsked by clients that are compiled, wrk and pgbench:\n\n" + table(
        ("Everlog / peer", "PostgreSQL, plain table"), rows
    )


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


# Returns what a store reached, and whether more is better.
_Reached = Callable[[Record, str], tuple[float | None, bool]]


def _rows(record: Record) -> Iterator[tuple[str, _Reached]]:
    for work, title, wanted in _RATES:
        for connections in connections_of(record, work):
            if connections in wanted or len(wanted) == 1:
                yield (
                    f"{title}, {_connections(connections)}",
                    _by_value(work, connections, is_rate=True),
                )
    for rate in _arrival_rates(record):
        for share in ("p50", "p99", "p99.9"):
            yield f"Latency at {rate:,.0f} writes a second, {share}", _by_arrivals(rate, share)
    for work, title, _ in _AMOUNTS:
        if figures_of(record, work):
            yield title, _by_value(work, None, is_rate=False)


def _by_value(work: str, connections: int | None, *, is_rate: bool) -> _Reached:
    def reached(record: Record, store: str) -> tuple[float | None, bool]:
        figure = find(record, work, store, connections=connections)
        return None if figure is None else figure["value"], is_rate

    return reached


def _by_arrivals(rate: float, share: str) -> _Reached:
    def reached(record: Record, store: str) -> tuple[float | None, bool]:
        for figure in figures_of(record, "arrivals"):
            if figure["store"] == store and figure["details"]["rate"] == rate:
                return figure["details"][f"{share}_ms"], False
        return None, False

    return reached


def _ratio(record: Record, reached: _Reached, peer: str) -> float | None:
    own, is_rate = reached(record, OWN)
    other, _ = reached(record, peer)
    if own is None or other is None:
        return None
    return own / other if is_rate else other / own


def _throughput(record: Record) -> str:
    parts = ["## Throughput\n\n![Throughput over connections](throughput.png)\n"]
    for work, title, _ in _RATES:
        for connections in connections_of(record, work):
            parts.append(f"### {title}, {_connections(connections)}\n")
            parts.append(_work_table(record, work, connections))
    if len(parts) == 1:
        return ""
    parts.append(
        "*clients*, *server*: how many processors each kept busy; (c) marks a row whose clients "
        "needed more than the server while hardly any processor was idle, so that the server "
        "could do more than it shows: compare its processor time for each event.\n"
    )
    return "\n".join(parts)


def _work_table(record: Record, work: str, connections: int) -> str:
    rows = []
    for store in stores_of(record, work):
        figure = find(record, work, store, connections=connections)
        if figure is None:
            continue
        details = figure["details"]
        mark = " (c)" if _is_client_bound(record, figure) else ""
        rows.append(
            (
                name_of(record, store) + mark,
                number(figure["value"]),
                *(number(details[f"{share}_ms"]) for share in ("p50", "p99")),
                number(details["client_cores"]),
                number(details["server_cores"]),
                number(details["server_us_per_event"]),
            )
        )
    head = ("store", "events/s", "p50 ms", "p99 ms", "clients", "server", "server us/event")
    return table(head, rows)


def _is_client_bound(record: Record, figure: FigureRecord) -> bool:
    cores = int(record["machine"]["processor"].split()[0])
    clients, server = (figure["details"][f"{name}_cores"] for name in ("client", "server"))
    return bool(clients > server and clients + server > _BUSY_SHARE * cores)


def _arrival_rates(record: Record) -> list[float]:
    return sorted({figure["details"]["rate"] for figure in figures_of(record, "arrivals")})


def _arrivals(record: Record) -> str:
    """Show latencies of an open loop, and what else is a time or a size."""
    parts = []
    shares = ("p50", "p90", "p95", "p99", "p99.9")
    for rate in _arrival_rates(record):
        rows = [
            (
                name_of(record, figure["store"]),
                *(number(figure["details"][f"{share}_ms"]) for share in shares),
            )
            for figure in figures_of(record, "arrivals")
            if figure["details"]["rate"] == rate
        ]
        parts.append(f"### {rate:,.0f} writes a second\n")
        parts.append(table(("store, ms", *shares), rows))
    if parts:
        parts.insert(0, "## Latency\n\n![Latency by percentile](latency.png)\n")
        parts.insert(
            1,
            "Writes arrive by chance at a rate, whether or not earlier ones are answered, and "
            "each is timed from when it ought to have begun.\n",
        )
    for work, title, unit in _AMOUNTS:
        rows = [
            (name_of(record, figure["store"]), number(figure["value"]))
            for figure in figures_of(record, work)
        ]
        if rows:
            parts.append(f"## {title}\n")
            parts.append(table(("store", unit), rows))
    return "\n".join(parts)


def _references(record: Record) -> str:
    """Show the figures that stand beside a reference of the machine, and those with a bar."""
    rows = []
    for figure in (each for of in record["figures"].values() for each in of):
        if figure["work"]:
            continue
        bar = figure["bar"]
        reference = f"{figure['reference_name']}: {number(figure['reference'])}"
        rows.append(
            (
                figure["name"],
                f"{number(figure['value'])} {figure['unit']}",
                reference if figure["reference"] is not None else "",
                number(figure["ratio"]) if figure["ratio"] is not None else "",
                "" if bar is None else f"{bar['kind']} {number(bar['value'])}",
                {None: "", True: "reached", False: "**missed**"}[figure["is_reached"]],
            )
        )
    if not rows:
        return ""
    head = ("Everlog", "measured", "reference", "ratio", "bar", "")
    return (
        "## Beside what the machine allows\n\n"
        "nginx answers as many bytes without thinking, `fdatasync` is what the disk takes, and "
        "*build only* is one core that does nothing but make the lines of events, and DuckDB reads "
        "the same file with one thread.\n\n" + table(head, rows)
    )


def _differences(record: Record) -> str:
    rows = []
    for store in record["stores"].values():
        for work, text in store["remarks"].items():
            rows.append((store["name"], f"`{work}`", text))
        for work, text in store["cannot"].items():
            rows.append((store["name"], f"`{work}`", f"not measured: {text}"))
    if not rows:
        return ""
    return "## What is not the same\n\n" + table(("store", "work", "how"), rows).replace(
        "---:", "---"
    )


def _failures(record: Record) -> str:
    lines = [f"- {failure}\n" for failure in record["failures"]]
    return "## What failed\n\n" + "".join(lines) if lines else ""
