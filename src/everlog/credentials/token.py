"""The API token: checked when it is read, known by its digest, asked for in one header.

That header is `Authorization` (RFC 6750 section 2.1). There may be two tokens at a time, so that
one can be exchanged for another while clients go on; a file holds one, or both.

Guarantees that of a token only its digest is kept, made where the token enters the process: that of
a client exists for as long as its request, and what was read from a file is overwritten.
What is left to others: when to read a file again (`live`), and what happens to whoever has no token
(`api.application`).
"""

import hmac
import secrets
import string
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from everlog.credentials.given_files import fill_from_given_file
from everlog.domain.errors import SettingsError

_SCHEME: Final = b"bearer "
_FLAG: Final = "--api-token-file"

# The old one and the new one.
TOKENS_MAX: Final = 2

# Two lines that a header could still carry.
FILE_SIZE_MAX: Final = 16 * 1024

# Three kinds of characters, 32 of them: more than 190 bits where each is chosen at random.
STRONG_LENGTH_MIN: Final = 32
_KINDS: Final = (
    ("upper case letters", range(ord("A"), ord("Z") + 1)),
    ("lower case letters", range(ord("a"), ord("z") + 1)),
    ("digits", range(ord("0"), ord("9") + 1)),
)

# Letters and digits pass through shells, files and headers unharmed; these are 285 bits.
_ALPHABET: Final = string.ascii_letters + string.digits
LENGTH_OF_NEW: Final = 48

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


def new_api_token() -> str:
    """Return a token that is not weak."""
    while True:
        token = "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH_OF_NEW))
        if not parse_token(token.encode()).weaknesses:
            return token


def load_token_file(path: Path) -> tuple[ApiToken, ...]:
    """Return the tokens in a file.

    Raises:
        SettingsError: It cannot be read, or does not hold one or two tokens.
    """
    content = bytearray(FILE_SIZE_MAX + 1)
    try:
        size = fill_from_given_file(_FLAG, path, content)
        try:
            return _parse_lines(content, size)
        except SettingsError as error:
            raise SettingsError(f"{_FLAG} {path}: {error}") from error
    finally:
        content[:] = bytes(len(content))


def _parse_lines(content: bytearray, size: int) -> tuple[ApiToken, ...]:
    lines = tuple(_split_lines(content, size))
    if not 1 <= len(lines) <= TOKENS_MAX:
        raise SettingsError(
            f"there are {len(lines)} tokens in it, one a line; it must be one, "
            "or two while one is exchanged for the other"
        )
    return tuple(parse_token(line) for line in lines)


def _split_lines(content: bytearray, size: int) -> Iterator[memoryview]:
    """Yield the lines that are not empty, without a copy that would be left behind."""
    start = 0
    while start < size:
        end = content.find(b"\n", start, size)
        end = size if end < 0 else end
        # Editors of another system end lines with CR and LF.
        trimmed = end - 1 if end > start and content[end - 1] == ord("\r") else end
        if trimmed > start:
            yield memoryview(content)[start:trimmed]
        start = end + 1


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
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Let those who remember that a header was right ask again.

        They remember the epoch, too, and it is another object from now on.
        """
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
