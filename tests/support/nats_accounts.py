"""Who may use NATS servers that trust an operator: accounts and users, as `nsc` makes them.

Keys are Ed25519, and written with a letter for what they belong to; each token is signed by the
key above it. What is left to others: the servers (`nats_servers`).
"""

import base64
import hashlib
import json
from binascii import crc_hqx
from typing import Any, Final
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# What a key's text begins with: S for a seed, then O, A or U.
_SEED: Final = 18 << 3
_KINDS: Final = {"operator": 14 << 3, "account": 0, "user": 20 << 3}

_LIMITS: Final = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
_STORE_LIMITS: Final = ("mem_storage", "disk_storage", "streams", "consumer")
_WILDCARDS: Final = {"wildcards": True}


class Identity:
    """A key that belongs to an operator, an account or a user."""

    def __init__(self, kind: str) -> None:
        self._prefix: Final = _KINDS[kind]
        self._key: Final = Ed25519PrivateKey.generate()

    @property
    def name(self) -> str:
        """The public key."""
        return _encode(bytes([self._prefix]) + self._key.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        """The private key."""
        head = bytes([_SEED | (self._prefix >> 5), (self._prefix & 31) << 3])
        return _encode(head + self._key.private_bytes_raw())

    def sign(self, subject: "Identity", name: str, claims: dict[str, Any]) -> str:
        """Return a token that says something about somebody."""
        body = {
            "jti": base64.b32encode(hashlib.sha256(uuid4().bytes).digest()).decode().rstrip("="),
            "iat": 1_700_000_000,
            "iss": self.name,
            "sub": subject.name,
            "name": name,
            "nats": {"version": 2, **claims},
        }
        text = ".".join(
            _encode_url(json.dumps(part).encode())
            for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body)
        )
        return f"{text}.{_encode_url(self._key.sign(text.encode()))}"


class Accounts:
    """An operator with one account, which may use JetStream."""

    def __init__(self) -> None:
        self._operator: Final = Identity("operator")
        self._system: Final = Identity("account")
        self._account: Final = Identity("account")

    @property
    def configuration(self) -> str:
        """What servers are told that trust the operator."""
        operator = self._operator.sign(self._operator, "tests", {"type": "operator"})
        system, account = (
            self._operator.sign(
                each, name, {"type": "account", "limits": dict.fromkeys(limits, -1) | _WILDCARDS}
            )
            for each, name, limits in (
                (self._system, "SYS", _LIMITS),
                (self._account, "everlog", (*_LIMITS, *_STORE_LIMITS)),
            )
        )
        return (
            f'operator: "{operator}"\nsystem_account: {self._system.name}\nresolver: MEMORY\n'
            f'resolver_preload: {{ {self._system.name}: "{system}", '
            f'{self._account.name}: "{account}" }}\n'
        )

    def credentials(self) -> str:
        """Return the credentials file of a new user."""
        user = Identity("user")
        token = self._account.sign(
            user,
            "node",
            {"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1},
        )
        return (
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n"
            "NKEY Seed printed below can be used to sign and prove identity.\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )


def _encode(raw: bytes) -> str:
    return base64.b32encode(raw + crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def _encode_url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
