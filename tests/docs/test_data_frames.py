"""The page about data frames: its blocks are run in their order, while the store is open."""

import contextlib
import io
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

import everlog
from everlog.library.frames import BATCH_ROWS, WINDOW_ROWS, EventFrames
from everlog.storage.log.engine import LogEngine
from tests.support.pages import Block, code_blocks, read_page
from tests.support.server import DEADLINE_SECONDS, clean_environment

PAGE: Final = "docs/library/data-frames.md"


def run_commands(text: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", text],
        env={**clean_environment(), "EVERLOG_DATA_DIRECTORY": "books", "PATH": path},
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_program(text: str, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(text, names)
    return printed.getvalue()


@pytest.mark.slow
def test_every_block_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    try:
        for block, below in pairwise([*code_blocks(read_page(PAGE)), Block("", "", 0)]):
            shown = below.text if below.language == "text" else ""
            if block.language == "python":
                assert run_program(block.text, names) == shown, block.line
            elif block.language == "sh":
                assert run_commands(block.text) == shown, block.line
        assert parquet.read_table("events.parquet").num_rows == 3
        with Path("ids.arrow").open("rb") as file:
            assert pa.ipc.open_stream(file).read_all().num_rows == 3
    finally:
        names["store"].close()


def test_a_log_of_several_files_is_read_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A file for each batch, where a gigabyte would make the next one.
    monkeypatch.setitem(LogEngine.open.__kwdefaults__, "segment_size_max", 1)
    [recipe] = [
        block
        for block in code_blocks(read_page(PAGE))
        if "/log" in block.text and "pl." in block.text
    ]
    with everlog.open("books") as store:
        for number in range(3):
            subject = f"/books/{number + 1}"
            store.write([everlog.NewEvent("https://a.example", subject, "com.example.a", {})])
        assert len([*Path("books/log").glob("*.ndjson")]) == 3

        assert run_program(recipe.text, {"pl": pl, "duckdb": duckdb}) == "3\n[(3,)]\n"
        [command] = [block for block in code_blocks(read_page(PAGE)) if "tr -d" in block.text]
        assert len(run_commands(command.text).splitlines()) == 3


def test_the_page_has_the_columns_and_the_numbers() -> None:
    page = read_page(PAGE)
    columns = page.partition("Events always have the same: ")[2].partition("\n")[0]
    [schema] = [array.schema for array in EventFrames(lambda: iter(())).arrays()]
    names = columns.split("`")[1::2]
    assert names == [field.name for field in pa.schema(schema)]
    assert f"{BATCH_ROWS:,} events at most" in page
    assert f"the first {WINDOW_ROWS:,} of them" in page
