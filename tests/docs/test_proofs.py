"""What the page about proofs says of keys, flags, states and paths is so."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from everlog.api.routes import ROUTES
from everlog.domain.note import SignatureType, VerifierKey
from everlog.service.proving.witnesses import WitnessState
from everlog.settings import parse_witness
from everlog.verifying.notes import SignedNote
from everlog.verifying.notes import VerifierKey as OfflineKey
from tests.support.api import Connection
from tests.support.pages import code_blocks, read_page, run_script
from tests.support.server import running_server

PAGE = "docs/proofs.md"

# Where `everlog` is.
COMMANDS = Path(sys.executable).parent


@pytest.mark.slow
def test_the_commands_of_the_page_lead_to_a_checkpoint_that_its_keys_verify(
    tmp_path: Path,
) -> None:
    generate, run = (block.text for block in code_blocks(read_page(PAGE)) if block.language == "sh")
    run_script(["bash", "-eu"], generate, directory=tmp_path, path=COMMANDS)
    _, _, *flags = shlex.split(run.replace("\\\n", " "))
    key = flags.index("--checkpoint-key-file") + 1
    flags[key] = str(tmp_path / flags[key])
    data = flags.index("--data-directory")
    flags[data + 1] = str(tmp_path / flags[data + 1])

    # Its port is the system's choice.
    with running_server(*flags) as server, Connection(server.url) as connection:
        answer = connection.ask("GET", "/api/v2/log/checkpoint")
    note = SignedNote.parse(answer.body)
    keys = (tmp_path / "verifier-keys").read_text().split()
    assert len(keys) == 2
    assert all([*note.by(OfflineKey.parse(key))] for key in keys)
    assert note.text.startswith(VerifierKey.parse(keys[0]).name + "\n0\n")


def test_every_state_of_a_witness_is_explained() -> None:
    table = read_page(PAGE).partition("| state | what it means | what the server does |")[2]
    states = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)

    assert states == [state.value for state in WitnessState]
    monitoring = read_page("docs/operating/monitoring.md")
    *others, last = (f"`{state}`" for state in states)
    assert f"The states of a witness are {', '.join(others)} and {last}." in monitoring


def test_every_request_of_the_page_is_one_of_the_api() -> None:
    paths = {route.path.partition("/{")[0] for route in ROUTES if "/log/" in route.path}
    named = re.findall(r"GET (/api/v2/log/[a-z-]+)", read_page(PAGE))

    assert {*named} == paths


def test_a_witness_is_given_as_the_page_shows() -> None:
    block = next(block for block in code_blocks(read_page(PAGE)) if "--witness" in block.text)
    given = re.findall(r"--witness (\S+)", block.text)

    assert len(given) == 2
    for text in given:
        url, _, _ = text.partition("=")
        key = VerifierKey("w.example", SignatureType.ED25519_COSIGNATURE, b"\0" * 32)
        assert parse_witness(f"{url}={key}").url == url
