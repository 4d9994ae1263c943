"""Whom a checkpoint is believed for, and what it takes; attacks are in tests/security."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from everlog.verifying.checkpoints import Checkpoint
from everlog.verifying.errors import VerificationError
from everlog.verifying.notes import VerifierKey
from everlog.verifying.offline import Trust, check_checkpoint, check_growth, read_unsigned
from everlog.verifying.proofs import ConsistencyProof
from tests.support.merkle import tree_root
from tests.support.provable_log import ProvableLog
from tests.support.signed_notes import (
    COSIGNATURE,
    NoteKey,
    ml_dsa_44_key,
    note_text,
    signed_note,
)

LOG = ProvableLog.of(3)
WITNESSES = [NoteKey("w.example/1", COSIGNATURE), ml_dsa_44_key("w.example/2")]
POST_QUANTUM = ml_dsa_44_key(LOG.key.name)
TEXT = note_text(LOG.key.name, 3, LOG.root(3))


def key_of(key: NoteKey) -> VerifierKey:
    return VerifierKey.parse(key.verifier_key)


def trust(*keys: NoteKey, **options: Any) -> Trust:
    return Trust([*map(key_of, keys)], **options)


def test_one_of_the_logs_keys_is_enough_and_all_that_signed_are_told() -> None:
    both = signed_note(TEXT, LOG.key.sign(TEXT), POST_QUANTUM.sign(TEXT, time=0))

    signed = check_checkpoint(both, trust(LOG.key, POST_QUANTUM, NoteKey(LOG.key.name)))

    assert [str(signature.key) for signature in signed.signatures] == [
        str(key_of(LOG.key)),
        str(key_of(POST_QUANTUM)),
    ]
    # A time of zero is that of who does not say when.
    assert [signature.time for signature in signed.signatures] == [None, None]
    only = check_checkpoint(both, trust(POST_QUANTUM))
    assert [signature.key.type.label for signature in only.signatures] == ["ML-DSA-44"]


def test_witnesses_are_counted_by_their_keys() -> None:
    witnesses = [*map(key_of, WITNESSES)]
    note = LOG.checkpoint(witnesses=WITNESSES[:1] * 2, time=9)

    signed = check_checkpoint(note, trust(LOG.key, witnesses=witnesses, witnesses_required=1))

    assert [(str(key), time) for key, time in signed.cosignatures] == [(str(witnesses[0]), 9)]
    with pytest.raises(VerificationError, match="1 of the witnesses cosigned it, and not 2: "):
        check_checkpoint(note, trust(LOG.key, witnesses=witnesses, witnesses_required=2))


def test_a_wrong_cosignature_is_refused_also_where_it_is_not_required() -> None:
    note = signed_note(TEXT, LOG.key.sign(TEXT), WITNESSES[0].sign("other\n", time=1))

    with pytest.raises(VerificationError, match=r"of w\.example/1\S+ does not verify"):
        check_checkpoint(note, trust(LOG.key, witnesses=[key_of(WITNESSES[0])]))
    assert check_checkpoint(note, trust(LOG.key)).checkpoint.size == 3


def test_keys_have_to_be_what_they_are_given_for() -> None:
    first = key_of(WITNESSES[0])
    namesake = key_of(NoteKey("w.example/3", COSIGNATURE, WITNESSES[0].private))

    with pytest.raises(VerificationError, match="is the key of a witness, not of a log"):
        trust(WITNESSES[0]).check()
    with pytest.raises(VerificationError, match="is the key of a log, not of a witness"):
        trust(LOG.key, witnesses=[key_of(NoteKey("w.example/3"))]).check()
    with pytest.raises(VerificationError, match="has the name of the log, which is no witness"):
        trust(LOG.key, witnesses=[key_of(POST_QUANTUM)]).check()
    with pytest.raises(VerificationError, match="two witnesses have the same key, and are one"):
        trust(LOG.key, witnesses=[first, namesake]).check()
    with pytest.raises(VerificationError, match="2 witnesses are required, but keys given of 1"):
        trust(LOG.key, witnesses=[first], witnesses_required=2).check()
    trust(LOG.key, POST_QUANTUM, witnesses=[first, key_of(WITNESSES[1])]).check()


def test_a_checkpoint_can_be_read_without_believing_it() -> None:
    assert read_unsigned(signed_note(TEXT, NoteKey("a").sign("other\n"))).size == 3


def test_many_strangers_are_not_all_named() -> None:
    strangers = [NoteKey(f"s.example/{number}").sign(TEXT) for number in range(9)]

    with pytest.raises(VerificationError, match=r"but by (\S+, ){5}\.\.\.$"):
        check_checkpoint(signed_note(TEXT, *strangers), trust(LOG.key))


def test_any_log_continues_an_empty_one() -> None:
    nothing = Checkpoint(LOG.key.name, 0, tree_root([]))
    something = Checkpoint(LOG.key.name, 3, LOG.root(3))
    of_nothing = ConsistencyProof(0, 3, nothing.root, something.root, ())

    check_growth(nothing, nothing, None)
    check_growth(nothing, something, None)
    check_growth(nothing, something, of_nothing)
    with pytest.raises(VerificationError, match="an empty tree proves nothing"):
        check_growth(nothing, something, replace(of_nothing, hashes=(bytes(32),)))
    with pytest.raises(VerificationError, match="another root of 3 events"):
        check_growth(nothing, something, replace(of_nothing, to_root=bytes(32)))
    with pytest.raises(VerificationError, match="it takes a proof"):
        check_growth(Checkpoint(LOG.key.name, 1, LOG.root(1)), something, None)


def test_the_verifier_loads_nothing_of_everlog_but_itself() -> None:
    """Nor anything of others but cryptography, and that only where there is a signature."""
    program = "import sys, everlog.verifying.offline; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    ).stdout.split()

    # What an environment loads into every interpreter is not ours.
    other = {name.partition(".")[0] for name in loaded} - {*sys.stdlib_module_names}
    own = [name for name in loaded if name.startswith("everlog.")]
    assert "cryptography" not in other
    places = {name.removeprefix("everlog.").partition(".")[0] for name in own}
    # Which version it is, the package itself says.
    assert places - {"_version"} == {"verifying"}
    assert not other & {"click", "msgspec", "numpy", "httptools", "uvloop", "jsonschema_rs"}
