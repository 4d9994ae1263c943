"""Which tokens there may be, which are weak, and which headers carry one that counts."""

import hmac
import random
import string
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.credentials.token import STRONG_LENGTH_MIN, ApiToken, TokenCheck, parse_token
from everlog.domain.errors import SettingsError

OLD = parse_token(b"the-old-token")
NEW = parse_token(b"the-new-token")

STRONG = b"aA1" + b"x" * 29


@pytest.mark.parametrize(
    "token, weaknesses",
    [
        (STRONG, ()),
        (STRONG[:-1], ("32 characters",)),
        (b"a1" + b"x" * 30, ("upper case letters",)),
        (b"A1" + b"X" * 30, ("lower case letters",)),
        (b"aA" + b"x" * 30, ("digits",)),
        (b"-" * 32, ("upper case letters", "lower case letters", "digits")),
        (b"secret", ("32 characters", "upper case letters", "digits")),
    ],
)
def test_a_token_is_weak_for_what_it_lacks(token: bytes, weaknesses: tuple[str, ...]) -> None:
    assert parse_token(token).weaknesses == weaknesses
    assert len(STRONG) == STRONG_LENGTH_MIN


UNUSABLE = (b"", b" s3cret", b"s3cret ", b"s3cret\xc3\xa9", b"s3cret\n", b"\x7fs3cret", b"s3\tcret")


@pytest.mark.parametrize("token", UNUSABLE)
def test_a_token_that_no_header_can_carry_is_refused_without_being_quoted(token: bytes) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_token(token)

    assert "cret" not in str(caught.value)


def test_no_form_of_a_token_shows_its_digest() -> None:
    token = parse_token(STRONG)
    encoded = msgspec.json.encode({"token": token}, enc_hook=str)

    for text in (repr(token), str(token), f"{token}", encoded.decode()):
        assert "ApiToken(...)" in text
        assert STRONG.decode() not in text
        assert token.digest.hex() not in text


def check_opens(check: TokenCheck, *, opening: set[bytes]) -> None:
    for token in (b"the-old-token", b"the-new-token", b"another-token"):
        assert check.is_authorized(b"Bearer " + token) == (token in opening)


def test_one_token_counts_or_two() -> None:
    check = TokenCheck([OLD])
    check_opens(check, opening={b"the-old-token"})

    check.replace([OLD, NEW])
    check_opens(check, opening={b"the-old-token", b"the-new-token"})

    check.replace([NEW])
    check_opens(check, opening={b"the-new-token"})


def test_an_epoch_ends_when_tokens_are_replaced_even_by_themselves() -> None:
    check = TokenCheck([OLD])
    epoch = check.epoch

    check.replace([OLD])

    assert check.epoch is not epoch


@pytest.mark.parametrize("tokens", [[], [OLD, NEW, OLD]])
def test_no_token_and_three_are_a_bug(tokens: list[ApiToken]) -> None:
    with pytest.raises(AssertionError):
        TokenCheck(tokens)


@given(st.one_of(st.none(), st.binary(max_size=60)))
def test_no_other_header_opens(header: bytes | None) -> None:
    assert not TokenCheck([OLD]).is_authorized(header)


HEADERS = (
    None,
    b"",
    b"Basic eDp5",
    b"Bearer",
    b"Bearer wrong",
    b"Bearer the-old-token",
    b"Bearer the-new-token",
    b"the-old-token",
    b"Bearer " + b"x" * 16_000,
)


@pytest.mark.parametrize("tokens", [[OLD], [OLD, NEW]])
def test_every_header_is_digested_once_and_compared_twice(
    monkeypatch: pytest.MonkeyPatch, tokens: list[ApiToken]
) -> None:
    check = TokenCheck(tokens)
    calls: list[str] = []

    def digest(data: bytes) -> object:
        calls.append("digest")
        return sha256(data)

    def compare(first: bytes, second: bytes) -> bool:
        calls.append("compare")
        assert len(first) == len(second) == 32
        return compare_digest(first, second)

    compare_digest = hmac.compare_digest
    monkeypatch.setattr("everlog.credentials.token.sha256", digest)
    monkeypatch.setattr("everlog.credentials.token.hmac.compare_digest", compare)

    for header in HEADERS:
        calls.clear()
        check.is_authorized(header)
        assert calls == ["digest", "compare", "compare"]


@given(st.randoms(use_true_random=False))
def test_whoever_has_the_token_is_let_in(source: random.Random) -> None:
    letters = string.ascii_letters + string.digits + "-._~+/= "
    token = "".join(source.choices(letters, k=source.randint(1, 80))).strip() or "x"

    check = TokenCheck([parse_token(token.encode())])

    assert check.is_authorized(f"bEARER {token}".encode())
    assert check.is_authorized(f"Bearer \t{token} \t".encode())
    assert not check.is_authorized(f"Bearer {token}x".encode())
    assert not check.is_authorized(f"Bearer {token[:-1]}".encode())
