"""The form of notes and of verifier keys, as C2SP has it."""

import pytest

from everlog.domain.errors import SettingsError
from everlog.domain.note import SignatureType, VerifierKey, parse_origin, split_note


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
