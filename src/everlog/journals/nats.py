"""A journal in one stream of NATS JetStream (docs/operating/nats.md).

    STREAM.log        an entry each; nothing here is ever deleted
    STREAM.barrier    the last barrier; each replaces the one before it
    STREAM.node.ID    what a node said last, for two minutes
    STREAM.appended   no part of the stream: tells who waits that something was appended

A place is the number of an entry in the stream. **Appending** is a compare-and-append: the message
names the last number on its subject, and the stream's leader refuses it where another one stands,
or is on its way. It is acknowledged once a majority of the replicas has stored it.

**Reading** begins with a *barrier*: a message that a majority has to store, so that a leader that
was deposed cannot acknowledge it. What is read then is read in the stream's order, from any
replica, until something comes that is not older than the barrier: a replica that lags is noticed
by what it does not have. Where the barrier's number follows the last one that is known, nothing
can stand between, and nothing is read. Entries name the place before them, so that a gap is seen.

The servers keep nothing for a node: there are no consumers. Why it is so: docs/adr/0038.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

import msgspec
from nats.aio.msg import Msg

from everlog.domain.errors import EverlogError, JournalUnreachableError, SettingsError
from everlog.journals.nats_connection import (
    Access,
    AccessDeniedError,
    Connection,
    NotAnsweredError,
    NotSentError,
    Servers,
    as_json,
    parse_url,
)
from everlog.journals.nats_messages import (
    AFTER,
    END,
    Heard,
    code_of,
    compare_announced,
    decode,
    error_of,
    number_of,
    place_before,
    position_of,
    subject_of,
)
from everlog.journals.nats_stream import (
    IDENTITY_KEY,
    VERSION_MIN,
    find_faults,
    new_stream,
    remarks_on,
    servers_that_sync_late,
)
from everlog.service.mirroring.journal import (
    BEGINNING,
    Announced,
    Announcement,
    Entry,
    EntryLostError,
    OutcomeUnknownError,
    Page,
    UnfitJournalError,
    encode_entry,
)

# How long an attempt takes at most, and how long one of several answers of a replica.
_CALL_SECONDS: Final = 5.0
_REPLICA_SECONDS: Final = 2.0
_WAIT_SECONDS: Final = 1.0
# A replica that lags, or a leader that is about to be one, is asked again after this.
_AGAIN_SECONDS: Final = 0.002
# A stream that is being made is looked for after this.
_MADE_AGAIN_SECONDS: Final = 0.05
# While its replicas elect one to lead, nobody answers what is asked about it.
_STREAM_SECONDS: Final = 0.5

# Of a message's size, what is left to headers, and to what describes an entry's lines.
_HEADERS_SIZE_MAX: Final = 4096
# However large messages may be, JetStream stores none that is larger, with its headers.
_STORED_SIZE_MAX: Final = 32 * 1024 * 1024
# What the servers take before we know better: the default of their `max_payload`.
_PAYLOAD_MAX: Final = 1024 * 1024

# An entry with more bytes would hold up the event loop for tens of milliseconds; and it may take
# longer.
_LARGE_SIZE: Final = 4 * 1024 * 1024
_BYTES_PER_SECOND_MIN: Final = 8 * 1024 * 1024

# Where servers tell their settings, to whoever may know them; and how long they are listened to.
_SETTINGS: Final = "$SYS.REQ.SERVER.PING.JSZ"
_SETTINGS_SECONDS: Final = 0.3

# What is read at once, at most: with one answer of a replica, and in its time.
_PAGE_SIZE_MAX: Final = 2 * 1024 * 1024
_PAGE_COUNT_MAX: Final = 4096

# What a node said is kept for so long.
_ANNOUNCED_TTL: Final = "120s"
_ANNOUNCED_COUNT_MAX: Final = 1000

_ROLLUP: Final = {"Nats-Rollup": "sub"}

# What the servers answer, by its number (`err_code`).
_NOT_THERE: Final = 10059
_OTHER_CONFIGURATION: Final = 10058
_NOT_CLUSTERED: Final = 10074
_NO_PEERS: Final = 10005
_NOT_ENABLED: Final = frozenset({10039, 10076})
_WRONG_LAST: Final = 10071
# Another entry is on its way to the place, or this very one.
_WRONG_LAST_ON_ITS_WAY: Final = frozenset({10164, 10158})
# The leader has only just become one.
_NOT_READY: Final = 10163
_FOR_NOW: Final = frozenset({10008, 10009, 10023})


class _Known(NamedTuple):
    """Of the stream's messages up to a number, the last entry is the one at a place."""

    place: int
    number: int


class _Scan(NamedTuple):
    """What a replica has behind a place, in the stream's order."""

    entries: Sequence[Msg]
    # Up to this number of the stream, they are all; 0 if there is nothing.
    number: int
    # How many messages it has behind that, of entries and barriers.
    left: int


class NatsJournal:
    """A journal in a stream of NATS JetStream; see `service.mirroring.journal`."""

    def __init__(
        self,
        url: str,
        *,
        credentials_file: Path | None = None,
        password_file: Path | None = None,
        ca_file: Path | None = None,
        replicas: int = 3,
    ) -> None:
        """Connect to nothing yet; `replicas` is how many the stream must have, at least.

        Raises:
            SettingsError: The URL or a file cannot be used.
        """
        target = parse_url(url)
        access = Access(
            target,
            credentials_file=credentials_file,
            password_file=password_file,
            ca_file=ca_file,
        )
        if replicas not in {1, 3, 5}:
            raise SettingsError(f"a journal on NATS has 1, 3 or 5 replicas, not {replicas}")
        self._target: Final = target
        self._access: Final = access
        self._servers: Final = Servers(target, access)
        self._stream: Final = target.stream
        self._replicas: Final = replicas
        self.entry_size_max = _PAYLOAD_MAX - _HEADERS_SIZE_MAX
        self.remarks: Sequence[str] = ()
        self._connecting: Final = asyncio.Lock()
        self._connection: Connection | None = None
        # Connections that are still needed for an answer, or not wholly gone.
        self._former: Final[set[Connection]] = set()
        self._known = _Known(BEGINNING, BEGINNING)
        # The place behind which there was no answer to the last read.
        self._unanswered: int | None = None
        # Where the journal ends, as far as anybody said.
        self._told_end = BEGINNING
        self._was_told: Final = asyncio.Event()
        # One that leads the stream, and that none of the addresses we have leads to.
        self._leader_without_address = ""
        # What others append, so that it need not be read.
        self._heard: Final = Heard()
        self._is_closed = False

    # Opening.

    async def open(self) -> str:
        """Connect, make the stream if there is none, check it; return the journal's identity.

        Raises:
            JournalUnreachableError: No majority of the stream's replicas answers.
            UnfitJournalError: The servers or the stream are not as they must be.
        """
        try:
            async with self._answering() as connection:
                self._check_server(connection)
                stream = await self._stream_or_new(connection)
                identity = self._check_stream(stream)
                # What cannot be proven now, or may not, is said now.
                await self._barrier(connection, is_patient=True)
                await self._scan(connection, after=BEGINNING, size_max=1)
                self._check_syncing(await connection.ask_all(_SETTINGS, seconds=_SETTINGS_SECONDS))
        except JournalUnreachableError as error:
            if isinstance(error.__cause__, AccessDeniedError):
                raise UnfitJournalError(str(error.__cause__)) from error
            if "permissions violation" in error.reason.lower():
                raise UnfitJournalError(error.reason) from error
            raise
        self.remarks = remarks_on(stream, payload_max=connection.payload_max)
        return identity

    def _check_server(self, connection: Connection) -> None:
        if connection.version < VERSION_MIN:
            needed = ".".join(map(str, VERSION_MIN))
            has = ".".join(map(str, connection.version))
            raise UnfitJournalError(
                f"the server has version {has}, and a journal needs NATS {needed} or newer"
            )
        if not connection.has_jetstream and not connection.is_clustered:
            raise UnfitJournalError(
                "JetStream is not enabled on the server: give it a jetstream block with a "
                "store_dir, and sync_interval: always"
            )

    def _check_syncing(self, answers: Sequence[Msg]) -> None:
        """Look at the servers' settings, if they are shown to us."""
        late = servers_that_sync_late(map(as_json, answers))
        if late:
            raise UnfitJournalError(
                f"the servers {', '.join(late)} acknowledge what they have not synced: set "
                "'sync_interval: always' in their jetstream blocks"
            )

    async def _stream_or_new(self, connection: Connection) -> dict[str, Any]:
        """Return what the servers say of the stream, which is made if it is not there."""
        config = new_stream(self._stream, replicas=self._replicas, identity=uuid4().hex)
        while True:
            told = await self._ask(connection, f"STREAM.INFO.{self._stream}")
            if "config" in told:
                return told
            if code_of(told) == _NOT_THERE:
                told = await self._ask(connection, f"STREAM.CREATE.{self._stream}", config)
            # Where it was made, or another node was faster, it is there in a moment.
            code, text = code_of(told), error_of(told)
            if code == _NO_PEERS:
                text = (
                    f"there are not {self._replicas} servers with JetStream and room for the "
                    f"stream {self._stream} (--journal-replicas): {text}"
                )
            elif code not in {None, _NOT_THERE, _OTHER_CONFIGURATION, *_FOR_NOW}:
                raise self._unusable(told)
            await connection.note_error(EverlogError(text or "the stream is being made"))
            await asyncio.sleep(_MADE_AGAIN_SECONDS)

    def _unusable(self, told: Mapping[str, Any]) -> UnfitJournalError:
        code, text = code_of(told), error_of(told)
        if code == _NOT_CLUSTERED:
            return UnfitJournalError(
                f"the server stands alone, and cannot keep {self._replicas} replicas: run a "
                "cluster, or say --journal-replicas 1"
            )
        if code in _NOT_ENABLED:
            return UnfitJournalError(f"JetStream is not enabled for this account: {text}")
        return UnfitJournalError(f"the stream {self._stream} cannot be used: {text}")

    def _check_stream(self, stream: Mapping[str, Any]) -> str:
        config = stream["config"]
        faults = find_faults(config, replicas=self._replicas)
        if faults:
            raise UnfitJournalError(
                f"the stream {self._stream} cannot keep a journal: {'; '.join(faults)}"
            )
        self._note_size_max(config.get("max_msg_size") or -1)
        return str(config["metadata"][IDENTITY_KEY])

    def _note_size_max(self, message_size_max: int) -> None:
        payload_max = self._connection.payload_max if self._connection else _PAYLOAD_MAX
        sizes = [payload_max, _STORED_SIZE_MAX]
        if message_size_max > 0:
            sizes.append(message_size_max)
        self.entry_size_max = max(min(sizes) - _HEADERS_SIZE_MAX, 1)

    # Appending.

    async def append(self, entry: Entry, *, after: int) -> int:
        """Let an entry stand behind a place, durable; return its own place.

        Raises:
            EntryLostError, OutcomeUnknownError, JournalUnreachableError: See the port.
            UnfitJournalError: The entry is larger than the servers take; nothing was sent.
        """
        if len(entry.lines) > _LARGE_SIZE:
            place = await asyncio.to_thread(asyncio.run, self._append_alone(entry, after))
        else:
            async with self._answering() as connection:
                pass
            try:
                place = await self._append_by(connection, entry, after)
            except (OutcomeUnknownError, JournalUnreachableError):
                # Another server may be on the side of the majority.
                self._retire(connection)
                raise
        self._note_known(_Known(place, place))
        self._note_end(place)
        if self._connection is not None:
            told = f"{place} {entry.batch_id}".encode()
            await self._connection.tell(f"{self._stream}.appended", told)
        return place

    async def _append_alone(self, entry: Entry, after: int) -> int:
        """Append what is large by a connection and on an event loop of its own, in a thread.

        It is copied as a whole, and more than once, for which others would have to wait.
        """
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                connection = await Servers(self._target, self._access).connect()
        except (TimeoutError, NotSentError, SettingsError) as error:
            raise JournalUnreachableError(str(error) or "no answer in time") from error
        try:
            return await self._append_by(connection, entry, after)
        finally:
            await connection.close()

    async def _append_by(self, connection: Connection, entry: Entry, after: int) -> int:
        content = encode_entry(entry)
        if len(content) > self.entry_size_max:
            raise UnfitJournalError(
                f"an entry of {len(content)} bytes is larger than the journal takes, which is "
                f"{self.entry_size_max}: write less at a time, or set the servers' max_payload"
            )
        headers = {
            "Nats-Expected-Last-Subject-Sequence": str(after),
            "Nats-Msg-Id": entry.batch_id,
            AFTER: str(after),
            END: str(entry.end),
        }
        try:
            async with asyncio.timeout(_seconds_for(len(content))):
                return await self._append(connection, content, headers)
        except TimeoutError:
            raise OutcomeUnknownError("an append was not acknowledged in time") from None
        except NotAnsweredError as error:
            raise OutcomeUnknownError(str(error)) from error
        except NotSentError as error:
            raise JournalUnreachableError(str(error)) from error

    async def _append(
        self, connection: Connection, content: bytes, headers: Mapping[str, str]
    ) -> int:
        is_repeated = False
        while True:
            try:
                answer = await connection.request(f"{self._stream}.log", content, headers)
            except NotSentError as error:
                if is_repeated:
                    raise NotAnsweredError(str(error)) from error
                raise
            told = as_json(answer)
            code = code_of(told)
            if code != _NOT_READY:
                break
            # The very same again can store it once only.
            is_repeated = True
            await asyncio.sleep(_AGAIN_SECONDS)
        if code in _WRONG_LAST_ON_ITS_WAY or told.get("duplicate"):
            raise EntryLostError("an entry stands there, or is on its way")
        if code == _WRONG_LAST:
            raise EntryLostError("an entry stands there")
        if code is not None or not told.get("seq"):
            # Whoever says so may have been deposed, and another leader may store it.
            raise OutcomeUnknownError(f"the journal refuses: {error_of(told)}")
        return int(told["seq"])

    # Reading.

    async def read(self, *, after: int, size_max: int, proves_end: bool = True) -> Page:
        """Return what stands behind a place: about so many bytes of it, one entry at least.

        What a replica shows was stored by a majority: without the end, there is no barrier.

        Raises:
            JournalUnreachableError: There is no proven answer.
            UnknownEntryFormatError: What stands there is not understood.
            UnfitJournalError: The stream is not what it was.
        """
        if not proves_end and (heard := self._heard.take(after)):
            return Page(heard, is_end=False)
        told_end = self._told_end
        # The next entry may be larger than what was asked for, and need more time than that.
        is_again, self._unanswered = after == self._unanswered, after
        seconds = _seconds_for(self.entry_size_max) if is_again else _CALL_SECONDS
        async with self._answering(seconds) as connection:
            if not proves_end:
                scan = await self._scan(connection, after=after, size_max=size_max, seconds=seconds)
                # Where somebody said that there is more, it is waited for.
                if scan.entries or told_end <= after:
                    self._unanswered = None
                    return Page(await decode(scan.entries, after), is_end=False)
            known = self._known
            barrier = await self._barrier(connection)
            if known.place == after and known.number + 1 == barrier:
                self._note_proven(_Known(after, barrier), told_end)
                self._unanswered = None
                return Page((), is_end=True)
            messages, number = await self._scan_until(
                connection, barrier, after=after, size_max=size_max, seconds=seconds
            )
        self._unanswered = None
        entries = await decode(messages, after)
        if number < barrier:
            return Page(entries, is_end=False)
        end = entries[-1].place if entries else after
        self._note_proven(_Known(end, number), told_end)
        return Page(entries, is_end=True)

    async def _scan_until(
        self, connection: Connection, barrier: int, *, after: int, size_max: int, seconds: float
    ) -> tuple[Sequence[Msg], int]:
        """Return entries behind a place, and up to which number of the stream these are all.

        That is the barrier's or more, if there are not more entries than were asked for.
        """
        entries: list[Msg] = []
        while True:
            scan = await self._scan(connection, after=after, size_max=size_max, seconds=seconds)
            entries += scan.entries
            # Where one thing is left, that is the barrier, mostly; where none is, a replica lags.
            if scan.number >= barrier or (entries and scan.left > 1):
                return entries, scan.number
            if scan.entries:
                after = number_of(scan.entries[-1])
            else:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _barrier(self, connection: Connection, *, is_patient: bool = False) -> int:
        """Return the number of a message that a majority has stored since this was called."""
        known = self._known.number
        told = as_json(
            await self._request(
                connection, f"{self._stream}.barrier", headers=_ROLLUP, is_patient=is_patient
            )
        )
        number = told.get("seq")
        if code_of(told) is not None or not number:
            raise JournalUnreachableError(f"the journal refuses: {error_of(told)}")
        if number <= known:
            raise UnfitJournalError(
                f"the stream {self._stream} was put back to an earlier state, or made anew"
            )
        return int(number)

    async def _scan(
        self,
        connection: Connection,
        *,
        after: int,
        size_max: int,
        seconds: float = _CALL_SECONDS,
    ) -> _Scan:
        """Return what a replica has behind a place; it may not have everything yet."""
        request = {
            "seq": after + 1,
            "next_by_subj": f"{self._stream}.*",
            "batch": _PAGE_COUNT_MAX,
            "max_bytes": min(size_max, _PAGE_SIZE_MAX),
        }
        *found, last = await self._get(connection, request, seconds=seconds / 2)
        return _Scan(
            entries=[each for each in found if subject_of(each) == f"{self._stream}.log"],
            number=max(map(number_of, found), default=0),
            left=int((last.headers or {}).get("Nats-Num-Pending", 0)),
        )

    async def _get(
        self,
        connection: Connection,
        request: Mapping[str, Any],
        *,
        seconds: float = _REPLICA_SECONDS,
    ) -> Sequence[Msg]:
        """Return what a replica has, in the stream's order, and its last word."""
        subject = f"$JS.API.DIRECT.GET.{self._stream}"
        while True:
            # One that is paused is asked in vain; another one may be next.
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await connection.request_many(subject, json.dumps(request).encode())

    async def find(self, position: int) -> int:
        """Return the place behind which the first entry stands that ends at a position, or later.

        Raises:
            JournalUnreachableError: There is no answer.
            UnknownEntryFormatError: What stands there is not understood.
        """
        last = await self._last_entry()
        if last is None:
            return BEGINNING
        if position_of(last) < position:
            return number_of(last)
        # All entries before `low` end before it, and whatever stands behind `before` does not.
        low, before = 1, place_before(last)
        while low <= before:
            entry = await self._next_entry((low + before) // 2)
            if position_of(entry) >= position:
                before = place_before(entry)
            else:
                low = number_of(entry) + 1
        return before

    async def _last_entry(self) -> Msg | None:
        async with self._answering() as connection:
            barrier = await self._barrier(connection)
            request = {"multi_last": [f"{self._stream}.log", f"{self._stream}.barrier"]}
            while True:
                by_subject = {
                    subject_of(message): message
                    for message in await self._get(connection, {**request, "batch": 2})
                }
                proof = by_subject.get(f"{self._stream}.barrier")
                if proof is not None and number_of(proof) >= barrier:
                    return by_subject.get(f"{self._stream}.log")
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _next_entry(self, number: int) -> Msg:
        """Return the first entry that has a number, or a greater one; there is one."""
        request = {"seq": number, "next_by_subj": f"{self._stream}.log", "batch": 1}
        async with self._answering() as connection:
            while True:
                for message in await self._get(connection, request):
                    if number_of(message):
                        return message
                await asyncio.sleep(_AGAIN_SECONDS)

    # Waiting.

    async def wait(self, *, after: int) -> None:
        """Return when something stands behind a place, or after a second, or at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS):
                while self._told_end <= after and not self._is_closed:
                    self._was_told.clear()
                    await self._was_told.wait()

    async def _hear(self, message: Msg) -> None:
        self._heard.hear(message)

    async def _note_appended(self, message: Msg) -> None:
        place, _, batch_id = message.data.partition(b" ")
        if place.isdigit() and len(place) < 20:
            self._heard.place(batch_id.decode(errors="replace"), int(place))
            self._note_end(int(place))

    def _note_end(self, place: int) -> None:
        if place > self._told_end:
            self._told_end = place
            self._was_told.set()

    def _note_proven(self, known: _Known, told_end: int) -> None:
        """Note where the journal ends, whatever was told before that was asked."""
        self._note_known(known)
        if self._told_end == told_end:
            self._told_end = known.place

    def _note_known(self, known: _Known) -> None:
        if known.number > self._known.number:
            self._known = known

    # Nodes.

    async def announce(self, announcement: Announcement) -> Sequence[Announced]:
        """Say something of this node, and return what others have said in the last minute.

        Raises:
            JournalUnreachableError: There is no answer.
        """
        # Where that fails, what follows says why.
        with suppress(JournalUnreachableError):
            await self._go_to_leader()
        # Whatever an id consists of, it is one part of a subject.
        subject = f"{self._stream}.node.{announcement.node_id.encode().hex()}"
        headers = {**_ROLLUP, "Nats-TTL": _ANNOUNCED_TTL}
        async with self._answering() as connection:
            content = msgspec.json.encode(announcement)
            told = as_json(await self._request(connection, subject, content, headers))
            if code_of(told) is not None or not told.get("seq"):
                raise JournalUnreachableError(f"the journal refuses: {error_of(told)}")
            request = {
                "multi_last": [f"{self._stream}.node.*"],
                "batch": _ANNOUNCED_COUNT_MAX,
            }
            while True:
                messages = await self._get(connection, request)
                for message in messages:
                    if subject_of(message) == subject and number_of(message) >= told["seq"]:
                        return compare_announced(announcement, message, messages)
                await asyncio.sleep(_AGAIN_SECONDS)

    # Connections.

    @asynccontextmanager
    async def _answering(self, seconds: float = _CALL_SECONDS) -> AsyncIterator[Connection]:
        """Give a connection, and say of what fails with it that the journal does not answer."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connect()
                yield connection
        except TimeoutError:
            self._retire(connection)
            hint = connection.last_error if connection is not None else None
            reason = "no answer in time"
            if hint is not None:
                reason += f"; what was said last: {str(hint).removeprefix('nats: ')}"
            raise JournalUnreachableError(reason) from None
        except NotSentError as error:
            # Another server may be on the side of the majority.
            self._retire(connection)
            raise JournalUnreachableError(str(error)) from error
        except NotAnsweredError as error:
            raise JournalUnreachableError(str(error)) from error

    async def _connect(self) -> Connection:
        async with self._connecting:
            if self._is_closed:
                raise NotSentError("the journal is closed")
            if self._connection is None or self._connection.loss:
                self._retire(self._connection)
                try:
                    connection = await self._servers.connect()
                except SettingsError as error:
                    # A file with a secret was there when the journal was opened.
                    raise NotSentError(str(error)) from error
                self._connection = connection
                await self._listen(connection)
            return self._connection

    async def _go_to_leader(self) -> None:
        """Let the next calls go to the server that leads the stream, which is the shortest way.

        Through another one everything takes a way more, and that server has to pass it on.
        """
        async with self._answering() as connection:
            told = await self._ask(connection, f"STREAM.INFO.{self._stream}")
        leader = (told.get("cluster") or {}).get("leader") or connection.server_name
        if leader in {connection.server_name, self._leader_without_address}:
            return
        found = await self._servers.connect_to(leader)
        if found is None:
            # No address that we know leads there.
            self._leader_without_address = leader
            return
        async with self._connecting:
            try:
                is_wanted = self._connection is connection and not self._is_closed
                if is_wanted:
                    await self._listen(found)
                    self._connection, found = found, connection
            except NotSentError:
                is_wanted = False
        if is_wanted:
            self._retire(found)
        else:
            await found.close()

    async def _listen(self, connection: Connection) -> None:
        await connection.listen(f"{self._stream}.log", self._hear)
        await connection.listen(f"{self._stream}.appended", self._note_appended)

    def _retire(self, connection: Connection | None) -> None:
        """Let the next call have another connection; answers that are due may still come."""
        if connection is None:
            return
        if self._connection is connection:
            self._connection = None
        if connection not in self._former:
            self._former.add(connection)
            connection.retire(self._former.discard)

    async def close(self) -> None:
        """Let go of the connections; what had begun ends as it may."""
        self._is_closed = True
        self._was_told.set()
        connections = {*self._former, *([self._connection] if self._connection else ())}
        self._connection = None
        await asyncio.gather(*(connection.close() for connection in connections))

    async def _ask(
        self, connection: Connection, what: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what the servers answer to a request of JetStream's."""
        content = json.dumps(body).encode() if body else b""
        subject = f"$JS.API.{what}"
        return as_json(
            await self._request(
                connection, subject, content, is_patient=True, seconds=_STREAM_SECONDS
            )
        )

    async def _request(
        self,
        connection: Connection,
        subject: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        is_patient: bool = False,
        seconds: float = _REPLICA_SECONDS,
    ) -> Msg:
        """Return the answer to what may be asked again, after so many seconds.

        Whoever is patient also asks again if nobody is responsible at the moment.
        """
        while True:
            try:
                async with asyncio.timeout(seconds):
                    return await connection.request(subject, content, headers)
            except TimeoutError:
                # A leader that is gone took the question along; another one is asked.
                continue
            except NotSentError as error:
                if not is_patient or connection.loss:
                    raise
                await connection.note_error(error)
            await asyncio.sleep(_MADE_AGAIN_SECONDS)


def _seconds_for(size: int) -> float:
    return _CALL_SECONDS + size / _BYTES_PER_SECOND_MIN
