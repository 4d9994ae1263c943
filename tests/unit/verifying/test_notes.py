"""Signed notes are read strictly, and verified as their specifications say."""

import pytest

from everlog.verifying.errors import VerificationError
from everlog.verifying.notes import NOTE_SIZE_MAX, KeyType, SignedNote, VerifierKey
from tests.support.signed_notes import (
    COSIGNATURE,
    NoteKey,
    encoded,
    ml_dsa_44_key,
    note_text,
    signed_note,
)

# The example of c2sp.org/signed-note, section "Verifier keys".
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_SIGNATURE = (
    "\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
EXAMPLE = f"This is an example message.\n\n{EXAMPLE_SIGNATURE}"

# From the tests of Go's golang.org/x/mod/sumdb/note, where notes are from.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_OTHER_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngot"
    "pRZb6KE6RyyBwJnAM=\n"
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLo"
    "x33WWd1RvMc+QQ=\n"
)

TEXT = note_text("example.com/log", 3, bytes(range(32)))


def times(note: bytes, key: str) -> list[int | None]:
    return [*SignedNote.parse(note).by(VerifierKey.parse(key))]


@pytest.mark.parametrize(
    "note, key",
    [(EXAMPLE, EXAMPLE_KEY), (GO_NOTE, GO_KEY), (GO_NOTE, GO_OTHER_KEY)],
    ids=["C2SP", "Go", "Go's other key"],
)
def test_published_notes_verify_and_no_other_text(note: str, key: str) -> None:
    assert times(note.encode(), key) == [None]

    first, rest = note[0], note[1:]
    with pytest.raises(VerificationError, match=r"the signature of \S+ does not verify"):
        times((first.swapcase() + rest).encode(), key)


def test_a_key_is_what_its_text_says() -> None:
    key = VerifierKey.parse(EXAMPLE_KEY)

    assert (key.name, key.type, key.id.hex()) == ("example.com/foo", KeyType.ED25519, "530d903a")
    assert str(key) == "example.com/foo+530d903a"


@pytest.mark.parametrize(
    "key, time",
    [
        (NoteKey("w.example/1"), None),
        (NoteKey("w.example/1", COSIGNATURE), 1_700_000_000),
        (NoteKey("w.example/1", COSIGNATURE), 2**63 - 1),
        (ml_dsa_44_key("w.example/1"), 1_700_000_000),
        (ml_dsa_44_key("w.example/1"), 0),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_each_type_of_signature_verifies(key: NoteKey, time: int | None) -> None:
    line = key.sign(TEXT, time=time or 0)
    note = signed_note(TEXT, line)

    assert times(note, key.verifier_key) == [time]
    # The three lines of a checkpoint are covered, whatever the type.
    for changed in ("example.com/log2", "4"):
        text = TEXT.replace("example.com/log" if "." in changed else "3", changed, 1)
        with pytest.raises(VerificationError, match="does not verify"):
            times(signed_note(text, line), key.verifier_key)


@pytest.mark.parametrize("key", [NoteKey("w", COSIGNATURE), ml_dsa_44_key("w")], ids=["4", "6"])
def test_the_time_of_a_cosignature_is_signed(key: NoteKey) -> None:
    signed_at_7 = key.message(TEXT, 7)

    with pytest.raises(VerificationError, match="does not verify"):
        times(signed_note(TEXT, key.sign(TEXT, time=8, signed=signed_at_7)), key.verifier_key)
    with pytest.raises(VerificationError, match="is none of its type"):
        times(signed_note(TEXT, key.sign(TEXT, time=1 << 63)), key.verifier_key)


def test_the_name_is_signed_where_the_type_says_so() -> None:
    key = ml_dsa_44_key("w.example/1")
    other = NoteKey("w.example/2", key.type, key.private)
    message = key.message(TEXT, 7)

    with pytest.raises(VerificationError, match="does not verify"):
        times(signed_note(TEXT, other.sign(TEXT, time=7, signed=message)), other.verifier_key)


def test_extension_lines_are_signed_by_ed25519_only() -> None:
    text = note_text("example.com/log", 3, bytes(32), "extension")
    plain, post_quantum = NoteKey("a"), ml_dsa_44_key("b")
    lines = plain.sign(text), post_quantum.sign(text, time=1)
    changed = signed_note(text.replace("extension", "other"), *lines)

    with pytest.raises(VerificationError, match="does not verify"):
        times(changed, plain.verifier_key)
    assert times(changed, post_quantum.verifier_key) == [1]


def test_signatures_of_others_are_passed_over() -> None:
    ours, theirs = NoteKey("a.example"), NoteKey("a.example")
    namesake = NoteKey("b.example", private=ours.private)
    note = signed_note(TEXT, theirs.sign(TEXT), ours.sign(TEXT), namesake.sign("other\n"))

    assert times(note, ours.verifier_key) == [None]
    assert times(note, NoteKey("a.example").verifier_key) == []


def test_every_signature_of_a_key_is_verified() -> None:
    key = NoteKey("a.example")
    note = signed_note(TEXT, key.sign(TEXT), key.sign("other\n"))

    with pytest.raises(VerificationError, match="does not verify"):
        times(note, key.verifier_key)


def test_a_text_may_have_empty_lines() -> None:
    key = NoteKey("a.example")
    text = "\n\none\n\ntwo\n\n"

    note = SignedNote.parse(signed_note(text, key.sign(text)))

    assert note.text == text
    assert [*note.by(VerifierKey.parse(key.verifier_key))] == [None]


def test_sixteen_signatures_are_accepted_whatever_their_size() -> None:
    keys = [ml_dsa_44_key(f"w.example/{number}") for number in range(16)]
    note = signed_note(TEXT, *[key.sign(TEXT, time=5) for key in keys])

    assert [times(note, key.verifier_key) for key in keys] == [[5]] * 16


SIGNATURE = f"\u2014 a {encoded(bytes(68))}\n"


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "no empty line"),
        (TEXT.encode(), "no empty line"),
        ((TEXT + "\n").encode(), "line 5 is no signature|has no end"),
        ((TEXT + SIGNATURE).encode(), "no empty line"),
        ((TEXT + "\n" + SIGNATURE[:-1]).encode(), "its last line has no end"),
        ((TEXT + "\n" + SIGNATURE + "\n").encode(), "its last line has no end"),
        (TEXT.encode() + b"\n\xff\n", "not UTF-8 at byte 64"),
        ((TEXT + "\n\t" + SIGNATURE).encode(), "line 5 has a control character"),
        ((TEXT + "\r\n\n" + SIGNATURE).encode(), "line 4 has a control character"),
        (("\0" + TEXT + "\n" + SIGNATURE).encode(), "line 1 has a control character"),
        (signed_note(TEXT, SIGNATURE, "- a AAAA\n"), "line 6 is no signature"),
        (signed_note(TEXT, "\u2014  AAAAAAA=\n"), "line 5 is no signature"),
        (signed_note(TEXT, "\u2014 a\u00a0b AAAAAAA=\n"), "line 5 is no signature"),
        (signed_note(TEXT, "\u2014 a+b AAAAAAA=\n"), "line 5 is no signature"),
        (signed_note(TEXT, "\u2014 a AAAAAA==\n"), "line 5 is no signature"),
        (signed_note(TEXT, "\u2014 a AAAAAAB=\n"), "line 5 is no signature"),
        (signed_note(TEXT, "\u2014 a AAAA-_A=\n"), "line 5 is no signature"),
        (signed_note(TEXT, "\u2014 a AAAAAAA= AAAAAAA=\n"), "line 5 is no signature"),
        (signed_note(TEXT, "\u2014 a\n"), "line 5 is no signature"),
        (signed_note(TEXT, SIGNATURE * 101), "more than 100 signatures"),
        (b"a" * (NOTE_SIZE_MAX + 1), "larger than 1048576 bytes"),
    ],
)
def test_what_is_no_note_is_refused_with_its_place(content: bytes, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        SignedNote.parse(content)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "it is no verifier key"),
        ("example.com/foo", "it is no verifier key"),
        ("example.com/foo+530d903a", "it is no verifier key"),
        (EXAMPLE_KEY.replace("example.com/foo", ""), "it is no verifier key"),
        (EXAMPLE_KEY.replace("example.com/foo", "a b"), "it is no verifier key"),
        (EXAMPLE_KEY.replace("530d903a", "530d903"), "it is no verifier key"),
        (EXAMPLE_KEY.replace("530d903a", "530d903g"), "it is no verifier key"),
        (EXAMPLE_KEY.replace("530d903a", "530d903b"), "that of the key 530d903a"),
        (EXAMPLE_KEY.replace("foo", "bar"), "its parts do not belong together"),
        (EXAMPLE_KEY[:-1], "its last part is not base64"),
        (EXAMPLE_KEY[:-4], "its key has 29 bytes instead of 32"),
        ("a+12345678+", "its last part is not base64"),
        (f"a+12345678+{encoded(bytes([2]) + bytes(32))}", "its signature type is 0x02; known are"),
        (f"a+12345678+{encoded(bytes([6]) + bytes(32))}", "its key has 32 bytes instead of 1312"),
    ],
)
def test_what_is_no_verifier_key_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        VerifierKey.parse(text)


def test_a_signature_of_another_size_is_none() -> None:
    key = NoteKey("a.example")
    for content in (bytes(63), bytes(65)):
        note = signed_note(TEXT, f"\u2014 a.example {encoded(key.id + content)}\n")
        with pytest.raises(VerificationError, match="is none of its type"):
            times(note, key.verifier_key)
