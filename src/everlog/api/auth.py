"""Authentication: one token, in the `Authorization` header only (RFC 6750 section 2.1)."""

import hmac
from hashlib import sha256
from typing import Final

_SCHEME: Final = b"bearer "


class TokenCheck:
    """Knows the digest of the token, never the token itself."""

    def __init__(self, token: str) -> None:
        """Remember the token's digest."""
        assert token
        self._digest: Final = sha256(token.encode()).digest()

    def is_authorized(self, header: bytes | None) -> bool:
        """Tell whether an `Authorization` header carries the token.

        Digests are compared, in constant time, so that neither the content nor the length of
        the token can be measured.
        """
        if header is None or header[: len(_SCHEME)].lower() != _SCHEME:
            return False
        given = sha256(header[len(_SCHEME) :].strip(b" ")).digest()
        return hmac.compare_digest(given, self._digest)
