"""A store behind a server: Everlog or EventSourcingDB, asked in version 2 of the API or in 1.

What is asked and changes nothing may be asked twice; a write is sent once more only where the
server cannot have got all of it. Whatever became of a write whose answer did not come is not known,
and said to be so.
What is left to others: connections (`client`), and what the versions call things (`versions`).
"""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from everlog.domain.errors import BusyError, Code, NoCheckpointError, RefusedError
from everlog.domain.json_text import NOT_JSON
from everlog.library.client import Answer, AnswerLostError, Client
from everlog.library.encoding import check_size, encode_events
from everlog.library.errors import (
    UnauthorizedError,
    UnreachableError,
    VerificationError,
)
from everlog.library.outcome import OutcomeUnknownError
from everlog.library.store import Verification
from everlog.library.values import (
    Bound,
    Event,
    EventDecoder,
    EventType,
    NewEvent,
    Precondition,
    Selection,
)
from everlog.library.versions import (
    V1,
    V2,
    Item,
    Version,
    bound_body,
    precondition_bodies,
    read_error,
    read_event_type,
    read_item,
    read_refusal,
    read_row,
    read_subject,
    read_unavailability,
    selection_body,
)

_REASON_SIZE_MAX: Final = 64 * 1024

# An answer that is one document: what a version 1 server has stored of the largest write.
_DOCUMENT_SIZE_MAX: Final = 256 * 1024 * 1024

# What a server answers to a path or a method that it does not know, or who stands in front of it.
_UNKNOWN: Final = frozenset({404, 405, 501})

_LOG: Final = "/api/v2/log/"

# As the last line of version 2 behind others; one that is written otherwise is found as well.
_END_LINE: Final = b'\n{"type":"end","data":{}}'

_encode: Final = msgspec.json.encode


class ServerTransport:
    """One server, and the version that it is asked in."""

    def __init__(self, client: Client, url: str, version: Version | None) -> None:
        """Ask whether the token opens it, and which version it speaks where None says so.

        Raises:
            UnreachableError, UnauthorizedError, BusyError: As `everlog.connect` says.
        """
        self._client: Final = client
        self._url: Final = url
        # The id of the latest event that any answer has shown; None before the first.
        self._latest: int | None = None
        self._version: Final = self._find_version() if version is None else version
        if version is not None:
            self._verify_token(version)

    def __str__(self) -> str:
        """Say which server it is, and which version it speaks."""
        return f"{self._url} (version {self._version.number})"

    def _find_version(self) -> Version:
        try:
            self._verify_token(V2)
        except _UnknownRequestError:
            self._verify_token(V1)
            return V1
        return V2

    def _verify_token(self, version: Version) -> None:
        try:
            self._ask("POST", version.verify_token).read(_REASON_SIZE_MAX)
        except RefusedError as error:
            raise _UnknownRequestError(f"{self._url} cannot be asked: {error}") from error

    # Writing.

    def write(
        self, events: Sequence[NewEvent], preconditions: Sequence[Precondition]
    ) -> list[Event]:
        """As `Store.write`."""
        version = self._version
        body: dict[str, Any] = {
            "events": [_event_body(event, data) for event, data in encode_events(events)]
        }
        if preconditions:
            body["preconditions"] = precondition_bodies(version, preconditions)
        after = None if self._latest is None else str(self._latest)
        try:
            answer = self._ask("POST", f"{version.data}write-events", body, is_write=True)
            with closing_answer(answer):
                written = self._read_written(answer)
        except AnswerLostError as error:
            raise OutcomeUnknownError(
                f"whether the events were stored is not known: {error}",
                events=events,
                preconditions=preconditions,
                after=after,
            ) from error
        if len(written) != len(events):
            raise OutcomeUnknownError(
                "whether the events were stored is not known: the answer is incomplete",
                events=events,
                preconditions=preconditions,
                after=after,
            )
        self._note(written)
        return written

    def register_event_schema(self, event_type: str, schema: bytes) -> None:
        """As `Store.register_event_schema`."""
        version = self._version
        name = "eventType" if version is V1 else "type"
        body = {name: event_type, "schema": msgspec.Raw(schema)}
        try:
            answer = self._ask("POST", f"{version.data}register-event-schema", body, is_write=True)
            if version is V1:
                answer.read(_DOCUMENT_SIZE_MAX)
                return
            with closing_answer(answer):
                for _ in self._items(answer):
                    pass
        except AnswerLostError as error:
            raise OutcomeUnknownError(
                f"whether the schema was registered is not known: {error}"
            ) from error

    def _read_written(self, answer: Answer) -> list[Event]:
        if self._version is V1:
            try:
                texts = msgspec.json.decode(answer.read(_DOCUMENT_SIZE_MAX), type=list[msgspec.Raw])
            except NOT_JSON as error:
                raise AnswerLostError("its answer is no list of events") from error
            return [Event(bytes(text)) for text in texts]
        return [event for events in self._events(answer) for event in events]

    # Reading.

    def read(self, selection: Selection) -> Iterator[Sequence[Event]]:
        """Yield the events of a selection, some at a time."""
        with closing_answer(self._ask_data("read-events", selection_body(selection))) as answer:
            for events in self._events(answer):
                self._note(events)
                yield events

    def observe(self, subject: str, *, recursive: bool, lower: Bound | None) -> "ServerObservation":
        """Return what is behind a bound, and what will come."""
        options: dict[str, Any] = {"recursive": recursive}
        if lower is not None:
            options["lowerBound"] = bound_body(lower)
        answer = self._ask_data("observe-events", {"subject": subject, "options": options})
        return ServerObservation(answer, self._events(answer, is_endless=True))

    def query(self, text: str) -> Iterator[Sequence[bytes]]:
        """Yield the rows of a query as JSON, some at a time."""
        version = self._version
        has_rows = False
        try:
            with closing_answer(self._ask_data("run-eventql-query", {"query": text})) as answer:
                for items in self._item_batches(answer):
                    rows = [read_row(version, item.body) for item in items if item.type == "row"]
                    has_rows = has_rows or bool(rows)
                    # None: it is still computing, and whoever waits may look at the clock.
                    yield rows
        except RefusedError as error:
            raise _as_query_fault(error, version, has_rows=has_rows) from error

    def subjects(self, subject: str) -> Iterator[Sequence[str]]:
        """Yield a subject and all below it that exist, some at a time."""
        body: dict[str, Any] = {"baseSubject": subject}
        if self._version is V2:
            body = {"subject": subject, "options": {"recursive": True}}
        with closing_answer(self._ask_data("read-subjects", body)) as answer:
            for items in self._item_batches(answer):
                yield [read_subject(item.body) for item in items if item.type == "subject"]

    def event_types(self) -> Iterator[Sequence[EventType]]:
        """Yield all event types, some at a time."""
        with closing_answer(self._ask_data("read-event-types", {})) as answer:
            for items in self._item_batches(answer):
                found = [item.body for item in items if item.type == "eventType"]
                yield [read_event_type(self._version, body) for body in found]

    def event_type(self, name: str) -> EventType:
        """As `Store.event_type`."""
        version = self._version
        if version is V1:
            answer = self._ask_data("read-event-type", {"eventType": name})
            with _judged():
                return read_event_type(version, answer.read(_DOCUMENT_SIZE_MAX))
        with closing_answer(self._ask_data("read-event-type", {"type": name})) as answer:
            for item in self._items(answer, is_stream=False):
                return read_event_type(version, item.body)
        raise AnswerLostError("its answer has no event type")

    # The server itself.

    def health(self) -> Mapping[str, Any]:
        """As `Store.health`."""
        answer = self._client.ask("GET", self._version.health)
        if answer.status not in {200, 503}:
            self._refuse(answer, is_write=False)
        with _judged():
            return msgspec.json.decode(answer.read(_DOCUMENT_SIZE_MAX), type=dict[str, Any])

    def ping(self) -> None:
        """As `Store.ping`."""
        self._ask("GET", self._version.ping).read(_REASON_SIZE_MAX)

    def backup(self, after: tuple[str, str] | None) -> Iterator[bytes]:
        """As `Store.backup`."""
        # Only backups need it.
        from everlog.transfer.backup_lines import END_LINE, to_version_1

        version = self._version
        body: dict[str, Any] = {}
        if after is not None:
            if version is V1:
                raise RefusedError(
                    Code.LAST_BACKED_UP_EVENT_UNKNOWN,
                    "the server speaks version 1 of the API, which has whole backups only",
                )
            body = {"lastBackedUpEvent": {"id": after[0], "hash": after[1]}}
        is_end = version is V1
        with closing_answer(self._ask("POST", f"{version.management}backup", body)) as answer:
            for lines in answer.pieces():
                kept = [line for line in lines if self._is_backup_line(line)]
                is_end = is_end or END_LINE[:-1] in lines
                if kept:
                    yield to_version_1(b"\n".join(kept) + b"\n")
        if not is_end:
            raise AnswerLostError("its answer ended before the backup did")

    def verify_store(self) -> Verification:
        """As `Store.verify_store`."""
        version = self._version
        answer = self._ask("POST", f"{version.management}verify-store", {})
        with _judged():
            if version is V1:
                return msgspec.json.decode(answer.read(_DOCUMENT_SIZE_MAX), type=Verification)
            with closing_answer(answer):
                found = Verification([], [])
                for item in self._items(answer):
                    if item.type == "verification":
                        found = msgspec.json.decode(item.body, type=Verification)
                return found

    def checkpoint(self) -> bytes:
        """As `Store.checkpoint`."""
        try:
            return self._ask("GET", f"{_LOG}checkpoint").read(_REASON_SIZE_MAX)
        except BusyError as error:
            raise NoCheckpointError(str(error)) from error

    def inclusion_proof(self, event_id: str, size: int | None) -> Mapping[str, Any]:
        """As `Store.inclusion_proof`."""
        return self._prove("inclusion-proof", {"event": event_id, "size": size})

    def consistency_proof(self, earlier: int, later: int | None) -> Mapping[str, Any]:
        """As `Store.consistency_proof`."""
        return self._prove("consistency-proof", {"from": earlier, "to": later})

    def close(self) -> None:
        """As `Store.close`."""
        self._client.close()

    def _prove(self, name: str, parameters: Mapping[str, object]) -> Mapping[str, Any]:
        given = urlencode({each: value for each, value in parameters.items() if value is not None})
        answer = self._ask("GET", f"{_LOG}{name}?{given}").read(_DOCUMENT_SIZE_MAX)
        with _judged():
            found = msgspec.json.decode(answer, type=dict[str, Any])
            if found.get("type") == "error":
                # Proofs belong to version 2, whichever one is spoken besides.
                raise read_error(V2, _encode(found.get("data")))
        return found

    # What is common.

    def _ask_data(self, name: str, body: Mapping[str, Any]) -> Answer:
        return self._ask(self._version.method, self._version.data + name, body)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        is_write: bool = False,
    ) -> Answer:
        """Ask, and return the answer if the server does what is asked."""
        content = b"" if body is None else _encode(body)
        check_size(len(content))
        answer = self._client.ask(method, path, content, is_repeatable=not is_write)
        if answer.status != 200:
            self._refuse(answer, is_write=is_write)
        return answer

    def _refuse(self, answer: Answer, *, is_write: bool) -> None:
        """Raise what a status other than 200 means."""
        status = answer.status
        text = _printable(answer.read(_REASON_SIZE_MAX)) if status not in _UNKNOWN else ""
        if status in {401, 403}:
            answer.release()
            raise UnauthorizedError(f"{self._url} does not take the token (status {status})")
        if status == 429:
            raise BusyError(f"{self._url} is asked too often (status 429): try again later")
        if status == 503 and (answer.is_eventsourcingdb or not is_write):
            raise read_unavailability(self._version_or_2, text)
        if status in _UNKNOWN:
            self._refuse_unknown(answer)
        if 400 <= status < 500:
            raise read_refusal(status, text)
        if 300 <= status < 400:
            raise UnreachableError(
                f"{self._url} redirects (status {status}), which is not followed: name the address "
                "itself"
            )
        reason = f"{self._url} answers with status {status}: {text}"
        raise (AnswerLostError if is_write else UnreachableError)(reason)

    def _refuse_unknown(self, answer: Answer) -> None:
        text = _printable(answer.read(_REASON_SIZE_MAX))
        if answer.status == 404 and text.startswith("event type"):
            raise read_refusal(404, text)
        raise _UnknownRequestError(
            f"{self._url} does not know the path (status {answer.status}): is the URL that of an "
            "Everlog or EventSourcingDB?"
        )

    @property
    def _version_or_2(self) -> Version:
        return getattr(self, "_version", V2)

    def _events(self, answer: Answer, *, is_endless: bool = False) -> Iterator[list[Event]]:
        """Yield the events of an answer that is a stream, some at a time."""
        version = self._version
        start = version.item_start
        is_end = version is V1
        decoder = EventDecoder(version.number)
        for block in answer.blocks():
            if block.endswith(_END_LINE):
                # So that the others are nothing but events.
                is_end, block = True, block[: -len(_END_LINE)]  # noqa: PLW2901 - as said
            events = decoder.decode(block) or []
            if events:
                yield events
                continue
            for line in block.split(b"\n"):
                if line.startswith(start):
                    events.append(Event(line))
                    continue
                item = self._judge_line(line)
                if item is None:
                    continue
                if item.type == "event":
                    events.append(Event(b" " + item.body))
                elif item.type == "error":
                    if events:
                        yield events
                    self._raise_error(item)
                is_end = is_end or item.type == "end"
            # Also where there are none: whoever observes is told that the server is there.
            if events or is_endless:
                yield events
        if is_endless:
            raise AnswerLostError(f"{self._url} ended the stream")
        if not is_end:
            raise AnswerLostError(f"{self._url} broke off its answer before the end")

    def _items(self, answer: Answer, *, is_stream: bool = True) -> Iterator[Item]:
        for items in self._item_batches(answer, is_stream=is_stream):
            yield from items

    def _item_batches(self, answer: Answer, *, is_stream: bool = True) -> Iterator[list[Item]]:
        """Yield the items of an answer, without the last one that says that it is the end."""
        is_end = self._version is V1 or not is_stream
        for lines in answer.pieces():
            items: list[Item] = []
            for line in lines:
                item = self._judge_line(line)
                if item is None:
                    continue
                if item.type == "error":
                    if items:
                        yield items
                    self._raise_error(item)
                if item.type == "end":
                    is_end = True
                else:
                    items.append(item)
            yield items
        if not is_end:
            raise AnswerLostError(f"{self._url} broke off its answer before the end")

    def _judge_line(self, line: bytes) -> Item | None:
        if not line or line.isspace():
            return None
        try:
            return read_item(self._version, line)
        except NOT_JSON as error:
            raise AnswerLostError(f"{self._url} answers with what is no item of the API") from error

    def _raise_error(self, item: Item) -> None:
        try:
            error = read_error(self._version, item.body)
        except NOT_JSON as cause:
            raise AnswerLostError(f"{self._url} answers with what is no error") from cause
        raise error

    def _is_backup_line(self, line: bytes) -> bool:
        if line.startswith((b'{"type":"event"', b'{"type":"schema"', b'{"type":"eventType"')):
            return True
        item = self._judge_line(line)
        if item is not None and item.type == "error":
            self._raise_error(item)
        return item is not None and item.type in {"event", "schema", "eventType"}

    def _note(self, events: Sequence[Event]) -> None:
        """Remember the latest event that was shown: what is written later comes behind it."""
        for event in events[:: max(len(events) - 1, 1)]:
            with suppress(VerificationError, ValueError):
                self._latest = max(int(event.id), -1 if self._latest is None else self._latest)


class ServerObservation:
    """Events of a server as they come."""

    def __init__(self, answer: Answer, events: Iterator[list[Event]]) -> None:
        """Take over an answer that does not end."""
        self._answer: Final = answer
        self._events: Final = events
        # Held by whoever reads the answer.
        self._reading: Final = threading.Lock()
        self._is_closed = False

    def take(self) -> Sequence[Event]:
        """Return what comes next, nothing where that is only a sign of life."""
        with self._reading:
            try:
                return () if self._is_closed else next(self._events)
            except BaseException as error:
                self._answer.release()
                if self._is_closed and isinstance(error, UnreachableError):
                    return ()
                raise

    def close(self) -> None:
        """Let whoever waits in `take` see the end, and let go of the answer."""
        self._is_closed = True
        self._answer.interrupt()
        with self._reading:
            self._answer.release()


class _UnknownRequestError(UnreachableError):
    """The server does not know what it is asked: perhaps it speaks another version."""


_NO_QUERY_FAULTS: Final = frozenset(
    {Code.QUERY_MISSING, Code.SERVER_SHUTTING_DOWN, Code.READ_FAILED, Code.RESTORE_IN_PROGRESS}
)

# Of a row that cannot be computed, the event is named.
_match_row_fault: Final = re.compile(r"[0-9]+:[0-9]+: event '").match


def _event_body(event: NewEvent, data: msgspec.Raw) -> dict[str, Any]:
    body: dict[str, Any] = {
        "source": event.source,
        "subject": event.subject,
        "type": event.type,
        "data": data,
    }
    if event.traceparent is not None:
        body["traceparent"] = event.traceparent
    if event.tracestate is not None:
        body["tracestate"] = event.tracestate
    return body


@contextmanager
def closing_answer(answer: Answer) -> Iterator[Answer]:
    """Let go of an answer at the end of a block, however much of it was read."""
    try:
        yield answer
    finally:
        answer.release()


@contextmanager
def _judged() -> Iterator[None]:
    try:
        yield
    except NOT_JSON as error:
        raise AnswerLostError("its answer is not one of this API") from error


def _as_query_fault(error: RefusedError, version: Version, *, has_rows: bool) -> RefusedError:
    """Give a fault of a query its code, which version 1 does not say."""
    if version is V2 or error.code in _NO_QUERY_FAULTS:
        return error
    is_of_row = has_rows or _match_row_fault(error.message) is not None
    code = Code.QUERY_UNEVALUABLE if is_of_row else Code.QUERY_MALFORMED
    return RefusedError(code, error.message, **error.details)


def _printable(content: bytes) -> str:
    """Return the first line of a text, without what a terminal would obey."""
    line = content.decode(errors="replace").strip().partition("\n")[0][:1000]
    return line if line.isprintable() else line.encode("unicode_escape").decode()
