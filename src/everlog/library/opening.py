"""The two ways to a store: open a directory, or connect to a server."""

import ssl
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from everlog.domain.errors import SettingsError
from everlog.library.checking import VerifySignature
from everlog.library.store import Store

if TYPE_CHECKING:
    from everlog.library.client import Client

StrPath = str | PathLike[str]

# A server says something each second, but for a write whose preconditions are queries.
TIMEOUT_SECONDS: Final = 30.0
CONNECT_TIMEOUT_SECONDS: Final = 10.0


def open(  # noqa: A001 - as the files and databases of the standard library
    directory: StrPath,
    *,
    hash_version: Literal[1, 2] = 1,
    signing_key_file: StrPath | None = None,
    verification_key_file: StrPath | None = None,
    query_timeout: float = 300.0,
) -> Store:
    """Open the store in a data directory, created where there is none, with this process as writer.

    No other process can open it meanwhile; many threads of this one can use it. What was written is
    on the disk when `write` returns. A process that ends without closing loses nothing: the next
    opening takes a moment longer.

    `hash_version` is that of new events (docs/hashes.md). With `signing_key_file` (Ed25519, PKCS#8
    PEM) events are signed as they are read. `verification_key_file` (Ed25519, PEM) lets `verify` of
    `read` and `follow` check signatures too. A query may take `query_timeout` seconds.

    Raises:
        DirectoryLockedError: Another process has it open.
        DataDirectoryError: It cannot be created, is of an unknown format, or damaged.
        SettingsError: A key cannot be used, or Python runs without assertions (`python -O`).
        OSError: The system refuses to read or write it.
    """
    if not __debug__:
        # Assertions are part of how a database trusts itself.
        raise SettingsError("Everlog does not open a store under python -O")
    from everlog.credentials.signing_key import load_signing_key
    from everlog.domain.chain import HashVersion
    from everlog.library.embedded import EmbeddedTransport
    from everlog.service.store import StoreOptions

    options = StoreOptions(
        hash_version=HashVersion(hash_version),
        signing_key=load_signing_key(None if signing_key_file is None else Path(signing_key_file)),
        query_seconds_max=query_timeout,
        # One store among others of a program, or of its tests: it opens and closes often.
        has_sync_process=False,
    )
    verify = _load_verification_key(verification_key_file)
    return Store(EmbeddedTransport(Path(directory), options), verify_signature=verify)


def connect(
    url: str,
    *,
    token: str,
    ca_file: StrPath | None = None,
    api_version: Literal[1, 2] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    connect_timeout: float = CONNECT_TIMEOUT_SECONDS,
    verification_key_file: StrPath | None = None,
) -> Store:
    """Connect to a server, Everlog or EventSourcingDB, and return its store.

    `url` begins with `https://` or `http://`, and may have a path, behind which the API is.
    `token` is sent to this server only, in a header. The certificate must be one that the system
    trusts, or one in `ca_file` (PEM), or signed by one. Without `api_version` the server is asked
    which version of the API it speaks: 2 if it can.

    `timeout` is how many seconds may pass without a byte of an answer, `connect_timeout` how many
    until there is a connection. `verification_key_file` (Ed25519, PEM) is the public half of the
    key that the server signs with, and lets `verify` of `read` and `follow` check signatures too.
    No proxy is used, and no redirect followed.

    Raises:
        UnreachableError: It cannot be asked; the message says which argument helps, if one does.
        UnauthorizedError: It does not take the token.
        BusyError: It is not ready to answer.
        SettingsError: A file cannot be used.
        ValueError: The URL is none of a server, or the token cannot be one.
    """
    from everlog.library.server import ServerTransport
    from everlog.library.versions import V1, V2

    client = open_client(
        url, token=token, ca_file=ca_file, timeout=timeout, connect_timeout=connect_timeout
    )
    verify = _load_verification_key(verification_key_file)
    version = None if api_version is None else {1: V1, 2: V2}[api_version]
    try:
        transport = ServerTransport(client, url, version)
    except BaseException:
        client.close()
        raise
    return Store(transport, verify_signature=verify)


def open_client(
    url: str,
    *,
    token: str,
    ca_file: StrPath | None = None,
    timeout: float = TIMEOUT_SECONDS,
    connect_timeout: float = CONNECT_TIMEOUT_SECONDS,
) -> "Client":
    """Return what asks a server, as `connect` does, for what no store has; it asks nothing yet.

    Raises:
        SettingsError: The file cannot be used.
        ValueError: The URL is none of a server, or the token cannot be one.
    """
    from everlog.library.client import Client
    from everlog.outgoing import parse_address

    address = parse_address(url)
    if not (token and token.isascii() and token.isprintable()):
        raise ValueError("the token must be printable ASCII, and not empty")
    return Client(
        address,
        token,
        _trust(ca_file) if address.scheme == "https" else None,
        connect_seconds_max=connect_timeout,
        silence_seconds_max=timeout,
    )


def _trust(ca_file: StrPath | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except ssl.SSLError as error:
            raise SettingsError(f"ca_file {ca_file}: it holds no certificate in PEM") from error
        except OSError as error:
            raise SettingsError(f"ca_file {ca_file}: {error.strerror}") from error
    return context


def _load_verification_key(path: StrPath | None) -> VerifySignature | None:
    if path is None:
        return None
    # It takes longer to import than all the rest.
    from everlog.domain.signature import VerificationKey, verify

    try:
        key = VerificationKey.from_pem(Path(path).read_bytes())
    except OSError as error:
        raise SettingsError(f"verification_key_file {path}: {error.strerror}") from error
    except SettingsError as error:
        raise SettingsError(f"verification_key_file {path}: {error}") from error
    return lambda hash_, signature: verify(key, hash_, signature)
