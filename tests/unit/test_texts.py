"""Texts for terminals: nothing that one obeys, and JSON that means the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.texts import to_printable, to_printable_json

VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("plain", "plain"),
        ("caf\u00e9", "caf\u00e9"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b2J", "\\x9b2J"),
        ("\x7f", "\\x7f"),
        # It would turn around what follows.
        ("\u202eabc", "\\u202eabc"),
        ("\u2028", "\\u2028"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text: str, expected: str) -> None:
    assert to_printable(text) == expected


@given(st.text())
def test_any_text_becomes_printable(text: str) -> None:
    assert to_printable(text).isprintable()


@given(VALUES, st.sampled_from([None, 2]))
def test_printable_json_means_the_same(value: object, indent: int | None) -> None:
    shown = to_printable_json(json.dumps(value, ensure_ascii=False, indent=indent).encode())

    assert json.loads(shown) == value
    assert shown.decode().replace("\n", "").isprintable()


def test_letters_beyond_16_bits_become_two_escapes() -> None:
    assert to_printable_json(b'"\xf3\xa0\x80\x81"') == b'"\\udb40\\udc01"'
