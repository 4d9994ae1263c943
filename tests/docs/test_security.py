"""The security guide promises nothing that no test holds, and names nothing that is not there."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from everlog.http import Limits
from tests.docs.test_operating import rows_of_log
from tests.support.pages import code_blocks, read_page

GUIDE = "docs/operating/security.md"

HEADER = "| Everlog enforces | it leaves to you | test |"


def promises() -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the tables: what is enforced, what is not, and the test."""
    lines = section("What Everlog enforces, and what it leaves to you").splitlines()
    for line in lines:
        if not line.startswith("|") or line in {HEADER, "|---|---|---|"}:
            continue
        enforced, left, test = (cell.strip() for cell in line.strip("|").split("|"))
        yield enforced, left, test


def section(title: str) -> str:
    _, found, rest = read_page(GUIDE).partition(f"\n## {title}\n")
    assert found, title
    return rest.partition("\n## ")[0]


@cache
def defined_tests(path: str) -> set[str]:
    """Return the tests that a file defines."""
    tree = ast.parse(read_page(path))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


ROWS = list(promises())


def test_there_is_a_table_for_every_part() -> None:
    tables = section("What Everlog enforces, and what it leaves to you").split("\n### ")[1:]

    assert len(tables) >= 6
    for table in tables:
        assert table.count(HEADER) == 1, table
    assert len(ROWS) >= 50


@pytest.mark.parametrize("enforced, left, test", ROWS)
def test_every_row_says_what_is_enforced_and_names_a_test_that_exists(
    enforced: str, left: str, test: str
) -> None:
    assert enforced.endswith(".")
    assert not left or left.endswith(".")
    named = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", test)
    assert named, test
    assert named[2] in defined_tests(named[1])


def test_no_test_stands_for_two_promises() -> None:
    tests = [test for _, _, test in ROWS]

    assert len(tests) == len(set(tests))


def test_every_message_and_alert_that_the_guide_names_exists() -> None:
    logged = {
        message for _, (cell, _) in rows_of_log() for message in re.findall("`([^`]+)`", cell)
    }
    named = re.findall(r"^\| `([^`]+)` \|", section("The log"), re.MULTILINE)
    assert len(named) >= 8
    assert set(named) <= logged

    rules = "".join(block.text for block in code_blocks(read_page("docs/operating/monitoring.md")))
    alerts = re.findall(r"`(Everlog\w+)`", section("Monitoring and alerts"))
    assert len(alerts) >= 5
    for alert in alerts:
        assert f"- alert: {alert}\n" in rules


def test_the_threat_model_states_what_bounds_handshakes() -> None:
    assert f"{Limits().head_seconds_max:.0f} seconds" in read_page("SECURITY.md")
