"""Whoever forges an event, a proof or a checkpoint is refused by the offline verifier.

A verifier that let it pass would be noticed: each bug that is planted makes an attack succeed.
"""

import importlib
import json
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from everlog.cli.main import cli
from tests.support.chain import V2_PREFIX, hash_of
from tests.support.merkle import published_vectors
from tests.support.provable_log import ProvableLog, with_data
from tests.support.signed_notes import COSIGNATURE, NoteKey, encoded, note_text, signed_note

KEY = NoteKey("example.com/log")
IMPOSTOR = NoteKey(KEY.name)
FOREIGN = NoteKey("other.example/log")
WITNESS = NoteKey("witness.example/1", COSIGNATURE)
LOG = ProvableLog.of(7, key=KEY)
# The same beginning, another event in the midst, and as many of them.
OTHER = ProvableLog.of(4, key=KEY)
for number in range(4, 7):
    OTHER.add(f'{{"number":{number},"price":0}}')


class Given(NamedTuple):
    """What somebody hands to the verifier, all of it right to begin with."""

    event: str = LOG.events[3]
    proof: dict[str, Any] = LOG.inclusion_proof(3)
    checkpoint: bytes = LOG.checkpoint(witnesses=[WITNESS], time=1_700_000_000)
    # In place of an event: what the log was shown as earlier.
    earlier: bytes | None = None


GROWTH = Given(earlier=LOG.checkpoint(3), proof=LOG.consistency_proof(3))


def verify(directory: Path, given: Given) -> tuple[int, str]:
    """Return the exit code, and what was printed."""
    (directory / "event").write_text(given.event, encoding="utf-8")
    (directory / "proof").write_text(json.dumps(given.proof), encoding="utf-8")
    (directory / "checkpoint").write_bytes(given.checkpoint)
    subject = ["--event", "event"]
    if given.earlier is not None:
        (directory / "earlier").write_bytes(given.earlier)
        subject = ["--earlier", "earlier"]
    files = [*subject, "--proof", "proof", "--checkpoint", "checkpoint"]
    files = [text if text.startswith("--") else str(directory / text) for text in files]
    keys = ["--key", KEY.verifier_key, "--witness", WITNESS.verifier_key]
    result = CliRunner().invoke(cli, ["verify", *files, *keys])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def changed(given: Given, **members: Any) -> Given:
    return given._replace(proof=given.proof | members)


def rehashed(event: str, change: dict[str, Any], data: str) -> str:
    """Return an event with other content and the hash that this has."""
    members = json.loads(event) | change
    return with_data(members | {"hash": hash_of(members, data.encode())}, data)


def with_other_hash(event: str, hash_: str) -> str:
    return event.replace(json.loads(event)["hash"], hash_)


def data_of(event: str) -> str:
    return event[event.index('"data":') + 7 : event.index(',"predecessorhash"')]


def checkpoint_of(text: str, *keys: NoteKey, time: int = 7) -> bytes:
    return signed_note(text, *[key.sign(text, time=time) for key in [*keys, WITNESS]])


GIVEN = Given()
EVENT = json.loads(LOG.events[3])
# Of version 2, like all events with an odd number.
assert EVENT["hash"].startswith(V2_PREFIX)
TEXT = note_text(KEY.name, 7, LOG.root(7))

# The event that a forger would like to have been there, and its own, right hash.
FORGED = rehashed(LOG.events[3], {}, '{"number":3,"price":0}')
FORGED_HASH = json.loads(FORGED)["hash"]
DIGEST = EVENT["hash"].removeprefix(V2_PREFIX)
V1_DIGEST = hash_of(EVENT | {"hash": ""}, data_of(LOG.events[3]).encode())

IMPOSTOR_SIGNATURE = IMPOSTOR.private.sign(TEXT.encode())

# Each row: what was done, what is then handed over, and what the verifier says.
ATTACKS = {
    # Of the event.
    "the data was changed and the hash kept": (
        GIVEN._replace(event=LOG.events[3].replace("1.50", "1.49")),
        "does not have the hash that it says",
    ),
    "the data was changed where only its meaning is the same": (
        GIVEN._replace(event=LOG.events[3].replace("1.50", "1.5")),
        "does not have the hash that it says",
    ),
    "the subject was changed and the hash kept": (
        GIVEN._replace(event=LOG.events[3].replace("/orders/3", "/orders/4")),
        "does not have the hash that it says",
    ),
    "the hash was changed": (
        GIVEN._replace(event=with_other_hash(LOG.events[3], LOG.hashes[1])),
        "does not have the hash that it says",
    ),
    "the data was changed and hashed anew": (
        GIVEN._replace(event=FORGED),
        "it is about the event '3' with the hash",
    ),
    "the data was changed and hashed anew, also in the proof": (
        changed(GIVEN._replace(event=FORGED), hash=FORGED_HASH),
        "the proof leads to another root",
    ),
    "a member was added": (
        GIVEN._replace(event=LOG.events[3].replace('"signature"', '"paid":true,"signature"')),
        "the member 'paid', which no hash covers",
    ),
    "the data is there twice": (
        GIVEN._replace(event=LOG.events[3].replace('"data"', '"data":{"price":0},"data"')),
        "the member 'data' is there twice",
    ),
    "the digest of version 2 is shown as one of version 1": (
        GIVEN._replace(event=with_other_hash(LOG.events[3], DIGEST)),
        "does not have the hash that it says",
    ),
    "the hash of version 1 is shown as one of version 2": (
        GIVEN._replace(event=with_other_hash(LOG.events[3], V2_PREFIX + V1_DIGEST)),
        "does not have the hash that it says",
    ),
    "the same content has its hash of the other version": (
        changed(GIVEN._replace(event=with_other_hash(LOG.events[3], V1_DIGEST)), hash=V1_DIGEST),
        "the proof leads to another root",
    ),
    # Of the proof.
    "the leaf was swapped": (
        changed(GIVEN, proof=LOG.inclusion_proof(4)["proof"]),
        "the proof leads to another root",
    ),
    "the proof is that of another event, renamed": (
        changed(GIVEN, **LOG.inclusion_proof(4) | {"event": "3", "hash": LOG.hashes[3]}),
        "the proof leads to another root",
    ),
    "the proof is that of another event": (
        changed(GIVEN, **LOG.inclusion_proof(4)),
        "it has no event with the ID '4', but one with the ID '3'",
    ),
    "the event is shown in another place": (
        changed(
            GIVEN._replace(event=rehashed(LOG.events[3], {"id": "2"}, data_of(LOG.events[3]))),
            event="2",
            hash=json.loads(rehashed(LOG.events[3], {"id": "2"}, data_of(LOG.events[3])))["hash"],
        ),
        "the proof leads to another root",
    ),
    "the proof was truncated": (
        changed(GIVEN, proof=GIVEN.proof["proof"][:-1]),
        "the proof has fewer hashes than trees of these sizes ask for",
    ),
    "the proof was truncated and its root is that of fewer events": (
        changed(GIVEN, **LOG.inclusion_proof(3, 4) | {"size": 7}),
        "it has another root of 7 events than the checkpoint",
    ),
    "the proof is empty": (changed(GIVEN, proof=[]), "fewer hashes"),
    "the proof has a hash more": (
        changed(GIVEN, proof=[*GIVEN.proof["proof"], encoded(bytes(32))]),
        "the proof has more hashes than trees of these sizes ask for",
    ),
    "the proof has a hash more in front": (
        changed(GIVEN, proof=[encoded(bytes(32)), *GIVEN.proof["proof"]]),
        "the proof has more hashes",
    ),
    "two hashes of the proof were exchanged": (
        changed(GIVEN, proof=GIVEN.proof["proof"][::-1]),
        "the proof leads to another root",
    ),
    "the proof is for another size": (
        changed(GIVEN, **LOG.inclusion_proof(3, 6)),
        "it is for 6 events, and the checkpoint has 7",
    ),
    "the proof is that of a log with another history": (
        changed(GIVEN, **OTHER.inclusion_proof(3)),
        "it has another root of 7 events than the checkpoint",
    ),
    # Of the checkpoint.
    "the size was changed": (
        GIVEN._replace(checkpoint=GIVEN.checkpoint.replace(b"\n7\n", b"\n8\n")),
        f"the signature of {KEY.name}+{KEY.id.hex()} does not verify",
    ),
    "the root was changed": (
        GIVEN._replace(
            checkpoint=GIVEN.checkpoint.replace(
                encoded(LOG.root(7)).encode(), encoded(OTHER.root(7)).encode()
            )
        ),
        "does not verify",
    ),
    "the note is of another origin": (
        GIVEN._replace(checkpoint=checkpoint_of(note_text(FOREIGN.name, 7, LOG.root(7)), FOREIGN)),
        "it is of the log 'other.example/log', and not of 'example.com/log'",
    ),
    "the note is of another origin and the key of the log signed it": (
        GIVEN._replace(checkpoint=checkpoint_of(note_text(FOREIGN.name, 7, LOG.root(7)), KEY)),
        "it is of the log 'other.example/log', and not of 'example.com/log'",
    ),
    "another key signed in the name of the right one": (
        GIVEN._replace(
            checkpoint=GIVEN.checkpoint.replace(
                KEY.sign(TEXT).encode(),
                f"\u2014 {KEY.name} {encoded(KEY.id + IMPOSTOR_SIGNATURE)}\n".encode(),
            )
        ),
        f"the signature of {KEY.name}+{KEY.id.hex()} does not verify",
    ),
    "another key of the same name signed": (
        GIVEN._replace(checkpoint=checkpoint_of(TEXT, IMPOSTOR)),
        f"it is not signed by {KEY.name}+{KEY.id.hex()}, but by {KEY.name}+{IMPOSTOR.id.hex()}",
    ),
    "only a witness signed": (
        GIVEN._replace(checkpoint=checkpoint_of(TEXT)),
        f"it is not signed by {KEY.name}+{KEY.id.hex()}, but by {WITNESS.name}",
    ),
    "the witness did not cosign": (
        GIVEN._replace(checkpoint=LOG.checkpoint()),
        "0 of the witnesses cosigned it, and not 1",
    ),
    "the time of the cosignature was changed": (
        GIVEN._replace(
            checkpoint=signed_note(
                TEXT, KEY.sign(TEXT), WITNESS.sign(TEXT, time=8, signed=WITNESS.message(TEXT, 7))
            )
        ),
        f"the signature of {WITNESS.name}+{WITNESS.id.hex()} does not verify",
    ),
    "the cosignature is that of another checkpoint": (
        GIVEN._replace(
            checkpoint=signed_note(
                TEXT, KEY.sign(TEXT), WITNESS.sign(note_text(KEY.name, 6, LOG.root(6)), time=7)
            )
        ),
        f"the signature of {WITNESS.name}+{WITNESS.id.hex()} does not verify",
    ),
    # Of two checkpoints.
    "the log has a second root of the same size": (
        changed(GROWTH._replace(earlier=OTHER.checkpoint()), **LOG.consistency_proof(7)),
        "the log has shown two histories of 7 events, and signed both",
    ),
    "the log has another history": (
        changed(GROWTH._replace(earlier=OTHER.checkpoint(6)), **OTHER.consistency_proof(6)),
        "it has another root of 7 events than the later checkpoint",
    ),
    "the log has another history and the proof is made of both": (
        changed(
            GROWTH._replace(earlier=OTHER.checkpoint(6)),
            **LOG.consistency_proof(6) | {"fromRoot": encoded(OTHER.root(6))},
        ),
        "the proof leads to another root of the first 6 leaves",
    ),
    "the log has become shorter": (
        GROWTH._replace(
            earlier=GIVEN.checkpoint, checkpoint=LOG.checkpoint(3, witnesses=[WITNESS])
        ),
        "the log has become shorter, from 7 events to 3",
    ),
    "the proof of growth was truncated": (
        changed(GROWTH, proof=GROWTH.proof["proof"][:-1]),
        "the proof has fewer hashes",
    ),
    "the proof of growth has a hash more": (
        changed(GROWTH, proof=[*GROWTH.proof["proof"], encoded(bytes(32))]),
        "the proof has more hashes",
    ),
    "the proof of growth is from another size": (
        changed(GROWTH, **LOG.consistency_proof(4)),
        "it is for 4 events, and the earlier checkpoint has 3",
    ),
    "the earlier checkpoint is of another log": (
        GROWTH._replace(earlier=checkpoint_of(note_text(FOREIGN.name, 3, LOG.root(3)), FOREIGN)),
        "it is of the log 'other.example/log', and not of 'example.com/log'",
    ),
    "the earlier checkpoint is signed by another key": (
        GROWTH._replace(earlier=checkpoint_of(note_text(KEY.name, 3, LOG.root(3)), IMPOSTOR)),
        "it is not signed by",
    ),
}


@pytest.mark.parametrize("given", [GIVEN, GROWTH], ids=["inclusion", "growth"])
def test_what_is_right_is_shown(tmp_path: Path, given: Given) -> None:
    code, output = verify(tmp_path, given)

    assert code == 0, output


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_with_a_sentence_about_it(tmp_path: Path, attack: str) -> None:
    given, reason = ATTACKS[attack]

    code, output = verify(tmp_path, given)

    assert code == 4
    assert output.startswith("Not verified: ")
    assert reason in output


MODULES = ("errors", "merkle", "checkpoints", "notes", "events", "proofs", "offline")

# Each row: the module, what stands there, what the bug makes of it, and the attack that succeeds
# then; where it is none, a published vector is judged wrongly, or what is right is refused.
BUGS = {
    "believes what the proof says of the event": (
        "offline",
        "if (proof.event_id, proof.hash) != (event.id, event.hash):",
        "object.__setattr__(event, 'hash', proof.hash)\n    if False:",
        "the data was changed and hashed anew",
    ),
    "takes any leaf for the one that is meant": (
        "merkle",
        'raise VerificationError("the proof leads to another root")',
        "pass",
        "the leaf was swapped",
    ),
    "takes the root from the proof": (
        "offline",
        '        raise VerificationError(f"it has another root',
        "        object.__setattr__(checkpoint, 'root', root)\n        str(f\"it has another root",
        "the proof is that of a log with another history",
    ),
    "takes the size from the proof": (
        "offline",
        "    if size != checkpoint.size:",
        (
            "    object.__setattr__(checkpoint, 'size', size)\n"
            "    object.__setattr__(checkpoint, 'root', root)\n    if False:"
        ),
        "the proof is for another size",
    ),
    "ignores hashes behind the end of a path": (
        "merkle",
        (
            "        if last == 0:\n            raise VerificationError(_TOO_LONG)\n"
            "        if first & 1 or first == last:\n"
            "            found = _node_hash(sibling, found)\n            while"
        ),
        (
            "        if last == 0:\n            break\n"
            "        if first & 1 or first == last:\n"
            "            found = _node_hash(sibling, found)\n            while"
        ),
        "the proof has a hash more",
    ),
    "takes the beginning of a path for all of it": (
        "merkle",
        "    if last != 0:\n        raise VerificationError(_TOO_SHORT)\n    if found != root:",
        "    if last != 0:\n        return\n    if found != root:",
        "the proof was truncated",
    ),
    "ignores that a path ends too early": (
        "merkle",
        "    if last != 0:\n        raise VerificationError(_TOO_SHORT)\n    if found != root:",
        "    if found != root:",
        None,
    ),
    "ignores on which side of a path a leaf is": (
        "merkle",
        "            found = _node_hash(found, sibling)",
        "            found = _node_hash(*sorted((found, sibling)))",
        None,
    ),
    "hashes leaves like nodes": ("merkle", r'b"\x00" + leaf', "leaf", None),
    "does not compare the roots of one size": (
        "offline",
        "if earlier.size == later.size and earlier.root != later.root:",
        (
            "if earlier.size == later.size:\n"
            "        object.__setattr__(earlier, 'root', later.root)\n    if False:"
        ),
        "the log has a second root of the same size",
    ),
    "does not compute the earlier root": (
        "merkle",
        "    if found != root:\n        raise VerificationError(f",
        "    if False:\n        raise VerificationError(f",
        "the log has another history and the proof is made of both",
    ),
    "does not ask which log a checkpoint is of": (
        "offline",
        "[key for key in trust.keys if key.name == checkpoint.origin]",
        "trust.keys",
        "the note is of another origin and the key of the log signed it",
    ),
    "knows keys by their names": (
        "offline",
        "    if not signatures:",
        "    if checkpoint.origin not in [signature.name for signature in note.signatures]:",
        "another key of the same name signed",
    ),
    "does not verify signatures": (
        "notes",
        "    except exceptions.InvalidSignature:\n        return False",
        "    except exceptions.InvalidSignature:\n        return True",
        "another key signed in the name of the right one",
    ),
    "does not verify cosignatures": (
        "notes",
        "    if not _is_signed(",
        "    if key.type is KeyType.ED25519 and not _is_signed(",
        "the time of the cosignature was changed",
    ),
    "does not count witnesses": (
        "offline",
        "if len(cosignatures) < trust.witnesses_required:",
        "if False:",
        "the witness did not cosign",
    ),
    "does not compute the hash of an event": (
        "events",
        "if hash_ not in {hash_of(fields, members, text) for text in texts}:",
        "if False:",
        "the data was changed and the hash kept",
    ),
    "hashes what data means": (
        "events",
        '    data = _member(members, "data").text\n',
        "    data = _member(members, \"data\").text.replace('1.5}', '1.50}')\n",
        "the data was changed where only its meaning is the same",
    ),
    "takes the last of two members": (
        "events",
        "            if name in members:",
        "            if False:",
        "the data is there twice",
    ),
    "passes over members that it does not know": (
        "events",
        "    if unknown:",
        "    if False:",
        "a member was added",
    ),
    "takes either version of the hash": (
        "events",
        "if hash_ not in {hash_of(fields, members, text) for text in texts}:",
        "hash_ = _hash_v2(fields, members, data)\n    if False:",
        "the digest of version 2 is shown as one of version 1",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bug: str
) -> None:
    module, right, wrong, attack = BUGS[bug]
    plant(monkeypatch, module, right, wrong)

    if attack is None:
        is_noticed = any(is_misjudged(vector) for vector in published_vectors())
        assert is_noticed or verify(tmp_path, GIVEN)[0] != 0
    else:
        code, output = verify(tmp_path, ATTACKS[attack][0])
        assert code == 0, output


def test_without_a_bug_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, "merkle", "", "")

    assert not any(is_misjudged(vector) for vector in published_vectors())
    assert [verify(tmp_path, given)[0] for given, _ in ATTACKS.values()] == [4] * len(ATTACKS)


def plant(monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str) -> None:
    """Load the verifier anew, with one place of its source exchanged."""
    for module in [*(f"everlog.verifying.{name}" for name in MODULES), "everlog.cli.verify"]:
        source = Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8")
        if module.endswith(f"verifying.{name}") and right:
            assert source.count(right) == 1, (right, source.count(right))
            source = source.replace(right, wrong)
        loaded = ModuleType(module)
        monkeypatch.setitem(sys.modules, module, loaded)
        exec(compile(source, module, "exec"), loaded.__dict__)


def is_misjudged(vector: dict[str, Any]) -> bool:
    # Whichever is loaded now.
    merkle: Any = sys.modules["everlog.verifying.merkle"]
    check: Callable[..., None]
    proof = [*map(b64decode, vector["proof"])]
    if vector["kind"] == "inclusion":
        check = merkle.check_inclusion
        leaf, root = b64decode(vector["leafHash"]), b64decode(vector["root"])
        arguments = [vector["index"], vector["size"], leaf, proof, root]
    else:
        check = merkle.check_consistency
        roots = [b64decode(vector["root1"]), b64decode(vector["root2"])]
        arguments = [vector["size1"], vector["size2"], *roots, proof]
    try:
        check(*arguments)
    except sys.modules["everlog.verifying.errors"].VerificationError:
        return not vector["wantErr"]
    return bool(vector["wantErr"])
