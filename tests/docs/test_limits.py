"""The page about limits names every limit there is, with the number that the code has."""

import dataclasses
import re

from everlog.api.routes import ROUTES
from everlog.cli.run import run
from everlog.domain import limits
from everlog.domain.selection import EVENT_ID_MAX
from everlog.eventql import limits as eventql_limits
from everlog.eventql.limits import QueryLimits
from everlog.following import connection, writes
from everlog.http import Limits
from everlog.projections import feed
from everlog.service.mirroring import following
from tests.support.pages import read_page

PAGE = "docs/operating/limits.md"

DOMAIN: dict[str, float] = {
    name: value for name, value in vars(limits).items() if name.endswith("_MAX")
}
HTTP: dict[str, float] = dataclasses.asdict(Limits())
QUERIES: dict[str, float] = {
    name: value for name, value in vars(eventql_limits).items() if name.endswith("_MAX")
} | dataclasses.asdict(QueryLimits())

# The largest bodies of registrations and queries are no constants of their own.
BODIES = {
    "SCHEMA_SIZE_MAX * 2": 2 * limits.SCHEMA_SIZE_MAX,
    "QUERY_LENGTH_MAX * 8": 8 * eventql_limits.QUERY_LENGTH_MAX,
}


def documented(section: str) -> dict[str, float]:
    """Return the numbers of a section's table, by their names in the code."""
    text = read_page(PAGE).partition(f"## {section}\n")[2].partition("\n## ")[0]
    text = text.partition("\n### ")[0]
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    _, *cells = [[cell.strip() for cell in row] for row in rows]
    found = {row[4].strip("`"): float(row[1].replace(",", "")) for row in cells}
    assert len(found) == len(cells)
    for what, _, beyond, why, _ in cells:
        assert what
        assert beyond
        assert why.endswith(".")
    return found


def test_every_limit_of_the_domain_is_on_the_page() -> None:
    assert documented("What is written and read") == DOMAIN | BODIES


def test_every_limit_of_connections_is_on_the_page() -> None:
    assert documented("Connections") == HTTP


def test_every_limit_of_queries_is_on_the_page() -> None:
    assert documented("Queries") == QUERIES


def test_every_limit_of_followers_is_on_the_page() -> None:
    found = documented("Followers")

    modules = (following, connection, writes)
    values = {name: value for module in modules for name, value in vars(module).items()}
    assert found == {name: values[name] for name in found}
    # The others are in the first table.
    own = {
        name
        for module in modules
        for name, value in vars(module).items()
        if name.endswith("_MAX") and name not in DOMAIN
    }
    assert own - set(found) == {"_PAUSELESS_SECONDS_MAX", "_PAUSELESS_SIZE_MAX"}
    page = read_page("docs/operating/follower.md")
    assert f"without a pause for a second, or {writes._PAUSELESS_SIZE_MAX >> 20} MiB" in page
    assert writes._PAUSELESS_SECONDS_MAX == 1.0


def test_every_limit_of_read_models_is_on_the_page() -> None:
    values = {name: value for name, value in vars(feed).items() if name.endswith("_MAX")}

    assert documented("Read models") == values


def test_the_time_that_a_query_may_compute_is_that_of_its_flag() -> None:
    option = next(option for option in run.params if option.name == "query_time_limit")

    assert f"`--query-time-limit`: {option.default} seconds" in read_page(PAGE)


def test_every_body_has_one_of_the_limits_of_the_page() -> None:
    sizes = {name: value for name, value in DOMAIN.items() if "BODY" in name} | BODIES

    # A backup may have any size, and is restored as it arrives.
    unbounded = {route.handle.__name__ for route in ROUTES if route.body_size_max is None}
    assert unbounded == {"restore"}
    assert {route.body_size_max for route in ROUTES} == {None, *sizes.values()}


def test_every_reason_stands_in_the_code_too() -> None:
    for module, names in (("domain", DOMAIN), ("eventql", QUERIES), ("http", HTTP)):
        text = read_page(f"src/everlog/{module}/limits.py")
        for name in names:
            # A comment stands directly above, or above the neighbour that shares it.
            assert re.search(rf"#.*\n(\s*[a-zA-Z_]+: .*\n)?\s*{name}: ", text), name


def test_the_last_event_id_is_on_the_page() -> None:
    assert f"{EVENT_ID_MAX:,}" in read_page(PAGE)
