"""`everlog verify`: what it prints, which files it takes, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from everlog.cli.main import cli
from tests.support.provable_log import ProvableLog
from tests.support.signed_notes import (
    COSIGNATURE,
    NoteKey,
    encoded,
    ml_dsa_44_key,
    note_text,
    signed_note,
)

KEY = NoteKey("example.com/log")
LOG = ProvableLog.of(7, key=KEY)
WITNESSES = [NoteKey("w.example/1", COSIGNATURE), ml_dsa_44_key("w.example/2")]
ROOT = encoded(LOG.root(7))

SIGNED = f"Their root is {ROOT}\nSigned by example.com/log+{KEY.id.hex()} (Ed25519)\n"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("event").write_text(f'{{"type":"event","data":{LOG.events[3]}}}\n', encoding="utf-8")
    Path("proof").write_text(json.dumps(LOG.inclusion_proof(3)))
    Path("growth").write_text(json.dumps(LOG.consistency_proof(4)))
    Path("checkpoint").write_bytes(LOG.checkpoint(witnesses=WITNESSES, time=1_764_504_000))
    Path("kept").write_bytes(LOG.checkpoint(4))


def run(*options: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["verify", "--key", KEY.verifier_key, *options], input=given)


EVENT = ("--checkpoint=checkpoint", "--event=event", "--proof=proof")
GROWTH = ("--checkpoint=checkpoint", "--earlier=kept", "--proof=growth")


def check_output(result: Result, *lines: str) -> None:
    assert result.exit_code == 0, result.output
    assert result.stdout == "".join(lines)
    assert result.stderr == ""


def test_an_event_in_the_log_is_said_in_sentences() -> None:
    check_output(
        run(*EVENT),
        "Event 3 (com.example.order-placed, /orders/3, 2026-11-30T12:00:00.0041Z) has the content "
        f"that its hash says: {LOG.hashes[3]}\n",
        "It is event number 4 of the first 7 events of the log example.com/log\n",
        SIGNED,
    )


def test_a_log_that_grew_is_said_in_sentences() -> None:
    check_output(
        run(*GROWTH),
        "The first 4 events of the log example.com/log are still what they were\n",
        "By now it has 7 events\n",
        SIGNED,
    )


def test_a_checkpoint_alone_is_verified_with_its_witnesses() -> None:
    keys = [f"--witness={witness.verifier_key}" for witness in WITNESSES]
    ids = [witness.id.hex() for witness in WITNESSES]

    check_output(
        run("--checkpoint=checkpoint", *keys),
        "The checkpoint is of the first 7 events of the log example.com/log\n",
        SIGNED,
        f"Cosigned by w.example/1+{ids[0]} (Ed25519) at 2025-11-30T12:00:00Z\n",
        f"Cosigned by w.example/2+{ids[1]} (ML-DSA-44) at 2025-11-30T12:00:00Z\n",
    )


def test_what_a_hash_does_not_cover_is_said() -> None:
    log = ProvableLog(key=KEY)
    Path("event").write_text(log.add("{}", traced=True))
    Path("proof").write_text(json.dumps(log.inclusion_proof(0)))
    Path("checkpoint").write_bytes(log.checkpoint())

    lines = run(*EVENT).stdout.splitlines()

    assert lines[1:3] == [
        "Not covered by that hash, and not shown: traceparent and tracestate",
        "It is event number 1 of the first 1 event of the log example.com/log",
    ]


def test_so_many_witnesses_are_required_as_are_given_or_as_is_said() -> None:
    absent = NoteKey("w.example/3", COSIGNATURE)
    keys = [f"--witness={witness.verifier_key}" for witness in [*WITNESSES, absent]]

    refused = run("--checkpoint=checkpoint", *keys)
    assert refused.exit_code == 4
    assert "Not verified: checkpoint: 2 of the witnesses cosigned it, and not 3" in refused.stdout
    assert run("--checkpoint=checkpoint", *keys, "--witnesses-required=2").exit_code == 0


def test_a_program_gets_one_object() -> None:
    keys = [f"--witness={witness.verifier_key}" for witness in WITNESSES]

    found = json.loads(run(*EVENT, *keys, "--format=json").stdout)

    signer = f"example.com/log+{KEY.id.hex()}"
    assert found["type"] == "verified"
    assert found["payload"] == {
        "event": {"id": "3", "hash": LOG.hashes[3], "position": 3, "uncovered": []},
        "earlier": None,
        "checkpoint": {"origin": "example.com/log", "size": 7, "root": ROOT},
        "signatures": [{"key": signer, "type": "Ed25519", "time": None}],
        "cosignatures": [
            {
                "key": f"{witness.name}+{witness.id.hex()}",
                "type": type_,
                "time": "2025-11-30T12:00:00Z",
            }
            for witness, type_ in zip(WITNESSES, ("Ed25519", "ML-DSA-44"), strict=True)
        ],
    }
    growth = json.loads(run(*GROWTH, "--format=json").stdout)["payload"]
    assert growth["event"] is None
    assert growth["earlier"]["size"] == 4


@pytest.mark.parametrize(
    "name, part", [("checkpoint", "checkpoint"), ("proof", "proof"), ("event", "event")]
)
def test_a_refusal_names_the_file_and_ends_with_code_4(name: str, part: str) -> None:
    Path(name).write_bytes(b"{}")

    told = run(*EVENT)
    for_programs = run(*EVENT, "--format=json")

    assert told.exit_code == for_programs.exit_code == 4
    assert told.stdout.startswith(f"Not verified: {name}: it ")
    payload: dict[str, Any] = json.loads(for_programs.stdout)["payload"]
    assert (payload["part"], payload["file"]) == (part, name)
    assert payload["reason"] in told.stdout


def test_two_histories_are_said_of_the_checkpoint_that_was_kept() -> None:
    text = note_text(KEY.name, 7, bytes(32))
    Path("kept").write_bytes(signed_note(text, KEY.sign(text)))

    result = run(*GROWTH)

    assert result.exit_code == 4
    assert result.stdout == (
        "Not verified: kept: the log has shown two histories of 7 events, and signed both: "
        "keep both checkpoints, they prove it\n"
    )


def test_two_checkpoints_of_one_size_need_no_proof() -> None:
    result = run("--checkpoint=checkpoint", "--earlier=checkpoint")

    assert result.stdout.startswith("The first 7 events of the log example.com/log are still")


@pytest.mark.parametrize("name", ["event", "proof", "checkpoint"])
def test_standard_input_is_a_file_too(name: str) -> None:
    content = Path(name).read_bytes()
    Path(name).unlink()

    options = [text.replace(f"={name}", "=-") for text in EVENT]

    assert run(*options, given=content).exit_code == 0


@pytest.mark.parametrize(
    "options, reason",
    [
        (["--checkpoint=missing"], "missing cannot be read: No such file or directory"),
        (["--checkpoint=."], "cannot be read: Is a directory"),
        (["--checkpoint=checkpoint", "--event=event"], "--event needs the --proof"),
        (["--checkpoint=checkpoint", "--proof=proof"], "--proof needs the --event"),
        ([*EVENT, "--earlier=kept"], "--event and --earlier need a proof each"),
        (["--checkpoint=-", "--event=-", "--proof=proof"], "standard input can be one file only"),
        ([*EVENT, "--key=a+b"], "--key 'a+b': it is no verifier key"),
        ([*EVENT, f"--key={WITNESSES[0].verifier_key}"], "is the key of a witness, not of a log"),
        ([*EVENT, "--witnesses-required=1"], "1 witnesses are required, but keys given of 0"),
        ([*EVENT, "--key=\x1b[31m"], r"--key '\x1b[31m': it is no verifier key"),
    ],
)
def test_what_cannot_be_meant_ends_with_code_2(options: list[str], reason: str) -> None:
    result = run(*options)

    assert result.exit_code == 2
    assert reason in result.stderr
    assert result.stdout == ""


def test_keys_may_be_given_as_a_file_has_them() -> None:
    lines = f"{ml_dsa_44_key(KEY.name).verifier_key}\n{KEY.verifier_key}\n"

    result = CliRunner().invoke(cli, ["verify", "--checkpoint=checkpoint", "--key", lines])

    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(SIGNED)


def test_a_key_is_required() -> None:
    result = CliRunner().invoke(cli, ["verify", "--checkpoint=checkpoint"])

    assert result.exit_code == 2
    assert "Missing option '--key'" in result.stderr


def test_nothing_of_a_file_reaches_a_terminal_raw() -> None:
    key = NoteKey("\x7f\u202elog")
    text = note_text("\x7f\u202elog", 7, LOG.root(7))
    Path("checkpoint").write_bytes(signed_note(text, key.sign(text)))
    options = ("verify", "--key", key.verifier_key, "--checkpoint=checkpoint")

    for more in ([], ["--format=json"]):
        result = CliRunner().invoke(cli, [*options, *more])
        assert result.exit_code == 0
        assert all(line.isprintable() for line in result.stdout.splitlines())
        assert "202elog" in result.stdout


def test_times_beyond_the_years_that_we_have_are_numbers() -> None:
    text = note_text(KEY.name, 7, LOG.root(7))
    line = WITNESSES[0].sign(text, time=2**63 - 1)
    Path("checkpoint").write_bytes(signed_note(text, KEY.sign(text), line))

    result = run("--checkpoint=checkpoint", f"--witness={WITNESSES[0].verifier_key}")

    assert f"at second {2**63 - 1}\n" in result.stdout
