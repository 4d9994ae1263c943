"""The layers hold: imports point inward, as the contracts in `pyproject.toml` say."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.sources import REPOSITORY

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    """Judge the tree below the directory by the contracts of this repository."""
    config = REPOSITORY / "pyproject.toml"
    return subprocess.run(
        [LINT_IMPORTS, "--no-logo", "--no-cache", "--config", config],
        # Wide, so that the name of a contract stands on one line with its result.
        env={"PYTHONPATH": str(directory / "src"), "COLUMNS": "200"},
        cwd=directory,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_imports_keep_the_contracts() -> None:
    result = lint_imports(REPOSITORY)

    if result.returncode != 0:
        pytest.fail(result.stdout + result.stderr, pytrace=False)


def test_the_page_about_the_architecture_shows_the_contract() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())

    picture = re.search(r"```text\n(cli .*?)\n```", page, re.DOTALL)
    contract = project["tool"]["importlinter"]["contracts"][0]

    assert picture is not None
    assert [floor.strip() for floor in picture[1].split("->")] == present(contract["layers"])


def present(layers: list[str]) -> list[str]:
    """Leave out what is in parentheses: a place for what may come."""
    floors = ([name for name in floor.split(" | ") if name[0] != "("] for floor in layers)
    return [" | ".join(floor) for floor in floors if floor]


EVENTQL_PACKAGES = ("language", "evaluation", "analysis", "planning", "codegen", "execution")
PACKAGES = (
    "api",
    "cli",
    "cli/backing_up",
    "credentials",
    "domain",
    "eventql",
    *(f"eventql/{name}" for name in EVENTQL_PACKAGES),
    "following",
    "http",
    "journals",
    "library",
    "maintenance",
    "mcp",
    "monitoring",
    "projections",
    "service",
    "storage",
    "storage/log",
    "testing",
    "transfer",
    "ui",
    "verifying",
)
# Those that a contract names.
EVENTQL_MODULES = (
    "diagnostic",
    "language/lexer",
    "language/parser",
    "limits",
    "query",
    "trees",
    "types",
)
MODULES = (
    "_version",
    "api/audit_endpoints",
    "api/transfer_endpoints",
    "api/endpoints",
    "api/transfer_endpoints",
    "audit_worker",
    "api/look_v1",
    "api/look_v2",
    "api/proof_endpoints",
    "api/transfer_endpoints",
    "cli/directory",
    "cli/journal",
    "bootstrap",
    "environment",
    "exit_codes",
    "judging_messages",
    "library/embedded",
    "outgoing",
    "process",
    "front_worker",
    "hosting",
    "query_worker",
    "reporting",
    "schema_worker",
    "sync_worker",
    "service/store",
    "settings",
    "telemetry",
    "texts",
    "threads",
    "transfer/restoring",
    *(f"eventql/{name}" for name in EVENTQL_MODULES),
)


def skeleton(directory: Path) -> Path:
    """Lay out a tree with every layer and nothing in it."""
    root = directory / "src" / "everlog"
    for package in ("", *PACKAGES):
        (root / package).mkdir(parents=True, exist_ok=True)
        (root / package / "__init__.py").touch()
    for module in MODULES:
        (root / f"{module}.py").touch()
    return root


def test_an_empty_tree_keeps_the_contracts(tmp_path: Path) -> None:
    skeleton(tmp_path)

    result = lint_imports(tmp_path)

    assert result.returncode == 0, result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "path, text, contract",
    [
        ("domain/event.py", "import everlog.storage", "Imports point inward"),
        ("http/server.py", "import everlog.service", "Imports point inward"),
        ("utilities.py", "", "Imports point inward"),
        ("settings.py", "import everlog.api", "Imports point inward"),
        ("credentials/live.py", "import everlog.settings", "Imports point inward"),
        ("exit_codes.py", "import everlog.domain", "Imports point inward"),
        ("domain/clock.py", "from time import time_ns", "The domain is pure"),
        ("eventql/evaluation/scalars.py", "from random import random", "The domain is pure"),
        ("eventql/planning/planner.py", "import everlog.storage", "Imports point inward"),
        ("eventql/language/cursor.py", "import everlog.eventql.analysis", "EventQL is a one-way"),
        ("eventql/language/names.py", "import everlog.eventql.evaluation", "EventQL is a one-way"),
        ("eventql/evaluation/sums.py", "import everlog.eventql.language", "EventQL is a one-way"),
        ("eventql/planning/folding.py", "import everlog.eventql.codegen", "EventQL is a one-way"),
        ("eventql/tricks.py", "", "EventQL is a one-way"),
        ("eventql/analysis/calls.py", "import everlog.eventql.language.lexer", "Of the language"),
        ("storage/log/commit.py", "import asyncio", "Storage is synchronous"),
        ("service/status.py", "from http import HTTPStatus", "HTTP stops at the API"),
        ("http/server.py", "from everlog.domain import event", "HTTP knows nothing"),
        ("service/a.py", "import everlog.storage.log", "Only who opens a log"),
        ("api/endpoints.py", "import everlog.api.look_v1", "Endpoints and looks"),
        ("api/look_v2.py", "import everlog.api.look_v1", "Endpoints and looks"),
        ("api/a.py", "import everlog.api.b", "Siblings do not import"),
        ("verifying/a.py", "import everlog.texts", "The offline verifier stands alone"),
        ("verifying/a.py", "import everlog.domain.chain", "The offline verifier stands alone"),
        ("domain/tree.py", "import everlog.verifying", "What writes the log shares no code"),
        ("service/proofs.py", "import everlog.verifying", "What writes the log shares no code"),
        ("maintenance/a.py", "import everlog.storage.log", "Verification shares no code"),
        ("maintenance/a.py", "import everlog.domain.event", "Verification shares no code"),
    ],
)
def test_a_contract_is_broken_by_what_it_forbids(
    tmp_path: Path, path: str, text: str, contract: str
) -> None:
    root = skeleton(tmp_path)
    (root / "api" / "b.py").write_text("import everlog.api.a")
    (root / "domain" / "event.py").touch()
    (root / path).write_text(text)

    result = lint_imports(tmp_path)

    broken = [line for line in result.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(line.startswith(contract) for line in broken), result.stdout + result.stderr
