"""What is told of EventQL's functions, as a page and to the UI, is what the catalogue makes."""

from pathlib import Path

import pytest

from everlog.eventql.evaluation.catalogue import AGGREGATES, FUNCTIONS
from tests.support.pages import read_page
from tools import eventql_functions


def test_the_page_is_current() -> None:
    page = read_page("docs/eventql/functions.md")

    assert page == eventql_functions.functions_page(), "run tools/eventql_functions.py"


def test_the_module_of_the_ui_is_current() -> None:
    module = eventql_functions.MODULE.read_text(encoding="utf-8")

    assert module == eventql_functions.functions_module(), "run tools/eventql_functions.py"


def test_each_function_and_each_aggregate_has_a_heading() -> None:
    lines = eventql_functions.functions_page().splitlines()

    for name in (*FUNCTIONS, *AGGREGATES):
        assert lines.count(f"### {name}") == 1


def test_the_tool_writes_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, module = tmp_path / "eventql" / "functions.md", tmp_path / "model" / "functions.js"
    monkeypatch.setattr(eventql_functions, "PAGE", page)
    monkeypatch.setattr(eventql_functions, "MODULE", module)

    eventql_functions.main()

    assert page.read_text(encoding="utf-8") == eventql_functions.functions_page()
    assert module.read_text(encoding="utf-8") == eventql_functions.functions_module()
