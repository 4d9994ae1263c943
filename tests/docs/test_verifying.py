"""The page about verifying offline is true: its commands run against a server, and its program."""

import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from everlog.verifying import events, notes, proofs
from tests.support.merkle import published_vectors
from tests.support.pages import (
    DOCUMENTED_ADDRESS,
    Block,
    code_blocks,
    read_page,
    run_script,
    with_placeholders,
)
from tests.support.provable_log import ProvableLog
from tests.support.server import TOKEN, running_server

PAGE = "docs/verifying.md"

# Where `everlog` is.
COMMANDS = Path(sys.executable).parent

ASSIGNMENT = re.compile(r"^\w+=.*$", re.MULTILINE)

# Keys and roots are others in every run.
PLACEHOLDERS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"\+[0-9a-f]{8} "), "+<key> "),
    (re.compile(r"[A-Za-z0-9+/]{43}="), "<root>"),
)


def comparable(text: str) -> str:
    text = with_placeholders(text)
    for pattern, placeholder in PLACEHOLDERS:
        text = pattern.sub(placeholder, text)
    return text


@pytest.mark.slow
def test_every_command_and_the_program_print_what_the_page_shows(tmp_path: Path) -> None:
    generate, *blocks = [
        block for block in code_blocks(read_page(PAGE)) if not block.text.startswith("everlog run")
    ]
    run_script(["bash", "-eu"], generate.text, directory=tmp_path, path=COMMANDS)
    origin = re.search(r"--origin (\S+)", generate.text)
    assert origin is not None
    flags = [
        f"--checkpoint-key-file={tmp_path / 'checkpoint-key.pem'}",
        f"--checkpoint-origin={origin[1]}",
    ]
    variables = ""
    compared = 0
    with running_server(*flags) as server:
        for block, following in pairwise([*blocks, Block("", "", 0)]):
            script = block.text.replace(DOCUMENTED_ADDRESS, f"127.0.0.1:{server.port}")
            script = script.replace("token=secret", f"token={TOKEN}")
            if block.language == "python":
                # It verifies what was kept, since the page has gone on.
                (tmp_path / "kept.txt").rename(tmp_path / "checkpoint.txt")
                output = run_script([sys.executable, "-"], script, directory=tmp_path)
            elif block.language == "sh":
                output = run_script(
                    ["bash", "-eu"], variables + script, directory=tmp_path, path=COMMANDS
                )
                variables += "".join(f"{line}\n" for line in ASSIGNMENT.findall(script))
            else:
                continue
            if following.language == "text":
                assert comparable(output) == comparable(following.text), block.line
                compared += 1
    assert compared == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["event.json", "inclusion-proof.json", "checkpoint.txt"])
def test_the_program_of_the_page_refuses_what_was_changed(tmp_path: Path, name: str) -> None:
    log = ProvableLog.of(3)
    log.events[0] = f'{{"type":"event","payload":{log.events[0]}}}'
    (tmp_path / "event.json").write_text(log.events[0], encoding="utf-8")
    (tmp_path / "inclusion-proof.json").write_text(str(log.inclusion_proof(0)).replace("'", '"'))
    (tmp_path / "checkpoint.txt").write_bytes(log.checkpoint())
    (tmp_path / "verifier-keys").write_text(log.key.verifier_key + "\n")
    program = next(block for block in code_blocks(read_page(PAGE)) if block.language == "python")

    output = run_script([sys.executable, "-"], program.text, directory=tmp_path)
    assert output == "Event 0 is one of the first 3 of example.com/log\n"

    changed = (tmp_path / name).read_text(encoding="utf-8")
    change = {"event.json": ("1.50", "1.51"), "checkpoint.txt": ("\n3\n", "\n4\n")}
    old, new = change.get(name, ('"proof": ["', '"proof": ["AAAA'))
    assert old in changed
    (tmp_path / name).write_text(changed.replace(old, new), encoding="utf-8")
    with pytest.raises(AssertionError):
        run_script([sys.executable, "-"], program.text, directory=tmp_path)


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    page = read_page(PAGE)
    vectors = published_vectors()
    wrong = [vector for vector in vectors if vector["wantErr"]]

    assert f"{len(vectors)} proofs of which {len(wrong)} are wrong" in page
    assert notes.NOTE_SIZE_MAX == 1 << 20
    assert "1 MiB (a checkpoint, with at most 100 signatures)" in page
    assert proofs.PROOF_SIZE_MAX == 64 << 10
    assert "64 KiB (a proof)" in page
    assert events.EVENT_SIZE_MAX == 4 << 20
    assert "4 MiB (an event, or a line of many)" in page
