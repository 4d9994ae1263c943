"""A server in several processes: what the owner adds to a store to have fronts serve it.

Guarantees that a client is told of what all fronts are as of one server: an address that cannot be
listened on, limits, figures, the log, tokens, a restore, and the end.
What is left to others: starting and watching fronts (`service.fronts.owner`), and what a front does
(`front_worker`).
"""

import asyncio
import pickle
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from everlog.api.application import HEADERS_KEPT, HEADERS_OF_DOCUMENTS, Documents
from everlog.api.openapi import load_documents
from everlog.credentials.token import ApiToken
from everlog.domain.errors import EverlogError, RefusedError, SettingsError, StoreFailedError
from everlog.http import Server
from everlog.monitoring.figures import FrontFigures, as_gone, decode_front, joined
from everlog.service.fronts.messages import Intent, Kind, LogLine
from everlog.service.fronts.owner import FrontEvents, Fronts, FrontUnstartableError
from everlog.service.served_store import ServedStore, restore_in_progress
from everlog.service.store import Store
from everlog.service.write import write
from everlog.service.writing.changes import Outcome
from everlog.settings import Settings
from everlog.storage.engine import Batch, SharedFiles
from everlog.telemetry import Level, Log
from everlog.threads import call_on_thread

# How long fronts may take to say how they are.
_FIGURES_SECONDS_MAX: Final = 1.0

# What tells a front how a connection speaks.
PLAIN: Final = b"http"
ENCRYPTED: Final = b"https"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontStart:
    """What a front is told first; of all that one server may have, it is given its part."""

    settings: Settings
    tokens: tuple[ApiToken, ...]
    files: SharedFiles
    front_count: int
    connections_max: int
    connections_refused_max: int
    log_level: Level


def documents_of(settings: Settings) -> Documents:
    """Return what is open to everybody, with the pages of the management UI where it is on."""
    documents = load_documents()
    if settings.with_ui:
        # Whoever does without it has nothing of it in memory either.
        from everlog.ui.pages import load_pages  # noqa: PLC0415 - see above

        documents |= load_pages(settings.ui_title, settings.ui_colour)
    return documents


def headers_kept(settings: Settings) -> frozenset[bytes]:
    """Return the headers that the application looks at."""
    return HEADERS_KEPT | (HEADERS_OF_DOCUMENTS if settings.with_ui else frozenset())


class Hosting:
    """The fronts of one server, and what they need of it; on the event loop's thread."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        *,
        tokens: Callable[[], tuple[ApiToken, ...]],
        connections_max: int,
        connections_refused_max: int,
    ) -> None:
        """Start none yet."""
        self._settings: Final = settings
        self._log: Final = log
        self._tokens: Final = tokens
        self._count: Final = settings.processes - 1
        self._connections_max: Final = connections_max
        self._refused_max: Final = connections_refused_max
        self._loop: Final = asyncio.get_running_loop()
        self._served: ServedStore | None = None
        self._server: Server | None = None
        self._files: SharedFiles | None = None
        self._is_started = False
        self._adopting: Final[set[asyncio.Task[None]]] = set()
        # The figures of those who are gone, as those of one.
        self._gone: FrontFigures | None = None
        events = FrontEvents(
            write=self._write,
            forwarded=self._adopt,
            said=self._say,
            died=self._note_death,
            unstartable=self._note_unstartable,
            ended=self._note_end,
            counted=self._note_counts,
            bug=log.bug,
        )
        self.fronts: Final = Fronts(count=self._count, loop=self._loop, events=events)

    def published(self, _: Batch) -> None:
        """Take note that a head was posted, of which nobody has been told yet."""
        self.fronts.note_head()

    async def share(self, store: Store) -> None:
        """Let fronts read a store that has just been opened; those that run are renewed.

        Raises:
            SettingsError: It cannot be shared.
        """
        share = getattr(store.engine, "share", None)
        files = None if share is None else await call_on_thread(share)
        if files is None:
            message = (
                "--processes needs a data directory that can be written to, and a system with "
                "memory that processes share (memfd_create): run one process here"
            )
            raise SettingsError(message)
        self._files = files
        queries = store.queries.permits
        queries.on_change = self.fronts.note_own_queries(lambda: queries.held_count)
        if self._is_started:
            try:
                await self.fronts.renew(files)
            except FrontUnstartableError as error:
                raise _unstartable(error) from error

    async def start(self, served: ServedStore, server: Server) -> None:
        """Start the fronts, whose requests the server answers that they hand on.

        Raises:
            StoreFailedError: One did not come to serve.
        """
        assert self._files is not None
        self._served, self._server = served, server
        served.on_unlocked = self._unlock
        self._is_started = True
        try:
            await self.fronts.start(self._files, self._start_content)
        except FrontUnstartableError as error:
            raise _unstartable(error) from error

    def listen(self, listeners: Sequence[socket.socket], *, is_encrypted: bool) -> None:
        """Accept connections for the fronts."""
        for listener in listeners:
            self.fronts.listen(listener, ENCRYPTED if is_encrypted else PLAIN)

    def settling(self, settle: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Return what returns once nobody reaches the store, in any process."""

        async def settle_all() -> None:
            # Before the others are told: who is started meanwhile begins with it.
            self.fronts.lock(is_locked=True)
            await self.fronts.do(Kind.LOCK)
            await settle()

        return settle_all

    async def reload(self) -> None:
        """Return when the tokens and the certificate of this moment count everywhere."""
        await self.fronts.do(Kind.RELOAD, pickle.dumps(self._tokens()))

    async def read(self) -> Sequence[FrontFigures]:
        """Return what fronts say of themselves, and what those said last who are gone."""
        said = await self.fronts.figures(seconds_max=_FIGURES_SECONDS_MAX)
        gone = [] if self._gone is None else [self._gone]
        return [*gone, *map(decode_front, said)]

    async def stop(self, *, seconds_max: float) -> None:
        """Let the fronts end in order."""
        await self.fronts.stop(seconds_max=seconds_max)

    # For the fronts.

    def _start_content(self) -> bytes:
        assert self._files is not None
        start = FrontStart(
            settings=self._settings,
            tokens=self._tokens(),
            files=self._files,
            front_count=self._count,
            connections_max=self._connections_max,
            connections_refused_max=self._refused_max,
            log_level=self._log.level,
        )
        return pickle.dumps(start)

    def _write(self, intent: Intent, answer: Callable[[Outcome], None]) -> None:
        assert self._served is not None
        store = self._served.current
        if store is None:
            answer(restore_in_progress("writing"))
            return

        def tell(outcome: Outcome) -> None:
            if isinstance(outcome, Exception) and not isinstance(outcome, EverlogError):
                self._log.bug(outcome)
            answer(outcome)

        try:
            write(store, intent.candidates, intent.preconditions, tell)
        except RefusedError as error:
            answer(error)

    def _adopt(self, handed: socket.socket) -> None:
        assert self._server is not None
        task = self._loop.create_task(self._server.adopt(handed, ssl=None))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    def _say(self, line: LogLine) -> None:
        self._log.say(Level(line.level), line.message, msgspec.json.decode(line.fields))

    def _note_death(self, pid: int, code: int) -> None:
        message = "a front ended that should not have: another one takes its place"
        self._log.error(message, frontProcessId=pid, exitCode=code)

    def _note_unstartable(self, reason: str) -> None:
        self._log.error("a front could not be started: it is tried again", reason=reason)

    def _note_end(self, figures: bytes) -> None:
        found = as_gone(decode_front(figures))
        self._gone = found if self._gone is None else joined([self._gone, found])

    def _note_counts(self, _observers: int, queries: int) -> None:
        if self._served is not None:
            self._served.latest.queries.permits.others_count = queries

    def _unlock(self) -> None:
        self.fronts.lock(is_locked=False)
        task = self._loop.create_task(self.fronts.do(Kind.UNLOCK))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)


def _unstartable(error: FrontUnstartableError) -> StoreFailedError:
    return StoreFailedError(f"a process that speaks with clients could not be started: {error}")
