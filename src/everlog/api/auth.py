"""Authentication: one token, in the `Authorization` header only (RFC 6750 section 2.1).

A token is turned into its digest where it enters the process, and only the digest is kept; that of
a client exists for as long as its request.
There may be two tokens at a time, so that one can be exchanged for another while clients go on.
What is left to others: where tokens come from (`credentials`), and what happens to whoever has none
(`application`).
"""

import hmac
import secrets
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from everlog.domain.errors import SettingsError

_SCHEME: Final = b"bearer "

# The old one and the new one.
TOKENS_MAX: Final = 2

# Three kinds of characters, 32 of them: more than 190 bits where each is chosen at random.
STRONG_LENGTH_MIN: Final = 32
_KINDS: Final = (
    ("upper case letters", range(ord("A"), ord("Z") + 1)),
    ("lower case letters", range(ord("a"), ord("z") + 1)),
    ("digits", range(ord("0"), ord("9") + 1)),
)

_PRINTABLE: Final = range(ord(" "), ord("~") + 1)


class ApiToken:
    """What is known about a token; its text is not, and no form of this value shows the digest."""

    __slots__ = ("digest", "weaknesses")

    def __init__(self, digest: bytes, weaknesses: tuple[str, ...]) -> None:
        self.digest: Final = digest
        # What a strong token has and this one lacks.
        self.weaknesses: Final = weaknesses

    def __repr__(self) -> str:
        return "ApiToken(...)"


def parse_token(token: bytes | memoryview) -> ApiToken:
    """Return what is to be remembered of a token.

    Raises:
        SettingsError: No client could send it; the message does not quote it.
    """
    if not token:
        raise SettingsError("the API token must not be empty")
    if not all(byte in _PRINTABLE for byte in token):
        raise SettingsError(
            "the API token must consist of printable ASCII characters: it is sent in a header"
        )
    if ord(" ") in {token[0], token[-1]}:
        raise SettingsError("the API token must not begin or end with a space: headers lose those")
    return ApiToken(sha256(token).digest(), _weaknesses(token))


def _weaknesses(token: bytes | memoryview) -> tuple[str, ...]:
    shortness = [f"{STRONG_LENGTH_MIN} characters"] if len(token) < STRONG_LENGTH_MIN else []
    lacking = [name for name, kind in _KINDS if not any(byte in kind for byte in token)]
    return (*shortness, *lacking)


class TokenCheck:
    """Knows which tokens open the API, by their digests."""

    epoch: object

    def __init__(self, tokens: Sequence[ApiToken]) -> None:
        self.replace(tokens)

    def replace(self, tokens: Sequence[ApiToken]) -> None:
        """Let these tokens count from now on, and no others."""
        assert tokens
        assert len(tokens) <= TOKENS_MAX
        first, *others = (token.digest for token in tokens)
        # One token takes as long as two: the second is then one that nobody knows.
        second = others[0] if others else secrets.token_bytes(len(first))
        self._digests = (first, second)
        # Another object for each set of tokens: who remembers that a header was right remembers
        # this too, and has to ask again once it is not the same any more.
        self.epoch = object()

    def is_authorized(self, header: bytes | None) -> bool:
        """Tell whether an `Authorization` header carries a token that counts.

        Whatever the header is, one digest is made and compared with both, in constant time: neither
        content nor length of a token can be measured, nor which of the two it was.
        """
        header = header or b""
        is_bearer = header[: len(_SCHEME)].lower() == _SCHEME
        given = sha256(header[len(_SCHEME) :].strip(b" \t")).digest()
        first, second = self._digests
        # Not `or`, which would leave out the second comparison.
        is_known = hmac.compare_digest(given, first) | hmac.compare_digest(given, second)
        return is_bearer and is_known
