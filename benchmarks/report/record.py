"""Finding things in the record of a run, as `--json` writes it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
FigureRecord = Mapping[str, Any]

OWN = "everlog"


def figures_of(record: Record, work: str) -> list[FigureRecord]:
    """Return what was measured of a work, in the order in which it was measured."""
    return [figure for figure in _all(record) if figure["work"] == work]


def find(
    record: Record, work: str, store: str, *, connections: int | None = None
) -> FigureRecord | None:
    """Return the figure of a store, None where it has none."""
    for figure in figures_of(record, work):
        if figure["store"] == store and connections in {None, figure["connections"]}:
            return figure
    return None


def connections_of(record: Record, work: str) -> list[int]:
    """Return over how many connections a work was done."""
    return sorted({figure["connections"] for figure in figures_of(record, work)})


def stores_of(record: Record, work: str) -> list[str]:
    """Return who did a work: Everlog and its peers, each with its compiled client after it."""
    done = {figure["store"] for figure in figures_of(record, work)}
    order: list[str] = []
    for key in record["stores"]:
        order += sorted(store for store in done if key_of(record, store) == key)
    return order


def key_of(record: Record, store: str) -> str:
    """Return the peer that a store is, without the compiled client that asked it."""
    names: Sequence[str] = sorted(record["stores"], key=len, reverse=True)
    return next(key for key in names if store == key or store.startswith(f"{key}-"))


def name_of(record: Record, store: str) -> str:
    """Return what people call a store, with its client where that is a compiled one."""
    key = key_of(record, store)
    name: str = record["stores"][key]["name"]
    return name if store == key else f"{name} ({store[len(key) + 1 :]})"


def growth_costs(record: Record) -> dict[str, dict[int, float]]:
    """Return each cost of growth, with its unit in its name, by the number of events."""
    costs: dict[str, dict[int, float]] = {}
    for figure in figures_of(record, "growth"):
        name = f"{figure['name'].rpartition(' at ')[0]} ({figure['unit']})"
        costs.setdefault(name, {})[int(figure["details"]["event_count"])] = figure["value"]
    return costs


def _all(record: Record) -> Iterator[FigureRecord]:
    for figures in record["figures"].values():
        yield from figures
