"""The page about clusters: what it starts runs, and the names and texts that it quotes exist."""

import re
import sys
from pathlib import Path

import click
import pytest

from everlog.cli.journal import check, load
from everlog.cli.run import run
from everlog.monitoring.checks import CHECKS
from everlog.monitoring.metrics import METRICS
from tests.support.balanced_cluster import running_journals
from tests.support.pages import code_blocks, read_page, run_script
from tests.support.proxy import free_port
from tests.support.server import running_server
from tests.support.sources import REPOSITORY

PAGE = "docs/operating/cluster.md"
TEXT = read_page(PAGE)
BLOCKS = code_blocks(TEXT)

# Where `everlog` is.
COMMANDS = Path(sys.executable).parent


def block_with(text: str) -> str:
    (found,) = [block.text for block in BLOCKS if text in block.text]
    return found


# Each row: what the page calls the journal, and the kind of the one that is used instead.
@pytest.mark.slow
@pytest.mark.parametrize(
    "shown, kind",
    [
        ("postgresql://everlog@db.example.com/everlog", "postgresql"),
        (
            "nats://nats-1.example.com,nats-2.example.com,nats-3.example.com/everlog",
            "nats",
        ),
    ],
)
def test_what_the_page_starts_shows_what_was_written_by_the_other_node(
    tmp_path: Path, shown: str, kind: str
) -> None:
    script = block_with(f"EVERLOG_JOURNAL={shown}") + block_with("curl --silent --retry")
    # What the page has on a screen ends with it.
    script = f"trap 'kill $(jobs -p); wait' EXIT\n{script}"
    with running_journals(kind) as new_journal:
        for said, actual in (
            (f"EVERLOG_JOURNAL={shown}", f"EVERLOG_JOURNAL='{new_journal()}'"),
            *((str(port), str(free_port())) for port in (3001, 3002)),
            # Of the nodes; only what clients are answered is compared.
            ("&\n", "--host 127.0.0.1 --https-port 0 > /dev/null &\n"),
        ):
            assert said in script
            script = script.replace(said, actual)
        output = run_script(["bash", "-eu"], script, directory=tmp_path, path=COMMANDS)

    assert output == block_with('"payload":"2001"')


@pytest.mark.slow
def test_a_directory_is_loaded_as_the_page_shows_and_goes_on_alone(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path / "data") as server:
        server.stop()
    script = block_with("everlog journal load")
    with running_journals("postgresql") as new_journal:
        for said, actual in (
            ("postgresql://everlog@db.example.com/everlog", f"'{new_journal()}'"),
            ("/var/lib/everlog", str(tmp_path / "data")),
        ):
            assert said in script
            script = script.replace(said, actual)
        output = run_script(["bash", "-eu"], script, directory=tmp_path, path=COMMANDS)

    shown = block_with("journal 6f1c0a52")
    assert re.sub(r"[0-9a-f-]{32,36}", "ID", output) == "journal ID: 0 events; 0 event schemas\n"
    assert re.fullmatch(r"journal [0-9a-f]{32}: 3 events, from 0 .*; 0 event schemas\n", shown)


def test_every_metric_and_check_of_the_page_is_one() -> None:
    metrics = {metric.name for metric in METRICS}
    checks = {check.name for check in CHECKS}

    named = re.findall(r"`(everlog_\w+)`", TEXT)
    assert {name.removesuffix("_total") for name in named} <= metrics
    assert len(named) >= 6
    assert set(re.findall(r"`(cluster:\w+)`", TEXT)) <= checks


def test_every_flag_of_the_page_is_one() -> None:
    flags = {name for command in (run, load) for option in command.params for name in option.opts}
    named = {
        flag for flag in re.findall(r"`(?:everlog run )?(--[a-z-]+)", TEXT) if flag != "--ready"
    }

    assert named <= flags
    assert "--journal-password-file" in named


@pytest.mark.parametrize("command", [check, load], ids=["check", "load"])
def test_the_table_of_flags_is_that_of_the_commands(command: click.Command) -> None:
    table = dict(re.findall(r"^\| `(--[a-z-]+)` \| `?([A-Z_]+|none)`? \| ", TEXT, re.MULTILINE))
    options = [found for found in command.params if isinstance(found, click.Option)]

    assert {option.opts[0]: option.envvar or "none" for option in options} == table


@pytest.mark.parametrize(
    "text",
    [
        "the journal cannot be reached",
        "the node catches up with its journal",
        "the node does not serve its journal any more",
        "two nodes of the cluster do not fit together",
        "the journal is not empty, nor the beginning of what is to be loaded",
        "--journal needs a library that is not installed",
        "the node has what the journal has: requests are accepted",
    ],
)
def test_what_the_page_quotes_is_what_is_said(text: str) -> None:
    sources = "\n".join(
        path.read_text(encoding="ascii") for path in (REPOSITORY / "src").rglob("*.py")
    )

    assert f"`{text}`" in TEXT
    assert text in sources
