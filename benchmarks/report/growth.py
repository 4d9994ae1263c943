"""The part of the page about logs of several sizes."""

from benchmarks.report.markdown import number, table
from benchmarks.report.record import Record, growth_costs


def growth_section(record: Record) -> str:
    """Return a row for each cost, and a column for each size of the log."""
    costs = growth_costs(record)
    counts = sorted({count for values in costs.values() for count in values})
    if not counts:
        return ""
    rows = [
        (name, *(number(values.get(count)) for count in counts)) for name, values in costs.items()
    ]
    head = ("events in the log", *(f"{count:,}" for count in counts))
    return (
        "## Growth\n\n"
        "![Cost over the size of the log](growth.png)\n\n"
        "Everlog alone, asked by wrk over 64 connections; *processor* is what the server spent, "
        "whatever the disk took.\n\n" + table(head, rows)
    )
