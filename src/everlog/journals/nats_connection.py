"""A connection to one of several NATS servers: where they are, who we are, requests and answers.

A connection is never mended. Once it is lost, which includes a server that does not answer a ping
within seconds, everybody who waits for an answer is told at once, and whoever asks next makes
another one: nothing is kept back to be sent later. So whoever asks knows whether it was sent.

What is secret (passwords, tokens, keys) is handed to the library when a connection is made, and is
in no error and no log. What is left to others: what is asked (`nats`).
"""

import asyncio
import base64
import binascii
import json
import logging
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client
from nats.aio.msg import Msg

from everlog.domain.errors import EverlogError, SettingsError

# A server that is there answers sooner; one that is paused accepts connections and says nothing.
_CONNECT_SECONDS: Final = 1.5
# A connection is pinged this often, and lost when the answer takes this long.
_PING_SECONDS: Final = 1.0
_PONG_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 1.0

_PORT: Final = 4222

# What a stream may be called, so that it can be a part of subjects.
_STREAM_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

_URL_FORM: Final = "nats://HOST[:PORT],HOST[:PORT],.../STREAM"


class NotSentError(EverlogError):
    """Nothing was sent; the message says why."""


class NotAnsweredError(EverlogError):
    """It may have been sent, and there is no answer; the message says why."""


class AccessDeniedError(NotSentError):
    """The servers are there, and want none of us; trying again does not help."""


class Target(NamedTuple):
    """What a journal's URL says."""

    # Each as `host:port`.
    servers: Sequence[str]
    stream: str
    is_tls: bool
    user: str
    # A password where there is a user, else a token.
    secret: str


def parse_url(url: str) -> Target:
    """Return what a URL says: `nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT],HOST,.../STREAM`.

    Raises:
        SettingsError: It is none; the message does not repeat it, since it may hold a secret.
    """
    # Several hosts are no host of a URL, as which libraries take them, each version its own way.
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"nats", "tls"}:
        raise _bad_url("does not begin with nats:// or tls://")
    if set(rest) & {"?", "#"}:
        raise _bad_url("has something behind the stream's name")
    authority, _, stream = rest.partition("/")
    access, _, hosts = authority.rpartition("@")
    user, colon, password = access.partition(":")
    if not _STREAM_NAME.fullmatch(stream):
        raise _bad_url(
            "must end with the name of a stream: 1 to 64 letters, digits, hyphens, underscores"
        )
    return Target(
        servers=[_parse_server(host) for host in hosts.split(",")],
        stream=stream,
        is_tls=scheme == "tls",
        user=unquote(user) if colon else "",
        secret=unquote(password if colon else user),
    )


def _parse_server(text: str) -> str:
    try:
        parts: SplitResult = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _bad_url("names a server whose port is none") from error
    if not host or parts.path:
        raise _bad_url("names no server, or one of several is empty")
    return f"[{host}]:{port or _PORT}" if ":" in host else f"{host}:{port or _PORT}"


def _bad_url(what: str) -> SettingsError:
    return SettingsError(f"the journal's URL {what}; it has the form {_URL_FORM}")


class Access:
    """Who we are to the servers, and how we know them."""

    def __init__(
        self,
        target: Target,
        *,
        credentials_file: Path | None,
        password_file: Path | None,
        ca_file: Path | None,
    ) -> None:
        """Read the files once, to complain early; those with secrets are read for each connection.

        Raises:
            SettingsError: A file cannot be used, or there are two ways to say who we are.
        """
        if sum((bool(target.secret), password_file is not None, credentials_file is not None)) > 1:
            raise SettingsError(
                "a password or token in the journal's URL, a file with one, and a credentials "
                "file exclude each other: name one of them"
            )
        self._target: Final = target
        self._credentials_file: Final = credentials_file
        self._password_file: Final = password_file
        self.is_tls: Final = target.is_tls or ca_file is not None
        self._context: Final = _tls_context(ca_file)
        self.options()

    def options(self) -> dict[str, Any]:
        """Return what the library is told when it connects.

        Raises:
            SettingsError: A file cannot be read or is none of its kind.
        """
        options: dict[str, Any] = {"tls": self._context}
        if self._credentials_file is not None:
            token, sign = _read_credentials(self._credentials_file)
            return options | {"user_jwt_cb": lambda: token, "signature_cb": sign}
        secret = self._target.secret
        if self._password_file is not None:
            secret = _read(self._password_file, "password").strip()
        if self._target.user:
            return options | {"user": self._target.user, "password": secret}
        return options | ({"token": secret} if secret else {})


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"the journal's CA file {ca_file} cannot be used: {error}") from error


def _read(file: Path, what: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"the journal's {what} file {file} cannot be read: {reason}") from error


def _read_credentials(file: Path) -> tuple[bytes, Callable[[str], bytes]]:
    """Return the token of a .creds file, and what signs with its key."""
    text = _read(file, "credentials")
    token, seed = (_block(text, title) for title in ("NATS USER JWT", "USER NKEY SEED"))
    try:
        # Two bytes say what kind of key it is, and two at the end are a checksum.
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))[2:-2]
        key = Ed25519PrivateKey.from_private_bytes(raw)
    except (binascii.Error, ValueError):
        key = None
    if not token or key is None:
        raise SettingsError(
            f"the journal's credentials file {file} is none: it must hold a user's JWT and the "
            "seed of its key, as 'nsc generate creds' writes them"
        )
    return token.encode(), lambda nonce: base64.b64encode(key.sign(nonce.encode()))


def _block(text: str, title: str) -> str:
    found = re.search(rf"-+BEGIN {title}-+\s+(\S+)\s+-+END {title}-+", text)
    return found[1] if found else ""


class Servers:
    """Several servers, one of which is connected to at a time."""

    def __init__(self, target: Target, access: Access) -> None:
        """Connect to nothing yet."""
        # Whatever it has to say is in an error; it has no log of its own here.
        logging.getLogger("nats").addHandler(logging.NullHandler())
        self._access: Final = access
        # The first one is tried first, and then goes to the end.
        self._servers: Final = random.sample(target.servers, len(target.servers))

    async def connect(self) -> "Connection":
        """Return a connection to the first server that takes us.

        Raises:
            AccessDeniedError: All that are there refuse us.
            NotSentError: None is there.
            SettingsError: A file with a secret cannot be read any more.
        """
        options = self._access.options()
        reasons: list[str] = []
        denied: AccessDeniedError | None = None
        for server in tuple(self._servers):
            # Whoever connects again, tries another one first.
            self._servers.remove(server)
            self._servers.append(server)
            try:
                return await _connect(server, options, is_tls=self._access.is_tls)
            except AccessDeniedError as error:
                denied = error
            except NotSentError as error:
                reasons.append(f"{server}: {error}")
        raise denied or NotSentError("no server can be reached: " + "; ".join(reasons))

    async def connect_to(self, name: str) -> "Connection | None":
        """Return a connection to the server of that name, None if none that takes us has it."""
        options = self._access.options()
        for server in tuple(self._servers):
            with suppress(AccessDeniedError, NotSentError):
                connection = await _connect(server, options, is_tls=self._access.is_tls)
                if connection.server_name == name:
                    return connection
                await connection.close()
        return None


class _Client(Client):
    """A client that takes no harm from closing a connection which the system has closed."""

    async def _close(
        self,
        status: int,
        do_cbs: bool = True,  # noqa: FBT001, FBT002 - as in the library.
    ) -> None:
        # The library would write what it still has, also where nobody can be written to any more,
        # and its tasks would end with an error that nobody awaits. Nobody waits for what is left.
        self._pending, self._pending_data_size = [], 0
        with suppress(RuntimeError, OSError):
            await super()._close(status, do_cbs)


async def _connect(server: str, options: Mapping[str, Any], *, is_tls: bool) -> "Connection":
    client = _Client()
    connection = Connection(client)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await client.connect(
                [f"{'tls' if is_tls else 'nats'}://{server}"],
                name="everlog",
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                # What we tell others is no news to us.
                no_echo=True,
                # Nothing is kept back while there is no connection; pings are our own.
                pending_size=0,
                ping_interval=24 * 60 * 60,
                connect_timeout=_CONNECT_SECONDS,  # type: ignore[arg-type]  # As it takes them.
                error_cb=connection.note_error,
                closed_cb=connection.note_closed,
                **(_only_encrypted(client, options) if is_tls else options),
            )
            await connection.begin(is_tls=is_tls)
    except Exception as error:
        reason = _reason_of(connection.last_error or error)
        await connection.close()
        if isinstance(error, AccessDeniedError):
            raise
        if _is_denial(reason):
            raise AccessDeniedError(f"the server {server} refuses: {reason}") from None
        raise NotSentError(reason) from None
    except BaseException:
        connection.lose("given up")
        raise
    return connection


def _only_encrypted(client: Client, options: Mapping[str, Any]) -> dict[str, Any]:
    """Let no secret be told to a server that does not encrypt."""

    def guarded(value: Any) -> Callable[..., Any]:
        def tell(*arguments: Any) -> Any:
            _check_encrypted(client)
            return value(*arguments) if callable(value) else value

        return tell

    return {name: value if name == "tls" else guarded(value) for name, value in options.items()}


def _check_encrypted(client: Client) -> None:
    # It would go on without, and has no other way to say so.
    if not client._server_info.get("tls_required"):  # noqa: SLF001 - see above
        raise AccessDeniedError("the server does not ask for TLS: configure it, or use nats://")


def _is_denial(reason: str) -> bool:
    return any(
        word in reason.lower() for word in ("authorization", "authentication", "certificate verify")
    )


def _reason_of(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__


class Connection:
    """One connection, from its beginning to its end."""

    def __init__(self, client: Client) -> None:
        """Stand in front of a client that is about to connect."""
        self._client: Final = client
        self._inbox = ""
        self._number = 0
        # Who waits for answers, by the last part of the subject they come to.
        self._waiting: Final[dict[str, _Answers]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_retired = False
        self._when_gone: Callable[[Connection], None] | None = None
        self.last_error: Exception | None = None
        # Why it was lost; empty as long as it is there.
        self.loss = ""

    async def begin(self, *, is_tls: bool) -> None:
        """Make what was connected ready for requests."""
        if is_tls:
            _check_encrypted(self._client)
        inbox = self._client.new_inbox()
        await self._client.subscribe(f"{inbox}.*", cb=self._take)
        self._inbox = inbox
        self._watch = asyncio.create_task(self._ping())

    @property
    def version(self) -> tuple[int, int]:
        """The server's version, (0, 0) if it says none that is understood."""
        found = re.match(r"(\d+)\.(\d+)", str(self._told.get("version", "")))
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @property
    def server_name(self) -> str:
        """The name of the server that this leads to."""
        return str(self._told.get("server_name", ""))

    @property
    def payload_max(self) -> int:
        """How many bytes a message may have, headers included."""
        return self._client.max_payload

    @property
    def has_jetstream(self) -> bool:
        """Whether the server itself has JetStream."""
        return bool(self._told.get("jetstream"))

    @property
    def is_clustered(self) -> bool:
        """Whether the server is one of several."""
        return bool(self._told.get("cluster"))

    @property
    def _told(self) -> dict[str, Any]:
        return self._client._server_info  # noqa: SLF001 - it has no public name

    async def request(
        self, subject: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Msg:
        """Return the answer to a message.

        Raises:
            NotSentError: It was not sent, or nobody was there to get it.
            NotAnsweredError: The connection was lost. Whoever asks has a deadline.
        """
        (answer,) = await self.request_many(subject, content, headers, count=1)
        return answer

    async def request_many(
        self,
        subject: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        count: int = 0,
    ) -> Sequence[Msg]:
        """Return so many answers to a message, or with 0 all until one has a status.

        Raises:
            NotSentError, NotAnsweredError: As for `request`.
        """
        if self.loss:
            raise NotSentError(self.loss)
        self._number += 1
        name = str(self._number)
        answers = self._waiting[name] = _Answers(count)
        try:
            try:
                await self._client.publish(
                    subject, content, reply=f"{self._inbox}.{name}", headers=_as_dict(headers)
                )
            except Exception as error:
                raise NotSentError(_reason_of(error)) from error
            return await answers.all
        finally:
            del self._waiting[name]
            answers.all.cancel()
            if self._is_retired and not self._waiting:
                self.lose("it is not used any more")

    async def ask_all(self, subject: str, *, seconds: float) -> Sequence[Msg]:
        """Return what all say who answer within some seconds: nothing at once, if nobody can."""
        found: list[Msg] = []
        is_nobody = asyncio.Event()

        async def take(message: Msg) -> None:
            if "Status" in (message.headers or {}):
                is_nobody.set()
            else:
                found.append(message)

        last_error = self.last_error
        with suppress(Exception):
            inbox = self._client.new_inbox()
            subscription = await self._client.subscribe(inbox, cb=take)
            await self._client.publish(subject, reply=inbox)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await is_nobody.wait()
            await subscription.unsubscribe()
        # Who may not ask is nobody, too.
        self.last_error = last_error
        return found

    async def tell(self, subject: str, content: bytes) -> None:
        """Send a message to whoever listens, if that is possible."""
        with suppress(Exception):
            await self._client.publish(subject, content)

    async def listen(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> None:
        """Call back for each message on a subject, as long as the connection is there."""
        try:
            await self._client.subscribe(subject, cb=callback)
        except Exception as error:
            raise NotSentError(_reason_of(error)) from error

    async def _take(self, message: Msg) -> None:
        answers = self._waiting.get(message.subject.rpartition(".")[2])
        if answers is not None:
            answers.take(message)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(_PING_SECONDS)
            try:
                async with asyncio.timeout(_PONG_SECONDS):
                    await self._client.flush()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is lost
                if isinstance(error, TimeoutError):
                    self.lose("the server does not answer")
                else:
                    self.lose(_reason_of(error))
                return

    # What the library says.

    async def note_error(self, error: Exception) -> None:
        """Remember why the connection is about to be lost, if it is."""
        self.last_error = error

    async def note_closed(self) -> None:
        """Take note that the connection is closed."""
        self.lose(f"the connection was lost: {_reason_of(self.last_error or EOFError())}")

    def lose(self, reason: str) -> None:
        """Give the connection up, and tell all who wait."""
        if self.loss:
            return
        self.loss = reason
        for answers in self._waiting.values():
            answers.fail(NotAnsweredError(reason))
        if self._watch is not None and self._watch is not asyncio.current_task():
            self._watch.cancel()
        self._closing = asyncio.get_running_loop().create_task(self._close())
        if self._when_gone is not None:
            when_gone = self._when_gone
            self._closing.add_done_callback(lambda _: when_gone(self))

    def retire(self, when_gone: "Callable[[Connection], None]") -> None:
        """Give the connection up as soon as nobody waits for an answer; call back when it is."""
        self._is_retired = True
        self._when_gone = when_gone
        if self._closing is not None:
            self._closing.add_done_callback(lambda _: when_gone(self))
        elif not self._waiting:
            self.lose("it is not used any more")

    async def close(self) -> None:
        """Give the connection up, and return when nothing is left of it."""
        self.lose("it was closed")
        assert self._closing is not None
        await asyncio.wait({self._closing, *([self._watch] if self._watch else ())})

    async def _close(self) -> None:
        # What was not sent would be waited for, for ever if the server is paused.
        transport = getattr(self._client, "_transport", None)
        for name in ("_io_writer", "_bare_io_writer"):
            writer = getattr(transport, name, None)
            if writer is not None:
                writer.transport.abort()
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.close()


class _Answers:
    """Answers to one request, as they come."""

    def __init__(self, count: int) -> None:
        self._count: Final = count
        self._found: Final[list[Msg]] = []
        self.all: Final[asyncio.Future[Sequence[Msg]]] = asyncio.get_running_loop().create_future()

    def take(self, message: Msg) -> None:
        if self.all.done():
            return
        status = (message.headers or {}).get("Status")
        if status == "503":
            self.fail(NotSentError("no server is responsible for it at the moment"))
            return
        self._found.append(message)
        if len(self._found) == self._count or (self._count == 0 and status is not None):
            self.all.set_result(self._found)

    def fail(self, error: Exception) -> None:
        if not self.all.done():
            self.all.set_exception(error)
            # Nobody may wait any more.
            self.all.exception()


def _as_dict(headers: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if headers is None else dict(headers)


def as_json(message: Msg) -> dict[str, Any]:
    """Return what an answer says, nothing if it is not understood."""
    with suppress(ValueError):
        told = json.loads(message.data)
        if isinstance(told, dict):
            return told
    return {}
