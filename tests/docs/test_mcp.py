"""What the page about language models says is so: its configuration and program run."""

import asyncio
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from click import Option

import everlog
from everlog.cli.mcp import mcp
from everlog.mcp.arguments import schema_of
from everlog.mcp.serving import CALLS_AT_ONCE_MAX
from everlog.mcp.tools import TOOLS, Limits
from tests.docs.conftest import Checkout
from tests.support.mcp_servers import MCP_TOKEN, running_mcp, stdio_client
from tests.support.pages import DOCUMENTED_ADDRESS, code_blocks, read_page, run_script

PAGE: Final = "docs/operating/mcp.md"

NUMBERS: Final = {4: "Four"}


def block(language: str) -> str:
    (found,) = (block.text for block in code_blocks(read_page(PAGE)) if block.language == language)
    return found


def rows(header: str) -> list[list[str]]:
    table = read_page(PAGE).partition(header)[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_the_table_has_every_tool_with_what_it_takes() -> None:
    found = rows("| tool | what it takes | what it gives back |")

    assert [name.strip("`") for name, _, _ in found] == list(TOOLS)
    for tool, (_, takes, gives) in zip(TOOLS.values(), found, strict=True):
        schema = schema_of(tool.arguments)
        assert re.findall(r"`(\w+)`", takes) == list(schema["properties"])
        assert ("with `--allow-writes` only" in gives) == tool.is_writing


def test_the_table_has_every_limit_with_its_default() -> None:
    found = {what.strip("`,"): number for what, number, _ in rows("| flag | default |")}
    defaults = {
        option.opts[0]: option.default
        for option in mcp.params
        if isinstance(option, Option) and option.opts[0].endswith("-max")
    }

    limit = schema_of(TOOLS["esdb_read_events"].arguments)["properties"]["limit"]["default"]
    assert found.pop("limit`, an argument") == str(limit)
    assert {flag: float(number.replace(",", "")) for flag, number in found.items()} == defaults
    assert list(defaults.values()) == list(Limits())
    assert f"{NUMBERS[CALLS_AT_ONCE_MAX]} calls work at a time" in read_page(PAGE)


@pytest.fixture
def written(checkout: Checkout) -> Checkout:
    token = (checkout.directory / ".everlog" / "token").read_text().strip()
    with everlog.connect(f"http://{checkout.address}", token=token) as store:
        event = everlog.NewEvent("https://library.example", "/books/42", "com.example.a", {})
        store.write([event, event])
    return checkout


@pytest.mark.slow
def test_a_client_that_is_configured_as_the_page_shows_finds_the_tools(written: Checkout) -> None:
    (shown,) = json.loads(block("json"))["mcpServers"].values()
    assert shown["command"] == "everlog"
    on_a_line = re.search(r"claude mcp add everlog -- (.*)", read_page(PAGE))
    assert on_a_line is not None
    command, *arguments = shlex.split(on_a_line[1])
    assert command == "everlog"
    # The same, but for how a shell writes the place of the token.
    assert arguments[:-1] == shown["args"][:-1]

    token_file = written.directory / ".everlog" / "token"
    flags = [text.replace(DOCUMENTED_ADDRESS, written.address) for text in arguments[1:-1]]

    async def work() -> list[str]:
        async with stdio_client(*flags, str(token_file), environment={}) as client:
            result: Any = await client.call_tool("esdb_read_subjects", {})
            return list(result.structured_content["subjects"])

    assert asyncio.run(work()) == ["/", "/books", "/books/42"]


@pytest.mark.slow
def test_the_program_of_the_page_asks_a_server_as_the_page_starts_it(
    written: Checkout, tmp_path: Path
) -> None:
    (tmp_path / "mcp-token").write_text(MCP_TOKEN + "\n")
    everlog_, mcp_, *flags = shlex.split(block("sh").replace("mcp-token", f"{tmp_path}/mcp-token"))
    assert (everlog_, mcp_) == ("everlog", "mcp")
    environment = {
        "EVERLOG_URL": f"http://{written.address}",
        "EVERLOG_API_TOKEN_FILE": str(written.directory / ".everlog" / "token"),
    }
    flags[flags.index("3100")] = "0"
    flags[flags.index(f"--{tmp_path}/mcp-token-file")] = "--mcp-token-file"

    with running_mcp(*flags, environment=environment) as running:
        program = block("python").replace("http://127.0.0.1:3100/mcp", running.url)
        command = ["env", f"MCP_TOKEN={MCP_TOKEN}", sys.executable, "-"]
        output = run_script(command, program, directory=tmp_path)

    assert output == "/books/42\n/books/42\n"
