"""Checkpoints and their keys: as the specifications have them, and as others' code sees them."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from everlog.domain.checkpoint import (
    Checkpoint,
    CheckpointKey,
    find_signed,
    parse_checkpoint,
    sign_checkpoint,
)
from everlog.domain.errors import SettingsError
from everlog.domain.note import VerifierKey, signature_line, split_note
from everlog.verifying.errors import VerificationError
from everlog.verifying.notes import SignedNote
from everlog.verifying.notes import VerifierKey as OfflineKey
from tests.support.signed_notes import COSIGNATURE, NoteKey, ml_dsa_44_key, note_text

ORIGIN = "example.com/log"
ROOT = bytes(range(32))
TIME = 1_679_315_147


@pytest.fixture(scope="module", name="key")
def make_key() -> CheckpointKey:
    return CheckpointKey.generate()


def test_a_checkpoint_is_signed_with_both_keys_as_others_sign_it(key: CheckpointKey) -> None:
    checkpoint = Checkpoint(ORIGIN, 20_852_163, ROOT)
    text, lines = split_note(sign_checkpoint(key, checkpoint, time=TIME))
    assert key.ml_dsa_44 is not None
    plain, quantum = NoteKey(ORIGIN, private=key.ed25519), NoteKey(ORIGIN, 6, key.ml_dsa_44)

    assert text == checkpoint.text == note_text(ORIGIN, 20_852_163, ROOT)
    # Ed25519 has one signature of a text.
    assert lines[0] == plain.sign(text)
    # ML-DSA-44 has another one each time: the same key and time, and it holds.
    assert lines[1].split()[:2] == quantum.sign(text, time=TIME).split()[:2]
    assert find_signed(key.verifier_keys(ORIGIN)[1], checkpoint, lines[1:]) == lines[1]
    assert [*map(str, key.verifier_keys(ORIGIN))] == [plain.verifier_key, quantum.verifier_key]


def test_the_offline_verifier_believes_what_is_signed(key: CheckpointKey) -> None:
    note = sign_checkpoint(key, Checkpoint(ORIGIN, 5, ROOT), time=TIME).encode()
    plain, quantum = (OfflineKey.parse(str(each)) for each in key.verifier_keys(ORIGIN))

    assert [*SignedNote.parse(note).by(plain)] == [None]
    assert [*SignedNote.parse(note).by(quantum)] == [TIME]
    changed = SignedNote.parse(note.replace(b"\n5\n", b"\n6\n"))
    for offline in (plain, quantum):
        with pytest.raises(VerificationError):
            next(changed.by(offline))


@pytest.mark.parametrize("witness", [NoteKey("w/1", COSIGNATURE), ml_dsa_44_key("w/1")])
def test_a_cosignature_is_found_among_other_lines(witness: NoteKey) -> None:
    checkpoint = Checkpoint(ORIGIN, 7, ROOT)
    other = NoteKey("w/2", COSIGNATURE)
    right = witness.sign(checkpoint.text, time=TIME)
    key = VerifierKey.parse(witness.verifier_key)
    of_another_tree = witness.sign(note_text(ORIGIN, 8, ROOT), time=TIME)
    cut = signature_line(key, b"1234")

    lines = [other.sign(checkpoint.text, time=TIME), of_another_tree, cut, right]
    assert find_signed(key, checkpoint, lines) == right
    assert find_signed(key, checkpoint, lines[:-1]) is None
    assert find_signed(key, checkpoint, ["\u2014 w/1 !!!!\n"]) is None


def test_a_key_file_leads_to_the_same_keys(key: CheckpointKey) -> None:
    again = CheckpointKey.from_pem(key.to_pem())

    assert again.verifier_keys(ORIGIN) == key.verifier_keys(ORIGIN)
    assert str(key.to_pem()) not in repr(key)


def test_an_ed25519_key_alone_signs_alone() -> None:
    key = CheckpointKey(Ed25519PrivateKey.generate(), None)
    alone = CheckpointKey.from_pem(key.to_pem())
    _, lines = split_note(sign_checkpoint(alone, Checkpoint(ORIGIN, 1, ROOT), time=TIME))

    assert len(lines) == len(alone.verifier_keys(ORIGIN)) == 1


def test_keys_of_other_kinds_are_refused(key: CheckpointKey) -> None:
    ecdsa = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    plain = CheckpointKey(key.ed25519, None).to_pem()
    for pem in (ecdsa, plain + plain, key.to_pem() + plain, plain + ecdsa):
        with pytest.raises(SettingsError, match="must be an Ed25519 key, alone or"):
            CheckpointKey.from_pem(pem)
    for pem in (b"", b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN EC PRIVATE KEY-----\n"):
        with pytest.raises(SettingsError, match="PKCS#8"):
            CheckpointKey.from_pem(pem)
    damaged = plain.replace(plain[40:50], b"A" * 10)
    with pytest.raises(SettingsError, match="damaged"):
        CheckpointKey.from_pem(damaged)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n1\n",
        "\n1\nAAAA\n",
        "origin\n01\nAAAA\n",
        "origin\n-1\nAAAA\n",
        "origin\n1\nAAAA\n",
        "origin\n1\n!\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_checkpoint(text)


def test_a_checkpoint_says_what_it_was_made_of() -> None:
    checkpoint = Checkpoint(ORIGIN, 0, ROOT)

    assert parse_checkpoint(checkpoint.text) == checkpoint
