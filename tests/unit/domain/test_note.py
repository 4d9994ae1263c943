"""The form of notes and of verifier keys, as C2SP has it."""

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from everlog.domain.errors import SettingsError
from everlog.domain.note import (
    SignatureType,
    VerifierKey,
    parse_origin,
    signature_line,
    split_note,
)

# The example of Go's package for signed notes (golang.org/x/mod/sumdb/note), with its private key.
EXAMPLE_SEED = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
EXAMPLE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngot"
    "pRZb6KE6RyyBwJnAM=\n"
)

# That of C2SP signed-note, whose key is not public.
C2SP_EXAMPLE = (
    "Ognuno sta solo sul cuor della terra\n"
    "trafitto da un raggio di sole:\n"
    "\n"
    "ed \u00e8 subito sera.\n"
    "\n"
    "\u2014 quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMo"
    "uFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)


def test_the_published_example_of_a_signed_note_is_signed_the_same() -> None:
    private = Ed25519PrivateKey.from_private_bytes(EXAMPLE_SEED)
    key = VerifierKey(
        "PeterNeumann", SignatureType.ED25519, private.public_key().public_bytes_raw()
    )
    text, lines = split_note(EXAMPLE)

    assert lines == [signature_line(key, private.sign(text.encode()))]


def test_the_text_of_a_note_may_have_empty_lines() -> None:
    text, (line,) = split_note(C2SP_EXAMPLE)

    assert text.endswith(":\n\ned \u00e8 subito sera.\n")
    assert line.startswith("\u2014 quasimodo.example/salvatore NnugSzTj")


def test_the_verifier_key_of_the_example_of_c2sp_is_understood() -> None:
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    key = VerifierKey.parse(text)

    assert (key.name, key.type, key.id.hex()) == (
        "PeterNeumann",
        SignatureType.ED25519,
        "c74f20a3",
    )
    assert str(key) == text


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "NAME\\+HASH\\+KEY"),
        ("a b+c74f20a3+AQ==", "NAME\\+HASH\\+KEY"),
        ("PeterNeumann+c74f20a3+AQ", "no base64"),
        ("PeterNeumann+c74f20a3+/xpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "type ff"),
        ("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "copied"),
        ("x+f3c7a3dc+AQ==", "copied"),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        VerifierKey.parse(text)


def test_a_key_of_the_wrong_length_is_refused() -> None:
    short = VerifierKey("x", SignatureType.ED25519, b"\0" * 31)

    with pytest.raises(ValueError, match="wrong length"):
        VerifierKey.parse(str(short))


@pytest.mark.parametrize("text", ["", "a b", "a+b", "a\nb", "a\u00a0b", "\u00e4" * 128, "a\0"])
def test_an_origin_is_the_name_of_a_key(text: str) -> None:
    with pytest.raises(SettingsError, match="1 to 255 bytes"):
        parse_origin(text)
    assert parse_origin("\u00e4" * 127) == "\u00e4" * 127


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n- a AAAA\n",
        "text\n\n\u2014 a AAAA",
        "text\n\n\u2014 a b AAAA\n",
    ],
)
def test_what_is_no_signed_note_is_refused(note: str) -> None:
    with pytest.raises(ValueError, match="no signed note"):
        split_note(note)
