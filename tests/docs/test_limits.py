"""The page about limits names every limit there is, with the number that the code has."""

import dataclasses
import re

from everlog.api.routes import ROUTES
from everlog.domain import limits
from everlog.domain.selection import EVENT_ID_MAX
from everlog.http import Limits
from tests.support.pages import read_page

PAGE = "docs/operating/limits.md"

DOMAIN: dict[str, float] = {
    name: value for name, value in vars(limits).items() if name.endswith("_MAX")
}
HTTP: dict[str, float] = dataclasses.asdict(Limits())

# The largest body of a registration is no constant of its own.
REGISTRATION = {"SCHEMA_SIZE_MAX * 2": 2 * limits.SCHEMA_SIZE_MAX}


def documented(section: str) -> dict[str, float]:
    """Return the numbers of a section's table, by their names in the code."""
    text = read_page(PAGE).partition(f"## {section}\n")[2].partition("\n## ")[0]
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
    assert documented("What is written and read") == DOMAIN | REGISTRATION


def test_every_limit_of_connections_is_on_the_page() -> None:
    assert documented("Connections") == HTTP


def test_every_body_has_one_of_the_limits_of_the_page() -> None:
    sizes = {name: value for name, value in DOMAIN.items() if "BODY" in name} | REGISTRATION

    assert {route.body_size_max for route in ROUTES} == set(sizes.values())


def test_every_reason_stands_in_the_code_too() -> None:
    for module, names in (("domain", DOMAIN), ("http", HTTP)):
        text = read_page(f"src/everlog/{module}/limits.py")
        for name in names:
            # A comment stands directly above, or above the neighbour that shares it.
            assert re.search(rf"#.*\n(\s*[a-zA-Z_]+: .*\n)?\s*{name}: ", text), name


def test_the_last_event_id_is_on_the_page() -> None:
    assert f"{EVENT_ID_MAX:,}" in read_page(PAGE)
