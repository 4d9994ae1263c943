"""Connections to a PostgreSQL server: where it is, whether it is fit, what its silence means.

A statement ends in one of four ways, and each is an error of its own, but the first:

- the server has executed and committed it, and has warned of nothing;
- `JournalUnreachableError`: there was no connection, so that nothing was sent;
- `StatementRefusedError`: the server has reported an error, which aborts: it has no effect;
- `OutcomeUnknownError`: there is no answer; or there is one, but the wait for standbys was cut.

Psycopg waits for a server without bound where the task is cancelled that asks it. So each
statement is asked by a task that nobody cancels; when its time is over, the server is asked to
give it up, and then the socket is shut down, which ends the wait as a lost connection does.
"""

import asyncio
import os
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8

from everlog.domain.errors import EverlogError, JournalUnreachableError, SettingsError
from everlog.service.mirroring.journal import OutcomeUnknownError, UnfitJournalError

VERSION_MIN: Final = 14

# How long a server may take to let us in, all that a URL names together, and besides that seeing
# whether it is fit.
CONNECT_SECONDS_MAX: Final = 2
CONNECT_SECONDS_MAX_OF_ALL: Final = 4.0
_READY_SECONDS_MAX: Final = 6.0

# How long a statement may take, and then giving it up.
STATEMENT_SECONDS_MAX: Final = 4.0
_CANCEL_SECONDS_MAX: Final = 0.5

# The class of SQLSTATEs.
_INTEGRITY_VIOLATION: Final = "23"

_PASSWORD_SIZE_MAX: Final = 16 * 1024
_TEXT_LENGTH_MAX: Final = 500

# What libpq is asked for, unless the URL asks for something else.
_DEFAULTS: Final = {
    "fallback_application_name": "everlog",
    "connect_timeout": str(CONNECT_SECONDS_MAX),
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}

# What every session has, whatever the server, the database or the role has for it: statements rely
# on it for what they promise, or for how fast they are.
SESSION: Final = {
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "client_min_messages": "warning",
    # Nobody waits any longer for an answer that took that long.
    "statement_timeout": "60s",
    "idle_session_timeout": "0",
    # Plans are made once, also while the tables are small.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
}

_SET: Final = ", ".join(
    f"set_config('{name}', '{value}', false)" for name, value in SESSION.items()
)
_GREETING: Final = f"""\
SELECT pg_is_in_recovery(), pg_backend_pid(), current_setting('fsync'),
    current_setting('full_page_writes'), current_setting('synchronous_standby_names'),
    (SELECT count(*) FROM pg_stat_replication),
    {_SET}
"""  # noqa: S608 - made of what stands above

# The releases since which a server that has just started waits for its standbys from the first
# commit on.
WAITING_RELEASES: Final = {14: 18, 15: 13, 16: 9, 17: 5}


# The functions of the server whose warnings say nothing of a commit: that it should be vacuumed,
# and that others are slow to hear. Texts may be translated, and have no codes of their own.
_HARMLESS: Final = frozenset({"GetNewTransactionId", "GetNewMultiXactId", "asyncQueueFillWarning"})


class StatementRefusedError(EverlogError):
    """The server has reported an error: the statement has no effect.

    `state` is the SQLSTATE; `str` is the server's sentence, which holds no value of a parameter.
    """

    def __init__(self, state: str, message: str) -> None:
        super().__init__(f"{message} (SQLSTATE {state})")
        self.state: Final = state


class Server:
    """Where the server is, or the servers of which one is the primary, and how to be let in."""

    def __init__(self, url: str, *, password_file: Path | None, ca_file: Path | None) -> None:
        self._parameters: Final = _DEFAULTS | _parsed(url)
        # A standby can prove nothing.
        self._parameters["target_session_attrs"] = "read-write"
        self._password_file: Final = password_file
        if password_file is not None:
            if "password" in self._parameters:
                raise SettingsError(
                    "the journal's URL has a password, and there is a file with one"
                )
            _read_password(password_file)
        if ca_file is not None:
            if not ca_file.is_file():
                raise SettingsError(f"the journal's CA file is not a file: {ca_file}")
            self._parameters["sslrootcert"] = str(ca_file)
            if not os.environ.get("PGSSLMODE"):
                self._parameters.setdefault("sslmode", "verify-full")
        # In the order in which they are asked.
        self._hosts = _hosts(self._parameters)
        self.remarks: Sequence[str] = ()

    async def connect(self) -> "Link":
        """Return a connection to the primary, which was found to be fit.

        Raises:
            JournalUnreachableError: There is none.
            UnfitJournalError: What answers cannot keep what is promised.
        """
        connection = await self._connect()
        host = self._host_of(connection)
        link = Link(connection, self._scrubbed, fell_silent=partial(self.ask_last, host))
        # Whoever let us in is asked first.
        self._hosts = [host, *(other for other in self._hosts if other != host)]
        try:
            self.remarks = await _examined(link)
        except (StatementRefusedError, OutcomeUnknownError) as error:
            await link.close()
            raise JournalUnreachableError(str(error)) from error
        except BaseException:
            await link.close()
            raise
        return link

    def ask_last(self, host: dict[str, str]) -> None:
        """Ask a host last: it did not answer, and another one may be the primary by now."""
        self._hosts = [*(other for other in self._hosts if other != host), host]

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        first = self._hosts[0]
        parameters = self._parameters | _joined(self._hosts)
        try:
            if self._password_file is not None:
                parameters["password"] = _read_password(self._password_file)
            async with asyncio.timeout(CONNECT_SECONDS_MAX_OF_ALL):
                return await psycopg.AsyncConnection.connect(
                    make_conninfo(**parameters), autocommit=True, prepare_threshold=0
                )
        except (psycopg.Error, OSError, SettingsError) as error:
            self.ask_last(first)
            # A timeout has no text.
            text = self._scrubbed(str(error)) or "nobody answered in time"
            raise JournalUnreachableError(text) from None

    def _host_of(self, connection: psycopg.AsyncConnection[Any]) -> dict[str, str]:
        """Return what the URL says of the host that a connection leads to."""
        name, port = connection.info.host, str(connection.info.port)
        for host in self._hosts:
            if host.get("host", name) == name and host.get("port", port) == port:
                return host
        return self._hosts[0]

    def _scrubbed(self, text: str) -> str:
        """Return what an operator may read of what libpq, or the server, has said."""
        secrets = [self._parameters.get(name) for name in ("password", "sslpassword")]
        if self._password_file is not None:
            with suppress(SettingsError):
                secrets.append(_read_password(self._password_file))
        secrets.append(os.environ.get("PGPASSWORD"))
        for secret in filter(None, secrets):
            text = text.replace(secret, "[redacted]")
        return " ".join(text.split())[:_TEXT_LENGTH_MAX]


def _parsed(url: str) -> dict[str, str]:
    if not url.startswith(("postgresql://", "postgres://")):
        raise SettingsError("the journal's URL does not begin with postgresql://")
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.Error:
        # What libpq says of it may hold a part of the password.
        parameters = {}
    is_malformed = not parameters and url.partition("://")[2] != ""
    if is_malformed or "@" in parameters.get("host", ""):
        raise SettingsError(
            "the journal's URL is not one that libpq understands: %, @, /, :, ? and # in its user "
            "and password have to be written as %25, %40, %2F, %3A, %3F and %23"
        )
    if "host" not in parameters and "service" not in parameters:
        # From PGHOST, or a file that PGSERVICE chooses.
        for option in psycopg.pq.Conninfo.get_defaults():
            name = option.keyword.decode()
            if name in {"host", "hostaddr", "port"} and option.val is not None:
                parameters.setdefault(name, option.val.decode())
    return parameters


_HOST_NAMES: Final = ("host", "hostaddr", "port")


def _hosts(parameters: dict[str, str]) -> list[dict[str, str]]:
    """Return what a URL says of each host that it names."""
    lists = {name: parameters[name].split(",") for name in _HOST_NAMES if parameters.get(name)}
    count = max((len(values) for values in lists.values()), default=1)
    return [
        # One port is that of all hosts.
        {name: values[index] if len(values) > 1 else values[0] for name, values in lists.items()}
        for index in range(count)
        if all(len(values) in {1, count} for values in lists.values())
    ] or [{}]


def _joined(hosts: Sequence[dict[str, str]]) -> dict[str, str]:
    return {name: ",".join(host[name] for host in hosts) for name in hosts[0]}


def _read_password(file: Path) -> str:
    try:
        if not file.is_file():
            raise SettingsError(f"the journal's password file is not a file: {file}")
        with file.open("rb") as opened:
            password = opened.read(_PASSWORD_SIZE_MAX + 1).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SettingsError(
            f"the journal's password file {file} cannot be read: {reason}"
        ) from None
    if not password or len(password) > _PASSWORD_SIZE_MAX or "\n" in password:
        raise SettingsError(f"the journal's password file {file} has not one line")
    return password


async def _examined(link: "Link") -> Sequence[str]:
    """Set what a session needs, and see whether the server can keep what is promised."""
    version, minor = divmod(link.server_version, 10_000)
    if version < VERSION_MIN:
        raise UnfitJournalError(
            f"the journal needs PostgreSQL {VERSION_MIN} or newer, and this one is {version}"
        )
    row = (await link.ask(_GREETING))[0]
    is_standby, pid, fsync, full_page_writes, synchronous, standby_count, *_ = row
    if is_standby:
        raise JournalUnreachableError("the server that answers is a standby")
    if pid != link.server_pid:
        raise UnfitJournalError(
            "a connection pooler stands before the journal's server: connect to the server "
            "itself, since a pooler may change the session in which an entry is stored"
        )
    for name, value in (("fsync", fsync), ("full_page_writes", full_page_writes)):
        if value != "on":
            raise UnfitJournalError(
                f"the journal's server has {name} = {value}, so that a crash may lose or spoil "
                f"what was acknowledged: set {name} = on"
            )
    remarks = []
    if standby_count and not synchronous:
        remarks.append(
            "the journal's server has standbys, and none is synchronous: when one takes over, "
            "acknowledged events may be lost; set synchronous_standby_names"
        )
    if synchronous and minor < WAITING_RELEASES.get(version, 0):
        remarks.append(
            f"the journal's server is PostgreSQL {version}.{minor}, which may acknowledge without "
            f"its standbys when it has just started: take {version}.{WAITING_RELEASES[version]}"
        )
    return tuple(remarks)


class Link:
    """One connection; it is of no use once an answer was missing."""

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        scrub: Callable[[str], str],
        *,
        fell_silent: Callable[[], None],
    ) -> None:
        self._fell_silent: Final = fell_silent
        self._connection: Final = connection
        self._scrub: Final = scrub
        self._warnings: Final[list[str]] = []
        self._task: asyncio.Task[list[Any]] | None = None
        self.is_broken = False
        connection.add_notice_handler(self._note)

    @property
    def server_version(self) -> int:
        return self._connection.info.server_version

    @property
    def server_pid(self) -> int:
        """The process that serves it, as the server, or what stands before it, says."""
        return self._connection.info.backend_pid

    @property
    def has_ended(self) -> bool:
        """Whether the server has closed it, or said something that nobody asked for."""
        if self._connection.closed:
            return True
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def ask(
        self,
        statement: str,
        parameters: Sequence[object] = (),
        *,
        seconds: float = STATEMENT_SECONDS_MAX,
    ) -> list[Any]:
        """Execute a statement in a transaction of its own, and return rows once it is committed.

        Raises:
            StatementRefusedError, OutcomeUnknownError: See the module's text.
        """
        self._warnings.clear()
        self._task = task = asyncio.create_task(self._execute(statement, parameters))
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            # Also if whoever asks is cancelled.
            if not task.done():
                await self._give_up(task)
            has_answered = task.done()
            if not has_answered:
                await self._end()
        try:
            rows = task.result()
        except psycopg.Error as error:
            raise self._judged(error, seconds=None if has_answered else seconds) from None
        if self._warnings:
            self.is_broken = True
            raise OutcomeUnknownError(self._scrub(self._warnings[0]))
        return rows

    async def notifications(self) -> AsyncIterator[str]:
        """Yield what others tell through the channels that are listened to.

        Raises:
            JournalUnreachableError: The connection is lost.
        """
        try:
            async for notification in self._connection.notifies():
                yield notification.payload
        except psycopg.Error as error:
            raise JournalUnreachableError(self._scrub(str(error))) from None

    async def close(self) -> None:
        """Close it, whatever it is doing; nobody waits for the server."""
        await self._end()
        await self._connection.close()

    def shut_down(self) -> None:
        """Let whoever waits for the server see the end of the connection."""
        self.is_broken = True
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self._connection.fileno())) as duplicate,
        ):
            duplicate.shutdown(socket.SHUT_RDWR)

    async def _give_up(self, task: asyncio.Task[Any]) -> None:
        """Tell the server that nobody waits any more: it would, for its standbys above all."""
        self._fell_silent()
        if not psycopg.capabilities.has_cancel_safe():
            # An older libpq could only ask without a bound of time.
            return
        with suppress(psycopg.Error, OSError):
            await self._connection.cancel_safe(timeout=_CANCEL_SECONDS_MAX)
        await asyncio.wait({task}, timeout=_CANCEL_SECONDS_MAX)

    async def _end(self) -> None:
        self.shut_down()
        # A socket that somebody waits for must not be closed: its number is soon another's.
        if self._task is not None:
            await asyncio.wait({self._task})
            # Nobody else may ask for it.
            self._task.exception()

    async def _execute(self, statement: str, parameters: Sequence[object]) -> list[Any]:
        has_parameters = bool(parameters)
        cursor = self._connection.cursor(binary=has_parameters)
        # Each is prepared once, so that numbers have one type, however large they are.
        values = [Int8(value) if type(value) is int else value for value in parameters]
        await cursor.execute(statement.encode(), values or None, prepare=has_parameters)
        return await cursor.fetchall() if cursor.description is not None else []

    def _judged(self, error: psycopg.Error, *, seconds: float | None) -> EverlogError:
        state, severity = error.sqlstate, error.diag.severity_nonlocalized
        # A broken rule says nothing of the connection; of all else, a new one may be free.
        self.is_broken = state is None or not state.startswith(_INTEGRITY_VIOLATION)
        # After an error a transaction is aborted; FATAL and PANIC end a process, at any moment.
        if state is not None and severity == "ERROR":
            return StatementRefusedError(state, self._scrub(error.diag.message_primary or ""))
        if seconds is not None:
            return OutcomeUnknownError(f"the server has not answered for {seconds:.0f} seconds")
        return OutcomeUnknownError(self._scrub(str(error)))

    def _note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if (
            diagnostic.severity_nonlocalized == "WARNING"
            and diagnostic.source_function not in _HARMLESS
        ):
            self._warnings.append(diagnostic.message_primary or "a warning")


class Channel:
    """A connection for one purpose, made when it is needed, and made anew when it is broken."""

    def __init__(self, server: Server, greet: Callable[[Link], Awaitable[None]]) -> None:
        self._server: Final = server
        self._greet: Final = greet
        self._lock: Final = asyncio.Lock()
        self._link: Link | None = None
        self._is_closed = False
        # How many connections there have been.
        self.connection_count = 0

    async def ask(
        self,
        statement: str,
        parameters: Sequence[object] = (),
        *,
        seconds: float = STATEMENT_SECONDS_MAX,
    ) -> list[Any]:
        """Ask one after the other, as `Link.ask` does.

        Raises:
            JournalUnreachableError: Nothing was sent.
            StatementRefusedError, OutcomeUnknownError: As `Link.ask`.
        """
        async with self._ready() as link:
            try:
                return await link.ask(statement, parameters, seconds=seconds)
            finally:
                if link.is_broken:
                    await self._drop()

    async def close(self) -> None:
        """Close the connection; what is being asked ends without an answer."""
        self._is_closed = True
        if self._link is not None:
            self._link.shut_down()
        async with self._lock:
            await self._drop()

    @asynccontextmanager
    async def _ready(self) -> AsyncIterator[Link]:
        """Have the connection for oneself, once it is there."""
        try:
            async with asyncio.timeout(_READY_SECONDS_MAX):
                await self._lock.acquire()
                try:
                    link = await self._connected()
                except BaseException:
                    self._lock.release()
                    raise
        except TimeoutError:
            raise JournalUnreachableError("the journal's server is not ready in time") from None
        try:
            yield link
        finally:
            self._lock.release()

    async def _connected(self) -> Link:
        if self._is_closed:
            raise JournalUnreachableError("the journal is closed")
        if self._link is not None and self._link.has_ended:
            await self._drop()
        if self._link is None:
            link = await self._server.connect()
            try:
                await self._greet(link)
            except BaseException:
                await link.close()
                raise
            self._link = link
            self.connection_count += 1
        return self._link

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()
